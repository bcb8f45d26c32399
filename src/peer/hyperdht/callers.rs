//! Scrapes by key: connections are made when they are needed, kept, made anew when they are lost, and closed when nobody uses them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::calling::Caller;
use super::node::Node;
use crate::peer::delivery_receipt::ScrapeIds;
use crate::peer::link_event::{ConnectionUid, LinkEvent, LinkEvents};
use crate::peer::{HyperdhtError, Identity, PublicKey};
use crate::wire::hyperdht::{METRICS_METHOD, METRICS_PROTOCOL, MetricsReply, metrics_request};

/// The most connections that are kept; beyond it the one is given up that was used longest ago. Each costs some tens of kilobytes.
const MAX_KEPT: usize = 10_000;

/// How long a connection is kept that nobody uses: longer than scrape intervals are.
const IDLE: Duration = Duration::from_secs(600);

/// How long reaching a client may take. A scrape has less time; the next one then finds the connection made.
const DIAL: Duration = Duration::from_secs(20);

/// How long saying goodbye to all may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Scrapes clients by their keys. Cloning clones a handle.
#[derive(Clone)]
pub(crate) struct Callers(Arc<Inner>);

struct Inner {
    node: Node,
    own: Identity,
    events: Arc<LinkEvents>,
    scrape_ids: ScrapeIds,
    /// At most [`MAX_KEPT`]. Never locked across an await.
    kept: Mutex<HashMap<PublicKey, Kept>>,
}

/// A connection to a client, or the attempt to make one, which goes on while nobody waits for it.
struct Kept {
    caller: Dialing,
    used: Instant,
}

type Dialing = Shared<BoxFuture<'static, Result<Arc<Caller>, HyperdhtError>>>;

impl Callers {
    pub(super) fn new(node: Node, own: Identity, events: Arc<LinkEvents>) -> Self {
        Self(Arc::new(Inner {
            node,
            own,
            events,
            scrape_ids: ScrapeIds::default(),
            kept: Mutex::default(),
        }))
    }

    /// Asks a client for its metrics; all in all that may take `wait`.
    ///
    /// # Errors
    ///
    /// Where there is no answer. That the client has failed to collect its metrics is an answer.
    pub(crate) async fn scrape(&self, peer: PublicKey, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let (events, scrape) = (&self.0.events, self.0.scrape_ids.next());
        let path = "/metrics".to_owned();
        events.emit(LinkEvent::ScrapeStarted { peer, scrape, path });
        let outcome = match timeout_at(Instant::now() + wait, self.attempt(peer, wait)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HyperdhtError::Timeout(wait)),
        };
        match &outcome {
            Ok(MetricsReply::Metrics(_)) => events.emit(LinkEvent::ScrapeAnswered { peer, scrape }),
            Ok(MetricsReply::Failed(why)) => events.emit(LinkEvent::ScrapeFailed {
                peer,
                scrape,
                why: format!("the client says that it failed: {why}"),
            }),
            Err(error) => events.emit(LinkEvent::ScrapeFailed {
                peer,
                scrape,
                why: error.to_string(),
            }),
        }
        outcome
    }

    /// Makes the connection to a client, if there is none; that may take `wait`.
    ///
    /// # Errors
    ///
    /// Where the client is not reached.
    pub(crate) async fn reach(&self, peer: PublicKey, wait: Duration) -> Result<(), HyperdhtError> {
        match timeout(wait, self.dialing(peer).0).await {
            Ok(reached) => reached.map(|_| ()),
            Err(_) => Err(HyperdhtError::Timeout(wait)),
        }
    }

    async fn attempt(&self, peer: PublicKey, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let (dialing, is_new) = self.dialing(peer);
        let answer = self.ask(peer, dialing, wait).await;
        match answer {
            // It had been lost before, which nobody had noticed.
            Err(HyperdhtError::Lost(_)) if !is_new => self.ask(peer, self.dialing(peer).0, wait).await,
            answer => answer,
        }
    }

    async fn ask(&self, peer: PublicKey, dialing: Dialing, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let caller = dialing.await?;
        // Told when this is dropped, too: whoever waits gives up when its time is over.
        let mut doubt = Doubt {
            callers: self,
            peer,
            caller: Some(&caller),
        };
        let value = caller.ask(METRICS_METHOD, metrics_request(), wait).await;
        if matches!(value, Ok(_) | Err(HyperdhtError::Failed(_) | HyperdhtError::Busy)) {
            doubt.caller = None;
        }
        drop(doubt);
        MetricsReply::decode(value?).map_err(|fault| HyperdhtError::Broken(fault.to_string()))
    }

    /// Makes the next scrape of a client dial it anew: it may be another run of it.
    pub(crate) fn renew(&self, peer: PublicKey) {
        // The connection ends when the last scrape on it does.
        self.lock().remove(&peer);
    }

    /// Closes the connections that nobody has used for a while.
    pub(crate) async fn sweep(&self, now: Instant) {
        let unused = |kept: &Kept| now.duration_since(kept.used) >= IDLE;
        let gone: Vec<_> = self.lock().extract_if(|_, kept| unused(kept)).collect();
        self.say_goodbye(gone, "not used any more").await;
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        let all: Vec<_> = self.lock().drain().collect();
        self.say_goodbye(all, "stopping").await;
    }

    async fn say_goodbye(&self, gone: Vec<(PublicKey, Kept)>, why: &str) {
        let goodbyes = gone.into_iter().map(|(_, kept)| async move {
            let Some(Ok(caller)) = kept.caller.peek().cloned() else { return };
            drop(kept);
            caller.tell_end((true, why.to_owned()));
            // A scrape that is in work keeps it until it ends.
            if let Some(caller) = Arc::into_inner(caller) {
                caller.close().await;
            }
        });
        // Whoever is not told in time finds out by silence.
        let _ = timeout(FAREWELL, join_all(goodbyes)).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, Kept>> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection to a client, in the making or made, and whether it is a new one.
    fn dialing(&self, peer: PublicKey) -> (Dialing, bool) {
        let now = Instant::now();
        let mut kept = self.lock();
        if let Some(kept) = kept.get_mut(&peer) {
            kept.used = now;
            match kept.caller.peek() {
                None => return (kept.caller.clone(), true),
                Some(Ok(caller)) if caller.is_alive() => return (kept.caller.clone(), false),
                Some(_) => {}
            }
        } else if kept.len() >= MAX_KEPT {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                kept.remove(&oldest);
            }
        }
        let caller = self.dial(peer);
        kept.insert(
            peer,
            Kept {
                caller: caller.clone(),
                used: now,
            },
        );
        (caller, true)
    }

    /// Dials in a task of its own, so that an attempt outlives the scrape that needed it. It ends with the last who keeps it.
    fn dial(&self, peer: PublicKey) -> Dialing {
        let (node, own, events) = (self.0.node.clone(), self.0.own.clone(), self.0.events.clone());
        let attempt = async move {
            let pipe = node.dial(&own, peer, DIAL).await.map_err(|error| {
                let why = error.to_string();
                events.emit(LinkEvent::Unreachable { peer, why: why.clone() });
                HyperdhtError::Unreachable(why)
            })?;
            let open = events.opened(peer, pipe.address, ConnectionUid::random());
            Ok(Arc::new(Caller::new(pipe, METRICS_PROTOCOL, move |end| open.report_end(end))))
        };
        let task = AbortOnDropHandle::new(tokio::spawn(attempt));
        let outcome = async move { task.await.unwrap_or_else(|lost| Err(HyperdhtError::Node(lost.to_string()))) };
        outcome.boxed().shared()
    }
}

