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
const STEP: Duration = Duration::from_millis(500);
/// Addresses that are counted, in 200 kB. Where there are more no further address gets packets, until others have been left alone.
const MAX_ADDRESSES: usize = 4_096;

/// The addresses to which packets have gone lately.
#[derive(Debug, Default)]
pub(super) struct Openings {
    /// When an address may have all of [`BURST`] again.
    full_at: HashMap<IpAddr, Instant>,
}

impl Openings {
    /// Counts a handshake that names this address, and says whether packets may go there for it.
    pub(super) fn may_open(&mut self, address: IpAddr, now: Instant) -> bool {
        if self.full_at.len() >= MAX_ADDRESSES && !self.full_at.contains_key(&address) {
            self.full_at.retain(|_, full_at| *full_at > now);
            if self.full_at.len() >= MAX_ADDRESSES {
                return false;
            }
        }
        let full_at = self.full_at.entry(address).or_insert(now);
        let after = (*full_at).max(now) + STEP;
        let may = after.duration_since(now) <= STEP * BURST;
        if may {
            *full_at = after;
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
        let (mut openings, start) = (Openings::default(), Instant::now());
        let opened = |openings: &mut Openings, now| (0..100).filter(|_| openings.may_open(address(1), now)).count();
        assert_eq!(opened(&mut openings, start), 20);
        assert!(openings.may_open(address(2), start));
        assert_eq!(opened(&mut openings, start + STEP), 1);
        assert_eq!(opened(&mut openings, start + STEP * 100), 20);
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let (mut openings, start) = (Openings::default(), Instant::now());
        let opened = (0..5_000).filter(|&n| openings.may_open(address(n), start)).count();
        assert_eq!((opened, openings.full_at.len()), (MAX_ADDRESSES, MAX_ADDRESSES));
        assert!(openings.may_open(address(5_000), start + STEP));
    }
}
