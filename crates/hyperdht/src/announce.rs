//! Announces a key in HyperDHT: a signed record at the nodes closest to the key, which then relay handshakes to us.

use std::net::SocketAddrV4;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::announce_signature::{Purpose, signed_text};
use crate::dht::Dht;
use crate::engine::Call;
use crate::key::KeyPair;
use crate::messages::{Announcement, PeerRecord, RelayInfo, Reply, command};
use crate::query::Found;
use crate::routing_table::{NodeId, node_id};
use crate::suspension::resumed;

/// Number of nodes that store the record: twice that of the JavaScript implementation, so that some may leave between two announcements.
const MAX_HOLDERS: usize = 6;
/// Interval of renewing the record; nodes drop it after about 20 minutes.
const RENEW_INTERVAL: Duration = Duration::from_secs(300);
/// Interval of pings to the nodes with the record, which keep NAT mappings towards them alive.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// Delay before a retry if no node stored the record.
const RETRY_DELAY: Duration = Duration::from_secs(3);
/// Timeout of a request to one node.
const NODE_TIMEOUT: Duration = Duration::from_secs(4);

/// A node with the record.
#[derive(Debug, Clone, Copy)]
struct Holder {
    node: SocketAddrV4,
    /// Our address as the node sees it, to which it relays handshakes. Behind a symmetric NAT it is another one for each node.
    seen: SocketAddrV4,
}

/// Returns true if half of the nodes with the record do not respond any more, or most of those that do see us at another address than that
/// of the record: they would relay handshakes to the earlier one.
fn is_stale(holding: &[Holder], pongs: &[Option<SocketAddrV4>]) -> bool {
    let responding = pongs.iter().flatten().count();
    let moved = holding
        .iter()
        .zip(pongs)
        .filter(|(holder, pong)| pong.is_some_and(|seen| seen != holder.seen));
    responding <= holding.len() / 2 || moved.count() > responding / 2
}

/// The announcement of a key.
pub(crate) struct KeyAnnouncer {
    pub(crate) dht: Dht,
    pub(crate) pair: KeyPair,
    pub(crate) target: NodeId,
}

impl KeyAnnouncer {
    /// Keeps the record stored, and publishes the nodes with it in `holders`.
    pub(crate) async fn keep_announced(self, holders: watch::Sender<Vec<SocketAddrV4>>) {
        // Without the network no node could store it.
        self.dht.bootstrapped().await;
        loop {
            let holding = self.announce().await;
            holders.send_replace(holding.iter().map(|holder| holder.node).collect());
            if holding.is_empty() {
                tracing::debug!("no node accepted the announcement");
                sleep(RETRY_DELAY).await;
            } else {
                tokio::select! {
                    () = self.until_renewal(&holding) => {}
                    // The nodes may have dropped the record meanwhile, and still respond.
                    () = resumed() => {}
                }
            }
        }
    }

    /// Pings the nodes with the record until it has to be renewed.
    async fn until_renewal(&self, holding: &[Holder]) {
        let mut ticks = interval(PING_INTERVAL);
        ticks.tick().await;
        for _ in 0..RENEW_INTERVAL.as_secs() / PING_INTERVAL.as_secs() {
            ticks.tick().await;
            let pongs = join_all(holding.iter().map(|holder| self.dht.ping(holder.node))).await;
            if is_stale(holding, &pongs) {
                return;
            }
        }
    }

    /// Stores the record at the closest nodes; returns those that accepted it.
    async fn announce(&self) -> Vec<Holder> {
        let found = closest(&self.dht, self.target).await;
        let asked = found.into_iter().take(MAX_HOLDERS).map(|Found { from, token, .. }| async move {
            let reply = self.write(from, token?, command::ANNOUNCE, Purpose::Announce).await?;
            (reply.error == 0).then_some(Holder {
                node: from,
                seen: reply.to,
            })
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Removes the record from the nodes with it.
    pub(crate) async fn unannounce(&self, holders: &[SocketAddrV4]) {
        let replies = holders.iter().map(|holder| async move {
            let reply = call(&self.dht, *holder, Call::new(command::FIND_PEER, self.target)).await?;
            self.write(*holder, reply.token?, command::UNANNOUNCE, Purpose::Unannounce).await
        });
        join_all(replies).await;
    }

    /// Sends a signed record to a node that has issued a token.
    async fn write(&self, to: SocketAddrV4, token: [u8; 32], command: u64, purpose: Purpose) -> Option<Reply> {
        let record = PeerRecord {
            public_key: *self.pair.public_key().as_bytes(),
            relays: Vec::new(),
        };
        let text = signed_text(purpose, &self.target, &node_id(to), &token, &record.encode(), None);
        let announcement = Announcement {
            peer: Some(record),
            refresh: None,
            signature: Some(self.pair.sign(&text)),
        };
        let request = Call {
            token: Some(token),
            value: Some(announcement.encode().into()),
            ..Call::new(command, self.target)
        };
        call(&self.dht, to, request).await
    }
}

/// Returns the nodes that relay handshakes to us, each with our address.
pub(crate) fn relays(holders: &[SocketAddrV4], seen: SocketAddrV4) -> Vec<RelayInfo> {
    let relay = |holder: &SocketAddrV4| RelayInfo {
        relay: *holder,
        peer: seen,
    };
    holders.iter().map(relay).collect()
}

/// Returns the nodes closest to the hash of a key, with its record if they have it, the closest first.
pub(crate) async fn closest(dht: &Dht, target: NodeId) -> Vec<Found> {
    dht.query(command::FIND_PEER, target).await
}

async fn call(dht: &Dht, to: SocketAddrV4, call: Call) -> Option<Reply> {
    timeout(NODE_TIMEOUT, dht.call(to, call)).await.ok()?
}

#[cfg(test)]
mod tests;
