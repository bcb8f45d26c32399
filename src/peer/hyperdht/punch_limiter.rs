//! Rate limit of hole punching packets by destination.
//!
//! A relay reports the address of a handshake, and a malicious peer can report any address. Without a limit it could make us send packets
//! to an uninvolved host.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Burst of handshakes with hole punching for one address, enough for a site with many proxies behind one NAT.
const BURST: u32 = 20;
/// Interval after which one more is allowed.
const REFILL_INTERVAL: Duration = Duration::from_millis(500);
/// Limit on addresses, 200 kB. Beyond it further addresses get no packets until entries expire.
const MAX_ADDRESSES: usize = 4_096;

/// Recently punched addresses.
#[derive(Debug, Default)]
pub(super) struct PunchLimiter {
    /// The time at which an address has all of [`BURST`] again.
    refilled_at: HashMap<IpAddr, Instant>,
}

impl PunchLimiter {
    /// Counts a handshake for an address; returns true if packets may be sent to it.
    pub(super) fn allows(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.refilled_at.len() >= MAX_ADDRESSES && !self.refilled_at.contains_key(&address) {
            self.refilled_at.retain(|_, refilled_at| *refilled_at > now);
            if self.refilled_at.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let refilled_at = self.refilled_at.entry(address).or_insert(now);
        let after = (*refilled_at).max(now) + REFILL_INTERVAL;
        let may = after.duration_since(now) <= REFILL_INTERVAL * BURST;
        if may {
            *refilled_at = after;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(n).into()
    }

    #[test]
    fn an_address_gets_a_burst_and_then_one_at_a_time() {
        let (mut limiter, start) = (PunchLimiter::default(), Instant::now());
        let opened = |limiter: &mut PunchLimiter, now| (0..100).filter(|_| limiter.allows(address(1), now)).count();
        assert_eq!(opened(&mut limiter, start), 20);
        assert!(limiter.allows(address(2), start));
        assert_eq!(opened(&mut limiter, start + REFILL_INTERVAL), 1);
        assert_eq!(opened(&mut limiter, start + REFILL_INTERVAL * 100), 20);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let (mut limiter, start) = (PunchLimiter::default(), Instant::now());
        let opened = (0..5_000).filter(|&n| limiter.allows(address(n), start)).count();
        assert_eq!((opened, limiter.refilled_at.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert!(limiter.allows(address(5_000), start + REFILL_INTERVAL));
    }
}
