//! `[http]`: access control of the HTTP port.

use std::path::PathBuf;

use ipnet::IpNet;

use super::access::{MAX_TABLES, TABLES};
use super::address;
use super::key::{FaultSink, ValueType};
use super::raw::{Node, Value, quoted};
use super::reader::Section;
use super::receiver::{check_socket_path, default_unix_access, show_unix_access, unix_access};
use super::value_types::{Bool, FilePath, ListOf, NETWORK, OrEmpty, Parsed};
use crate::http::{AccessRule, PublicUrl};
use crate::supervise::UnixAccess;

/// `[http]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// `access`: the tables of who may do what; empty: `write_from` and `events.post_from` apply.
    pub access: Vec<AccessRule>,
    /// `write_from`: the networks from which clients may write.
    pub write_from: Vec<IpNet>,
    /// `trusted_proxies`: reverse proxies with evaluated X-Forwarded-For and X-Real-Ip headers.
    pub trusted_proxies: Vec<IpNet>,
    /// `allowed_hosts`: names of this server under which browsers may write.
    pub allowed_hosts: Vec<String>,
    /// `external_url`: the URL of this server behind a reverse proxy.
    pub external_url: Option<PublicUrl>,
    /// `enable_lifecycle`: whether POST /-/reload and /-/quit are there.
    pub enable_lifecycle: bool,
    /// `unix_socket`: a further HTTP address.
    pub unix_socket: Option<HttpSocket>,
    /// `web_config_file`: TLS, users, headers and the rate limit of the HTTP port.
    pub web_config_file: Option<PathBuf>,
}

/// HTTP on a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSocket {
    /// The path.
    pub path: PathBuf,
    /// Owner, group and mode.
    pub access: UnixAccess,
}

impl HttpConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let here = ["127.0.0.0/8", "::1/128"].iter().filter_map(|net| address::parse_network(net).ok());
        let access = t.reloadable("access").or(Vec::new(), TABLES);
        t.require(&["access"], access.len() <= MAX_TABLES, || {
            format!("{} tables [[http.access]] exceed the maximum of {MAX_TABLES}", access.len())
        });
        Self {
            access,
            write_from: t.reloadable("write_from").or(here.collect(), NETWORKS),
            trusted_proxies: t.reloadable("trusted_proxies").or(Vec::new(), NETWORKS),
            allowed_hosts: t.reloadable("allowed_hosts").or(Vec::new(), HOSTS),
            external_url: t.reloadable("external_url").or(None, OrEmpty(EXTERNAL_URL)),
            unix_socket: read_socket(t),
            enable_lifecycle: t.restart_only("enable_lifecycle").or(false, Bool),
            web_config_file: t.restart_only("web_config_file").or(None, OrEmpty(FilePath)),
        }
    }
}

fn read_socket(t: &mut Section<'_>) -> Option<HttpSocket> {
    let socket = t.restart_only("unix_socket").or(None, OrEmpty(HttpSocketType));
    check_socket_path(t, "unix_socket", socket.as_ref().map(|socket| &*socket.path));
    socket
}

/// A path, or a table of a path, its owner, group and mode.
struct HttpSocketType;

impl ValueType for HttpSocketType {
    type Value = HttpSocket;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<HttpSocket> {
        match node.value {
            Value::Table(table) => Section::inner(faults.notes, "\"unix_socket\" of [http]", table, node.at, |t| {
                let path = t.restart_only("path").required(FilePath);
                let access = unix_access(t, ["user", "group", "mode"]);
                path.map(|path| HttpSocket { path, access })
            }),
            Value::Text(_) => FilePath.read(node, faults).map(|path| HttpSocket {
                path,
                access: default_unix_access(),
            }),
            _ => faults.expected(
                &node,
                "a path or a table such as { path = \"/run/exporter-proxy/http.sock\", group = \"nginx\" }",
            ),
        }
    }

    fn show(&self, value: &HttpSocket) -> String {
        let path = FilePath.show(&value.path);
        match show_unix_access(&value.access) {
            None => path,
            Some(access) => format!("{{ path = {path}, {access} }}"),
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
