//! Pool of connections for scrapes by key: opened on demand, reopened after a loss, and closed when idle.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use exporter_proxy_hyperdht::{CallError, Node, RpcClient};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::api::HyperdhtError;
use super::conversions::unreachable_reason;
use crate::peer::delivery::ScrapeIds;
use crate::peer::identity::{Identity, PublicKey};
use crate::peer::link_event::{ConnectionUid, LinkEnd, LinkEvent, LinkEvents};
use crate::wire::hyperdht::{METRICS_METHOD, METRICS_PROTOCOL, MetricsReply, metrics_request};

/// Limit on connections; beyond it the least recently used one is dropped. Each takes some tens of kilobytes.
const MAX_CONNECTIONS: usize = 10_000;

/// Time after which an unused connection is closed, longer than scrape intervals.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

/// Timeout of a dial. The timeout of a scrape is shorter; the next scrape then finds the connection.
const DIAL_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit on closing connections gracefully.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Scrapes clients by key. A clone is a handle to the same pool.
#[derive(Clone)]
pub(crate) struct ConnectionPool(Arc<PoolInner>);

struct PoolInner {
    node: Node,
    own: Identity,
    events: Arc<LinkEvents>,
    scrape_ids: ScrapeIds,
    /// At most [`MAX_CONNECTIONS`]. Never locked across an await.
    pooled: Mutex<HashMap<PublicKey, PooledConnection>>,
}

/// A connection to a client or a dial in progress, which goes on even if no scrape waits for it.
struct PooledConnection {
    client: PendingDial,
    used: Instant,
}

type PendingDial = Shared<BoxFuture<'static, Result<Arc<RpcClient>, HyperdhtError>>>;

impl ConnectionPool {
    pub(super) fn new(node: Node, own: Identity, events: Arc<LinkEvents>) -> Self {
        Self(Arc::new(PoolInner {
            node,
            own,
            events,
            scrape_ids: ScrapeIds::default(),
            pooled: Mutex::default(),
        }))
    }

    /// Requests the metrics of a client. `wait` limits the whole scrape.
    ///
    /// # Errors
    ///
    /// If there is no response. A client that reports a failed collection has responded.
    pub(crate) async fn scrape(&self, peer: PublicKey, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let (events, scrape) = (&self.0.events, self.0.scrape_ids.next());
        let path = "/metrics".to_owned();
        events.emit(LinkEvent::ScrapeStarted { peer, scrape, path });
        let outcome = match timeout_at(Instant::now() + wait, self.scrape_with_retry(peer, wait)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(HyperdhtError::Timeout(wait)),
        };
        match &outcome {
            Ok(MetricsReply::Metrics(_)) => events.emit(LinkEvent::ScrapeAnswered { peer, scrape }),
            Ok(MetricsReply::Failed(why)) => events.emit(LinkEvent::ScrapeFailed {
                peer,
                scrape,
                why: format!("the client failed to collect its metrics: {why}"),
            }),
            Err(error) => events.emit(LinkEvent::ScrapeFailed {
                peer,
                scrape,
                why: error.to_string(),
            }),
        }
        outcome
    }

    /// Connects to a client if there is no connection, within `wait`.
    ///
    /// # Errors
    ///
    /// If the client is not reached.
    pub(crate) async fn reach(&self, peer: PublicKey, wait: Duration) -> Result<(), HyperdhtError> {
        match timeout(wait, self.get_or_dial(peer).0).await {
            Ok(reached) => reached.map(|_| ()),
            Err(_) => Err(HyperdhtError::Timeout(wait)),
        }
    }

    async fn scrape_with_retry(&self, peer: PublicKey, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let (pending, is_new) = self.get_or_dial(peer);
        let answer = self.scrape_once(peer, pending, wait).await;
        match answer {
            // The pooled connection had been lost before, without notice.
            Err(HyperdhtError::Lost(_)) if !is_new => self.scrape_once(peer, self.get_or_dial(peer).0, wait).await,
            answer => answer,
        }
    }

    async fn scrape_once(&self, peer: PublicKey, pending: PendingDial, wait: Duration) -> Result<MetricsReply, HyperdhtError> {
        let client = pending.await?;
        // Also runs when this future is dropped by a timeout of the caller.
        let mut guard = DropUnlessAnswered {
            pool: self,
            peer,
            client: Some(&client),
        };
        let value = client.call(METRICS_METHOD, metrics_request(), wait).await;
        if matches!(value, Ok(_) | Err(CallError::Failed(_) | CallError::Busy)) {
            guard.client = None;
        }
        drop(guard);
        MetricsReply::decode(value?).map_err(|fault| HyperdhtError::Broken(fault.to_string()))
    }

