//! `[[ipfs]]`: IPFS nodes that are polled for their peers over RPC.

use std::collections::HashSet;
use std::path::PathBuf;
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

/// A node with ten thousand peers answers with tens of megabytes; asking more often would be most of its work.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// As for other polls.
const MAX_INTERVAL: Duration = Duration::from_secs(86_400);
/// Every agent is a series.
const MAX_CUTOFF: usize = 1_000;
/// Each node is a task and a connection.
const MAX_NODES: usize = 100;

/// One node with all defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpfsNode {
    /// App name, unique among all nodes and endpoints.
    pub name: AppName,
    /// Its RPC: http or https, a host and a port.
    pub api: Url,
    /// Poll interval.
    pub populate_interval: Duration,
    /// Number of agents with a series of their own.
    pub agent_version_cutoff: usize,
    /// File with the credentials.
    pub authorization_file: Option<PathBuf>,
}

/// The nodes of all `[[ipfs]]` tables.
pub(super) fn read(t: &mut Section<'_>) -> Vec<IpfsNode> {
    let drafts = t.reloadable("ipfs").or(Vec::new(), NODES);
    t.require(&["ipfs"], drafts.len() <= MAX_NODES, || {
        format!("{} nodes exceed the maximum of {MAX_NODES}", drafts.len())
    });
    let mut taken = HashSet::new();
    let mut is_free = |draft: &IpfsNodeDraft| {
        let free = taken.insert(draft.node.name.clone());
        if !free {
            let text = format!("two nodes are named \"{}\"; give one of them a \"name\"", draft.node.name);
            t.notes.fault(&draft.at, text);
        }
        free
    };
    drafts.into_iter().filter(|draft| is_free(draft)).map(|draft| draft.node).collect()
}

/// A node and its location.
struct IpfsNodeDraft {
    at: Location,
    node: IpfsNode,
}

struct IpfsNodeType;

impl ValueType for IpfsNodeType {
    type Value = IpfsNodeDraft;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<IpfsNodeDraft> {
        let at = node.at.clone();
        match node.value {
            Value::Table(table) => {
                Section::inner(faults.notes, "[[ipfs]]", table, at.clone(), read_table).map(|node| IpfsNodeDraft { at, node })
            }
            _ => faults.expected(&node, "a table such as { api = \"http://127.0.0.1:5001\" }"),
        }
    }

    fn show(&self, value: &IpfsNodeDraft) -> String {
        let node = &value.node;
        let file = node.authorization_file.as_ref().map(|file| format!("{file:?}"));
        let fields = [
            ("api", Some(format!("{:?}", node.api.as_str()))),
            ("name", Some(format!("{:?}", node.name))),
            ("populate_interval", Some(show_duration(node.populate_interval))),
            ("agent_version_cutoff", Some(node.agent_version_cutoff.to_string())),
            ("authorization_file", file),
        ];
        show_table(fields.iter().filter_map(|(key, shown)| Some((*key, shown.as_deref()?))))
    }
}

fn read_table(t: &mut Section<'_>) -> Option<IpfsNode> {
    let api = t.reloadable("api").required(API);
    let name = t.reloadable("name").optional(APP_NAME);
    let populate_interval = t
        .reloadable("populate_interval")
        .or(Duration::from_secs(10), DurationRange(MIN_INTERVAL..=MAX_INTERVAL));
    let agent_version_cutoff = t.reloadable("agent_version_cutoff").or(20, IntegerRange(1..=MAX_CUTOFF));
    let authorization_file = t.reloadable("authorization_file").or(None, OrEmpty(FilePath));
    let api = api?;
    Some(IpfsNode {
        name: name.or_else(|| AppName::new(&format!("ipfs: {}", authority(&api))).ok())?,
        api,
        populate_interval,
        agent_version_cutoff,
        authorization_file,
    })
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
