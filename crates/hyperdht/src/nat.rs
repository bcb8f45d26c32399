//! NAT status: our addresses, and the kind of NAT in front of them, as other nodes report them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::messages::Firewall;

/// Number of nodes of which the last report counts. After a change of the address the majority has changed with the next pings to the
/// nodes that hold an announcement, within ten seconds.
const MAX_SAMPLES: usize = 8;
/// Number of reports before the kind of NAT is determined.
const MIN_SAMPLES: usize = 3;
/// Number of equal reports that show a NAT mapping that does not depend on the destination.
const CONSISTENT_SAMPLES: usize = 3;

/// The last reports of our external address, one for each node.
#[derive(Debug, Default)]
pub(crate) struct NatSampler {
    /// The reporting node and the address, the latest last.
    samples: VecDeque<(SocketAddrV4, SocketAddrV4)>,
}

impl NatSampler {
    /// Adds a report of a node.
    pub(crate) fn add(&mut self, node: SocketAddrV4, seen: SocketAddrV4) {
        if seen.port() == 0 || seen.ip().is_unspecified() {
            return;
        }
        self.samples.retain(|(reporter, _)| *reporter != node);
        if self.samples.len() == MAX_SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back((node, seen));
    }

    /// Returns the address with most reports, the latest of several, and their number.
    fn most_frequent(&self) -> Option<(SocketAddrV4, usize)> {
        let count = |seen| self.samples.iter().filter(|(_, other)| *other == seen).count();
        let counted = self.samples.iter().map(|(_, seen)| (*seen, count(*seen)));
        counted.max_by_key(|(_, count)| *count)
    }

    /// Returns the kind of NAT and the external address. Its port is 0 if that depends on the destination.
    pub(crate) fn classify(&self) -> (Firewall, Option<SocketAddrV4>) {
        let Some((address, equal)) = self.most_frequent().filter(|_| self.samples.len() >= MIN_SAMPLES) else {
            return (Firewall::UNKNOWN, None);
        };
        let consistent = (Firewall::CONSISTENT, Some(address));
        if equal >= CONSISTENT_SAMPLES {
            return consistent;
        }
        // Two reports each of two addresses: two uplinks.
        let repeated_elsewhere = |(_, seen): &(SocketAddrV4, SocketAddrV4)| {
            seen.ip() != address.ip() && self.samples.iter().filter(|(_, other)| other == seen).count() == equal
        };
        if equal == 2 {
            if self.samples.iter().any(repeated_elsewhere) {
                return consistent;
            }
            if self.samples.len() == MIN_SAMPLES {
                return (Firewall::UNKNOWN, None);
            }
        }
        (Firewall::RANDOM, Some(SocketAddrV4::new(*address.ip(), 0)))
    }
}

/// Our addresses and the kind of NAT in front of them.
#[derive(Debug, Clone)]
pub(crate) struct NatStatus {
    /// The external address seen by the network.
    pub(crate) address: Option<SocketAddrV4>,
    firewall: Firewall,
    /// The addresses of this machine.
    pub(crate) local: Vec<SocketAddrV4>,
}

impl NatStatus {
    /// Returns the status of a socket with this port.
    pub(crate) fn new(sampler: &NatSampler, port: u16, local: Vec<SocketAddrV4>) -> Self {
        let (firewall, address) = sampler.classify();
        // Behind a symmetric NAT there is no external port; the JavaScript implementation fails on port 0.
        let address = address.map(|seen| SocketAddrV4::new(*seen.ip(), if seen.port() == 0 { port } else { seen.port() }));
        Self { address, firewall, local }
    }

    /// Returns true if the NAT mapping does not depend on the destination: a packet to the address seen by one peer reaches us from
    /// another peer to which we have sent a packet.
    pub(crate) fn is_consistent_nat(&self) -> bool {
        self.firewall == Firewall::CONSISTENT || self.has_no_nat()
    }

    /// Returns true if the external port depends on the destination, so that no address can be given to peers.
    pub(crate) fn is_symmetric_nat(&self) -> bool {
        self.firewall == Firewall::RANDOM && !self.has_no_nat()
    }

    /// Returns true if the external address is an address of this machine.
    pub(crate) fn has_no_nat(&self) -> bool {
        self.address
            .is_some_and(|seen| seen.ip().is_loopback() || self.local.iter().any(|local| local.ip() == seen.ip()))
    }

    /// Returns the addresses to send to peers, the external one first, because older programs use the first only.
    pub(crate) fn addresses(&self) -> Vec<SocketAddrV4> {
        self.address.iter().chain(&self.local).copied().collect()
    }

    /// Returns the one of a peer's private addresses that is most likely in our local network: it shares the most leading bytes with one
    /// of our addresses, at least one and at most three.
    pub(crate) fn nearest(&self, private: &[SocketAddrV4]) -> Option<SocketAddrV4> {
        let shared = |a: &Ipv4Addr, b: &Ipv4Addr| a.octets().iter().zip(b.octets()).take(3).take_while(|(a, b)| *a == b).count();
        let closeness = |theirs: &SocketAddrV4| self.local.iter().map(|ours| shared(ours.ip(), theirs.ip())).max().unwrap_or(0);
        let mut nearest = None;
        for address in private {
            let close = closeness(address);
            if nearest.map_or(close > 0, |(_, best)| close > best) {
                nearest = Some((*address, close));
            }
        }
        nearest.map(|(address, _)| address)
    }
}

/// Returns the IPv4 addresses of this machine with a port; the loopback address only if there is no other.
pub(crate) fn local_addresses(port: u16) -> Vec<SocketAddrV4> {
    let interfaces = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    let mut local: Vec<SocketAddrV4> = addresses
        .filter(|address| !address.is_loopback())
        .map(|address| SocketAddrV4::new(address, port))
        .collect();
    if local.is_empty() {
        local.push(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    }
    local
}

/// Returns true for addresses that are not globally reachable (RFC 6890).
pub(crate) fn is_private(address: Ipv4Addr) -> bool {
    let shared = address.octets()[0] == 100 && address.octets()[1] & 0b1100_0000 == 64;
    address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_documentation()
        || shared
}

#[cfg(test)]
mod tests;
