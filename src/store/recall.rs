//! What of the applications has to be remembered across a restart, and how it comes back.

use std::collections::HashSet;
use std::sync::Arc;

use super::latest::{Latest, Prepared};
use super::{App, Refused};
use crate::model::{AppName, Timestamp};

/// The name of a family as the catalog compares it.
pub(super) type FamilyKey = Arc<[u8]>;

/// An application's place in the order of first sight, and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
    /// The place.
    pub(super) order: u64,
    /// When the application was first seen.
    pub(super) first_seen: Timestamp,
    /// Its families that bear a label which tells them from other applications'.
    pub(super) labelled: Vec<FamilyKey>,
}

/// Which applications have changed since somebody asked.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// By place. Bounded by the applications there are and those that there were when somebody asked last.
    orders: HashSet<u64, foldhash::fast::RandomState>,
    /// Places from this one on were given since then: who comes and goes in between leaves no trace.
    fresh: u64,
}

impl Touched {
    /// An application in this place has changed.
    pub(super) fn touch(&mut self, order: u64) {
        self.orders.insert(order);
    }

    /// The application in this place is gone.
    pub(super) fn remove(&mut self, order: u64) {
        if order >= self.fresh {
            self.orders.remove(&order);
        } else {
            self.orders.insert(order);
        }
    }
}

impl Latest {
    /// From now on changes are noted.
    pub(super) fn note_changes(&mut self) {
        self.touched = Some(Touched::default());
    }

    /// The places of the applications that have changed since the last call.
    pub(super) fn take_changes(&mut self) -> HashSet<u64, foldhash::fast::RandomState> {
        let fresh = self.next_order();
        self.touched.as_mut().map_or_else(HashSet::default, |touched| {
            touched.fresh = fresh;
            std::mem::take(&mut touched.orders)
        })
    }

    /// The application in a place, and the keys of its families that are labelled to tell them from others'.
    pub(super) fn in_place(&self, order: u64) -> Option<(Arc<App>, Vec<FamilyKey>)> {
        let app = self.by_order(order)?;
        let labelled = self.labelled(&app.name);
        Some((Arc::clone(app), labelled))
    }

    /// Puts an application back that was there before the restart.
    ///
    /// # Errors
    /// When there is no room for it any more.
    pub(super) fn restore(&mut self, standing: Standing, update: Prepared) -> Result<(), Refused> {
        self.reserve(update.app.clone(), standing);
        self.put(update).map(drop)
    }

    /// Keeps a place for an application that was there before the restart and has to come again by itself.
    pub(super) fn reserve(&mut self, name: AppName, standing: Standing) {
        self.skip_orders(standing.order);
        self.reserved.insert(name, standing);
    }
}
