//! Differences between two configurations, split by whether a reload applies them.

use super::reader::KeyEntry;
use super::{BridgeConfig, EventsConfig, ExpositionConfig, HttpConfig, ReceiverConfig, Settings, StoreConfig};
use crate::bridge;
use crate::sources::polls::PollSettings;
use crate::sources::receiver;

/// Keys with different values, each as `section.key`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Keys that a reload applies.
    pub reloaded: Vec<String>,
    /// Keys that need a restart.
    pub needs_restart: Vec<String>,
}

/// A program that the configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramKind {
    /// `exporter-proxy run`
    Proxy,
    /// `exporter-proxy bridge`
    Bridge,
}

impl ProgramKind {
    /// Returns true if the program reads a key. One file can be that of a proxy and of a bridge.
    fn reads(self, entry: &KeyEntry) -> bool {
        match (self, entry.section) {
            (Self::Proxy, section) => section != "bridge",
            (Self::Bridge, "exporter") => entry.key != "scrape_expose_endpoint",
            (Self::Bridge, section) => matches!(section, "bridge" | "http" | "secrets" | "hyperdht" | "cluster"),
        }
    }
}

/// Compares the settings in force in a running program with newly read ones. Keys that it does not read are left out.
#[must_use]
pub fn changes(old: &Settings, new: &Settings, program: ProgramKind) -> Changes {
    let mut out = Changes::default();
    for (old, new) in old.entries.iter().zip(&new.entries) {
        debug_assert_eq!(
            (old.section, old.key),
            (new.section, new.key),
            "settings are always read in the same order"
        );
        if old.identity != new.identity && program.reads(new) {
            let list = if new.reloadable {
                &mut out.reloaded
            } else {
                &mut out.needs_restart
            };
            list.push(new.path());
        }
    }
    out
}

impl Settings {
    /// The settings in force after a reload: keys that need a restart keep their values.
    #[must_use]
    pub fn with_reloaded(&self, new: Self) -> Self {
        let old = self.clone();
        let entries = old.entries.into_iter().zip(new.entries);
        Self {
            exporter: old.exporter,
            receiver: ReceiverConfig {
                limits: receiver::Limits {
                    format: old.receiver.limits.format,
                    ..new.receiver.limits
                },
                max_inflight_bytes: new.receiver.max_inflight_bytes,
                ..old.receiver
            },
            polls: PollSettings {
                event_metric: old.polls.event_metric,
                ..new.polls
            },
            unpolled: new.unpolled,
            store: StoreConfig {
                limits: new.store.limits,
                ..old.store
            },
            exposition: ExpositionConfig {
                mode: old.exposition.mode,
                compression: old.exposition.compression,
                ..new.exposition
            },
            http: HttpConfig {
                access: new.http.access,
                write_from: new.http.write_from,
                trusted_proxies: new.http.trusted_proxies,
                allowed_hosts: new.http.allowed_hosts,
                external_url: new.http.external_url,
                ..old.http
            },
            events: EventsConfig {
                post_from: new.events.post_from,
                post_rate: new.events.post_rate,
                ..old.events
            },
            pushgateway: old.pushgateway,
            secrets: new.secrets,
            stream: old.stream,
            cluster: old.cluster,
            bitswap: old.bitswap,
            p2p: old.p2p,
            bridge: BridgeConfig {
                registry: bridge::Settings {
                    targets_file: old.bridge.registry.targets_file,
                    ..new.bridge.registry
                },
                ..old.bridge
            },
            hyperdht: old.hyperdht,
            entries: entries.map(|(old, new)| if new.reloadable { new } else { old }).collect(),
        }
    }
}
