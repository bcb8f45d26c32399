//! One-shot events: one bounded log, and for every scraper a cursor into it.
//!
//! [`Events`] is a state machine: no I/O, no lock, and the time is an argument. An event is stored once, however many
//! scrapers there are; taking it in costs the same with a thousand of them as with one. What each scraper still has to
//! get is worked out when it scrapes, and what it lost is noticed then too, or within a second by the sweep.
//!
//! Two events of one series never share a scrape, because a scrape has one sample for each series: the later waits, in
//! order, and other series pass it by. A cursor is therefore a position and, for each series that has something
//! waiting before that position, the first that waits.
//!
//! At a replica of a cluster the log has the events of all replicas, and a cursor is the set of events that a scraper has received from any of
//! them ([`shared_cursor`]); [`shared`] is what the replicas exchange.

mod absences;
mod cursor;
mod idempotency;
mod journal_entry;
mod lease;
mod listing;
mod log;
mod monotonic;
mod options;
mod owner;
mod pending_changes;
mod position;
mod restore;
mod shared;
mod shared_codec;
mod shared_cursor;
mod sources;
mod state;
mod sweep;
#[cfg(test)]
mod tests;

pub(super) use idempotency::UsedKey;
pub(super) use journal_entry::JournalEntry;
pub(super) use lease::Settle;
pub use lease::{Lease, LeaseId, Scrape, ScraperStatus};
pub use listing::{EventsOverview, PendingEvents, ScraperOverview};
pub use log::StoredEvent;
pub(super) use monotonic::MonotonicClock;
pub use monotonic::MonotonicTime;
pub use options::{EventOptions, MAX_SCRAPERS};
pub(super) use owner::Owner;
#[cfg(test)]
pub(super) use pending_changes::MAX_REMOVALS;
pub(super) use shared::{Dirty, Visit};
pub(super) use shared_codec::decode_event;
pub use shared_codec::inspect_shared;
pub use sources::OriginId;
pub(super) use sources::Source;
pub use state::Accepted;
pub(super) use state::{Admission, Events, LeasedEvents, Submission};
pub use sweep::{DropReason, Dropped};
