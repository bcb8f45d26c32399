//! Copy-on-write tables with small numeric ids.
//!
//! Cloning a table copies one pointer a page. A page is copied when it is changed while another clone still holds it, so a clone serves
//! as a snapshot that costs what has changed since.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Slots a page. Copying a page of families takes some microseconds.
const PAGE_SLOTS: usize = 512;

/// The number of a `T` in its [`Slab`]. Four bytes: there are fewer than four thousand million apps or families.
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
    /// The lowest id.
    pub(super) const FIRST: Self = Self(0, PhantomData);
    /// An id that is never given out.
    pub(super) const NONE: Self = Self(u32::MAX, PhantomData);

    #[cfg(test)]
    pub(super) const fn nth(number: u32) -> Self {
        Self(number, PhantomData)
    }

    fn new(index: usize) -> Self {
        Self(
            u32::try_from(index).expect("memory ends before four thousand million slots"),
            PhantomData,
        )
    }

    /// The number of ids from a lower one up to this one; some large number from a higher one.
    pub(super) const fn distance(self, lower: Self) -> usize {
        self.0.wrapping_sub(lower.0) as usize
    }

    const fn place(self, page_slots: usize) -> (usize, usize) {
        (self.0 as usize / page_slots, self.0 as usize % page_slots)
    }
}

/// An id that is set through a shared reference, once it is known.
#[derive(Debug)]
pub(super) struct LateId<T>(AtomicU32, PhantomData<fn() -> T>);

impl<T> LateId<T> {
    const UNKNOWN: u32 = Id::<T>::NONE.0 - 1;

    pub(super) const fn unknown() -> Self {
        Self(AtomicU32::new(Self::UNKNOWN), PhantomData)
    }

    /// The id, which may be [`Id::NONE`]; `None` while it is unknown.
    pub(super) fn get(&self) -> Option<Id<T>> {
        let id = self.0.load(Ordering::Relaxed);
        (id != Self::UNKNOWN).then_some(Id(id, PhantomData))
    }

    /// The id, found by `find` while it is unknown. Threads that look for it at the same time find the same.
    pub(super) fn get_or_find(&self, find: impl FnOnce() -> Id<T>) -> Id<T> {
        self.get().unwrap_or_else(|| {
            let id = find();
            self.0.store(id.0, Ordering::Relaxed);
            id
        })
    }
}

impl<T> From<Id<T>> for LateId<T> {
    fn from(id: Id<T>) -> Self {
        Self(AtomicU32::new(id.0), PhantomData)
    }
}

impl<T> Clone for LateId<T> {
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.0.load(Ordering::Relaxed)), PhantomData)
    }
}

/// Values by id, in pages of `SLOTS`; a free id of the lowest page with room is given out first.
#[derive(Debug, Clone)]
pub(super) struct Slab<T, const SLOTS: usize = PAGE_SLOTS> {
    /// Pages; `None` where all slots of a page are free.
    pages: Vec<Option<Arc<Page<T>>>>,
    /// The pages that have a free slot.
    with_room: Arc<BTreeSet<u32>>,
    len: usize,
}

#[derive(Debug, Clone)]
struct Page<T> {
    slots: Vec<Option<T>>,
    used: usize,
    /// All slots below this one are used.
    first_free: usize,
}

impl<T, const SLOTS: usize> Default for Slab<T, SLOTS> {
    fn default() -> Self {
        Self {
            pages: Vec::new(),
            with_room: Arc::default(),
            len: 0,
        }
    }
}

impl<T, const SLOTS: usize> Slab<T, SLOTS> {
    /// The number of values.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// The value of an id that may be free.
    pub(super) fn get(&self, id: Id<T>) -> Option<&T> {
        let (page, slot) = id.place(SLOTS);
        self.pages.get(page)?.as_ref()?.slots.get(slot)?.as_ref()
    }

    /// All values with ids from `from` up to but without `to`, in order.
    pub(super) fn range(&self, from: Id<T>, to: Option<Id<T>>) -> impl Iterator<Item = (Id<T>, &T)> {
        let (first, skip) = from.place(SLOTS);
        let pages = self.pages.iter().enumerate().skip(first);
        let slots = pages.flat_map(move |(number, page)| {
            let skip = if number == first { skip } else { 0 };
            let slots = page.iter().flat_map(|page| page.slots.iter().enumerate()).skip(skip);
            slots.filter_map(move |(slot, value)| Some((Id::new(number * SLOTS + slot), value.as_ref()?)))
        });
        slots.take_while(move |(id, _)| to.is_none_or(|to| *id < to))
    }

    /// All values in order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Id<T>, &T)> {
        self.range(Id::FIRST, None)
    }

    /// The value with the greatest id.
    pub(super) fn last(&self) -> Option<(Id<T>, &T)> {
        let number = self.pages.iter().rposition(Option::is_some)?;
        let slots = &self.pages[number].as_ref()?.slots;
        let slot = slots.iter().rposition(Option::is_some)?;
        Some((Id::new(number * SLOTS + slot), slots[slot].as_ref()?))
    }

    /// The value with the greatest id below `id`.
    pub(super) fn before(&self, id: Id<T>) -> Option<(Id<T>, &T)> {
        let (last, end) = id.place(SLOTS);
        (0..=last.min(self.pages.len().checked_sub(1)?)).rev().find_map(|number| {
            let slots = &self.pages[number].as_ref()?.slots;
            let slots = &slots[..if number == last { end.min(slots.len()) } else { slots.len() }];
            let slot = slots.iter().rposition(Option::is_some)?;
            Some((Id::new(number * SLOTS + slot), slots[slot].as_ref()?))
        })
    }
}

