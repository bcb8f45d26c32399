//! The replicas of a cluster, as they describe themselves in the engine.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use serde_json::{Value, json};

use crate::model::printable;
use crate::telemetry::ClusterMember;

/// Replicas that are shown and asked: more than that serve no one scraper.
const MAX_MEMBERS: usize = 1_000;

/// The description of a replica.
pub(super) struct Description<'a> {
    pub(super) name: &'a str,
    pub(super) http: Option<SocketAddr>,
    /// The address of this machine as the engine sees it.
    pub(super) local_ip: IpAddr,
    pub(super) tls: bool,
    /// The number of its apps; of its aliases, for a bridge.
    pub(super) count: usize,
    /// The key by which other bridges may forward scrapes to it.
    pub(super) forward_key: Option<String>,
}

/// The text of a description.
pub(super) fn describe(about: &Description<'_>) -> String {
    let http = about.http.map(|http| match http.ip().is_unspecified() {
        true => SocketAddr::new(about.local_ip, http.port()),
        false => http,
    });
    let mut text = json!({
        "name": about.name, "http": http, "tls": about.tls, "version": env!("CARGO_PKG_VERSION"), "apps": about.count,
    });
    if let Some(key) = &about.forward_key {
        text["forward_key"] = key.as_str().into();
    }
    text.to_string()
}

/// Reads the key by which scrapes may be forwarded to a bridge, from its description.
pub(super) fn forward_key(about: &str) -> Option<String> {
    let about: Value = serde_json::from_str(about).ok()?;
    Some(about["forward_key"].as_str()?.to_owned())
}

/// Reads the descriptions. One that is none leaves its replica without an address.
pub(super) fn read(members: &[(String, String)], lease_owner: &str) -> Vec<ClusterMember> {
    let mut read: Vec<_> = members
        .iter()
        .take(MAX_MEMBERS)
        .map(|(id, about)| member(id, about, lease_owner))
        .collect();
    read.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
    read
}

fn member(id: &str, about: &str, lease_owner: &str) -> ClusterMember {
    let about: Value = serde_json::from_str(about).unwrap_or_default();
    let text = |field: &str| about[field].as_str().map(|text| printable(text).to_string());
    ClusterMember {
        id: printable(id).to_string(),
        name: text("name").unwrap_or_default(),
        http: about["http"].as_str().and_then(|address| address.parse().ok()),
        tls: about["tls"] == true,
        version: text("version").unwrap_or_default(),
        apps: about["apps"].as_u64().unwrap_or_default(),
        has_lease: id == lease_owner,
    }
}
