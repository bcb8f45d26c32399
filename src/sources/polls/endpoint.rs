//! The task of one endpoint: wait, poll, tell the store.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::error::PollError;
use super::fetch::{Fetcher, PollResponse, SharedResources};
use super::schedule::{PollSchedule, Step, Transition};
use super::settings::Target;
use crate::model::{Clock, Format, LabelSet, Origin, PeerSample, Timestamp, Topic, Update};
use crate::sources::{LARGE_BYTES, unusable};
use crate::store::{Change, Inlet, PolledEvent, PolledEvents, Receipt, Refused, take_events};
use crate::supervise::{blocking, panic_message};
use crate::telemetry::{Rejection, SharedTelemetry};
use crate::wire::ForeignFormat;

/// Whom an endpoint tells what it learns.
#[derive(Debug, Clone)]
pub(super) struct PollContext {
    pub(super) inlet: Inlet,
    pub(super) telemetry: SharedTelemetry,
    pub(super) clock: Clock,
}

/// One endpoint at work.
pub(super) struct EndpointTask {
    target: Arc<Target>,
    schedule: PollSchedule,
    fetcher: Fetcher,
    context: PollContext,
    /// The events of the last answer that bear times. One that comes again, because its server was killed before it knew that
    /// it had been received, or because it is no server of events but shows theirs for a while, is no new one.
    recorded: HashSet<(LabelSet, Timestamp)>,
}

impl EndpointTask {
    pub(super) fn new(target: Arc<Target>, schedule: PollSchedule, shared: Arc<SharedResources>, context: PollContext) -> Self {
        Self {
            fetcher: Fetcher::new(Arc::clone(&target), shared),
            target,
            schedule,
            context,
            recorded: HashSet::new(),
        }
    }

    /// Polls until `stop`, and gives back how the endpoint has been doing.
    pub(super) async fn run(mut self, stop: CancellationToken) -> PollSchedule {
        self.announce();
        loop {
            let step = self.schedule.next();
            let (Step::Poll(at) | Step::Withdraw(at)) = step;
            tokio::select! {
                biased;
                () = stop.cancelled() => return self.schedule,
                () = sleep_until(at) => {}
            }
            match step {
                Step::Withdraw(_) => withdraw(&mut self.schedule, &self.target, &self.context),
                Step::Poll(_) => {
                    let fetched = tokio::select! {
                        biased;
                        () = stop.cancelled() => None,
                        fetched = self.fetch() => Some(fetched),
                    };
                    let Some((fetched, took)) = fetched else { return self.schedule };
                    self.settle(fetched, took).await;
                }
            }
        }
    }

