//! Which applications have which series of a shared family.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use super::App;
use super::slab::Id;

/// A hasher for keys that are hashes already.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Identity(u64);

impl std::hash::Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only whole numbers are keys");
    }

    fn write_u64(&mut self, hash: u64) {
        // Sums of good hashes are good hashes, but for the sum of nothing at all.
        self.0 = hash.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xff51_afd7_ed55_8ccd);
    }
}

type Map<T> = HashMap<Identified, T, BuildHasherDefault<Identity>>;

/// The identity of a series in two halves, so that with a number of four bytes beside it it takes twelve and not sixteen: there is an
/// entry for every series of every shared family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identified([u32; 2]);

impl From<u64> for Identified {
    fn from(series: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = series.to_ne_bytes();
        Self([u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])])
    }
}

impl From<Identified> for u64 {
    fn from(Identified([low, high]): Identified) -> Self {
        let ([a, b, c, d], [e, f, g, h]) = (low.to_ne_bytes(), high.to_ne_bytes());
        Self::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

impl std::hash::Hash for Identified {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        state.write_u64((*self).into());
    }
}

/// The holders of each series of a family, by the identity of the series.
#[derive(Debug, Default)]
pub(super) struct SeriesIndex {
    /// Each series, with the one application that has it or one of several.
    one: Map<Id<App>>,
    /// The series that several applications have, with all of them.
    more: Map<Vec<Id<App>>>,
}

impl SeriesIndex {
    /// Notes that an application has a series, unless another one has it: then it is returned and nothing is noted.
    pub(super) fn claim(&mut self, series: u64, app: Id<App>) -> Option<Id<App>> {
        let holder = *self.one.entry(series.into()).or_insert(app);
        (holder != app).then_some(holder)
    }

    /// Notes that an application has a series that another one has as well; returns the one that had it alone until now.
    pub(super) fn share(&mut self, series: u64, app: Id<App>) -> Option<Id<App>> {
        let first = *self.one.get(&series.into())?;
        let holders = self.more.entry(series.into()).or_insert_with(|| vec![first]);
        let alone = (holders.len() == 1).then_some(first);
        holders.push(app);
        alone
    }

    /// Forgets that an application has a series; returns the one that has it alone from now on.
    pub(super) fn release(&mut self, series: u64, app: Id<App>) -> Option<Id<App>> {
        let Some(holders) = self.more.get_mut(&series.into()) else {
            if self.one.get(&series.into()) == Some(&app) {
                self.one.remove(&series.into());
            }
            return None;
        };
        let at = holders.iter().position(|holder| *holder == app)?;
        holders.remove(at);
        let first = holders[0];
        self.one.insert(series.into(), first);
        (holders.len() == 1).then(|| {
            self.more.remove(&series.into());
            first
        })
    }

    /// All applications that have a series which several have.
    pub(super) fn holders(&self, series: u64) -> &[Id<App>] {
        self.more.get(&series.into()).map_or(&[], |holders| holders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_come_and_go() {
        let [a, b, c] = [0, 1, 2].map(Id::nth);
        let mut index = SeriesIndex::default();
        assert_eq!(index.claim(7, a), None);
        assert_eq!(index.claim(7, b), Some(a));
        assert_eq!(index.share(7, b), Some(a));
        assert_eq!(index.share(7, c), None);
        assert_eq!(index.release(7, a), None);
        assert_eq!(index.claim(7, a), Some(b));
        assert_eq!(index.release(7, c), Some(b));
        assert!(index.holders(7).is_empty());
        assert_eq!(index.release(7, c), None);
        assert_eq!(index.release(7, b), None);
        assert_eq!(index.claim(7, c), None);
    }
}
