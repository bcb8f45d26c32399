//! Recent refusals and removals, for the status page: a refused update may leave no app behind that could show it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::model::{AppName, cut};

/// Refusals that are kept: some screens of a page.
const MAX_REFUSALS: usize = 100;
/// Removals that are kept.
const MAX_REMOVALS: usize = 100;
/// Bytes of the reason of a refusal: those that name a place in a text are shorter.
const MAX_DETAIL: usize = 400;

/// Refusals of one client for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentRefusal {
    /// The way in: the listener's address, the socket's path, `http`, a polled endpoint.
    pub source: Box<str>,
    /// The client, without the port of its connection.
    pub client: Box<str>,
    /// The value of the label `reason` under which it is counted.
    pub reason: &'static str,
    /// The reason of the last one, with the position.
    pub detail: Box<str>,
    /// The number of refusals.
    pub count: u64,
    /// The time of the last one.
    pub last: Instant,
}

/// The latest refusals. When there are too many, the oldest of the source with the most gives way, so that clients of one listener do not
/// hide the refusals of another one, or of polls.
#[derive(Debug, Default)]
pub(super) struct RecentRefusals(Mutex<Vec<RecentRefusal>>);

impl RecentRefusals {
    fn all(&self) -> MutexGuard<'_, Vec<RecentRefusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a refusal, together with earlier ones of the same client for the same reason.
    pub(super) fn record(&self, source: &str, client: &str, reason: &'static str, detail: &str, now: Instant) {
        let detail = cut(detail, MAX_DETAIL);
        let mut all = self.all();
        let same = |known: &&mut RecentRefusal| known.reason == reason && *known.client == *client && *known.source == *source;
        if let Some(known) = all.iter_mut().find(same) {
            (known.count, known.last) = (known.count + 1, now);
            if *known.detail != *detail {
                known.detail = detail.into();
            }
            return;
        }
        if all.len() >= MAX_REFUSALS {
            let of_source = |source: &str| all.iter().filter(|known| *known.source == *source).count();
            let ranked = all
                .iter()
                .enumerate()
                .max_by_key(|(_, known)| (of_source(&known.source), std::cmp::Reverse(known.last)));
            if let Some((oldest, _)) = ranked {
                all.swap_remove(oldest);
            }
        }
        all.push(RecentRefusal {
            source: source.into(),
            client: client.into(),
            reason,
            detail: detail.into(),
            count: 1,
            last: now,
        });
    }

    /// Returns them, the latest first.
    pub(super) fn list(&self) -> Vec<RecentRefusal> {
        let mut list = self.all().clone();
        list.sort_by_key(|refusal| std::cmp::Reverse(refusal.last));
        list
    }
}

/// The reason for which an app is no longer known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemovalReason {
    /// No update came within `X-Expire-After` of its last one, or `store.expire_after`.
    Expired,
    /// This client deleted it.
    Deleted(Box<str>),
}

/// An app that is no longer known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The app.
    pub app: AppName,
    /// The reason.
    pub reason: RemovalReason,
    /// The time.
    pub at: Instant,
}

/// The latest removals.
#[derive(Debug, Default)]
pub(super) struct RecentRemovals(Mutex<VecDeque<Removal>>);

impl RecentRemovals {
    fn all(&self) -> MutexGuard<'_, VecDeque<Removal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records a removal, in place of an earlier one of the same app.
    pub(super) fn record(&self, removal: Removal) {
        let mut all = self.all();
        all.retain(|known| known.app != removal.app);
        all.truncate(MAX_REMOVALS - 1);
        all.push_front(removal);
    }

    /// Returns them, the latest first.
    pub(super) fn list(&self) -> Vec<Removal> {
        self.all().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests;
