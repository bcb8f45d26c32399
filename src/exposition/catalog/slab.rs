//! Numbers for things, small and used again.

use std::collections::BTreeSet;
use std::marker::PhantomData;

/// A number for a `T`. Four bytes: there are never four thousand million applications or families.
#[derive(Debug)]
pub(super) struct Id<T>(u32, PhantomData<fn() -> T>);

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Id<T> {}

impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Id<T> {}

impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl<T> std::hash::Hash for Id<T> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<T> Id<T> {
    /// The lowest number of all.
    pub(super) const FIRST: Self = Self(0, PhantomData);

    #[cfg(test)]
    pub(super) const fn nth(number: u32) -> Self {
        Self(number, PhantomData)
    }
}

/// Things by number; the lowest free number is given out first.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: BTreeSet<u32>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: BTreeSet::new(),
        }
    }
}

impl<T> Slab<T> {
    /// Keeps a thing.
    pub(super) fn insert(&mut self, thing: T) -> Id<T> {
        if let Some(at) = self.free.pop_first() {
            self.slots[at as usize] = Some(thing);
            return Id(at, PhantomData);
        }
        let at = u32::try_from(self.slots.len()).expect("memory ends before four thousand million slots");
        if self.slots.len() == self.slots.capacity() {
            // By an eighth, not to the double: there are ten thousands of families, and half of the room would stand empty.
            self.slots.reserve_exact((self.slots.len() / 8).max(16));
        }
        self.slots.push(Some(thing));
        Id(at, PhantomData)
    }

    /// Takes a thing out.
    pub(super) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let thing = self.slots.get_mut(id.0 as usize)?.take()?;
        self.free.insert(id.0);
        Some(thing)
    }

    /// A thing that may be gone.
    pub(super) fn get(&self, id: Id<T>) -> Option<&T> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// A thing that may be gone, to change it.
    pub(super) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    /// All things from number `from` up to but without `to`, in order.
    pub(super) fn range(&self, from: Id<T>, to: Option<Id<T>>) -> impl Iterator<Item = (Id<T>, &T)> {
        let end = to.map_or(self.slots.len(), |to| (to.0 as usize).min(self.slots.len()));
        (from.0..)
            .zip(self.slots.get(from.0 as usize..end).unwrap_or_default())
            .filter_map(|(at, slot)| {
                let thing = slot.as_ref()?;
                Some((Id(at, PhantomData), thing))
            })
    }

    /// The thing with the greatest number.
    pub(super) fn last(&self) -> Option<(Id<T>, &T)> {
        let at = self.slots.iter().rposition(Option::is_some)?;
        Some((Id(u32::try_from(at).ok()?, PhantomData), self.slots[at].as_ref()?))
    }

    /// All things, to change them.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().flatten()
    }

    /// All things in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.range(Id::FIRST, None)
    }
}

impl<T> std::ops::Index<Id<T>> for Slab<T> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        self.get(id).expect("an id is dropped together with what it stands for")
    }
}

impl<T> std::ops::IndexMut<Id<T>> for Slab<T> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        self.slots[id.0 as usize]
            .as_mut()
            .expect("an id is dropped together with what it stands for")
    }
}
