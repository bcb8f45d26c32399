//! A copy-on-write hash table.

use std::sync::Arc;

use hashbrown::HashTable;

/// Values before the table is split into shards: copying one shard stays a matter of microseconds.
const SPLIT_AT: usize = 4_096;
const SHARDS: usize = 256;

/// A hash table that is cloned by copying one pointer a shard. Callers bring the hash and the comparison.
#[derive(Debug, Clone)]
pub(super) struct ShardedTable<T> {
    /// None while it is empty, one, or [`SHARDS`].
    shards: Vec<Arc<HashTable<T>>>,
    len: usize,
}

impl<T> Default for ShardedTable<T> {
    fn default() -> Self {
        Self {
            shards: Vec::new(),
            len: 0,
        }
    }
}

impl<T> ShardedTable<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn shard(&self, hash: u64) -> usize {
        if self.shards.len() == SHARDS { shard_of(hash) } else { 0 }
    }

    /// The value with this hash that `same` accepts.
    pub(super) fn find(&self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&T> {
        self.shards.get(self.shard(hash))?.find(hash, same)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }
}

/// The bits that choose a shard are neither those that choose a bucket nor those that a bucket keeps.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() % SHARDS
}

impl<T: Clone> ShardedTable<T> {
    /// Adds a value that is not there yet; `rehash` returns the hash of any value.
    pub(super) fn insert(&mut self, hash: u64, value: T, rehash: impl Fn(&T) -> u64) {
        if self.shards.is_empty() {
            self.shards.push(Arc::default());
        } else if self.len == SPLIT_AT && self.shards.len() == 1 {
            self.split(&rehash);
        }
        let at = self.shard(hash);
        Arc::make_mut(&mut self.shards[at]).insert_unique(hash, value, rehash);
        self.len += 1;
    }

    fn split(&mut self, rehash: &impl Fn(&T) -> u64) {
        let old = self.shards.pop().unwrap_or_default();
        let mut shards: Vec<HashTable<T>> = (0..SHARDS).map(|_| HashTable::new()).collect();
        for value in old.iter() {
            let hash = rehash(value);
            shards[shard_of(hash)].insert_unique(hash, value.clone(), rehash);
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }

    /// The value with this hash that `same` accepts, to change it.
    pub(super) fn find_mut(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = self.shard(hash);
        Arc::make_mut(self.shards.get_mut(at)?).find_mut(hash, same)
    }

    /// Takes out the value with this hash that `same` accepts.
    pub(super) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool, rehash: impl Fn(&T) -> u64) -> Option<T> {
        let at = self.shard(hash);
        let shard = Arc::make_mut(self.shards.get_mut(at)?);
        let (value, _) = shard.find_entry(hash, same).ok()?.remove();
        self.len -= 1;
        if self.len == 0 {
            self.shards = Vec::new();
        } else if shard.capacity() > 64 && shard.len() * 8 < shard.capacity() {
            shard.shrink_to(shard.len() * 2, rehash);
        }
        Some(value)
    }
}

#[cfg(test)]
mod tests;
