//! One-shot events between the store of a replica and the engine of its cluster.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::model::{EventId, IdempotencyKey, ScraperId, Timestamp};
use crate::store::events::{Dirty, LeasedEvents, Owner, Source, Submission, Visit, decode_event};
use crate::store::{EmitError, LeaseId, OriginId, Scrape, ScraperStatus, Shared, View};

/// Scrapes that wait for the engine's leave to deliver events; further ones get none. More than there are scrapers.
const WAITING_SCRAPES: usize = 1_024;

/// The time that a scrape waits for that leave. It then goes without events, which come with the next one.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The way of treating events while the engine is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenEngineAway {
    /// They are accepted, and wait until it is back.
    Accept,
    /// They are refused.
    Refuse,
}

/// The place up to which the engine has the events of this replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reached {
    number: u64,
    away: bool,
}

/// A replica's way to the engine, as the store needs it.
#[derive(Debug)]
pub(in crate::store) struct Exchange {
    when_away: WhenEngineAway,
    /// True if a producer waits until the engine has its event.
    waits: bool,
    reached: watch::Sender<Reached>,
    /// Notified when there is something for the engine.
    arrived: Notify,
    /// Bounded by [`WAITING_SCRAPES`].
    scrapes: mpsc::Sender<LeaseRequest>,
    waiting: tokio::sync::Mutex<mpsc::Receiver<LeaseRequest>>,
}

/// A scrape that waits for the engine's leave to deliver events, which one replica at a time has for a scraper.
#[derive(Debug)]
pub struct LeaseRequest {
    /// The scraper.
    pub scraper: ScraperId,
    /// The lease.
    pub lease: LeaseId,
    shared: Weak<Shared>,
    reply: oneshot::Sender<Option<Granted>>,
}

/// The leave to deliver events, with the engine's state of the scraper. If it is dropped unused, because the scrape has ended, the lease is given
/// back: otherwise the scraper would get no events until it runs out.
#[derive(Debug)]
struct Granted {
    scraper: ScraperId,
    lease: LeaseId,
    state: Option<Bytes>,
    shared: Weak<Shared>,
    is_used: bool,
}

impl Granted {
    /// Uses the lease, and returns the engine's state of the scraper.
    fn used(mut self) -> Option<Bytes> {
        self.is_used = true;
        self.state.take()
    }
}

impl Drop for Granted {
    fn drop(&mut self) {
        if !self.is_used
            && let Some(shared) = self.shared.upgrade()
        {
            let release = Some(self.lease);
            shared.change_events(|events| events.mark_unshared(&self.scraper, Dirty { release }));
        }
    }
}

impl LeaseRequest {
    /// Grants the lease, with the engine's state of the scraper; `None` if it has none. If the scrape ends before it uses the lease, that is given
    /// back by itself.
    pub fn grant(self, state: Option<Bytes>) {
        let Self {
            scraper,
            lease,
            shared,
            reply,
        } = self;
        // Without a scrape what is granted is dropped, here or in the channel.
        let _ = reply.send(Some(Granted {
            scraper,
            lease,
            state,
            shared,
            is_used: false,
        }));
    }

    /// True if the scrape has ended without an answer.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.reply.is_closed()
    }

    /// Refuses: another replica has the lease.
    pub fn refuse(self) {
        // A scrape that has ended needs no answer.
        let _ = self.reply.send(None);
    }
}

impl Exchange {
    fn new(when_away: WhenEngineAway, waits: bool) -> Self {
        let (scrapes, waiting) = mpsc::channel(WAITING_SCRAPES);
        Self {
            when_away,
            waits,
            reached: watch::Sender::new(Reached { number: 0, away: true }),
            arrived: Notify::new(),
            scrapes,
            waiting: tokio::sync::Mutex::new(waiting),
        }
    }

    fn is_away(&self) -> bool {
        self.reached.borrow().away
    }

    /// Says that there is something for the engine.
    pub(in crate::store) fn notify(&self) {
        self.arrived.notify_one();
    }

    /// Refuses events while the engine is away, if they are not to wait.
    pub(in crate::store) fn admit(&self) -> Result<(), EmitError> {
        match self.when_away == WhenEngineAway::Refuse && self.is_away() {
            true => Err(EmitError::EngineAway),
            false => Ok(()),
        }
    }

    /// Waits until the engine has an event, if producers wait for it. False if it is away, or has become so.
    pub(in crate::store) async fn stored(&self, id: EventId) -> bool {
        if !self.waits {
            return true;
        }
        let mut reached = self.reached.subscribe();
        let outcome = reached.wait_for(|reached| reached.away || reached.number >= id.0).await;
        outcome.is_ok_and(|reached| reached.number >= id.0)
    }

    async fn ask(&self, shared: &Arc<Shared>, scraper: &ScraperId, lease: LeaseId) -> Option<Granted> {
        let (reply, answer) = oneshot::channel();
        let request = LeaseRequest {
            scraper: scraper.clone(),
            lease,
            shared: Arc::downgrade(shared),
            reply,
        };
        self.scrapes.try_send(request).ok()?;
        tokio::time::timeout(LEAVE_TIMEOUT, answer).await.ok()?.ok()?
    }
}

