//! Working memory of the parser, kept per thread, so that parsing allocates little more than its result.

use std::cell::RefCell;
use std::ops::Range;

use super::conformance::Groups;
use super::families::Families;
use super::labels::CachedLabel;
use super::table::HashTable;
use super::template::TemplateBuilder;

/// Capacity for runs that is kept from one text to the next; only interleaved texts have more than one run per family.
const KEPT_RUNS: usize = 16_384;

/// Working memory of one thread: at most about 3 MiB between two texts.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) families: Families,
    pub(super) groups: Groups,
    pub(super) series: HashTable,
    pub(super) runs: Vec<(usize, Range<usize>)>,
    pub(super) labels: Vec<CachedLabel>,
    pub(super) template: TemplateBuilder,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Calls `work` with this thread's working memory.
    pub(super) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            let result = work(scratch);
            scratch.trim();
            result
        })
    }

    /// Clears everything for a text of `bytes` bytes.
    pub(super) fn reset(&mut self, bytes: usize) {
        self.families.reset();
        self.groups.reset();
        self.series.reset(bytes);
        self.runs.clear();
        self.labels.clear();
    }

    /// Frees capacity that only a huge text needed.
    fn trim(&mut self) {
        self.families.trim();
        self.groups.trim();
        self.series.trim();
        self.template.trim();
        self.runs.clear();
        self.runs.shrink_to(KEPT_RUNS);
    }
}
