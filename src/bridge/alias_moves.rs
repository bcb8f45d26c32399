//! The latest moves of aliases from one key to another, for the status page.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::peer::{LinkEvent, PublicKey};

/// Moves that are kept: some screens of a page.
const MAX_MOVES: usize = 100;

/// Moves of an alias from one key to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AliasMove {
    pub(super) alias: String,
    /// The key that held the alias before; none where that key has left and an earlier one holds the alias again.
    pub(super) from: Option<PublicKey>,
    pub(super) to: PublicKey,
    /// The address of the registration that took the alias.
    pub(super) address: Option<IpAddr>,
    /// The number of such moves.
    pub(super) count: u64,
    /// The time of the last one.
    pub(super) last: Instant,
}

/// The latest moves, those of one alias between the same keys as one: two proxies with one alias take it from each other again and again.
#[derive(Debug, Default)]
pub(super) struct AliasMoves(Mutex<VecDeque<AliasMove>>);

impl AliasMoves {
    fn all(&self) -> MutexGuard<'_, VecDeque<AliasMove>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a move, if the event is one.
    pub(super) fn record(&self, event: &LinkEvent, now: Instant) {
        let (alias, from, to, address) = match event {
            LinkEvent::Replaced { peer, alias, by, address } => (alias, Some(*peer), *by, Some(address.ip().to_canonical())),
            LinkEvent::Restored { peer, alias } => (alias, None, *peer, None),
            _ => return,
        };
        let mut all = self.all();
        let known = all
            .iter()
            .position(|known| known.alias == *alias && known.from == from && known.to == to);
        let count = known.and_then(|at| all.remove(at)).map_or(0, |known| known.count);
        all.truncate(MAX_MOVES - 1);
        all.push_front(AliasMove {
            alias: alias.clone(),
            from,
            to,
            address,
            count: count + 1,
            last: now,
        });
    }

    /// Returns them, the latest first.
    pub(super) fn list(&self) -> Vec<AliasMove> {
        self.all().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
