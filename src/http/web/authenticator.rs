//! Basic authentication: passwords against bcrypt hashes, away from the threads that serve connections.
//!
//! A check costs some 50 ms of CPU time by design. So results are cached, requests with the same credentials share one check, and both
//! the checks in work and those that wait are limited. Requests with cached credentials never wait for them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use ring::hmac;
use ring::rand::SystemRandom;
use tokio::sync::{OnceCell, Semaphore};

use crate::http::Credentials;
use crate::http::web_config::PasswordHash;
use crate::supervise::blocking;
use crate::supervise::slots::counted_address;

/// Checks that wait or are in work, of different credentials: with one core and a cost of 10, the last of them waits for 3 s.
const MAX_WAITING: usize = 64;

/// The same of one address: a scraper has one user, and a host has some scrapers.
const MAX_WAITING_OF_ADDRESS: usize = 8;

/// Cached results of each kind. A user takes one; a file with more users than that is rare, and a check is all that it costs.
const MAX_CACHED: usize = 1_024;

/// Checks at once: half of the cores, so that the other half serves requests.
fn max_checks() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(1)
}

/// Result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Verdict {
    Granted,
    Denied,
    /// Too many checks wait: of the client's address (429), or of all (503).
    TooMany(StatusCode),
}

/// A keyed hash of user, stored hash and password. The key is random and lives as long as the process.
type Digest = [u8; 32];

/// Checks credentials.
pub(super) struct Authenticator {
    key: hmac::Key,
    permits: Arc<Semaphore>,
    // Never held across an await.
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    granted: Recent,
    denied: Recent,
    /// Bounded by [`MAX_WAITING`].
    pending: HashMap<Digest, Pending>,
    /// The number of pending checks of each address.
    by_address: HashMap<IpAddr, usize>,
}

/// A check that waits or is in work.
struct Pending {
    outcome: Arc<OnceCell<bool>>,
    /// The address that it counts for.
    address: IpAddr,
    /// The number of requests that wait for it.
    requests: usize,
}

impl Authenticator {
    pub(super) fn new() -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            // Without random numbers no TLS works either; the key then only hides less.
            key: key.unwrap_or_else(|_| hmac::Key::new(hmac::HMAC_SHA256, &[0; 32])),
            permits: Arc::new(Semaphore::new(max_checks())),
            table: Mutex::default(),
        }
    }

    /// Forgets all results.
    pub(super) fn forget(&self) {
        let mut table = self.table();
        table.granted = Recent::default();
        table.denied = Recent::default();
    }

    /// Checks credentials of a client at this address. An unknown user costs the same check as a known one.
    pub(super) async fn check(&self, users: &BTreeMap<String, PasswordHash>, credentials: Credentials, address: IpAddr) -> Verdict {
        let known = users.get(&credentials.user).filter(|hash| hash.is_usable());
        let decoy = || users.values().find(|hash| hash.is_usable());
        // Without any usable hash no password is right.
        let Some(hash) = known.or_else(decoy).cloned() else {
            return Verdict::Denied;
        };
        let digest = self.digest(&credentials, &hash, known.is_some());
        let joined = match self.join(digest, counted_address(address)) {
            Ok(joined) => joined,
            Err(verdict) => return verdict,
        };
        let is_known = known.is_some();
        let outcome = joined
            .outcome
            .get_or_init(|| async {
                // The semaphore is never closed.
                let permit = self.permits.clone().acquire_owned().await;
                blocking(move || {
                    let matches = hash.matches(&credentials.password);
                    drop(permit);
                    matches && is_known
                })
                .await
            })
            .await;
        let mut table = self.table();
        match *outcome {
            true => {
                table.granted.insert(digest);
                Verdict::Granted
            }
            false => {
                table.denied.insert(digest);
                Verdict::Denied
            }
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn digest(&self, credentials: &Credentials, hash: &PasswordHash, known: bool) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [credentials.user.as_bytes(), hash.as_bytes(), &credentials.password] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        context.update(&[u8::from(known)]);
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// Joins the check of these credentials, or begins one.
    ///
    /// # Errors
    ///
    /// The verdict, if it is cached or too many checks wait.
    fn join(&self, digest: Digest, address: IpAddr) -> Result<Joined<'_>, Verdict> {
        let mut table = self.table();
        let table = &mut *table;
        if table.granted.contains(&digest) {
            return Err(Verdict::Granted);
        }
        if table.denied.contains(&digest) {
            return Err(Verdict::Denied);
        }
        if !table.pending.contains_key(&digest) {
            let of_address = table.by_address.get(&address).copied().unwrap_or(0);
            if of_address >= MAX_WAITING_OF_ADDRESS {
                return Err(Verdict::TooMany(StatusCode::TOO_MANY_REQUESTS));
            }
            if table.pending.len() >= MAX_WAITING {
                return Err(Verdict::TooMany(StatusCode::SERVICE_UNAVAILABLE));
            }
            table.by_address.insert(address, of_address + 1);
        }
        let pending = table.pending.entry(digest).or_insert_with(|| Pending {
            outcome: Arc::default(),
            address,
            requests: 0,
        });
        pending.requests += 1;
        let outcome = pending.outcome.clone();
        Ok(Joined {
            authenticator: self,
            digest,
            outcome,
        })
    }
}

/// A request's part in a check, given up by drop. The last one ends the check's count.
struct Joined<'a> {
    authenticator: &'a Authenticator,
    digest: Digest,
    outcome: Arc<OnceCell<bool>>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut table = self.authenticator.table();
        let Some(pending) = table.pending.get_mut(&self.digest) else {
            return;
        };
        pending.requests -= 1;
        if pending.requests > 0 {
            return;
        }
        let address = pending.address;
        table.pending.remove(&self.digest);
        if let Some(count) = table.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                table.by_address.remove(&address);
            }
        }
    }
}

/// The last [`MAX_CACHED`] digests.
#[derive(Default)]
struct Recent {
    known: HashSet<Digest>,
    order: VecDeque<Digest>,
}

impl Recent {
    fn contains(&self, digest: &Digest) -> bool {
        self.known.contains(digest)
    }

    fn insert(&mut self, digest: Digest) {
        if self.known.insert(digest) {
            self.order.push_back(digest);
        }
        if self.order.len() > MAX_CACHED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests;
