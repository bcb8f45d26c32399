//! Hash table with open addressing and eight bytes per slot.

/// Range of the initial number of slots.
const FIRST_SLOTS: std::ops::RangeInclusive<usize> = 64..=65_536;

/// Bytes of text that a series usually has at least; only used for the initial size.
const BYTES_A_SERIES: usize = 128;

/// Slots that are kept for the next text (1 MiB); the memory of one huge body is freed.
const KEPT_SLOTS: usize = 1 << 17;

/// Maps hashes to values below [`u32::MAX`]. A slot keeps the upper half of its hash, so growing needs no hashing.
#[derive(Default)]
pub(super) struct HashTable {
    slots: Vec<u64>,
    shift: u32,
    used: usize,
}

impl HashTable {
    /// Clears the table for a text of `bytes` bytes.
    pub(super) fn reset(&mut self, bytes: usize) {
        let slots = (bytes / BYTES_A_SERIES)
            .next_power_of_two()
            .clamp(*FIRST_SLOTS.start(), *FIRST_SLOTS.end());
        self.slots.clear();
        self.lay_out(slots);
    }

    /// Frees capacity that only a huge text needed.
    pub(super) fn trim(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(KEPT_SLOTS);
    }

    fn lay_out(&mut self, slots: usize) {
        self.slots.resize(slots, 0);
        self.shift = u64::BITS - slots.trailing_zeros();
        self.used = 0;
    }

    /// The value at `hash` that satisfies `same`; if there is none, inserts `value`.
    #[inline]
    pub(super) fn find_or_insert(&mut self, hash: u64, value: u32, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        if self.used * 4 >= self.slots.len() * 3 {
            self.grow();
        }
        let entry = hash & !u64::from(u32::MAX) | (u64::from(value) + 1);
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at & mask];
            if slot == 0 {
                self.slots[at & mask] = entry;
                self.used += 1;
                return None;
            }
            let found = Self::value(slot);
            if (slot ^ hash) >> 32 == 0 && same(found) {
                return Some(found);
            }
            at += 1;
        }
    }

    /// The value at `hash` that satisfies `same`.
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let mut at = self.home(hash);
        loop {
            match self.slots[at & mask] {
                0 => return None,
                slot if (slot ^ hash) >> 32 == 0 && same(Self::value(slot)) => return Some(Self::value(slot)),
                _ => at += 1,
            }
        }
    }

    #[inline]
    fn home(&self, hash: u64) -> usize {
        usize::try_from(hash >> self.shift).unwrap_or_default()
    }

    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "the lower half of a slot is the value plus one")]
    const fn value(slot: u64) -> u32 {
        (slot as u32).wrapping_sub(1)
    }

    #[cold]
    fn grow(&mut self) {
        let used = self.used;
        let slots = self.slots.len() * 2;
        let old = std::mem::take(&mut self.slots);
        self.lay_out(slots);
        self.used = used;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let mut at = self.home(slot);
            while self.slots[at & (slots - 1)] != 0 {
                at += 1;
            }
            self.slots[at & (slots - 1)] = slot;
        }
    }
}

#[cfg(test)]
mod tests;
