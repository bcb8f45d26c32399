//! The task of one endpoint: wait, poll, tell the store.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::course::{Course, Step, Turn};
use super::failure::Failure;
use super::fetch::{Answer, Fetcher, Shared};
use super::settings::Target;
use crate::model::{Clock, Format, LabelSet, Origin, PeerSample, Timestamp, Topic, Update};
use crate::sources::{LARGE_BYTES, unusable};
use crate::store::{Change, Inlet, PolledEvent, PolledEvents, Receipt, Refused, take_events};
use crate::supervise::{blocking, panic_message};
use crate::telemetry::{Rejection, SharedTelemetry};
use crate::wire::Foreign;

/// Whom an endpoint tells what it learns.
#[derive(Debug, Clone)]
pub(super) struct Listeners {
    pub(super) inlet: Inlet,
    pub(super) telemetry: SharedTelemetry,
    pub(super) clock: Clock,
}

/// One endpoint at work.
pub(super) struct Worker {
    target: Arc<Target>,
    course: Course,
    fetcher: Fetcher,
    listeners: Listeners,
    /// The events of the last answer that bear times. One that comes again, because its server was killed before it knew that
    /// it had been received, or because it is no server of events but shows theirs for a while, is no new one.
    recorded: HashSet<(LabelSet, Timestamp)>,
}

impl Worker {
    pub(super) fn new(target: Arc<Target>, course: Course, shared: Arc<Shared>, listeners: Listeners) -> Self {
        Self {
            fetcher: Fetcher::new(Arc::clone(&target), shared),
            target,
            course,
            listeners,
            recorded: HashSet::new(),
        }
    }

