//! Hash of a series.
//!
//! The hash is the wrapping sum of a hash of the name and one of each label, so the order of labels does not matter and a label can be
//! added later. The seed is random per process: hashes agree across applications, and senders cannot construct collisions.
//! A label with an empty value adds nothing, because Prometheus takes `foo{a=""}` and `foo` for the same series.
//!
//! Names and values are hashed in escaped form: escaping is one-to-one, so equal strings have equal bytes.

use std::hash::Hasher;
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// Seed of metric names, so that a label with the same name has another hash.
const NAME_SEED: u64 = 0x6e61_6d65;
/// Seed of label names.
const LABEL_SEED: u64 = 0x006c_6162_656c;

/// The seed of this process.
#[derive(Clone, Copy)]
pub(crate) struct Seed(&'static SharedSeed);

static SEED: LazyLock<Seed> = LazyLock::new(|| Seed(SharedSeed::global_random()));

impl Seed {
    /// The seed of this process.
    pub(crate) fn get() -> Self {
        *SEED
    }

    #[inline]
    fn hash(self, seed: u64, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(seed, self.0);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Hash of a metric name.
    #[inline]
    pub(crate) fn name(self, name: &[u8]) -> u64 {
        self.hash(NAME_SEED, name)
    }

    /// Hash of a label name, used as the seed for its values.
    #[inline]
    pub(crate) fn label_name(self, name: &[u8]) -> u64 {
        self.hash(LABEL_SEED, name)
    }

    /// Hash of a label, given the [`Seed::label_name`] of its name.
    #[inline]
    pub(crate) fn label_value(self, name: u64, value: &[u8]) -> u64 {
        if value.is_empty() { 0 } else { self.hash(name, value) }
    }
}

/// Hash of a metric name, which is escaped and without quotes.
pub(crate) fn name_hash(name: &[u8]) -> u64 {
    Seed::get().name(name)
}

/// Hash of a label: add it with `wrapping_add` to [`Sample::hash`](crate::Sample::hash) to get the hash of the series with this label.
/// Name and value are escaped and without quotes; 0 for an empty value.
pub(crate) fn label_hash(name: &[u8], value: &[u8]) -> u64 {
    let seed = Seed::get();
    seed.label_value(seed.label_name(name), value)
}
