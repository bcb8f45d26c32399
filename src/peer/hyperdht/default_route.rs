//! Detects changes of the default route from the routing table, without sending packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::time::interval;

/// Addresses of documentation networks (RFC 5737, RFC 3849), which only a default route reaches.
const PROBE_ADDRESSES: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Interval of checks while waiting for a change.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Returns the local address of the default route for each address family.
fn source_addresses() -> [Option<IpAddr>; 2] {
    PROBE_ADDRESSES.map(|outside| {
        let any = match outside {
            IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        // For UDP this only looks up the route; port 9 is the discard service.
        socket.connect(SocketAddr::new(outside, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    })
}

/// Resolves when there is a new default route or a new local address.
pub(super) async fn route_changed() {
    let before = source_addresses();
    let mut polls = interval(POLL_INTERVAL);
    loop {
        polls.tick().await;
        if is_new(before, source_addresses()) {
            return;
        }
    }
}

fn is_new(before: [Option<IpAddr>; 2], now: [Option<IpAddr>; 2]) -> bool {
    before.iter().zip(now).any(|(before, now)| now.is_some() && *before != now)
}

#[cfg(test)]
mod tests;