impl View {
    /// The events for a scrape as [`View::scrape`] gives them. At a replica of a cluster the engine is asked first, because another replica may
    /// be delivering events to the same scraper; while it is away there are none.
    pub async fn scrape_shared(&self, who: &ScraperId, from: &crate::model::Client, now: Timestamp) -> Scrape {
        let Some(exchange) = self.shared().exchange.get() else {
            return self.scrape(who, from, now);
        };
        let visit = self.change_events(|events| events.visit(who, from, now, exchange.is_away()));
        let nothing = |status| Scrape {
            events: Vec::new(),
            lease: None,
            status,
        };
        let Some(lease) = visit.lease else {
            return nothing(visit.status);
        };
        match exchange.ask(self.shared(), who, lease).await {
            Some(granted) => self.lease_granted(who, visit, granted.used().as_deref()),
            None => nothing(ScraperStatus::InFlight),
        }
    }

    fn lease_granted(&self, who: &ScraperId, visit: Visit, state: Option<&[u8]>) -> Scrape {
        let leased: LeasedEvents = self.change_events(|events| events.granted(who, visit, state));
        self.leased(leased)
    }
}

/// The events of a replica, for the engine of its cluster.
#[derive(Debug, Clone)]
pub struct SharedEvents {
    shared: Arc<Shared>,
    exchange: Arc<Exchange>,
}

/// An event of this replica for the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnEvent {
    /// Its number at this replica.
    pub number: u64,
    /// The key that its producer gave it.
    pub key: Option<IdempotencyKey>,
    /// The event; `None` if it is not to be delivered, because another one has used its key first.
    pub bytes: Option<Bytes>,
    /// True if the engine has had it before.
    pub confirmed: bool,
}

/// An event that has used an idempotency key.
#[derive(Debug, Clone, PartialEq)]
pub struct UsedIdempotencyKey {
    /// The key.
    pub key: IdempotencyKey,
    /// The replica that accepted the event.
    pub origin: OriginId,
    /// Its number there; 0 if it is no longer kept.
    pub number: u64,
}

/// An event as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadEvent {
    /// The replica that accepted it.
    pub origin: OriginId,
    /// Its number there.
    pub number: u64,
    /// The event; `None` if another event had used its key before: it is not to be delivered.
    pub bytes: Option<Bytes>,
}

/// A scraper of which the engine lacks the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsharedScraper {
    /// The scraper.
    pub scraper: ScraperId,
    /// A lease that is no longer needed.
    pub release: Option<LeaseId>,
}

impl SharedEvents {
    pub(in crate::store) fn new(shared: &Arc<Shared>, when_away: WhenEngineAway, waits: bool) -> Option<Self> {
        shared.events().origin()?;
        let exchange = shared.exchange.get_or_init(|| Arc::new(Exchange::new(when_away, waits)));
        Some(Self {
            exchange: Arc::clone(exchange),
            shared: Arc::clone(shared),
        })
    }

    fn change<T>(&self, change: impl FnOnce(&mut crate::store::events::Events) -> T) -> T {
        self.shared.change_events(change)
    }

    /// Says whether the engine can be used. While it cannot, no scraper gets events.
    pub fn set_away(&self, away: bool) {
        self.exchange.reached.send_modify(|reached| reached.away = away);
    }

    /// Waits until there may be something for the engine: events, or scrapers.
    pub async fn arrived(&self) {
        self.exchange.arrived.notified().await;
    }

    /// Waits for a scrape that asks for the engine's leave.
    pub async fn scrape(&self) -> LeaseRequest {
        match self.exchange.waiting.lock().await.recv().await {
            Some(request) => request,
            // The sender is a field of the same struct.
            None => std::future::pending().await,
        }
    }

    /// The origin of the events that this replica accepts.
    #[must_use]
    pub fn origin(&self) -> OriginId {
        let origin = self.shared.events().origin();
        origin.unwrap_or_else(|| OriginId::from_bytes([0; 16]))
    }

    /// Checks the last number that the engine has of this replica. If there was no such event here the directory is an older copy, and
    /// events get this origin from now on.
    pub fn check_tail(&self, tail: u64, candidate: OriginId) {
        self.change(|events| {
            if tail >= events.next_number() {
                events.renew_origin(candidate);
            }
        });
    }

    /// The events of this replica after a number, in order, at most `most` and about `bytes` long.
    #[must_use]
    pub fn own_after(&self, after: u64, most: usize, bytes: usize) -> Vec<OwnEvent> {
        let own = self.shared.events().own_after(after, most, bytes).into_iter();
        own.map(|event| OwnEvent {
            number: event.number,
            key: event.key,
            bytes: event.bytes.map(Bytes::from),
            confirmed: event.confirmed,
        })
        .collect()
    }

    /// The idempotency keys that were used lately, by events that the engine has had.
    #[must_use]
    pub fn used_keys(&self) -> Vec<UsedIdempotencyKey> {
        let claims = self.shared.events().claims().into_iter();
        claims
            .map(|(key, Source { origin, number })| UsedIdempotencyKey { key, origin, number })
            .collect()
    }

