//! Connections to the configured peers, kept up with backoff.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use libp2p_core::Multiaddr;
use libp2p_identity::PeerId;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::upstreams::backoff::{Backoff, chance};
use crate::supervise::lookup::PeerLookup;
use crate::wire::node_address::{NameKind, NodeAddress, NodeHost};

/// Timeout of resolving a name.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of the IP addresses of a name that are tried.
const MAX_ADDRESSES: usize = 8;

/// A peer with its resolved addresses, ready to be dialed.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) peer: PeerId,
    /// None if no name could be resolved.
    pub(super) addresses: Vec<Multiaddr>,
}

/// State of one configured peer.
#[derive(Debug, Default)]
struct Target {
    addresses: Vec<NodeAddress>,
    backoff: Backoff,
    state: TargetState,
    /// True after the warning that it is not connected.
    reported: bool,
}

#[derive(Debug, Default)]
enum TargetState {
    /// To be dialed at this time; `None`: at once.
    Waiting(Option<Instant>),
    Connected,
    #[default]
    Dialing,
}

/// The configured peers.
#[derive(Debug, Default)]
pub(super) struct Dialer {
    targets: HashMap<PeerId, Target>,
    lookups: JoinSet<Dial>,
}

impl Dialer {
    /// Creates a dialer; addresses without a valid peer id are left out.
    pub(super) fn new(addresses: &[NodeAddress]) -> Self {
        let mut dialer = Self::default();
        for address in addresses {
            if let Some(peer) = address.peer.as_ref().and_then(|peer| peer.parse().ok()) {
                let target: &mut Target = dialer.targets.entry(peer).or_default();
                target.addresses.push(address.clone());
                target.state = TargetState::Waiting(None);
            }
        }
        dialer
    }

    /// The configured peers.
    pub(super) fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.targets.keys().copied()
    }

    /// Starts to look up the addresses of all peers that are due.
    pub(super) fn start(&mut self, now: Instant) {
        for (peer, target) in &mut self.targets {
            if matches!(target.state, TargetState::Waiting(due) if due.is_none_or(|due| due <= now)) {
                target.state = TargetState::Dialing;
                self.lookups.spawn(look_up(*peer, target.addresses.clone()));
            }
        }
    }

    /// The next peer with known addresses; waits for ever if none is looked up.
    pub(super) async fn next(&mut self) -> Dial {
        loop {
            match self.lookups.join_next().await {
                Some(Ok(dial)) => return dial,
                // A lookup neither panics nor is aborted.
                Some(Err(_)) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Records a connection. Returns true for a configured peer that was not connected.
    pub(super) fn connected(&mut self, peer: PeerId) -> bool {
        let Some(target) = self.targets.get_mut(&peer) else { return false };
        let was_connected = matches!(target.state, TargetState::Connected);
        target.state = TargetState::Connected;
        target.backoff.reset();
        target.reported = false;
        !was_connected
    }

    /// Records the end of a peer's last connection, or a failed attempt. Returns true if it is a configured peer and the reason should be
    /// logged: once for each loss.
    pub(super) fn failed(&mut self, peer: PeerId, now: Instant) -> bool {
        let Some(target) = self.targets.get_mut(&peer) else { return false };
        target.state = TargetState::Waiting(Some(now + target.backoff.next(chance())));
        !std::mem::replace(&mut target.reported, true)
    }

    /// Returns true if a failed attempt is that of a peer which is connected by now.
    pub(super) fn is_connected(&self, peer: PeerId) -> bool {
        self.targets
            .get(&peer)
            .is_some_and(|target| matches!(target.state, TargetState::Connected))
    }
}

async fn look_up(peer: PeerId, addresses: Vec<NodeAddress>) -> Dial {
    let mut found = Vec::new();
    for address in addresses {
        match &address.host {
            NodeHost::Ip(ip) => found.extend(dialable(&address, *ip)),
            NodeHost::Name(kind, name) => {
                let lookup = timeout(LOOKUP_TIMEOUT, PeerLookup::default().addresses(name, address.port)).await;
                let resolved = lookup.into_iter().flatten().flatten().map(|socket| socket.ip());
                let wanted = resolved.filter(|ip| match kind {
                    NameKind::Any => true,
                    NameKind::Ip4 => ip.is_ipv4(),
                    NameKind::Ip6 => ip.is_ipv6(),
                });
                found.extend(wanted.take(MAX_ADDRESSES).filter_map(|ip| dialable(&address, ip)));
            }
        }
    }
    Dial { peer, addresses: found }
}

/// An address in the form of the library.
fn dialable(address: &NodeAddress, ip: IpAddr) -> Option<Multiaddr> {
    address.with_ip(ip).to_string().parse().ok()
}

#[cfg(test)]
mod tests;