    /// Polls, and measures the time that takes. A panic costs this poll alone. Data that becomes stale meanwhile is withdrawn.
    async fn fetch(&mut self) -> (Result<PollResponse, PollError>, Duration) {
        let began = Instant::now();
        let (schedule, target, context) = (&mut self.schedule, &self.target, &self.context);
        let mut fetching = Box::pin(AssertUnwindSafe(self.fetcher.fetch()).catch_unwind());
        let caught = loop {
            let stale = schedule.stale_while_polling();
            tokio::select! {
                biased;
                caught = &mut fetching => break caught,
                () = sleep_until(stale.unwrap_or(began)), if stale.is_some() => withdraw(schedule, target, context),
            }
        };
        drop(fetching);
        let took = began.elapsed();
        self.context
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
    async fn settle(&mut self, fetched: Result<PollResponse, PollError>, took: Duration) {
        let stored = match fetched {
            Ok(response) => self.store(response).await,
            Err(failure) => Err(failure),
        };
        let (app, telemetry) = (&self.target.endpoint.name, &self.context.telemetry);
        telemetry.poll_up.with([app.as_str()]).set(i64::from(stored.is_ok()));
        self.context.inlet.tell(&Change::Polled {
            app: app.clone(),
            up: stored.is_ok(),
            took,
            at: (self.context.clock)(),
        });
        let transition = self.schedule.polled(Instant::now(), stored.is_ok());
        match (stored, transition) {
            (Err(failure), transition) => {
                if transition == Some(Transition::Failed) {
                    tracing::warn!(endpoint = %app, "poll failed: {failure}");
                }
                self.show_failure(&failure);
            }
            (Ok(()), Some(Transition::Recovered)) => tracing::info!(endpoint = %app, "polling works again"),
            (Ok(()), _) => {}
        }
    }

    /// Records the events of an answer, which then counts as received, and stores the rest of it.
    async fn store(&mut self, mut response: PollResponse) -> Result<(), PollError> {
        let sample = response.swarm.take().map(|(connections, peers)| PeerSample {
            at: (self.context.clock)(),
            connections,
            peers,
        });
        let (coding, body) = (response.coding.take(), response.body.clone());
        let update = self
            .record_events(self.update(response))
            .await
            .inspect_err(|_| self.fetcher.close())?;
        let (telemetry, source) = (&self.context.telemetry, &*self.target.source);
        match self.put(update).await? {
            Ok(receipt) => {
                telemetry.updates_total.with([source, Format::Poll.as_str()]).inc();
                if sample.is_some() {
                    self.context.inlet.put_peers(&self.target.endpoint.name, sample);
                }
                if let Some(complaint) = receipt.news() {
                    telemetry.complain(source, &self.target.endpoint.name, complaint);
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
    async fn record_events(&mut self, mut update: Update) -> Result<Update, PollError> {
        let Some((metric, families)) = self.target.events.clone() else {
            self.fetcher.mark_received(false);
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
        let (had_events, now) = (!events.is_empty(), (self.context.clock)());
        events.retain(|PolledEvent { event, stamp }| stamp.is_none_or(|stamp| !self.recorded.contains(&(event.labels.clone(), stamp))));
        let inlet = &self.context.inlet;
        let changes: Vec<_> = match inlet.is_followed(Topic::OneShot) {
            true => events.iter().map(|event| Change::one_shot(&metric, &event.event, now)).collect(),
            false => Vec::new(),
        };
        inlet.emit_polled(events, now).await?;
        self.fetcher.mark_received(had_events);
        self.recorded = stamped;
        changes.iter().for_each(|change| inlet.tell(change));
        Ok(update)
    }

    /// Stores an update.
    async fn put(&self, update: Update) -> Result<Result<Receipt, Refused>, PollError> {
        let inlet = self.context.inlet.clone();
        self.work(update.body.len(), move || inlet.put_polled(update)).await
    }

    /// Does work on a text of so many bytes. A large one takes long enough to make other tasks late.
    async fn work<T: Send + 'static>(&self, bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PollError> {
        let caught = move || catch_unwind(AssertUnwindSafe(work));
        let done = if bytes > LARGE_BYTES { blocking(caught).await } else { caught() };
        done.map_err(|panic| self.panicked(&*panic))
    }

    /// Samples that stand as events and cannot be any are left out, and counted.
    fn refuse_events(&self, count: u64, first: &str) {
        let source = &*self.target.source;
        let detail = format!("a sample of its one-shot events cannot be one: {first}");
        self.context.telemetry.reject(Rejection {
            source,
            peer: self.target.endpoint.url.host_str().unwrap_or_default(),
            reason: "bad_event",
            detail: &detail,
        });
        // The one that the rejection has counted is the first.
        self.context.telemetry.rejected_total.with([source, "bad_event"]).add(count - 1);
    }

    fn update(&self, response: PollResponse) -> Update {
        Update {
            app: self.target.endpoint.name.clone(),
            body: response.body,
            syntax: response.syntax,
            labels: Arc::clone(&self.target.endpoint.labels),
            origin: self.origin(),
            at: (self.context.clock)(),
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
        let now = (self.context.clock)();
        let announced = self.context.inlet.announce(self.target.endpoint.name.clone(), self.origin(), now);
        if let Err(refused) = announced {
            tracing::warn!(endpoint = %self.target.endpoint.name, "cannot list a polled endpoint: {refused}");
        }
    }

    /// Shows a failure in `/apps`, where the endpoint stands even if somebody deleted it meanwhile.
    fn show_failure(&self, failure: &PollError) {
        let (inlet, app) = (&self.context.inlet, &self.target.endpoint.name);
        let what = format!("poll failed: {failure}");
        if !inlet.fault(app, &what) && inlet.announce(app.clone(), self.origin(), (self.context.clock)()).is_ok() {
            inlet.fault(app, &what);
        }
    }

    fn panicked(&self, panic: &(dyn std::any::Any + Send)) -> PollError {
        self.context
            .telemetry
            .poll_panics_total
            .with([self.target.endpoint.name.as_str()])
            .inc();
        PollError::Panic(panic_message(panic).to_owned())
    }
}

/// Takes stale data out of the exposition.
fn withdraw(schedule: &mut PollSchedule, target: &Target, context: &PollContext) {
    let endpoint = &target.endpoint;
    context.inlet.withdraw(&endpoint.name);
    context.inlet.put_peers(&endpoint.name, None);
    schedule.withdrawn();
    tracing::warn!(endpoint = %endpoint.name, "no good poll for {:?}: its data leaves /metrics", endpoint.stale_after);
}

/// The failure of a poll whose body is of no use: names its format if it is no text, and its encoding if that is unknown.
fn why_unusable(refused: Refused, body: &[u8], coding: Option<String>) -> PollError {
    let is_invalid = matches!(refused, Refused::Invalid(..));
    let why = match ForeignFormat::of(body).filter(|_| is_invalid) {
        Some(foreign) => PollError::NotMetrics(foreign),
        None => PollError::Refused(refused),
    };
    match coding.filter(|_| is_invalid) {
        Some(coding) => PollError::ContentEncoding {
            coding,
            why: Box::new(why),
        },
        None => why,
    }
}
