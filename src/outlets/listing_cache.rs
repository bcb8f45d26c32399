//! Listings of all applications, each prepared once for all who ask at about the same time, and away from the threads that serve
//! connections.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use super::app_filter::{AppCounts, AppFilter, Listed, Order, with_states};
use super::table::Present;
use super::{discovery, table};
use crate::exposition::gzip::{CompressionLevel, Compressor, Piece};
use crate::http::Slices;
use crate::model::Clock;
use crate::page::RenderQueue;
use crate::store::View;
use crate::supervise::blocking;

/// Lifetime of a listing without changes: it contains ages in seconds.
const STANDS: Duration = Duration::from_secs(1);

/// Number of apps up to which a listing is rendered again after every change.
const SMALL: usize = 1_000;

/// For how long a listing of more applications is used although some have changed, for each of them. Preparing takes a tenth of it, so
/// that clients that ask again and again take a tenth of one core.
const STANDS_PER_APP: Duration = Duration::from_micros(20);

/// Time after which an unused listing is dropped.
const KEPT: Duration = Duration::from_secs(60);

/// Format of a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListingFormat {
    /// The table of `/apps`, for a terminal of 120 columns.
    Table,
    /// The same with one line for each app.
    Wide,
    /// The JSON of `/apps`.
    Json,
    /// The CSV of `/apps`.
    Csv,
    /// The targets of `/sd`.
    Targets,
}

impl ListingFormat {
    const COUNT: usize = 5;

    fn prepare(self, listed: &[Listed], counts: AppCounts, present: Present) -> Listing {
        let (row, width) = match self {
            Self::Table => table::draw_rows(listed, Some(table::TERMINAL)),
            Self::Wide => table::draw_rows(listed, None),
            Self::Json => (table::list(listed), 0),
            Self::Csv => (table::csv(listed, present), 0),
            Self::Targets => (discovery::fragments(listed), 0),
        };
        Listing {
            row,
            gzip: OnceLock::new(),
            width,
            counts,
        }
    }
}

/// A prepared listing, without what differs between two requests.
#[derive(Debug)]
pub(super) struct Listing {
    /// The text, shared by all responses.
    pub(super) row: Slices,
    /// The same compressed, once it was asked for so.
    gzip: OnceLock<Piece>,
    /// The width of a table in characters.
    pub(super) width: usize,
    /// All apps, those included that a filter leaves out.
    pub(super) counts: AppCounts,
}

impl Listing {
    /// The length of the text in bytes.
    pub(super) fn len(&self) -> usize {
        self.row.iter().map(Bytes::len).sum()
    }

    fn compress(&self) -> Piece {
        let compress = || Piece::compress(&self.row, CompressionLevel::Fast, &mut Compressor::new());
        self.gzip.get_or_init(compress).clone()
    }
}

/// The listings of a view.
#[derive(Debug)]
pub struct ListingCache {
    view: View,
    pub(super) clock: Clock,
    places: [CacheSlot; ListingFormat::COUNT],
    /// The selection that was made last. One is made at a time, as for the listings.
    selection: tokio::sync::Mutex<Option<CachedSelection>>,
    /// One listing of a filter is made at a time. It is not kept.
    filtering: RenderQueue,
    /// The pages about what is listed.
    pub(super) pages: RenderQueue,
}

/// A selection that was made for a filter.
#[derive(Debug)]
struct CachedSelection {
    filter: AppFilter,
    version: Version,
    since: Instant,
    selection: Arc<Selection>,
    _forgetting: AbortOnDropHandle<()>,
}

/// The first apps that a filter names, and the counts of all apps.
#[derive(Debug)]
pub(super) struct Selection {
    /// The first of them.
    pub(super) listed: Vec<Listed>,
    /// The number of apps that the filter names.
    pub(super) named: usize,
    /// All apps.
    pub(super) counts: AppCounts,
}

/// The place of one form.
#[derive(Debug, Default)]
struct CacheSlot {
    kept: Mutex<Option<CachedListing>>,
    /// One prepares, the others wait and find it done.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct CachedListing {
    prepared: Arc<Listing>,
    version: Version,
    since: Instant,
    used: Instant,
    _forgetting: AbortOnDropHandle<()>,
}

/// Version of a listing: the generation of the store and the number of apps, because a registration does not change the generation.
type Version = (u64, usize);

impl CacheSlot {
    fn kept(&self) -> MutexGuard<'_, Option<CachedListing>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, version: Version, now: Instant) -> Option<Arc<Listing>> {
        let mut kept = self.kept();
        let kept = kept.as_mut()?;
        let age = now.saturating_duration_since(kept.since);
        stands(age, kept.version == version, version.1).then(|| {
            kept.used = now;
            Arc::clone(&kept.prepared)
        })
    }
}

/// Returns true if a listing of this age and number of apps can be used.
fn stands(age: Duration, is_current: bool, apps: usize) -> bool {
    let changed = lifetime(apps);
    age < if is_current { STANDS.max(changed) } else { changed }
}

