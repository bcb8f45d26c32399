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
pub(crate) struct PunchLimiter {
    /// The time at which an address has all of [`BURST`] again.
    refilled_at: HashMap<IpAddr, Instant>,
}

impl PunchLimiter {
    /// Counts a handshake for an address; returns true if packets may be sent to it.
    pub(crate) fn allows(&mut self, address: IpAddr, now: Instant) -> bool {
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
mod tests;