    /// Makes the next scrape of a client dial again, because it may have been restarted.
    pub(crate) fn invalidate(&self, peer: PublicKey) {
        // The connection closes when its last scrape ends.
        self.lock().remove(&peer);
    }

    /// Closes idle connections.
    pub(crate) async fn sweep(&self, now: Instant) {
        let unused = |pooled: &PooledConnection| now.duration_since(pooled.used) >= IDLE_TIMEOUT;
        let gone: Vec<_> = self.lock().extract_if(|_, pooled| unused(pooled)).collect();
        self.close_connections(gone, "idle").await;
    }

    /// Closes all connections.
    pub(crate) async fn close(&self) {
        let all: Vec<_> = self.lock().drain().collect();
        self.close_connections(all, "stopping").await;
    }

    async fn close_connections(&self, gone: Vec<(PublicKey, PooledConnection)>, why: &str) {
        let goodbyes = gone.into_iter().map(|(_, pooled)| async move {
            let Some(Ok(client)) = pooled.client.peek().cloned() else { return };
            drop(pooled);
            client.notify_end(LinkEnd::graceful(why).into());
            // An open scrape keeps the connection until it ends.
            if let Some(client) = Arc::into_inner(client) {
                client.close().await;
            }
        });
        // A client that does not receive the close runs into its idle timeout.
        let _ = timeout(CLOSE_TIMEOUT, join_all(goodbyes)).await;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<PublicKey, PooledConnection>> {
        self.0.pooled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to a client, open or being dialed, and whether it is new.
    fn get_or_dial(&self, peer: PublicKey) -> (PendingDial, bool) {
        let now = Instant::now();
        let mut pooled = self.lock();
        if let Some(pooled) = pooled.get_mut(&peer) {
            pooled.used = now;
            match pooled.client.peek() {
                None => return (pooled.client.clone(), true),
                Some(Ok(client)) if client.is_alive() => return (pooled.client.clone(), false),
                Some(_) => {}
            }
        } else if pooled.len() >= MAX_CONNECTIONS {
            let oldest = pooled.iter().min_by_key(|(_, pooled)| pooled.used).map(|(peer, _)| *peer);
            if let Some(oldest) = oldest {
                pooled.remove(&oldest);
            }
        }
        let client = self.dial(peer);
        pooled.insert(
            peer,
            PooledConnection {
                client: client.clone(),
                used: now,
            },
        );
        (client, true)
    }

    /// Dials in a task of its own, so that the dial outlives the scrape that caused it. The task ends with the last handle.
    fn dial(&self, peer: PublicKey) -> PendingDial {
        let (node, own, events) = (self.0.node.clone(), self.0.own.clone(), self.0.events.clone());
        let attempt = async move {
            let stream = node.dial(&(&own).into(), peer.into(), DIAL_TIMEOUT).await.map_err(|error| {
                let why = unreachable_reason(peer, &error);
                events.emit(LinkEvent::Unreachable { peer, why: why.clone() });
                HyperdhtError::Unreachable(why)
            })?;
            let open = events.opened(peer, stream.address, ConnectionUid::random());
            Ok(Arc::new(RpcClient::new(stream, METRICS_PROTOCOL, move |end| {
                open.report_end(end.into())
            })))
        };
        let task = AbortOnDropHandle::new(tokio::spawn(attempt));
        let outcome = async move { task.await.unwrap_or_else(|lost| Err(HyperdhtError::Node(lost.to_string()))) };
        outcome.boxed().shared()
    }
}

/// Guard of a scrape: drops the connection from the pool unless the scrape was answered, so that the next one dials again.
struct DropUnlessAnswered<'c> {
    pool: &'c ConnectionPool,
    peer: PublicKey,
    client: Option<&'c Arc<RpcClient>>,
}

impl Drop for DropUnlessAnswered<'_> {
    fn drop(&mut self) {
        let Some(client) = self.client else { return };
        let mut all = self.pool.lock();
        let is_it = |pooled: &PooledConnection| matches!(pooled.client.peek(), Some(Ok(current)) if Arc::ptr_eq(current, client));
        let given_up = all.get(&self.peer).is_some_and(is_it).then(|| all.remove(&self.peer));
        drop(all);
        if given_up.is_some() {
            client.notify_end(LinkEnd::scrape_failed().into());
        }
    }
}

#[cfg(test)]
mod tests;
