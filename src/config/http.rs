//! `[http]`: access control of the HTTP port.

use std::path::PathBuf;

use ipnet::IpNet;

use super::address;
use super::raw::quoted;
use super::reader::Section;
use super::value_types::{Bool, FilePath, ListOf, NETWORK, OrEmpty, Parsed};
use crate::http::{Access, PublicUrl};

/// `[http]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// `write_from`, `trusted_proxies`, `allowed_hosts` and `external_url`.
    pub access: Access,
    /// `enable_lifecycle`: whether POST /-/reload and /-/quit are there.
    pub enable_lifecycle: bool,
    /// `web_config_file`: TLS, users, headers and the rate limit of the HTTP port.
    pub web_config_file: Option<PathBuf>,
}

impl HttpConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let here = ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| address::parse_network(net).ok());
        Self {
            access: Access {
                write_from: t.reloadable("write_from").or(here.collect(), NETWORKS),
                trusted_proxies: t.reloadable("trusted_proxies").or(Vec::new(), NETWORKS),
                allowed_hosts: t.reloadable("allowed_hosts").or(Vec::new(), HOSTS),
                external_url: t.reloadable("external_url").or(None, OrEmpty(EXTERNAL_URL)),
            },
            enable_lifecycle: t.restart_only("enable_lifecycle").or(false, Bool),
            web_config_file: t.restart_only("web_config_file").or(None, OrEmpty(FilePath)),
        }
    }
}

const HOSTS: ListOf<Parsed<String>> = ListOf {
    item: Parsed {
        expected: "a host name",
        parse: |text| match address::is_host(text) {
            true => Ok(text.to_owned()),
            false => Err(format!("{} is not a valid host name (without scheme and port)", quoted(text))),
        },
    },
    expected: "a list of host names such as [\"metrics.example\"]",
    or_single: false,
};

const EXTERNAL_URL: Parsed<PublicUrl> = Parsed {
    expected: "a URL such as \"https://metrics.example/exporter-proxy\"",
    parse: |text| PublicUrl::parse(text).map_err(|why| format!("{} is not a valid external URL: {why}", quoted(text))),
};

pub(super) const NETWORKS: ListOf<Parsed<IpNet>> = ListOf {
    item: NETWORK,
    expected: "a list of networks such as [\"10.0.0.0/8\", \"::1\"]",
    or_single: false,
};
