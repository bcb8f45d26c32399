//! The reading half.

use std::sync::{Arc, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use super::events::Settle as _;
use super::{App, EventsOverview, Lease, LeaseId, Recorded, Scrape, Shared};
use crate::exposition::gzip::{Compressor, Effort, Piece};
use crate::exposition::raw;
use crate::model::{ScraperId, Timestamp};

/// The reading half of a store. Cloning it is cheap.
#[derive(Debug, Clone)]
pub struct View {
    shared: Arc<Shared>,
}

/// How much is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Applications, those without data included.
    pub apps: usize,
    /// Bytes of exposition text.
    pub bytes: u64,
}

/// What was rendered last, and of which generation.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    generation: Option<u64>,
    exposed: Exposed,
}

/// The exposition of all applications at one moment. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct Exposed {
    segments: Arc<[Bytes]>,
    pieces: Arc<OnceLock<Arc<[Piece]>>>,
}

impl Exposed {
    /// The text, as a list of slices.
    #[must_use]
    pub fn segments(&self) -> &[Bytes] {
        &self.segments
    }

    /// The text deflated, ready to be joined. Whoever asks first compresses it, which takes some 10 ms a megabyte, and
    /// the others wait; afterwards it is there.
    #[must_use]
    pub fn pieces(&self) -> Arc<[Piece]> {
        let deflate = || {
            let mut compressor = Compressor::new();
            let piece = |segment: &Bytes| Piece::compress(std::slice::from_ref(segment), Effort::Fast, &mut compressor);
            self.segments.iter().map(piece).collect()
        };
        Arc::clone(self.pieces.get_or_init(deflate))
    }
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// All applications in the order of first sight.
    #[must_use]
    pub fn apps(&self) -> Vec<Arc<App>> {
        self.shared.latest().apps().cloned().collect()
    }

    /// One application.
    #[must_use]
    pub fn app(&self, name: &str) -> Option<Arc<App>> {
        self.shared.latest().get(name).cloned()
    }

    /// The exposition of one application alone; `None` if it is unknown.
    #[must_use]
    pub fn app_exposition(&self, name: &str) -> Option<Exposed> {
        let body = self.app(name)?.body.clone();
        Some(Exposed {
            segments: raw::concatenate([&body]).into(),
            pieces: Arc::default(),
        })
    }

    /// How much is stored now.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let latest = self.shared.latest();
        Totals {
            apps: latest.len(),
            bytes: latest.bytes(),
        }
    }

    /// A number that changes whenever an application's data or its time of update does.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.shared.latest().generation()
    }

    /// The age at which pushed applications are forgotten.
    #[must_use]
    pub fn expire_after(&self) -> Option<Duration> {
        self.shared.latest().limits.expire_after
    }

    /// The events for a scrape of this scraper, lent until the lease is settled. A first scrape makes the scraper known.
    #[must_use]
    pub fn scrape(&self, who: &ScraperId, now: Timestamp) -> Scrape {
        let (lent, explicit_timestamps, changed) = {
            let mut events = self.shared.events();
            (events.scrape(who, now), events.explicit_timestamps(), events.has_changes())
        };
        self.shared.tell_journal(changed);
        let store = || Arc::clone(&self.shared) as Arc<dyn super::events::Settle>;
        Scrape {
            events: lent.events,
            lease: lent.lease.map(|id| Lease::new(id, store())),
            standing: lent.standing,
            explicit_timestamps,
        }
    }

    /// The events that a scrape would get now, taking nothing and making nobody known.
    #[must_use]
    pub fn peek(&self, who: &ScraperId) -> Vec<Arc<Recorded>> {
        self.shared.events().peek(who)
    }

    /// The lease that a scraper holds: the fate of an earlier scrape of it is still open.
    #[must_use]
    pub fn outstanding(&self, who: &ScraperId) -> Option<LeaseId> {
        self.shared.events().outstanding(who)
    }

    /// Settles a lease from outside: its events were delivered, or are due again. False if it had been settled already.
    pub fn settle(&self, lease: LeaseId, delivered: bool) -> bool {
        self.shared.settle(lease, delivered)
    }

    /// Whether the samples of events bear timestamps.
    #[must_use]
    pub fn explicit_timestamps(&self) -> bool {
        self.shared.events().explicit_timestamps()
    }

    /// How many events were accepted so far, and how many each scraper has not got yet.
    #[must_use]
    pub fn event_counts(&self) -> (u64, Vec<(ScraperId, u64)>) {
        let events = self.shared.events();
        (events.accepted_so_far(), events.pending())
    }

    /// Events and scrapers, for a person to look at.
    #[must_use]
    pub fn events(&self) -> EventsOverview {
        self.shared.events().overview()
    }

    /// The exposition of all applications, with every update that was acknowledged before this call.
    #[must_use]
    pub fn exposition(&self) -> Exposed {
        // Whoever comes first renders while the others wait here; pushes only ever wait for the handles to be copied.
        let mut rendered = self.shared.rendered.lock().unwrap_or_else(PoisonError::into_inner);
        let (generation, bodies) = {
            let latest = self.shared.latest();
            if rendered.generation == Some(latest.generation()) {
                return rendered.exposed.clone();
            }
            (latest.generation(), latest.apps().map(|app| app.body.clone()).collect::<Vec<_>>())
        };
        let exposed = Exposed {
            segments: raw::concatenate(&bodies).into(),
            pieces: Arc::default(),
        };
        *rendered = Rendered {
            generation: Some(generation),
            exposed: exposed.clone(),
        };
        exposed
    }
}
