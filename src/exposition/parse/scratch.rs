//! What reading needs besides the text, kept for the next text on the same thread, so that reading allocates little but its result.

use std::cell::RefCell;
use std::ops::Range;

use super::conformance::Groups;
use super::families::Families;
use super::labels::CachedLabel;
use super::table::Table;

/// The most runs that room is kept for; only badly sorted texts have more than one a family.
const KEPT_RUNS: usize = 16_384;

/// The working memory of one thread: at most some 3 MiB between two texts.
#[derive(Default)]
pub(super) struct Scratch {
    pub(super) families: Families,
    pub(super) groups: Groups,
    pub(super) series: Table,
    pub(super) runs: Vec<(usize, Range<usize>)>,
    pub(super) labels: Vec<CachedLabel>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl Scratch {
    /// Lends this thread's.
    pub(super) fn with<T>(work: impl FnOnce(&mut Self) -> T) -> T {
        SCRATCH.with_borrow_mut(|scratch| {
            let result = work(scratch);
            scratch.trim();
            result
        })
    }

    /// Empties all, for a text of so many bytes.
    pub(super) fn reset(&mut self, bytes: usize) {
        self.families.reset();
        self.groups.reset();
        self.series.reset(bytes);
        self.runs.clear();
        self.labels.clear();
    }

    /// Gives back what only a huge text needed.
    fn trim(&mut self) {
        self.families.trim();
        self.groups.trim();
        self.series.trim();
        self.runs.clear();
        self.runs.shrink_to(KEPT_RUNS);
    }
}
