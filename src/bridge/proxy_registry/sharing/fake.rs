//! A bridge without sockets, for tests of clusters.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::Ipv4Addr;
use std::sync::Mutex;

use super::*;
use crate::bridge::ForwardKey;
use crate::bridge::alias_table::AliasTable;
use crate::bridge::proxy_registry::{ProxyRegistry, Route};
use crate::model::Timestamp;
use crate::peer::{LinkEvent, LinkEvents};
use crate::telemetry::BridgeTelemetry;

/// The time after which aliases expire.
pub(crate) const EXPIRY: Duration = Duration::from_secs(3_600);

/// A bridge.
pub(crate) struct FakeBridge {
    pub(crate) shared: SharedRegistry,
    pub(crate) telemetry: Arc<BridgeTelemetry>,
    pub(in crate::bridge) registry: Arc<ProxyRegistry>,
    events: Arc<Mutex<Vec<String>>>,
    id: String,
}

impl FakeBridge {
    pub(crate) fn new(id: &str, policy: AliasPolicy) -> Self {
        let telemetry = Arc::new(BridgeTelemetry::default());
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let log = Arc::clone(&events);
        let events_of_links = LinkEvents::new(move |event| {
            log.lock().unwrap().extend(match event {
                LinkEvent::Replaced { peer, alias, by, .. } => Some(format!("{alias}: {} to {}", number(*peer), number(*by))),
                LinkEvent::Restored { peer, alias } => Some(format!("{alias}: back to {}", number(*peer))),
                _ => None,
            });
        });
        let aliases = AliasTable::new(policy, EXPIRY, Instant::now(), Duration::ZERO);
        let registry = ProxyRegistry::new(aliases, true, Arc::new(events_of_links), telemetry.clone(), Timestamp::default);
        let registry = Arc::new(registry);
        Self {
            shared: SharedRegistry::new(Arc::clone(&registry), id),
            telemetry,
            registry,
            events,
            id: id.to_owned(),
        }
    }

    /// This bridge as the others know it.
    pub(crate) fn member(&self) -> BridgeMember {
        BridgeMember {
            id: self.id.clone(),
            name: format!("bridge {}", self.id),
            http: None,
            tls: false,
            key: ForwardKey::new([0; 32]),
        }
    }

    /// Registers a proxy over HyperDHT, which is reachable without a link. Refused: the number of the key that has the alias.
    pub(crate) fn register(&self, alias: &str, key: u8) -> Result<(), u8> {
        self.register_over(alias, key, Transport::Hyperdht)
    }

    /// Registers a proxy over QUIC that has lost its link.
    pub(crate) fn register_unlinked(&self, alias: &str, key: u8) -> Result<(), u8> {
        self.register_over(alias, key, Transport::Quic)
    }

    fn register_over(&self, alias: &str, key: u8, transport: Transport) -> Result<(), u8> {
        let entry = AliasEntry {
            alias: Alias::new(alias).unwrap(),
            key: PublicKey::new([key; 32]),
            hostname: format!("host {key}"),
            service: "s".into(),
            transport,
            link: None,
            renewed: Instant::now(),
        };
        match self.registry.register(entry, (Ipv4Addr::LOCALHOST, 1).into()) {
            Ok(_) => Ok(()),
            Err(AliasUnavailable::Owned(key)) => Err(number(key)),
            Err(full @ AliasUnavailable::Full) => panic!("{full}"),
        }
    }

    /// The aliases that the bridge counts as disconnected.
    pub(crate) fn disconnected(&self) -> i64 {
        self.registry.recount();
        self.telemetry.bridge_disconnected_aliases.get()
    }

    pub(crate) fn forget(&self, alias: &str) -> bool {
        self.registry.forget(alias)
    }

    /// The number of the key that holds an alias, and the way to it: `here`, `nowhere`, or the name of a bridge.
    pub(crate) fn holder(&self, alias: &str) -> Option<(u8, String)> {
        let listed = self.registry.list();
        let listed = listed.iter().find(|listed| listed.entry.alias.as_str() == alias)?;
        let way = match self.registry.find(alias).ok()? {
            Route::Key(_) | Route::Link(_) => "here".to_owned(),
            Route::Bridge(bridge) => bridge.name,
            Route::Disconnected => "nowhere".to_owned(),
        };
        Some((number(listed.entry.key), way))
    }

    /// All aliases of the targets file.
    pub(crate) fn targets(&self) -> Vec<String> {
        let groups: serde_json::Value = serde_json::from_str(&self.registry.targets()).unwrap();
        let targets = groups[0]["targets"].as_array().unwrap();
        targets
            .iter()
            .map(|target| target.as_str().unwrap().split(':').next().unwrap().to_owned())
            .collect()
    }

    /// The moves of aliases since the last call.
    pub(crate) fn moves(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock().unwrap())
    }
}

fn number(key: PublicKey) -> u8 {
    key.as_bytes()[0]
}
