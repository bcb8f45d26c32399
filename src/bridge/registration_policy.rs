//! The policy for registrations over both transports.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::alias_table::{AliasEntry, LinkId, Transport};
use super::proxy_registry::ProxyRegistry;
use crate::peer::{Alias, FailureLimiter, LinkEvent, MAX_NAME_BYTES, PublicKey, SharedSecret};

/// The reason in the log of a bridge.
const WRONG_SECRET: &str = "wrong shared secret: p2p.secret_file there and bridge.secret_file here must have the same content";

/// Accepts or refuses registrations.
pub(super) struct RegistrationPolicy {
    pub(super) registry: Arc<ProxyRegistry>,
    secret: SharedSecret,
    /// Wrong secrets by address and key. A client has proved its key, so it cannot use up the attempts of others, also not of those
    /// behind the same NAT. A client that changes its key for each attempt gains nothing: a secret has 256 bits.
    failures: Mutex<FailureLimiter<(IpAddr, PublicKey)>>,
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
            failures: Mutex::default(),
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
                    RegistrationRefusal::Unauthorised => WRONG_SECRET.to_owned(),
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
        let from = (attempt.from.1.ip().to_canonical(), attempt.from.0);
        if let Some(wait) = self.failures().blocked_for(from, now) {
            let seconds = wait.as_secs() + 1;
            let why = format!(
                "too many wrong secrets from {} with this key within a minute; try again in {seconds} s",
                from.0
            );
            return Err(RegistrationRefusal::Other(why));
        }
        if !knows_secret(&self.secret) {
            self.failures().record_failure(from, now);
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

    fn failures(&self) -> MutexGuard<'_, FailureLimiter<(IpAddr, PublicKey)>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Truncates an alias for the log. It comes from an unauthenticated client and can have any length.
fn shortened(alias: &str) -> String {
    alias.chars().take(MAX_NAME_BYTES).collect()
}