    /// Polls until `stop`, and gives back how the endpoint has been doing.
    pub(super) async fn run(mut self, stop: CancellationToken) -> Course {
        self.announce();
        loop {
            let step = self.course.next();
            let (Step::Poll(at) | Step::Withdraw(at)) = step;
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.course,
                () = sleep_until(at) => {}
            }
            match step {
                Step::Withdraw(_) => withdraw(&mut self.course, &self.target, &self.listeners),
                Step::Poll(_) => {
                    let fetched = tokio::select! {
                        biased;
                        () = stop.cancelled() => None,
                        fetched = self.fetch() => Some(fetched),
                    };
                    let Some((fetched, took)) = fetched else { return self.course };
                    self.settle(fetched, took).await;
                }
            }
        }
    }

    /// Polls, and measures the time that takes. A panic costs this poll alone. Data that becomes stale meanwhile is withdrawn.
    async fn fetch(&mut self) -> (Result<Answer, Failure>, Duration) {
        let began = Instant::now();
        let (course, target, listeners) = (&mut self.course, &self.target, &self.listeners);
        let mut fetching = Box::pin(AssertUnwindSafe(self.fetcher.fetch()).catch_unwind());
        let caught = loop {
            let stale = course.stale_while_polling();
            tokio::select! {
                biased;
                caught = &mut fetching => break caught,
                () = sleep_until(stale.unwrap_or(began)), if stale.is_some() => withdraw(course, target, listeners),
            }
        };
        drop(fetching);
        let took = began.elapsed();
        self.listeners
            .telemetry
            .poll_duration_seconds
            .with([self.target.endpoint.name.as_str()])
            .set(took);
        let fetched = caught.unwrap_or_else(|panic| {
            self.fetcher.close();
            Err(self.panicked(&*panic))
        });
        (fetched, took)
    }

    /// Stores what a poll brought and says how it went.
    async fn settle(&mut self, fetched: Result<Answer, Failure>, took: Duration) {
        let stored = match fetched {
            Ok(answer) => self.store(answer).await,
            Err(failure) => Err(failure),
        };
        let (app, telemetry) = (&self.target.endpoint.name, &self.listeners.telemetry);
        telemetry.poll_up.with([app.as_str()]).set(i64::from(stored.is_ok()));
        self.listeners.inlet.tell(&Change::Polled {
            app: app.clone(),
            up: stored.is_ok(),
            took,
            at: (self.listeners.clock)(),
        });
        let turn = self.course.polled(Instant::now(), stored.is_ok());
        match (stored, turn) {
            (Err(failure), turn) => {
                if turn == Some(Turn::Failed) {
                    tracing::warn!(endpoint = %app, "poll failed: {failure}");
                }
                self.blame(&failure);
            }
            (Ok(()), Some(Turn::Recovered)) => tracing::info!(endpoint = %app, "polls go well again"),
            (Ok(()), _) => {}
        }
    }

    /// Records the events of an answer, which then counts as received, and stores the rest of it.
    async fn store(&mut self, mut answer: Answer) -> Result<(), Failure> {
        let sample = answer.swarm.take().map(|(connections, peers)| PeerSample {
            at: (self.listeners.clock)(),
            connections,
            peers,
        });
        let (coding, body) = (answer.coding.take(), answer.body.clone());
        let update = self
            .record_events(self.update(answer))
            .await
            .inspect_err(|_| self.fetcher.close())?;
        let (telemetry, source) = (&self.listeners.telemetry, &*self.target.source);
        match self.put(update).await? {
            Ok(receipt) => {
                telemetry.updates_total.with([source, Format::Poll.as_str()]).inc();
                if sample.is_some() {
                    self.listeners.inlet.put_peers(&self.target.endpoint.name, sample);
                }
                if let Some(complaint) = receipt.news() {
                    telemetry.log_skipped_lines(source, &self.target.endpoint.name, complaint);
                }
                Ok(())
            }
            Err(refused) => {
                let (reason, _) = unusable(&refused, &body);
                telemetry.rejected_total.with([source, reason]).inc();
                Err(why_unusable(refused, &body, coding))
            }
        }
    }

    /// Takes the events out of an update and puts them into the event log. The answer has been received once they are durable.
    async fn record_events(&mut self, mut update: Update) -> Result<Update, Failure> {
        let Some((metric, families)) = self.target.events.clone() else {
            self.fetcher.taken(false);
            return Ok(update);
        };
        let bytes = update.body.len();
        let take = move || {
            let found = take_events(&mut update, &families);
            (update, found)
        };
        let (update, PolledEvents { mut events, refused }) = self.work(bytes, take).await?;
        if let Some((count, first)) = refused {
            self.refuse_events(count, &first);
        }
        let stamped = events.iter().filter_map(|event| Some((event.event.labels.clone(), event.stamp?)));
        let stamped: HashSet<_> = stamped.collect();
        let (had_events, now) = (!events.is_empty(), (self.listeners.clock)());
        events.retain(|PolledEvent { event, stamp }| stamp.is_none_or(|stamp| !self.recorded.contains(&(event.labels.clone(), stamp))));
        let inlet = &self.listeners.inlet;
        let changes: Vec<_> = match inlet.is_followed(Topic::OneShot) {
            true => events.iter().map(|event| Change::one_shot(&metric, &event.event, now)).collect(),
            false => Vec::new(),
        };
        inlet.emit_polled(events, now).await?;
        self.fetcher.taken(had_events);
        self.recorded = stamped;
        changes.iter().for_each(|change| inlet.tell(change));
        Ok(update)
    }

    /// Stores an update.
    async fn put(&self, update: Update) -> Result<Result<Receipt, Refused>, Failure> {
        let inlet = self.listeners.inlet.clone();
        self.work(update.body.len(), move || inlet.put_polled(update)).await
    }

    /// Does work on a text of so many bytes. A large one takes long enough to make other tasks late.
    async fn work<T: Send + 'static>(&self, bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
        let caught = move || catch_unwind(AssertUnwindSafe(work));
        let done = if bytes > LARGE_BYTES { blocking(caught).await } else { caught() };
        done.map_err(|panic| self.panicked(&*panic))
    }

    /// Samples that stand as events and cannot be any are left out, and counted.
    fn refuse_events(&self, count: u64, first: &str) {
        let source = &*self.target.source;
        let detail = format!("a sample of its one-shot events cannot be one: {first}");
        self.listeners.telemetry.reject(Rejection {
            source,
            peer: self.target.endpoint.url.host_str().unwrap_or_default(),
            reason: "bad_event",
            detail: &detail,
        });
        // The one that the rejection has counted is the first.
        self.listeners.telemetry.rejected_total.with([source, "bad_event"]).add(count - 1);
    }

    fn update(&self, answer: Answer) -> Update {
        Update {
            app: self.target.endpoint.name.clone(),
            body: answer.body,
            syntax: answer.syntax,
            labels: Arc::clone(&self.target.endpoint.labels),
            origin: self.origin(),
            at: (self.listeners.clock)(),
        }
    }

    fn origin(&self) -> Origin {
        Origin {
            source: Arc::clone(&self.target.source),
            format: Format::Poll,
        }
    }

    /// Lists the endpoint before anything was heard of it.
    fn announce(&self) {
        let now = (self.listeners.clock)();
        let announced = self.listeners.inlet.announce(self.target.endpoint.name.clone(), self.origin(), now);
        if let Err(refused) = announced {
            tracing::warn!(endpoint = %self.target.endpoint.name, "cannot list a polled endpoint: {refused}");
        }
    }

    /// Shows a failure in `/apps`, where the endpoint stands even if somebody deleted it meanwhile.
    fn blame(&self, failure: &Failure) {
        let (inlet, app) = (&self.listeners.inlet, &self.target.endpoint.name);
        let what = format!("poll failed: {failure}");
        if !inlet.fault(app, &what) && inlet.announce(app.clone(), self.origin(), (self.listeners.clock)()).is_ok() {
            inlet.fault(app, &what);
        }
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> Failure {
        self.listeners
            .telemetry
            .poll_panics_total
            .with([self.target.endpoint.name.as_str()])
            .inc();
        Failure::Panic(panic_message(panic).to_owned())
    }
}

/// Takes stale data out of the exposition.
fn withdraw(course: &mut Course, target: &Target, listeners: &Listeners) {
    let endpoint = &target.endpoint;
    listeners.inlet.withdraw(&endpoint.name);
    listeners.inlet.put_peers(&endpoint.name, None);
    course.withdrawn();
    tracing::warn!(endpoint = %endpoint.name, "no good poll for {:?}: its data leaves /metrics", endpoint.stale_after);
}

/// The failure of a poll whose body is of no use: names its format if it is no text, and its encoding if that is unknown.
fn why_unusable(refused: Refused, body: &[u8], coding: Option<String>) -> Failure {
    let is_invalid = matches!(refused, Refused::Invalid(..));
    let why = match Foreign::of(body).filter(|_| is_invalid) {
        Some(foreign) => Failure::NotMetrics(foreign),
        None => Failure::Refused(refused),
    };
    match coding.filter(|_| is_invalid) {
        Some(coding) => Failure::Coding {
            coding,
            why: Box::new(why),
        },
        None => why,
    }
}
