//! The identity of a series as a number.
//!
//! It is the wrapping sum of a number for the name and one for each label, so the order of labels does not matter and a label can
//! be added later. The seed is drawn once per process: numbers agree across applications, and nobody outside can aim at a collision.
//! A label with an empty value counts for nothing, because Prometheus takes `foo{a=""}` and `foo` for the same series.
//!
//! Names and values are taken as escaped: escaping is one-to-one, so equal strings have equal bytes.

use std::hash::Hasher;
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// Tells metric names from label names that are spelled alike.
const NAME_SEED: u64 = 0x6e61_6d65;
/// The seed of label names.
const LABEL_SEED: u64 = 0x006c_6162_656c;

/// The seed of this process.
#[derive(Clone, Copy)]
pub(super) struct Seed(&'static SharedSeed);

static SEED: LazyLock<Seed> = LazyLock::new(|| Seed(SharedSeed::global_random()));

impl Seed {
    /// The one seed.
    pub(super) fn get() -> Self {
        *SEED
    }

    #[inline]
    fn hash(self, seed: u64, bytes: &[u8]) -> u64 {
        let mut hasher = FoldHasher::with_seed(seed, self.0);
        hasher.write(bytes);
        hasher.finish()
    }

    /// What a metric name adds to the identity.
    #[inline]
    pub(super) fn name(self, name: &[u8]) -> u64 {
        self.hash(NAME_SEED, name)
    }

    /// The seed that a label name makes for its values.
    #[inline]
    pub(super) fn label_name(self, name: &[u8]) -> u64 {
        self.hash(LABEL_SEED, name)
    }

    /// What a label adds, given the [`Seed::label_name`] of its name.
    #[inline]
    pub(super) fn label_value(self, name: u64, value: &[u8]) -> u64 {
        if value.is_empty() { 0 } else { self.hash(name, value) }
    }
}

/// What a metric name adds to the identity of its series. Escaped, without quotes.
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    Seed::get().name(name)
}

/// What a label adds to the identity of a series: add it with `wrapping_add` to [`Sample::hash`](super::Sample::hash) for the
/// identity that the series has once it carries the label as well. Both escaped, without quotes; 0 for an empty value.
#[must_use]
pub fn label_hash(name: &[u8], value: &[u8]) -> u64 {
    let seed = Seed::get();
    seed.label_value(seed.label_name(name), value)
}
