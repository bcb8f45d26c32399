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
pub(super) fn describe(name: &str, http: Option<SocketAddr>, local_ip: IpAddr, tls: bool, apps: usize) -> String {
    let http = http.map(|http| match http.ip().is_unspecified() {
        true => SocketAddr::new(local_ip, http.port()),
        false => http,
    });
    json!({ "name": name, "http": http, "tls": tls, "version": env!("CARGO_PKG_VERSION"), "apps": apps }).to_string()
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
