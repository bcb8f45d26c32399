//! The apps of each series of a shared family.

use std::sync::Arc;

use super::app::AppId;
use super::halves::Halves;
use super::sharded::ShardedTable;

/// The identity of a series.
pub(super) type Series = Halves;

/// A hash of what is a hash already: sums of good hashes are good hashes, but for the sum of nothing.
const fn mixed(series: u64) -> u64 {
    series.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// Entries up to which an index is a sorted list: a family of a few series, of which there may be very many, takes little memory then.
const MOST_LISTED: usize = 16;

/// A series and an app that has it.
type Holder = (Series, AppId);

const NO_HOLDER: Holder = (Series::ZERO, AppId::NONE);

/// The apps of each series of a family, by the identity of the series.
#[derive(Debug, Clone)]
pub(super) enum SeriesIndex {
    /// Each series with each of its apps, in order.
    Listed(HolderList),
    /// Tables.
    Hashed(Arc<Hashed>),
}

/// A short list in order. The most frequent ones have two entries, of a series that two apps have or of two series, and need no allocation.
#[derive(Debug, Clone)]
pub(super) enum HolderList {
    /// At most two: their number, and slots of which the first are used.
    Two(u8, [Holder; 2]),
    /// At most [`MOST_LISTED`], shared with snapshots.
    More(Arc<[Holder]>),
}

impl HolderList {
    const EMPTY: Self = Self::Two(0, [NO_HOLDER; 2]);

    fn as_slice(&self) -> &[Holder] {
        match self {
            Self::Two(len, slots) => &slots[..usize::from(*len)],
            Self::More(list) => list,
        }
    }

    fn insert(&mut self, at: usize, holder: Holder) {
        match self {
            Self::Two(len @ 0..2, slots) => {
                slots[at..].rotate_right(1);
                slots[at] = holder;
                *len += 1;
            }
            Self::Two(..) | Self::More(_) => {
                let (before, after) = self.as_slice().split_at(at);
                let list = [before, &[holder], after].concat();
                *self = Self::More(list.into());
            }
        }
    }

    fn remove(&mut self, at: usize) {
        match self {
            Self::Two(len, slots) => {
                slots[at..].rotate_left(1);
                *len -= 1;
            }
            Self::More(list) => {
                let list = [&list[..at], &list[at + 1..]].concat();
                *self = match *list {
                    // At one and not at two, so that a series that comes and goes does not change the form each time.
                    [last] => Self::Two(1, [last, NO_HOLDER]),
                    _ => Self::More(list.into()),
                };
            }
        }
    }
}

/// The same for a family of many series.
#[derive(Debug, Clone, Default)]
pub(super) struct Hashed {
    /// Each series, with the only app that has it or one of several.
    one: ShardedTable<(Series, AppId)>,
    /// The series that several apps have, with all of them in order.
    more: ShardedTable<(Series, Vec<AppId>)>,
}

impl Default for SeriesIndex {
    fn default() -> Self {
        Self::Listed(HolderList::EMPTY)
    }
}

impl SeriesIndex {
    /// Notes that an app has a series, unless another one has it: then that one is returned and nothing is added.
    pub(super) fn claim(&mut self, series: u64, app: AppId) -> Option<AppId> {
        match self {
            Self::Listed(list) => {
                let (slice, holders) = listed(list, series.into());
                if let Some((_, first)) = slice[holders.clone()].first() {
                    let mine = slice[holders].iter().any(|(_, holder)| *holder == app);
                    return (!mine).then_some(*first);
                }
                list.insert(holders.start, (series.into(), app));
                self.hash_if_long();
                None
            }
            Self::Hashed(hashed) => Arc::make_mut(hashed).claim(series, app),
        }
    }

    /// Notes that an app has a series that another one has as well; returns the one that was its only app until now.
    pub(super) fn add_holder(&mut self, series: u64, app: AppId) -> Option<AppId> {
        match self {
            Self::Listed(list) => {
                let (slice, holders) = listed(list, series.into());
                let before = &slice[holders.clone()];
                let alone = if let [(_, first)] = before { Some(*first) } else { None };
                let at = holders.start + before.partition_point(|(_, holder)| *holder < app);
                list.insert(at, (series.into(), app));
                self.hash_if_long();
                alone
            }
            Self::Hashed(hashed) => Arc::make_mut(hashed).add_holder(series, app),
        }
    }

    /// Notes that an app no longer has a series. Returns whether other apps had it too, and the one that is its only app from now on.
    pub(super) fn release(&mut self, series: u64, app: AppId) -> (bool, Option<AppId>) {
        match self {
            Self::Listed(list) => {
                let (slice, holders) = listed(list, series.into());
                let Some(at) = slice[holders.clone()].iter().position(|(_, holder)| *holder == app) else {
                    return (false, None);
                };
                list.remove(holders.start + at);
                match &list.as_slice()[holders.start..holders.end - 1] {
                    [] => (false, None),
                    [(_, last)] => (true, Some(*last)),
                    _ => (true, None),
                }
            }
            Self::Hashed(hashed) => Arc::make_mut(hashed).release(series, app),
        }
    }

    /// All apps of a series that several have.
    pub(super) fn holders(&self, series: u64) -> Vec<AppId> {
        match self {
            Self::Listed(list) => {
                let (slice, holders) = listed(list, series.into());
                let holders: Vec<_> = slice[holders].iter().map(|(_, holder)| *holder).collect();
                if holders.len() > 1 { holders } else { Vec::new() }
            }
            Self::Hashed(hashed) => hashed.holders(series).to_vec(),
        }
    }

    /// About how many bytes it takes beside the entry that it is in.
    pub(super) fn bytes(&self) -> usize {
        /// A series in its table, which is two thirds full on average.
        const SERIES: usize = 20;
        /// A series of several apps in its table, and the list of them, which mostly are two.
        const SHARED_SERIES: usize = 92;
        match self {
            Self::Listed(HolderList::Two(..)) => 0,
            Self::Listed(HolderList::More(list)) => list.len() * size_of::<Holder>() + 32,
            Self::Hashed(hashed) => hashed.one.len() * SERIES + hashed.more.len() * SHARED_SERIES,
        }
    }

    /// The number of series.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(list) => list.as_slice().chunk_by(|one, other| one.0 == other.0).count(),
            Self::Hashed(hashed) => hashed.one.len(),
        }
    }

    fn hash_if_long(&mut self) {
        let Self::Listed(list) = self else { return };
        let list = list.as_slice();
        if list.len() <= MOST_LISTED {
            return;
        }
        let mut hashed = Hashed::default();
        for &(series, app) in list {
            if hashed.claim(series.into(), app).is_some() {
                hashed.add_holder(series.into(), app);
            }
        }
        *self = Self::Hashed(Arc::new(hashed));
    }
}

