//! A copy-on-write hash table.

use std::sync::Arc;

use hashbrown::HashTable;

/// Values before the table is split into shards: copying one shard stays a matter of microseconds.
const SPLIT_AT: usize = 4_096;
const SHARDS: usize = 256;

/// Values in a shard, for each of its tables, before the shard gets twice as many tables: what a full hash table of 256 buckets holds. A
/// change copies one such table if a clone shares it, however large the whole is.
const DIVIDE_AT: usize = 224;

/// The most tables of a shard, which reach for tens of millions of values.
const MAX_TABLES: usize = 1 << 10;

/// A hash table that is cloned by copying one pointer a shard. Callers bring the hash and the comparison.
#[derive(Debug, Clone)]
pub(super) struct ShardedTable<T> {
    /// None while it is empty, one, or [`SHARDS`].
    shards: Vec<Arc<Shard<T>>>,
    len: usize,
}

/// The values with some bits of their hash in common.
#[derive(Debug, Clone)]
struct Shard<T> {
    /// A power of two.
    tables: Vec<Arc<HashTable<T>>>,
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

impl<T> Default for Shard<T> {
    fn default() -> Self {
        Self {
            tables: vec![Arc::default()],
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
        let shard = self.shards.get(self.shard(hash))?;
        shard.tables[table_of(hash, shard.tables.len())].find(hash, same)
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        let tables = self.shards.iter().flat_map(|shard| shard.tables.iter());
        tables.flat_map(|table| table.iter())
    }
}

/// The bits that choose a shard, or a table of one, are neither those that choose a bucket nor those that a bucket keeps.
fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> 40).unwrap_or_default() % SHARDS
}

fn table_of(hash: u64, tables: usize) -> usize {
    usize::try_from(hash >> 24).unwrap_or_default() & (tables - 1)
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
        let shard = Arc::make_mut(&mut self.shards[at]);
        // A table that is not split yet may be larger.
        if self.len > SPLIT_AT && shard.len >= DIVIDE_AT * shard.tables.len() && shard.tables.len() < MAX_TABLES {
            shard.divide(shard.tables.len() * 2, &rehash);
        }
        shard.table(hash).insert_unique(hash, value, rehash);
        shard.len += 1;
        self.len += 1;
    }

    fn split(&mut self, rehash: &impl Fn(&T) -> u64) {
        let old = self.shards.pop().unwrap_or_default();
        let mut shards: Vec<Shard<T>> = (0..SHARDS).map(|_| Shard::default()).collect();
        for value in old.tables.iter().flat_map(|table| table.iter()) {
            let hash = rehash(value);
            let shard = &mut shards[shard_of(hash)];
            shard.table(hash).insert_unique(hash, value.clone(), rehash);
            shard.len += 1;
        }
        self.shards = shards.into_iter().map(Arc::new).collect();
    }

    /// The value with this hash that `same` accepts, to change it.
    pub(super) fn find_mut(&mut self, hash: u64, same: impl FnMut(&T) -> bool) -> Option<&mut T> {
        let at = self.shard(hash);
        Arc::make_mut(self.shards.get_mut(at)?).table(hash).find_mut(hash, same)
    }

    /// Takes out the value with this hash that `same` accepts.
    pub(super) fn remove(&mut self, hash: u64, same: impl FnMut(&T) -> bool, rehash: impl Fn(&T) -> u64) -> Option<T> {
        let at = self.shard(hash);
        let shard = Arc::make_mut(self.shards.get_mut(at)?);
        let table = shard.table(hash);
        let (value, _) = table.find_entry(hash, same).ok()?.remove();
        if table.capacity() > 64 && table.len() * 8 < table.capacity() {
            table.shrink_to(table.len() * 2, &rehash);
        }
        shard.len -= 1;
        self.len -= 1;
        if self.len == 0 {
            self.shards = Vec::new();
        } else if shard.tables.len() > 1 && shard.len < DIVIDE_AT * shard.tables.len() / 8 {
            shard.divide(shard.tables.len() / 2, &rehash);
        }
        Some(value)
    }
}

impl<T: Clone> Shard<T> {
    /// The table for this hash, to change it.
    fn table(&mut self, hash: u64) -> &mut HashTable<T> {
        let at = table_of(hash, self.tables.len());
        Arc::make_mut(&mut self.tables[at])
    }

    /// Distributes the values over a number of tables that is a power of two.
    fn divide(&mut self, tables: usize, rehash: &impl Fn(&T) -> u64) {
        let each = self.len / tables;
        let mut divided: Vec<HashTable<T>> = (0..tables).map(|_| HashTable::with_capacity(each)).collect();
        for value in self.tables.iter().flat_map(|table| table.iter()) {
            let hash = rehash(value);
            divided[table_of(hash, tables)].insert_unique(hash, value.clone(), rehash);
        }
        self.tables = divided.into_iter().map(Arc::new).collect();
    }
}

#[cfg(test)]
mod tests;
