//! Who may register, whatever the registration came over.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;

use super::alias_table::{AliasEntry, LinkId, Transport};
use super::roster::Roster;
use crate::peer::{Alias, FailureLimiter, LinkEvent, MAX_NAME_BYTES, PublicKey, SharedSecret};

/// Decides on registrations.
pub(super) struct Registry {
    pub(super) roster: Arc<Roster>,
    secret: SharedSecret,
    by_address: Mutex<FailureLimiter<IpAddr>>,
    by_key: Mutex<FailureLimiter<PublicKey>>,
}

/// What somebody wants to register.
pub(super) struct Claim<'c> {
    /// Who it is that wants it, and where: they are held to wrong claims.
    pub(super) from: (PublicKey, SocketAddr),
    /// Under which key it is to be scraped.
    pub(super) key: PublicKey,
    pub(super) alias: &'c str,
    pub(super) hostname: &'c str,
    pub(super) service: &'c str,
    /// The link that it came over; none: it came over HyperDHT.
    pub(super) link: Option<LinkId>,
}

/// Why a registration is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// The secret is another.
    #[error("Unauthorised")]
    Unauthorised,
    /// Another reason, in words.
    #[error("{0}")]
    Other(String),
}

impl Registry {
    pub(super) fn new(roster: Arc<Roster>, secret: SharedSecret) -> Self {
        Self {
            roster,
            secret,
            by_address: Mutex::default(),
            by_key: Mutex::default(),
        }
    }

    /// Whether a registration is accepted; then whether it brought anything new. `knows` says whether whoever wants it knows the secret.
    pub(super) fn judge(&self, claim: &Claim<'_>, knows: impl FnOnce(&SharedSecret) -> bool) -> Result<bool, Refusal> {
        let verdict = self.examine(claim, knows);
        self.roster.events.emit(match &verdict {
            Ok(updated) => LinkEvent::Registered {
                peer: claim.key,
                alias: claim.alias.to_owned(),
                updated: *updated,
            },
            Err(why) => LinkEvent::RegistrationRefused {
                peer: claim.from.0,
                alias: shortened(claim.alias),
                why: why.to_string(),
            },
        });
        verdict
    }

    fn examine(&self, claim: &Claim<'_>, knows: impl FnOnce(&SharedSecret) -> bool) -> Result<bool, Refusal> {
        let now = Instant::now();
        if !self.may_try(claim, now) {
            return Err(Refusal::Other("too many wrong registrations lately".to_owned()));
        }
        if !knows(&self.secret) {
            self.failed(claim, now);
            return Err(Refusal::Unauthorised);
        }
        let alias = Alias::new(claim.alias).map_err(|e| Refusal::Other(e.to_string()))?;
        for (what, text) in [("hostname", claim.hostname), ("service", claim.service)] {
            if text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
                let why = format!("the {what} has more than {MAX_NAME_BYTES} bytes or control characters");
                return Err(Refusal::Other(why));
            }
        }
        let entry = AliasEntry {
            alias,
            key: claim.key,
            hostname: claim.hostname.to_owned(),
            service: claim.service.to_owned(),
            transport: if claim.link.is_some() {
                Transport::Quic
            } else {
                Transport::Hyperdht
            },
            link: claim.link,
            renewed: now,
        };
        self.roster.register(entry, claim.from.1).map_err(|e| Refusal::Other(e.to_string()))
    }

    /// A proxy that is connected right now is not held to what others do at its address.
    fn may_try(&self, claim: &Claim<'_>, now: Instant) -> bool {
        let (peer, address) = (claim.from.0, claim.from.1.ip().to_canonical());
        let by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner).allows(peer, now);
        let from_there = || self.by_address.lock().unwrap_or_else(PoisonError::into_inner).allows(address, now);
        by_key && (self.roster.is_connected(peer) || from_there())
    }

    fn failed(&self, claim: &Claim<'_>, now: Instant) {
        let (peer, address) = (claim.from.0, claim.from.1.ip().to_canonical());
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).record_failure(peer, now);
        self.by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .record_failure(address, now);
    }
}

/// A stranger's alias for the log: it may be anything of any length.
fn shortened(alias: &str) -> String {
    alias.chars().take(MAX_NAME_BYTES).collect()
}
