//! Limit on packets to addresses that nothing but a handshake names.
//!
//! A handshake comes through a relay, which says from where. Whoever makes up that address has us send packets to somebody who knows
//! nothing of us.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Handshakes of strangers in a row for which packets go to one address: a site with many proxies behind one address translator.
const BURST: u32 = 20;
/// The time after which one more may follow.
const REFILL_INTERVAL: Duration = Duration::from_millis(500);
/// Addresses that are counted, in 200 kB. Where there are more no further address gets packets, until others have been left alone.
const MAX_ADDRESSES: usize = 4_096;

/// The addresses to which packets have gone lately.
#[derive(Debug, Default)]
pub(super) struct PunchLimiter {
    /// When an address may have all of [`BURST`] again.
    refilled_at: HashMap<IpAddr, Instant>,
}

impl PunchLimiter {
    /// Counts a handshake that names this address, and says whether packets may go there for it.
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
