//! Name lookups. The system's resolver blocks a thread for each, for half a minute and more where no name server answers, and cannot be
//! cancelled.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::{MAX_HANGING, blocking_holding, blocking_within};

/// Lookups of polled endpoints, upstreams and Bitswap peers at a time. Thousands of names are resolved in seconds by a resolver that works.
const PEER_LOOKUPS: usize = 128;

/// The most of them that are the first ones of their peers. No server may answer any of these, and names that were found must not wait for them.
const FIRST_PEER_LOOKUPS: usize = 96;
const _: () = assert!(FIRST_PEER_LOOKUPS < PEER_LOOKUPS, "names that were found have places of their own");

/// The same for lookups that have taken [`SLOW`], and for peers of which the last one has.
const SLOW_PEER_LOOKUPS: usize = 64;

/// Lookups of bridges, engines and listening addresses at a time: there are a few dozen of them, which must not wait for the thousands of
/// the others.
const OTHER_LOOKUPS: usize = 32;

/// The most threads that lookups hold together.
pub const LOOKUP_THREADS: usize = PEER_LOOKUPS + SLOW_PEER_LOOKUPS + OTHER_LOOKUPS;
const _: () = assert!(LOOKUP_THREADS <= MAX_HANGING, "lookups that hang must leave threads to other work");

/// A lookup that takes this long has waited for a name server that does not answer: those that answer take some milliseconds, and the
/// system asks the next one after five seconds.
const SLOW: Duration = Duration::from_secs(2);

/// The lookups of endpoints, upstreams and Bitswap peers.
static PEERS: LookupPool = LookupPool {
    usual: Semaphore::const_new(PEER_LOOKUPS),
    first: Semaphore::const_new(FIRST_PEER_LOOKUPS),
    slow: Semaphore::const_new(SLOW_PEER_LOOKUPS),
    slow_after: SLOW,
    resolve: system_resolver,
};

/// All other lookups.
static OTHERS: Semaphore = Semaphore::const_new(OTHER_LOOKUPS);

/// Returns the addresses of a host, at least one.
///
/// Waits while `OTHER_LOOKUPS` others run. Where the caller gives up, the lookup goes on and its outcome is lost.
///
/// # Errors
/// If the name cannot be resolved or has no address.
pub async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(address) = literal(host, port) {
        return Ok(vec![address]);
    }
    let host = host.to_owned();
    resolve(&OTHERS, move || system_resolver(&host, port)).await.found
}

/// Returns the addresses of `HOST:PORT`, at least one, as [`look_up`].
///
/// # Errors
/// If the text is no `HOST:PORT`, or the name cannot be resolved or has no address.
pub async fn look_up_host_port(text: &str) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = text.parse() {
        return Ok(vec![address]);
    }
    let (host, port) = split(text)?;
    look_up(host, port).await
}

/// Splits `HOST:PORT`.
fn split(text: &str) -> io::Result<(&str, u16)> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, "expected HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(invalid)?;
    Ok((host, port.parse().map_err(|_| invalid())?))
}

/// The address, if the host is one.
fn literal(host: &str, port: u16) -> Option<SocketAddr> {
    let ip: IpAddr = host.parse().ok()?;
    Some((ip, port).into())
}

