//! The one accept loop, for every kind of listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::libc;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::listen::BACKLOG;
use super::{ConnectionSlots, Listener, Slot, Stream, panic_text};

/// Delay before the next accept after the kernel ran out of resources: file descriptors are freed when connections end.
const PRESSURE_WAIT: Duration = Duration::from_millis(100);

/// Without a want of anything for so long, an earlier one counts as over.
const CALM: Duration = Duration::from_secs(10);

/// Counters of a listener.
#[derive(Debug, Default)]
pub struct ListenerStats {
    /// Connections accepted so far.
    pub accepted: AtomicU64,
    /// Connections open now.
    pub open: AtomicU64,
    /// Connections that ended in a panic.
    pub panicked: AtomicU64,
    /// Times that the kernel could not give a connection, for lack of file descriptors or memory.
    pub accept_errors: AtomicU64,
}

impl Listener {
    /// Accepts connections until `stop`, then those in the kernel's backlog. Each connection gets a slot and a task with `handler`. Returns
    /// when all connections have ended.
    ///
    /// No client ends the loop: resets are ignored, and if the kernel is out of resources the loop waits for a tenth of a second. A panic of
    /// a handler is one failed connection. Dropping the future drops the connections.
    pub async fn serve<H, F>(self, slots: ConnectionSlots, stop: CancellationToken, handler: H)
    where
        H: Fn(Accepted) -> F + Send,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut open = Open {
            place: self.place.clone(),
            stats: self.stats.clone(),
            tasks: JoinSet::new(),
        };
        let mut pressure = Pressure::default();
        loop {
            let newcomer = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = open.tasks.join_next() => {
                    open.reap(ended);
                    continue;
                }
                newcomer = self.socket.accept() => newcomer,
            };
            let stream = match newcomer {
                Ok(stream) => stream,
                Err(e) if is_the_clients(&e) => continue,
                Err(e) => {
                    self.stats.accept_errors.fetch_add(1, Ordering::Relaxed);
                    if pressure.begin(Instant::now()) {
                        let place = &self.place;
                        tracing::error!(
                            listener = &**place,
                            "cannot accept connections on {place}, retrying every 100 ms: {e}"
                        );
                    }
                    slots.evict_idle();
                    tokio::time::sleep(PRESSURE_WAIT).await;
                    continue;
                }
            };
            if pressure.end(Instant::now()) {
                tracing::info!(listener = &*self.place, "accepting connections on {} again", self.place);
            }
            // One new connection waits here, accepted but unread; all others wait in the kernel's backlog.
            let slot = slots.take_for(Some(address_of(&stream))).await;
            open.start(&handler, stream, slot);
        }
        self.drain_backlog(&slots, |stream, slot| open.start(&handler, stream, slot)).await;
        drop(self);
        while let Some(ended) = open.tasks.join_next().await {
            open.reap(ended);
        }
    }

    /// Accepts the connections in the kernel's backlog at the stop: their clients may have sent everything and closed already.
    ///
    /// Closing the listener instead would reset them. At most the capacity of the backlog is accepted.
    async fn drain_backlog(&self, slots: &ConnectionSlots, mut start: impl FnMut(Stream, Slot)) {
        for _ in 0..=BACKLOG {
            match self.socket.accept_now() {
                Ok(stream) => {
                    let slot = slots.take_for(Some(address_of(&stream))).await;
                    start(stream, slot);
                }
                Err(e) if is_the_clients(&e) => {}
                // The queue is empty, or the kernel has nothing left to give.
                Err(_) => return,
            }
        }
    }
}

/// The address that a connection counts for. A Unix socket has slots of its own, for which each user of this machine counts like an address: the
/// number of a user has 32 bits, as an address of IPv4. Clients of an unknown user count together.
fn address_of(stream: &Stream) -> IpAddr {
    match stream.peer() {
        Some(peer) => peer.ip(),
        None => Ipv4Addr::from_bits(stream.peer_uid().unwrap_or(u32::MAX)).into(),
    }
}

/// Returns true if an error of accept(2) is about a client that has disconnected, and not about this process.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted, TimedOut};
    // accept(2): Linux passes pending network errors of the new connection on, "treat them like EAGAIN by retrying".
    const NETWORK: [i32; 6] = [
        libc::ENETDOWN,
        libc::EPROTO,
        libc::ENOPROTOOPT,
        libc::EHOSTDOWN,
        libc::EHOSTUNREACH,
        libc::ENETUNREACH,
    ];
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted | TimedOut
    ) || error.raw_os_error().is_some_and(|code| NETWORK.contains(&code))
}

/// Says once that the kernel has run out of something, and once that this is over.
#[derive(Debug, Default)]
struct Pressure {
    last: Option<Instant>,
}

impl Pressure {
    /// The kernel had nothing to give; true where that is news.
    fn begin(&mut self, now: Instant) -> bool {
        self.last.replace(now).is_none()
    }

    /// It had a connection to give; true where the want before is over by now.
    ///
    /// While every accepted connection takes the file descriptor that the one evicted for it has freed, want and plenty alternate many
    /// times a second: that is one state and not worth a line each time.
    fn end(&mut self, now: Instant) -> bool {
        self.last.take_if(|last| now.duration_since(*last) >= CALM).is_some()
    }
}

/// The connections of one listener, each in a task; dropping them says how many that were.
struct Open {
    place: Arc<str>,
    stats: Arc<ListenerStats>,
    tasks: JoinSet<()>,
}

impl Open {
    fn start<F>(&mut self, handler: &impl Fn(Accepted) -> F, stream: Stream, slot: Slot)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.stats.accepted.fetch_add(1, Ordering::Relaxed);
        let counted = Counted::new(self.stats.clone());
        let serving = handler(Accepted { stream, slot });
        self.tasks.spawn(async move {
            let _counted = counted;
            serving.await;
        });
    }

    fn reap(&self, ended: Result<(), JoinError>) {
        if let Err(lost) = ended {
            self.stats.panicked.fetch_add(1, Ordering::Relaxed);
            let place = &self.place;
            tracing::error!(listener = &**place, "a connection on {place} was closed: {}", panic_text(lost));
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            self.reap(ended);
        }
        if !self.tasks.is_empty() {
            tracing::warn!(
                listener = &*self.place,
                "{} connections on {} are cut off",
                self.tasks.len(),
                self.place
            );
        }
    }
}

/// Counts a connection as open for as long as it is.
struct Counted(Arc<ListenerStats>);

impl Counted {
    fn new(stats: Arc<ListenerStats>) -> Self {
        stats.open.fetch_add(1, Ordering::Relaxed);
        Self(stats)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that has a slot.
#[derive(Debug)]
pub struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// Its slot, busy at first.
    pub slot: Slot,
}

#[cfg(test)]
mod tests;
