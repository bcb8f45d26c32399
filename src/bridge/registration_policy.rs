//! The policy for registrations over both transports.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::alias_table::{AliasEntry, LinkId, Transport};
use super::proxy_registry::ProxyRegistry;
use crate::peer::{Alias, FailureLimiter, LinkEvent, MAX_NAME_BYTES, PublicKey, SharedSecret};

/// Accepts or refuses registrations.
pub(super) struct RegistrationPolicy {
    pub(super) registry: Arc<ProxyRegistry>,
    secret: SharedSecret,
    by_address: Mutex<FailureLimiter<IpAddr>>,
    by_key: Mutex<FailureLimiter<PublicKey>>,
}

/// A registration to check.
pub(super) struct RegistrationAttempt<'c> {
    /// The key and address of the client, for the limits on failed attempts.
    pub(super) from: (PublicKey, SocketAddr),
    /// The key under which the proxy will be scraped.
    pub(super) key: PublicKey,
    pub(super) alias: &'c str,
    pub(super) hostname: &'c str,
    pub(super) service: &'c str,
    /// The link it was received on; `None` over HyperDHT.
    pub(super) link: Option<LinkId>,
}

/// The reason for refusing a registration.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistrationRefusal {
    /// The shared secret is wrong.
    #[error("Unauthorised")]
    Unauthorised,
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

impl RegistrationPolicy {
    pub(super) fn new(registry: Arc<ProxyRegistry>, secret: SharedSecret) -> Self {
        Self {
            registry,
            secret,
            by_address: Mutex::default(),
            by_key: Mutex::default(),
        }
    }

    /// Checks a registration, emits the event for it, and adds it to the registry. Returns true if it differs from the previous one.
    /// `knows_secret` checks the client's secret or proof.
    pub(super) fn register(
        &self,
        attempt: &RegistrationAttempt<'_>,
        knows_secret: impl FnOnce(&SharedSecret) -> bool,
    ) -> Result<bool, RegistrationRefusal> {
        let decision = self.check(attempt, knows_secret);
        self.registry.events.emit(match &decision {
            Ok(updated) => LinkEvent::Registered {
                peer: attempt.key,
                alias: attempt.alias.to_owned(),
                updated: *updated,
            },
            Err(why) => LinkEvent::RegistrationRefused {
                peer: attempt.from.0,
                alias: shortened(attempt.alias),
                address: Some(attempt.from.1),
                why: match why {
                    RegistrationRefusal::Unauthorised => "wrong shared secret".to_owned(),
                    RegistrationRefusal::Other(why) => why.clone(),
                },
            },
        });
        decision
    }

    fn check(
        &self,
        attempt: &RegistrationAttempt<'_>,
        knows_secret: impl FnOnce(&SharedSecret) -> bool,
    ) -> Result<bool, RegistrationRefusal> {
        let now = Instant::now();
        if !self.may_try(attempt, now) {
            return Err(RegistrationRefusal::Other(
                "too many failed registrations in the last minute".to_owned(),
            ));
        }
        if !knows_secret(&self.secret) {
            self.failed(attempt, now);
            return Err(RegistrationRefusal::Unauthorised);
        }
        let alias = Alias::new(attempt.alias).map_err(|e| RegistrationRefusal::Other(e.to_string()))?;
        for (what, text) in [("hostname", attempt.hostname), ("service", attempt.service)] {
            if text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
                let why = format!("the {what} has more than {MAX_NAME_BYTES} bytes or control characters");
                return Err(RegistrationRefusal::Other(why));
            }
        }
        let entry = AliasEntry {
            alias,
            key: attempt.key,
            hostname: attempt.hostname.to_owned(),
            service: attempt.service.to_owned(),
            transport: if attempt.link.is_some() {
                Transport::Quic
            } else {
                Transport::Hyperdht
            },
            link: attempt.link,
            renewed: now,
        };
        self.registry
            .register(entry, attempt.from.1)
            .map_err(|e| RegistrationRefusal::Other(e.to_string()))
    }

    /// The limit of an address does not apply to a key with an open link, so that other clients behind the address cannot block it.
    fn may_try(&self, attempt: &RegistrationAttempt<'_>, now: Instant) -> bool {
        let (peer, address) = (attempt.from.0, attempt.from.1.ip().to_canonical());
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner).allows(peer, now);
        let from_there = || self.by_address.lock().unwrap_or_else(PoisonError::into_inner).allows(address, now);
        by_key && (self.registry.is_connected(peer) || from_there())
    }

    fn failed(&self, attempt: &RegistrationAttempt<'_>, now: Instant) {
        let (peer, address) = (attempt.from.0, attempt.from.1.ip().to_canonical());
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).record_failure(peer, now);
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record_failure(address, now);
    }
}

/// Truncates an alias for the log. It comes from an unauthenticated client and can have any length.
fn shortened(alias: &str) -> String {
    alias.chars().take(MAX_NAME_BYTES).collect()
}