/// A list, and the places of a series in it.
fn listed(list: &HolderList, series: Series) -> (&[Holder], std::ops::Range<usize>) {
    let list = list.as_slice();
    let start = list.partition_point(|(it, _)| u64::from(*it) < series.into());
    (list, start..start + list[start..].partition_point(|(it, _)| *it == series))
}

impl Hashed {
    /// Notes that an app has a series, unless another one has it: then that one is returned and nothing is added.
    fn claim(&mut self, series: u64, app: AppId) -> Option<AppId> {
        let hash = mixed(series);
        match self.one.find(hash, |(it, _)| *it == series.into()) {
            Some((_, holder)) => (*holder != app).then_some(*holder),
            None => {
                self.one.insert(hash, (series.into(), app), |(it, _)| mixed((*it).into()));
                None
            }
        }
    }

    /// Notes that an app has a series that another one has as well; returns the one that was its only app until now.
    fn add_holder(&mut self, series: u64, app: AppId) -> Option<AppId> {
        let hash = mixed(series);
        if let Some((_, holders)) = self.more.find_mut(hash, |(it, _)| *it == series.into()) {
            if let Err(at) = holders.binary_search(&app) {
                holders.insert(at, app);
            }
            return None;
        }
        let (_, first) = *self.one.find(hash, |(it, _)| *it == series.into())?;
        let mut holders = vec![first, app];
        holders.sort_unstable();
        self.more.insert(hash, (series.into(), holders), |(it, _)| mixed((*it).into()));
        Some(first)
    }

    /// Notes that an app no longer has a series. Returns whether other apps had it too, and the one that is its only app from now on.
    fn release(&mut self, series: u64, app: AppId) -> (bool, Option<AppId>) {
        let hash = mixed(series);
        let same = |it: &Series| *it == series.into();
        let Some((_, holders)) = self.more.find_mut(hash, |(it, _)| same(it)) else {
            if self.one.find(hash, |(it, _)| same(it)).is_some_and(|(_, holder)| *holder == app) {
                self.one.remove(hash, |(it, _)| same(it), |(it, _)| mixed((*it).into()));
            }
            return (false, None);
        };
        let Ok(at) = holders.binary_search(&app) else {
            return (false, None);
        };
        holders.remove(at);
        let (first, alone) = (holders[0], holders.len() == 1);
        if let Some((_, holder)) = self.one.find_mut(hash, |(it, _)| same(it)) {
            *holder = first;
        }
        if alone {
            self.more.remove(hash, |(it, _)| same(it), |(it, _)| mixed((*it).into()));
        }
        (true, alone.then_some(first))
    }

    /// All apps of a series that several have.
    fn holders(&self, series: u64) -> &[AppId] {
        self.more
            .find(mixed(series), |(it, _)| *it == series.into())
            .map_or(&[], |(_, holders)| holders)
    }
}

#[cfg(test)]
mod tests;
