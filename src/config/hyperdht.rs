//! `[hyperdht]`: the network in which peers find each other by key alone.

use super::address::HostPort;
use super::reader::Section;
use super::value_types::{ADDRESS, ListOf, Parsed};

/// Each is asked at start; a few are plenty, and the network itself knows the rest.
const MAX_BOOTSTRAP: usize = 64;

/// `[hyperdht]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HyperdhtConfig {
    /// `bootstrap`: through which nodes the network is joined; none: the public ones.
    pub bootstrap: Vec<HostPort>,
}

impl HyperdhtConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let bootstrap = t.restart_only("bootstrap").or(Vec::new(), NODES);
        t.require(&["bootstrap"], bootstrap.len() <= MAX_BOOTSTRAP, || {
            format!("{} nodes exceed the maximum of {MAX_BOOTSTRAP}", bootstrap.len())
        });
        t.require(&["bootstrap"], bootstrap.iter().all(|node| node.port() != 0), || {
            "the port of a node must not be 0".to_owned()
        });
        Self { bootstrap }
    }
}

const NODES: ListOf<Parsed<HostPort>> = ListOf {
    item: ADDRESS,
    expected: "a list of addresses such as [\"dht.example:49737\"]",
    or_single: false,
};
