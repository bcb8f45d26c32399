//! `[[ipfs]]`: IPFS nodes whose peers are asked for over their RPC.

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::endpoint::{NAME, show_table};
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

/// One node, everything settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpfsNode {
    /// The app that it is; unlike every other's.
    pub name: AppName,
    /// Its RPC: http or https, a host and a port.
    pub api: Url,
    /// How often it is asked.
    pub populate_interval: Duration,
    /// How many agents get a series of their own.
    pub agent_version_cutoff: usize,
    /// The file with what is shown to be let in.
    pub authorization_file: Option<PathBuf>,
}

/// The nodes of all `[[ipfs]]` tables.
pub(super) fn read(t: &mut Section<'_>) -> Vec<IpfsNode> {
    let drafts = t.reloadable("ipfs").or(Vec::new(), NODES);
    t.require(&["ipfs"], drafts.len() <= MAX_NODES, || {
        format!("{} nodes are too many, at most {MAX_NODES} are asked", drafts.len())
    });
    let mut taken = HashSet::new();
    let mut is_free = |draft: &Draft| {
        let free = taken.insert(draft.node.name.clone());
        if !free {
            let text = format!("another node is called {} too; give one of them a \"name\"", draft.node.name);
            t.notes.fault(&draft.at, text);
        }
        free
    };
    drafts.into_iter().filter(|draft| is_free(draft)).map(|draft| draft.node).collect()
}

/// A node and where it stands.
struct Draft {
    at: Location,
    node: IpfsNode,
}

struct IpfsNodeType;

impl ValueType for IpfsNodeType {
    type Value = Draft;

    fn read(&self, node: Node, wrong: &mut FaultSink<'_>) -> Option<Draft> {
        let at = node.at.clone();
        match node.value {
            Value::Table(table) => Section::inner(wrong.notes, "[[ipfs]]", table, at.clone(), read_table).map(|node| Draft { at, node }),
            _ => wrong.expected(&node, "a table such as { api = \"http://127.0.0.1:5001\" }"),
        }
    }

    fn show(&self, value: &Draft) -> String {
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
    let name = t.reloadable("name").optional(NAME);
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
    // A user in it has a password, and a query may have a token: such a text is not repeated.
    let shown = match text.contains(['@', '?']) {
        true => "the text".to_owned(),
        false => quoted(text),
    };
    let url: Url = text.parse().map_err(|e| format!("{shown} is no URL: {e}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(format!("{shown} is no http or https URL with a host"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user in the URL is not sent; use \"authorization_file\"".to_owned());
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{shown} has a path or a query; only scheme, host and port are wanted, as in \"http://127.0.0.1:5001\""
        ));
    }
    Ok(url)
}