/// Time for which a listing of this number of apps is used although some have changed.
fn lifetime(apps: usize) -> Duration {
    if apps > SMALL {
        STANDS_PER_APP * u32::try_from(apps).unwrap_or(u32::MAX)
    } else {
        Duration::ZERO
    }
}

impl ListingCache {
    /// The listings of this view.
    #[must_use]
    pub fn new(view: View, clock: Clock) -> Self {
        Self {
            view,
            clock,
            places: Default::default(),
            selection: tokio::sync::Mutex::default(),
            filtering: RenderQueue::default(),
            pages: RenderQueue::default(),
        }
    }

    /// The text of a listing as a part of a gzip member. It is compressed once for all who ask for it.
    pub(super) async fn compressed(&self, listing: &Arc<Listing>) -> Piece {
        if let Some(piece) = listing.gzip.get() {
            return piece.clone();
        }
        let listing = Arc::clone(listing);
        self.pages.render(move || listing.compress()).await
    }

    /// A listing of the apps that a filter names, sorted by name unless it says otherwise.
    pub(super) async fn filtered(self: &Arc<Self>, form: ListingFormat, filter: AppFilter) -> Arc<Listing> {
        if filter.is_empty() {
            return self.get(form).await;
        }
        let listings = Arc::clone(self);
        self.filtering.render(move || Arc::new(listings.prepare(form, &filter))).await
    }

    /// The first `most` apps that a filter names. The order of the apps is that of the filter, or faults first.
    pub(super) async fn select(self: &Arc<Self>, filter: AppFilter, most: usize) -> Arc<Selection> {
        let mut made = self.selection.lock().await;
        let version = self.version();
        if let Some(made) = made
            .as_ref()
            .filter(|made| made.filter == filter && made.selection.listed.len() >= most.min(made.selection.named))
            && stands(made.since.elapsed(), made.version == version, version.1)
        {
            return Arc::clone(&made.selection);
        }
        let (listings, wanted) = (Arc::clone(self), filter.clone());
        let selection = blocking(move || Arc::new(listings.make_selection(&wanted, most))).await;
        *made = Some(CachedSelection {
            filter,
            version,
            since: Instant::now(),
            selection: Arc::clone(&selection),
            _forgetting: self.forget_selection(version.1),
        });
        selection
    }

    /// A task that forgets the selection once it can no longer be used: unlike a listing it holds apps, and with them texts that have been
    /// replaced since.
    fn forget_selection(self: &Arc<Self>, apps: usize) -> AbortOnDropHandle<()> {
        let listings = Arc::downgrade(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            sleep(lifetime(apps).max(STANDS)).await;
            if let Some(listings) = listings.upgrade() {
                // This ends the task, too.
                *listings.selection.lock().await = None;
            }
        }))
    }

    fn make_selection(&self, filter: &AppFilter, most: usize) -> Selection {
        let present = Present::of(&self.view, self.clock);
        let all = with_states(self.view.apps(), present);
        let counts = AppCounts::of(&all);
        let mut listed = filter.narrow(all, Order::State);
        let named = listed.len();
        listed.truncate(most);
        listed.shrink_to_fit();
        Selection { listed, named, counts }
    }

    /// A listing in this form.
    pub(super) async fn get(self: &Arc<Self>, form: ListingFormat) -> Arc<Listing> {
        let place = &self.places[form as usize];
        if let Some(found) = place.find(self.version(), Instant::now()) {
            return found;
        }
        let _turn = place.turn.lock().await;
        // Taken before the applications are: what changes meanwhile makes another version.
        let version = self.version();
        if let Some(found) = place.find(version, Instant::now()) {
            return found;
        }
        let listings = Arc::clone(self);
        let prepared = blocking(move || Arc::new(listings.prepare(form, &AppFilter::default()))).await;
        let now = Instant::now();
        let kept = CachedListing {
            prepared: Arc::clone(&prepared),
            version,
            since: now,
            used: now,
            _forgetting: self.forget_unused(form),
        };
        let before = place.kept().replace(kept);
        drop(before);
        prepared
    }

    fn version(&self) -> Version {
        (self.view.generation(), self.view.totals().apps)
    }

    fn prepare(&self, form: ListingFormat, filter: &AppFilter) -> Listing {
        let present = Present::of(&self.view, self.clock);
        let all = with_states(self.view.apps(), present);
        let counts = AppCounts::of(&all);
        form.prepare(&filter.narrow(all, Order::Name), counts, present)
    }

    /// A task that forgets the listing of a form once it has not been asked for in [`KEPT`].
    fn forget_unused(self: &Arc<Self>, form: ListingFormat) -> AbortOnDropHandle<()> {
        let listings = Arc::downgrade(self);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let mut until = Instant::now() + KEPT;
            loop {
                sleep_until(until).await;
                let Some(listings) = listings.upgrade() else { return };
                let mut kept = listings.places[form as usize].kept();
                let Some(used) = kept.as_ref().map(|kept| kept.used) else { return };
                until = used + KEPT;
                if until <= Instant::now() {
                    // This ends the task, too.
                    *kept = None;
                    return;
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests;
