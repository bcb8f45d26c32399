//! The apps of each series of a shared family.

use super::app::AppId;
use super::sharded::ShardedTable;

/// The identity of a series in two halves: with an id of four bytes it takes twelve bytes and not sixteen, and every series of every
/// shared family has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series([u32; 2]);

impl From<u64> for Series {
    fn from(series: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = series.to_ne_bytes();
        Self([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
    }
}

impl From<Series> for u64 {
    fn from(Series([low, high]): Series) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
        Self::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

/// A hash of what is a hash already: sums of good hashes are good hashes, but for the sum of nothing.
const fn mixed(series: u64) -> u64 {
    series.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd)
}

/// Entries up to which an index is a sorted list: a family of a few series, of which there may be very many, takes little memory then.
const MOST_LISTED: usize = 16;

/// The apps of each series of a family, by the identity of the series.
#[derive(Debug, Clone)]
pub(super) enum SeriesIndex {
    /// Each series with each of its apps, in order.
    Listed(Vec<(Series, AppId)>),
    /// Tables.
    Hashed(Box<Hashed>),
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
        Self::Listed(Vec::new())
    }
}

impl SeriesIndex {
    /// Notes that an app has a series, unless another one has it: then that one is returned and nothing is added.
    pub(super) fn claim(&mut self, series: u64, app: AppId) -> Option<AppId> {
        match self {
            Self::Listed(list) => {
                let holders = listed(list, series.into());
                if let Some((_, first)) = list[holders.clone()].first() {
                    let mine = list[holders].iter().any(|(_, holder)| *holder == app);
                    return (!mine).then_some(*first);
                }
                insert(list, holders.start, (series.into(), app));
                self.hash_if_long();
                None
            }
            Self::Hashed(hashed) => hashed.claim(series, app),
        }
    }

    /// Notes that an app has a series that another one has as well; returns the one that was its only app until now.
    pub(super) fn add_holder(&mut self, series: u64, app: AppId) -> Option<AppId> {
        match self {
            Self::Listed(list) => {
                let holders = listed(list, series.into());
                let before = &list[holders.clone()];
                let alone = if let [(_, first)] = before { Some(*first) } else { None };
                let at = holders.start + before.partition_point(|(_, holder)| *holder < app);
                insert(list, at, (series.into(), app));
                self.hash_if_long();
                alone
            }
            Self::Hashed(hashed) => hashed.add_holder(series, app),
        }
    }

    /// Notes that an app no longer has a series. Returns whether other apps had it too, and the one that is its only app from now on.
    pub(super) fn release(&mut self, series: u64, app: AppId) -> (bool, Option<AppId>) {
        match self {
            Self::Listed(list) => {
                let holders = listed(list, series.into());
                let Some(at) = list[holders.clone()].iter().position(|(_, holder)| *holder == app) else {
                    return (false, None);
                };
                list.remove(holders.start + at);
                match &list[holders.start..holders.end - 1] {
                    [] => (false, None),
                    [(_, last)] => (true, Some(*last)),
                    _ => (true, None),
                }
            }
            Self::Hashed(hashed) => hashed.release(series, app),
        }
    }

    /// All apps of a series that several have.
    pub(super) fn holders(&self, series: u64) -> Vec<AppId> {
        match self {
            Self::Listed(list) => {
                let holders = list[listed(list, series.into())]
                    .iter()
                    .map(|(_, holder)| *holder)
                    .collect::<Vec<_>>();
                if holders.len() > 1 { holders } else { Vec::new() }
            }
            Self::Hashed(hashed) => hashed.holders(series).to_vec(),
        }
    }

    /// The number of series.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Listed(list) => list.chunk_by(|one, other| one.0 == other.0).count(),
            Self::Hashed(hashed) => hashed.one.len(),
        }
    }

    fn hash_if_long(&mut self) {
        let Self::Listed(list) = self else { return };
        if list.len() <= MOST_LISTED {
            return;
        }
        let mut hashed = Hashed::default();
        for &(series, app) in &*list {
            if hashed.claim(series.into(), app).is_some() {
                hashed.add_holder(series.into(), app);
            }
        }
        *self = Self::Hashed(Box::new(hashed));
    }
}

/// The entries of a series in a list.
fn listed(list: &[(Series, AppId)], series: Series) -> std::ops::Range<usize> {
    let start = list.partition_point(|(it, _)| u64::from(*it) < series.into());
    start..start + list[start..].partition_point(|(it, _)| *it == series)
}

/// Adds an entry; most lists stay very short.
fn insert(list: &mut Vec<(Series, AppId)>, at: usize, entry: (Series, AppId)) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(1));
    }
    list.insert(at, entry);
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
mod tests {
    use super::*;
    use crate::exposition::catalog::paged::Id;
    use proptest::prelude::*;

    #[test]
    fn holders_come_and_go() {
        let [a, b, c] = [0, 1, 2].map(Id::nth);
        for index in [SeriesIndex::default(), SeriesIndex::Hashed(Box::default())] {
            let mut index = index;
            assert_eq!(index.claim(7, a), None);
            assert_eq!(index.claim(7, a), None);
            assert_eq!(index.claim(7, b), Some(a));
            assert_eq!(index.add_holder(7, b), Some(a));
            assert_eq!(index.add_holder(7, c), None);
            assert_eq!(index.holders(7), [a, b, c]);
            assert_eq!(index.release(7, a), (true, None));
            assert_eq!(index.claim(7, a), Some(b));
            assert_eq!(index.release(7, c), (true, Some(b)));
            assert!(index.holders(7).is_empty());
            assert_eq!(index.release(7, c), (false, None));
            assert_eq!(index.len(), 1);
            assert_eq!(index.release(7, b), (false, None));
            assert_eq!(index.claim(7, c), None);
        }
    }

    proptest! {
        #[test]
        fn a_list_that_grows_stays_what_it_was(steps in proptest::collection::vec((0_u64..12, 0_u32..5, any::<bool>()), 0..120)) {
            let (mut index, mut hashed) = (SeriesIndex::default(), SeriesIndex::Hashed(Box::default()));
            for (series, app, comes) in steps {
                let app = Id::nth(app);
                let both = [&mut index, &mut hashed].map(|index| {
                    if !comes {
                        return index.release(series, app);
                    }
                    let holder = index.claim(series, app);
                    let shares = holder.is_some() && !index.holders(series).contains(&app);
                    (holder.is_some(), if shares { index.add_holder(series, app) } else { None })
                });
                prop_assert_eq!(both[0].1, both[1].1);
                prop_assert_eq!(index.len(), hashed.len());
                prop_assert_eq!(index.holders(series), hashed.holders(series));
            }
        }
    }
}
