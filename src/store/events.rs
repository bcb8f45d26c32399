//! One-shot events: one bounded log, and for every scraper a cursor into it.
//!
//! [`Events`] is a state machine: no I/O, no lock, and the time is an argument. An event is stored once, however many
//! scrapers there are; taking it in costs the same with a thousand of them as with one. What each scraper still has to
//! get is worked out when it scrapes, and what it lost is noticed then too, or within a second by the sweep.
//!
//! Two events of one series never share a scrape, because a scrape has one sample for each series: the later waits, in
//! order, and other series pass it by. A cursor is therefore a position and, for each series that has something
//! waiting before that position, the first that waits.

mod cursor;
mod entry;
mod keys;
mod lease;
mod listing;
mod log;
#[cfg(test)]
mod model_test;
mod notes;
mod options;
mod restore;
mod state;
mod steady;
mod sweep;
#[cfg(test)]
mod tests;

pub(super) use entry::Entry;
pub(super) use keys::Used;
pub(super) use lease::Settle;
pub use lease::{Lease, LeaseId, Scrape, Standing};
pub use listing::{EventsOverview, PendingEvents, ScraperOverview};
pub use log::Recorded;
pub use options::{EventOptions, MAX_SCRAPERS};
pub use state::Accepted;
pub(super) use state::{Events, Offer, Verdict};
pub use steady::Moment;
pub(super) use steady::Steady;
pub use sweep::{DropReason, Dropped};