    /// The number of events of this replica after a number.
    #[must_use]
    pub fn own_count(&self, after: u64) -> usize {
        self.shared.events().own_count(after)
    }

    /// The last number of this replica that the engine has, as far as this replica knows.
    #[must_use]
    pub fn reached(&self) -> u64 {
        self.exchange.reached.borrow().number
    }

    /// The engine has the events of this replica up to a number.
    pub fn set_reached(&self, number: u64) {
        self.exchange.reached.send_modify(|reached| reached.number = number);
    }

    /// Takes events that were read from the engine, in their order: those of other replicas into the log and the journal, if a scraper may still
    /// get them; those of this replica may be delivered from now on. Returns the number of events that cannot be read.
    ///
    /// # Errors
    /// If they cannot be written to disk.
    pub async fn take(&self, read: Vec<ReadEvent>) -> Result<u64, EmitError> {
        let (submissions, skipped, unreadable) = self.change(|events| {
            let (mut submissions, mut skipped, mut unreadable) = (Vec::new(), Vec::new(), 0);
            let own = events.origin();
            for ReadEvent { origin, number, bytes } in read {
                let source = Source { origin, number };
                if Some(origin) == own {
                    events.read_back(number, bytes.is_none());
                    continue;
                }
                let Some(bytes) = bytes else {
                    skipped.push(source);
                    continue;
                };
                let Some(event) = decode_event(&bytes) else {
                    unreadable += 1;
                    skipped.push(source);
                    continue;
                };
                if events.wants(source, event.at) {
                    submissions.push(Submission {
                        event: event.event,
                        key: event.key,
                        owner: Owner::Replica(origin),
                        at: event.at,
                        stamp: Some(event.stamp),
                        source: Some(source),
                    });
                } else {
                    skipped.push(source);
                }
            }
            (submissions, skipped, unreadable)
        });
        match &self.shared.journal {
            _ if submissions.is_empty() => {}
            Some(journal) => drop(journal.submit_all(submissions).await?),
            None => {
                let mut events = self.shared.events();
                for submission in submissions {
                    events.take(submission)?;
                }
            }
        }
        // Not before: a later event that is noted as read would stand for the earlier ones, which then were not taken.
        self.change(|events| skipped.into_iter().for_each(|source| events.skip(source)));
        Ok(unreadable)
    }

    /// The engine has had the events of this replica up to a number, and has given back those that it still has.
    pub fn confirm(&self, number: u64) {
        self.change(|events| events.read_back(number, false));
    }

    /// Adds what the engine has of a scraper. Returns true if that lacks something that is known here, `None` if it cannot be used.
    #[must_use]
    pub fn merge(&self, scraper: &ScraperId, state: &[u8]) -> Option<bool> {
        self.change(|events| events.merge(scraper, state))
    }

    /// The engine has forgotten a scraper.
    pub fn forget(&self, scraper: &ScraperId) {
        self.change(|events| events.forget_elsewhere(scraper));
    }

    /// The state of a scraper for the engine; `None` if it is not known any more.
    #[must_use]
    pub fn state_of(&self, scraper: &ScraperId) -> Option<Bytes> {
        self.shared.events().state_of(scraper).map(Bytes::from)
    }

    /// True if the engine's state of a scraper is of the absence for which this replica has forgotten it, or cannot be read.
    #[must_use]
    pub fn is_forgotten(&self, scraper: &ScraperId, state: &[u8]) -> bool {
        self.shared.events().is_forgotten(scraper, state)
    }

    /// The engine has the state of a scraper.
    pub fn written(&self, scraper: &ScraperId) {
        self.change(|events| events.written(scraper));
    }

    /// Takes scrapers of which the engine lacks the state, at most `most`. Those that could not be written are given back.
    #[must_use]
    pub fn take_unshared(&self, most: usize) -> Vec<UnsharedScraper> {
        let taken = self.shared.events().take_unshared(most).into_iter();
        taken
            .map(|(scraper, dirty)| UnsharedScraper {
                scraper,
                release: dirty.release,
            })
            .collect()
    }

    /// Gives back a scraper, because its state could not be written.
    pub fn give_back(&self, UnsharedScraper { scraper, release }: &UnsharedScraper) {
        self.change(|events| events.mark_unshared(scraper, Dirty { release: *release }));
    }

    /// The number of scrapers of which the engine lacks the state.
    #[must_use]
    pub fn unshared(&self) -> usize {
        self.shared.events().unshared()
    }

    /// The scrapers that are known.
    #[must_use]
    pub fn scrapers(&self) -> Vec<ScraperId> {
        self.shared.events().known()
    }

    /// True if a lease is not settled.
    #[must_use]
    pub fn is_active(&self, lease: LeaseId) -> bool {
        self.shared.events().is_active(lease)
    }

    /// The leases that this replica holds.
    #[must_use]
    pub fn active_leases(&self) -> Vec<(ScraperId, LeaseId)> {
        self.shared.events().active_leases()
    }
}