/// Asks the system. Blocks.
fn system_resolver(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// The lookups of many peers: slow names wait for each other only, so that dead ones do not delay the others.
#[derive(Debug)]
struct LookupPool {
    usual: Semaphore,
    /// Of the usual ones: those of names of which nothing is known yet.
    first: Semaphore,
    slow: Semaphore,
    slow_after: Duration,
    resolve: fn(&str, u16) -> io::Result<Vec<SocketAddr>>,
}

impl LookupPool {
    /// Resolves a name for a peer with a last lookup of this pace.
    ///
    /// A lookup that turns out to be slow counts as one from then on, as soon as there is a place for it: its thread cannot be stopped, but its
    /// usual place is free for names that are answered. Until then it keeps that place, so the threads are bounded.
    async fn look_up(&'static self, pace: Pace, host: String, port: u16) -> Outcome {
        let work = move || timed(|| (self.resolve)(&host, port));
        if pace == Pace::Slow {
            return blocking_within(&self.slow, work).await;
        }
        // Such semaphores are never closed.
        let first = match pace == Pace::Unknown {
            true => self.first.acquire().await.ok(),
            false => None,
        };
        let usual = self.usual.acquire().await.ok();
        let slow = async {
            sleep(self.slow_after).await;
            [None, self.slow.acquire().await.ok()]
        };
        blocking_holding([first, usual], slow, work).await
    }
}

/// The pace of the last lookup of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// There was none.
    Unknown,
    Usual,
    Slow,
}

/// The outcome of a lookup.
#[derive(Debug)]
struct Outcome {
    found: io::Result<Vec<SocketAddr>>,
    /// The time that the resolver took.
    took: Duration,
}

/// Resolves on a thread, with one of these permits.
async fn resolve(permits: &'static Semaphore, resolver: impl FnOnce() -> io::Result<Vec<SocketAddr>> + Send + 'static) -> Outcome {
    blocking_within(permits, move || timed(resolver)).await
}

/// Resolves, and measures the time. Blocks.
fn timed(resolver: impl FnOnce() -> io::Result<Vec<SocketAddr>>) -> Outcome {
    let begun = Instant::now();
    let found = resolver().and_then(|found| match found.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(found),
    });
    Outcome {
        found,
        took: begun.elapsed(),
    }
}

/// The lookups of one peer that is connected to again and again, one at a time: of an endpoint, or an upstream.
///
/// A call that times out leaves its lookup to the next one, with its place in the queue. So however many names hang, each peer has one thread
/// at most, and each name is resolved at last.
#[derive(Debug)]
pub struct PeerLookup {
    pool: &'static LookupPool,
    running: Option<RunningLookup>,
    pace: Pace,
}

#[derive(Debug)]
struct RunningLookup {
    host: String,
    port: u16,
    task: AbortOnDropHandle<Outcome>,
}

impl Default for PeerLookup {
    fn default() -> Self {
        Self::in_pool(&PEERS)
    }
}

impl PeerLookup {
    const fn in_pool(pool: &'static LookupPool) -> Self {
        Self {
            pool,
            running: None,
            pace: Pace::Unknown,
        }
    }

    /// Returns the addresses of a host, at least one. A lookup of this host that an earlier call has left is awaited, one of another host is
    /// given up. Cancel-safe.
    ///
    /// # Errors
    /// If the name cannot be resolved or has no address.
    pub async fn addresses(&mut self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Some(address) = literal(host, port) {
            return Ok(vec![address]);
        }
        let running = match self.running.take().filter(|running| running.host == host && running.port == port) {
            Some(running) => running,
            None => self.start(host, port),
        };
        let outcome = (&mut self.running.insert(running).task).await;
        self.running = None;
        // A panic of the resolver is that of the task.
        let outcome = outcome.map_err(io::Error::other)?;
        let is_slow = outcome.took >= self.pool.slow_after;
        self.pace = if is_slow { Pace::Slow } else { Pace::Usual };
        outcome.found
    }

    /// The addresses of `HOST:PORT`, as [`PeerLookup::addresses`].
    ///
    /// # Errors
    /// If the text is no `HOST:PORT`, or the name cannot be resolved or has no address.
    pub async fn addresses_of(&mut self, text: &str) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = text.parse() {
            return Ok(vec![address]);
        }
        let (host, port) = split(text)?;
        self.addresses(host, port).await
    }

    fn start(&self, host: &str, port: u16) -> RunningLookup {
        RunningLookup {
            host: host.to_owned(),
            port,
            task: AbortOnDropHandle::new(tokio::spawn(self.pool.look_up(self.pace, host.to_owned(), port))),
        }
    }
}

#[cfg(test)]
mod tests;