impl<T: Clone, const SLOTS: usize> Slab<T, SLOTS> {
    /// Keeps a value under a free id.
    pub(super) fn insert(&mut self, value: T) -> Id<T> {
        let number = self.with_room.first().map_or(self.pages.len(), |&page| page as usize);
        if number == self.pages.len() {
            self.pages.push(None);
            Arc::make_mut(&mut self.with_room).insert(Id::<T>::new(number).0);
        }
        let page = Arc::make_mut(self.pages[number].get_or_insert_with(|| Arc::new(Page::new())));
        let slot = page.insert(value, SLOTS);
        if page.used == SLOTS {
            Arc::make_mut(&mut self.with_room).pop_first();
        }
        self.len += 1;
        Id::new(number * SLOTS + slot)
    }

    /// Takes a value out and frees its id.
    pub(super) fn remove(&mut self, id: Id<T>) -> Option<T> {
        let (number, slot) = id.place(SLOTS);
        let kept = self.pages.get_mut(number)?;
        let page = Arc::make_mut(kept.as_mut()?);
        let value = page.slots.get_mut(slot)?.take()?;
        page.first_free = page.first_free.min(slot);
        page.used -= 1;
        let (is_empty, was_full) = (page.used == 0, page.used == SLOTS - 1);
        if is_empty {
            *kept = None;
        }
        if was_full {
            Arc::make_mut(&mut self.with_room).insert(Id::<T>::new(number).0);
        }
        self.len -= 1;
        while matches!(self.pages.last(), Some(None)) {
            self.pages.pop();
            Arc::make_mut(&mut self.with_room).remove(&Id::<T>::new(self.pages.len()).0);
        }
        Some(value)
    }

    /// The value of an id that may be free, to change it.
    pub(super) fn get_mut(&mut self, id: Id<T>) -> Option<&mut T> {
        let (page, slot) = id.place(SLOTS);
        Arc::make_mut(self.pages.get_mut(page)?.as_mut()?).slots.get_mut(slot)?.as_mut()
    }
}

impl<T> Page<T> {
    fn new() -> Self {
        Self {
            slots: Vec::new(),
            used: 0,
            first_free: 0,
        }
    }

    fn insert(&mut self, value: T, page_slots: usize) -> usize {
        let free = self.slots[self.first_free.min(self.slots.len())..].iter().position(Option::is_none);
        let slot = free.map_or(self.slots.len(), |free| self.first_free + free);
        if slot == self.slots.len() {
            if slot == self.slots.capacity() {
                // By a quarter and not to the double, and never beyond the page.
                let more = (slot / 4).max(8).min(page_slots - slot);
                self.slots.reserve_exact(more);
            }
            self.slots.push(Some(value));
        } else {
            self.slots[slot] = Some(value);
        }
        self.used += 1;
        self.first_free = slot + 1;
        slot
    }
}

impl<T, const SLOTS: usize> std::ops::Index<Id<T>> for Slab<T, SLOTS> {
    type Output = T;

    fn index(&self, id: Id<T>) -> &T {
        self.get(id).expect("an id is dropped together with its value")
    }
}

impl<T: Clone, const SLOTS: usize> std::ops::IndexMut<Id<T>> for Slab<T, SLOTS> {
    fn index_mut(&mut self, id: Id<T>) -> &mut T {
        self.get_mut(id).expect("an id is dropped together with its value")
    }
}

/// Values in a fixed order, copied on write a page at a time.
#[derive(Debug, Clone)]
pub(super) struct PagedVec<T> {
    pages: Vec<Arc<Vec<T>>>,
    len: usize,
}

impl<T> Default for PagedVec<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }
}

impl<T> FromIterator<T> for PagedVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        let mut values = values.into_iter();
        let (mut pages, mut len) = (Vec::new(), 0);
        loop {
            let mut page: Vec<T> = values.by_ref().take(PAGE_SLOTS).collect();
            if page.is_empty() {
                pages.shrink_to_fit();
                return Self { pages, len };
            }
            page.shrink_to_fit();
            len += page.len();
            pages.push(Arc::new(page));
        }
    }
}

impl<T> PagedVec<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE_SLOTS)?.get(at % PAGE_SLOTS)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flat_map(|page| page.iter())
    }
}

impl<T: Clone> PagedVec<T> {
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        Arc::make_mut(self.pages.get_mut(at / PAGE_SLOTS)?).get_mut(at % PAGE_SLOTS)
    }
}

impl<T> std::ops::Index<usize> for PagedVec<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE_SLOTS][at % PAGE_SLOTS]
    }
}

#[cfg(test)]
mod tests;