/// A scrape that has not been answered well: unless it is dispelled, the connection is given up, so that the next one starts afresh.
struct Doubt<'c> {
    callers: &'c Callers,
    peer: PublicKey,
    caller: Option<&'c Arc<Caller>>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        let Some(caller) = self.caller else { return };
        let mut all = self.callers.lock();
        let is_it = |kept: &Kept| matches!(kept.caller.peek(), Some(Ok(current)) if Arc::ptr_eq(current, caller));
        let given_up = all.get(&self.peer).is_some_and(is_it).then(|| all.remove(&self.peer));
        drop(all);
        if given_up.is_some() {
            caller.tell_end((false, "given up: a scrape over it came to nothing".to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use bytes::Bytes;
    use tokio_util::sync::CancellationToken;

    use super::super::accept::Arrival;
    use super::super::serving::{Answer, Service, serve};
    use super::super::testnet::TestNetwork;
    use super::*;

    /// Longer than anything takes on a loaded machine.
    const LONG: Duration = Duration::from_secs(30);

    /// Answers at once, or never.
    #[derive(Default)]
    struct Moody(AtomicBool);

    impl Service for Moody {
        const PROTOCOL: &'static str = METRICS_PROTOCOL;
        const METHOD: &'static str = METRICS_METHOD;

        async fn answer(&self, _: Bytes) -> Answer {
            if self.0.load(Ordering::SeqCst) {
                std::future::pending().await
            }
            Answer::plain(MetricsReply::Metrics(Bytes::from_static(b"a 1\n")).encode())
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn connections_are_kept_while_they_are_good_and_used() {
        let network = TestNetwork::start(4).await;
        let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
        let (there, here) = (
            Node::open(&[network.bootstrap()], 0).await.unwrap(),
            Node::open(&[network.bootstrap()], 0).await.unwrap(),
        );
        let mut listener = there.listen(&server, |_| true).await.unwrap();
        listener.announced().await;
        let (moody, accepted) = (Arc::<Moody>::default(), Arc::<AtomicUsize>::default());
        let (service, count) = (moody.clone(), accepted.clone());
        let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            while let Some(Arrival::Admitted(pipe)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                links.spawn(serve(pipe, service.clone(), LONG, CancellationToken::new()));
            }
        }));
        let (peer, callers) = (server.public_key(), Callers::new(here, client, Arc::default()));
        let scrape = async || {
            callers
                .scrape(peer, LONG)
                .await
                .map(|reply| (reply, accepted.load(Ordering::SeqCst)))
        };
        let metrics = MetricsReply::Metrics(Bytes::from_static(b"a 1\n"));
        for _ in 0..3 {
            assert_eq!(scrape().await, Ok((metrics.clone(), 1)));
        }
        callers.renew(peer);
        assert_eq!(scrape().await, Ok((metrics.clone(), 2)), "it may be another run");
        moody.0.store(true, Ordering::SeqCst);
        let hasty = Duration::from_millis(50);
        assert_eq!(callers.scrape(peer, hasty).await, Err(HyperdhtError::Timeout(hasty)));
        moody.0.store(false, Ordering::SeqCst);
        assert_eq!(scrape().await, Ok((metrics.clone(), 3)), "what let a scrape time out is given up");
        callers.sweep(Instant::now()).await;
        assert_eq!(scrape().await, Ok((metrics.clone(), 3)));
        let mut events = callers.0.events.subscribe();
        callers.sweep(Instant::now() + IDLE).await;
        assert!(callers.lock().is_empty());
        assert!(matches!(events.try_recv().unwrap(), LinkEvent::Closed { peer: closed, .. } if closed == peer));
        assert_eq!(scrape().await, Ok((metrics, 4)));
    }
}
