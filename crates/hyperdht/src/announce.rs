//! Announces a key in HyperDHT: a signed record at the nodes closest to the key, which then relay handshakes to us.

use std::time::Duration;

use futures_util::future::join_all;
use peeroxide_dht::crypto::{NS_ANNOUNCE, NS_UNANNOUNCE, ann_signable, sign_detached};
use peeroxide_dht::hyperdht_messages::{
    ANNOUNCE, AnnounceMessage, FIND_PEER, HyperPeer, RelayInfo, UNANNOUNCE, encode_announce_to_bytes, encode_hyper_peer_to_bytes,
};
use peeroxide_dht::messages::Ipv4Peer;
use peeroxide_dht::noise::Keypair;
use peeroxide_dht::rpc::{DhtHandle, ResponseData, UserRequestParams};
use tokio::sync::watch;
use tokio::time::{interval, sleep, timeout};

use crate::node::Node;

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

/// The record of a key.
pub(crate) struct Announcement {
    pub(crate) node: Node,
    pub(crate) pair: Keypair,
    pub(crate) target: [u8; 32],
}

impl Announcement {
    /// Keeps the record stored, and publishes the nodes with it in `holders`.
    pub(crate) async fn keep_announced(self, holders: watch::Sender<Vec<Ipv4Peer>>) {
        // Without the network no node could store it. If the node is closed, the announcement fails.
        let _ = self.node.dht.bootstrapped().await;
        loop {
            holders.send_replace(self.announce().await);
            if holders.borrow().is_empty() {
                tracing::debug!("no node accepted the announcement");
                sleep(RETRY_DELAY).await;
                continue;
            }
            let holding = holders.borrow().clone();
            let mut ticks = interval(PING_INTERVAL);
            ticks.tick().await;
            for _ in 0..RENEW_INTERVAL.as_secs() / PING_INTERVAL.as_secs() {
                ticks.tick().await;
                let pongs = join_all(holding.iter().map(|holder| self.node.dht.ping(&holder.host, holder.port))).await;
                if pongs.iter().filter(|pong| pong.is_ok()).count() <= holding.len() / 2 {
                    break;
                }
            }
        }
    }

    /// Stores the record at the closest nodes; returns those that accepted it.
    async fn announce(&self) -> Vec<Ipv4Peer> {
        let found = closest(&self.node.dht, self.target, MAX_HOLDERS).await;
        let asked = found.into_iter().map(|reply| async move {
            let taken = self.write(&reply, ANNOUNCE, &NS_ANNOUNCE).await?;
            (taken.error == 0).then_some(reply.from)
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    /// Removes the record from the nodes with it.
    pub(crate) async fn unannounce(&self, holders: &[Ipv4Peer]) {
        let replies = holders.iter().map(|holder| async move {
            let reply = find_peer(&self.node.dht, self.target, holder).await?;
            self.write(&reply, UNANNOUNCE, &NS_UNANNOUNCE).await
        });
        join_all(replies).await;
    }

    /// Sends a signed record to a node that has returned a token.
    async fn write(&self, to: &ResponseData, command: u64, namespace: &[u8; 32]) -> Option<ResponseData> {
        let peer = HyperPeer {
            public_key: self.pair.public_key,
            relay_addresses: Vec::new(),
        };
        let encoded = encode_hyper_peer_to_bytes(&peer).ok()?;
        let signable = ann_signable(&self.target, &to.token?, &to.id?, &encoded, &[], namespace);
        let message = AnnounceMessage {
            peer: Some(peer),
            refresh: None,
            signature: Some(sign_detached(&signable, &self.pair.secret_key)),
            bump: 0,
        };
        let mut request = request(command, self.target);
        request.token = to.token;
        request.value = Some(encode_announce_to_bytes(&message).ok()?);
        send_request(&self.node.dht, request, &to.from).await
    }
}

/// Returns the nodes that relay handshakes to us, each with our address.
pub(crate) fn relays(holders: &[Ipv4Peer], seen: &Ipv4Peer) -> Vec<RelayInfo> {
    let relay = |holder: &Ipv4Peer| RelayInfo {
        relay_address: holder.clone(),
        peer_address: seen.clone(),
    };
    holders.iter().map(relay).collect()
}

/// Returns the replies of the nodes closest to `target`, the closest first.
pub(crate) async fn closest(dht: &DhtHandle, target: [u8; 32], many: usize) -> Vec<ResponseData> {
    let nodes = dht.find_node(target).await.unwrap_or_default();
    let asked = nodes
        .into_iter()
        .take(many)
        .map(|node| async move { find_peer(dht, target, &node.from).await });
    join_all(asked)
        .await
        .into_iter()
        .flatten()
        .filter(|reply| reply.error == 0)
        .collect()
}

async fn find_peer(dht: &DhtHandle, target: [u8; 32], at: &Ipv4Peer) -> Option<ResponseData> {
    send_request(dht, request(FIND_PEER, target), at).await
}

async fn send_request(dht: &DhtHandle, request: UserRequestParams, at: &Ipv4Peer) -> Option<ResponseData> {
    timeout(NODE_TIMEOUT, dht.request(request, &at.host, at.port)).await.ok()?.ok()
}

pub(crate) fn request(command: u64, target: [u8; 32]) -> UserRequestParams {
    let mut request = UserRequestParams::default();
    request.command = command;
    request.target = Some(target);
    request
}
