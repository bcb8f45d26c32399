//! `[http]`: who may do what on the HTTP port.

use ipnet::IpNet;

use super::address;
use super::kinds::{Flag, ListOf, NETWORK, Parsed};
use super::reader::Section;

/// `[http]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `write_from`: the networks from which pushes and deletions are taken; none: from nowhere.
    pub write_from: Vec<IpNet>,
    /// `trusted_proxies`: the networks whose X-Forwarded-For and X-Real-Ip are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `enable_lifecycle`: whether POST /-/reload and /-/quit are there.
    pub enable_lifecycle: bool,
}

impl Http {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let here = ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| address::parse_network(net).ok());
        Self {
            write_from: t.live("write_from").or(here.collect(), NETWORKS),
            trusted_proxies: t.live("trusted_proxies").or(Vec::new(), NETWORKS),
            enable_lifecycle: t.fixed("enable_lifecycle").or(false, Flag),
        }
    }
}

pub(super) const NETWORKS: ListOf<Parsed<IpNet>> = ListOf {
    kind: NETWORK,
    expected: "a list of networks such as [\"10.0.0.0/8\", \"::1\"]",
    or_single: false,
};
