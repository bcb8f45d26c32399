//! The apps of each series of a shared family.

use super::app::AppId;
use super::sharded::ShardedTable;

/// The identity of a series in two halves: with an id of four bytes it takes twelve bytes and not sixteen, and every series of every
/// shared family has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Series([u32; 2]);

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

/// The apps of each series of a family, by the identity of the series.
#[derive(Debug, Clone, Default)]
pub(super) struct SeriesIndex {
    /// Each series, with the only app that has it or one of several.
    one: ShardedTable<(Series, AppId)>,
    /// The series that several apps have, with all of them in order.
    more: ShardedTable<(Series, Vec<AppId>)>,
}

impl SeriesIndex {
    /// Notes that an app has a series, unless another one has it: then that one is returned and nothing is noted.
    pub(super) fn claim(&mut self, series: u64, app: AppId) -> Option<AppId> {
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
    pub(super) fn share(&mut self, series: u64, app: AppId) -> Option<AppId> {
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
    pub(super) fn release(&mut self, series: u64, app: AppId) -> (bool, Option<AppId>) {
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
    pub(super) fn holders(&self, series: u64) -> &[AppId] {
        self.more
            .find(mixed(series), |(it, _)| *it == series.into())
            .map_or(&[], |(_, holders)| holders)
    }

    /// The number of series.
    pub(super) const fn len(&self) -> usize {
        self.one.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exposition::catalog::paged::Id;

    #[test]
    fn holders_come_and_go() {
        let [a, b, c] = [0, 1, 2].map(Id::nth);
        let mut index = SeriesIndex::default();
        assert_eq!(index.claim(7, a), None);
        assert_eq!(index.claim(7, b), Some(a));
        assert_eq!(index.share(7, b), Some(a));
        assert_eq!(index.share(7, c), None);
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
