//! `[[ipfs]]`: IPFS nodes that are polled for their peers over RPC.

use std::collections::HashSet;
use std::time::Duration;

use url::Url;

use super::endpoint::{APP_NAME, show_table};
use super::fault::Location;
use super::key::{FaultSink, ValueType};
use super::raw::{Node, Value, quoted};
use super::reader::Section;
use super::units::show_duration;
use super::value_types::{DurationRange, FilePath, IntegerRange, ListOf, OrEmpty, Parsed};
use crate::model::AppName;
use crate::sources::polls::{Credentials, Endpoint, EndpointKind};

/// A node with ten thousand peers answers with tens of megabytes; asking more often would be most of its work.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// As for other polls.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// Every agent is a series.
const MAX_CUTOFF: usize = 1_000;
/// Each node is a task and a connection.
const MAX_NODES: usize = 100;

/// The nodes of all `[[ipfs]]` tables, as endpoints to poll.
pub(super) fn read(t: &mut Section<'_>) -> Vec<Endpoint> {
    let nodes = t.reloadable("ipfs").or(Vec::new(), NODES);
    t.require(&["ipfs"], nodes.len() <= MAX_NODES, || {
        format!("{} nodes exceed the maximum of {MAX_NODES}", nodes.len())
    });
    let mut taken = HashSet::new();
    let mut is_free = |(at, node): &(Location, Endpoint)| {
        let free = taken.insert(node.name.clone());
        if !free {
            let text = format!("two nodes are named \"{}\"; give one of them a \"name\"", node.name);
            t.notes.fault(at, text);
        }
        free
    };
    nodes.into_iter().filter(|node| is_free(node)).map(|(_, node)| node).collect()
}

struct IpfsNodeType;

impl ValueType for IpfsNodeType {
    type Value = (Location, Endpoint);

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Self::Value> {
        let at = node.at.clone();
        match node.value {
            Value::Table(table) => Section::inner(faults.notes, "[[ipfs]]", table, at.clone(), read_table).map(|node| (at, node)),
            _ => faults.expected(&node, "a table such as { api = \"http://127.0.0.1:5001\" }"),
        }
    }

    fn show(&self, (_, node): &Self::Value) -> String {
        let file = match &node.credentials {
            Some(Credentials::HeaderFile(file)) => Some(format!("{file:?}")),
            _ => None,
        };
        let cutoff = match node.kind {
            EndpointKind::Peers { agent_version_cutoff } => Some(agent_version_cutoff.to_string()),
            EndpointKind::Metrics => None,
        };
        let fields = [
            ("api", Some(format!("{:?}", api(node)))),
            ("name", Some(format!("{:?}", node.name))),
            ("populate_interval", Some(show_duration(node.interval))),
            ("agent_version_cutoff", cutoff),
            ("authorization_file", file),
        ];
        show_table(fields.iter().filter_map(|(key, shown)| Some((*key, shown.as_deref()?))))
    }
}

/// The URL of a node's RPC, as configured.
pub(super) fn api(node: &Endpoint) -> String {
    format!("{}/", node.url.origin().ascii_serialization())
}

fn read_table(t: &mut Section<'_>) -> Option<Endpoint> {
    let api = t.reloadable("api").required(API);
    let name = t.reloadable("name").optional(APP_NAME);
    let interval = t
        .reloadable("populate_interval")
        .or(Duration::from_secs(10), DurationRange(MIN_INTERVAL..=MAX_INTERVAL));
    let cutoff = t.reloadable("agent_version_cutoff").or(20, IntegerRange(1..=MAX_CUTOFF));
    let authorization_file = t.reloadable("authorization_file").or(None, OrEmpty(FilePath));
    let api = api?;
    let name = name.or_else(|| AppName::new(&format!("ipfs: {}", authority(&api))).ok())?;
    Some(Endpoint::peers(name, &api, interval, cutoff, authorization_file))
}

const NODES: ListOf<IpfsNodeType> = ListOf {
    item: IpfsNodeType,
    expected: "tables such as [[ipfs]] with api = \"http://127.0.0.1:5001\"",
    or_single: false,
};

const API: Parsed<Url> = Parsed {
    expected: "a URL such as \"http://127.0.0.1:5001\"",
    parse: parse_api,
};

fn authority(api: &Url) -> String {
    format!(
        "{}:{}",
        api.host_str().unwrap_or_default(),
        api.port_or_known_default().unwrap_or_default()
    )
}

fn parse_api(text: &str) -> Result<Url, String> {
    // The text may hold a password or a token: such a text is not repeated.
    let shown = match text.contains(['@', '?']) {
        true => "the text".to_owned(),
        false => quoted(text),
    };
    let url: Url = text
        .parse()
        .map_err(|_| format!("{shown} is not a URL; write e.g. \"http://127.0.0.1:5001\""))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{shown} is not an http:// or https:// URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("remove the user from the URL, it is not sent; set \"authorization_file\" instead".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{shown} has a path or a query; write scheme, host and port only, e.g. \"http://127.0.0.1:5001\""
        ));
    }
    Ok(url)
}
