//! The task of one endpoint: waits, polls, writes into the store.

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
use crate::bus::Notification;
use crate::model::{Clock, Format, LabelSet, Origin, PeerSample, Timestamp, Topic, Update};
use crate::peer_samples::PeerSamples;
use crate::sources::{LARGE_BYTES, unusable};
use crate::store::{Inlet, PolledEvent, PolledEvents, PutOptions, Receipt, Refused, take_events};
use crate::supervise::{blocking, panic_message};
use crate::telemetry::{Rejection, SharedTelemetry, UpdateOutcome};
use crate::wire::ForeignFormat;

/// Destinations of an endpoint's results.
#[derive(Debug, Clone)]
pub(super) struct PollContext {
    pub(super) inlet: Inlet,
    pub(super) peer_samples: PeerSamples,
    pub(super) telemetry: SharedTelemetry,
    pub(super) clock: Clock,
}

/// The task of one endpoint.
pub(super) struct EndpointTask {
    target: Arc<Target>,
    schedule: PollSchedule,
    fetcher: Fetcher,
    context: PollContext,
    /// The events with timestamps of the last response. They are not recorded again if the next response repeats them, because the server was
    /// killed before it saw the acknowledgement, or because it exposes events for some time.
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

    /// Polls until `stop` and returns the schedule.
    pub(super) async fn run(mut self, stop: CancellationToken) -> PollSchedule {
        self.register();
        loop {
            self.find_data();
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
                    if let Ok(response) = &fetched {
                        tracing::trace!(endpoint = %self.target.endpoint.name, bytes = response.body.len(), "poll response received");
                    }
                    self.finish_poll(fetched, took).await;
                }
            }
        }
    }

    /// Polls once and measures the duration. A panic fails only this poll. Data that becomes stale meanwhile is withdrawn.
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

    /// Stores the result of a poll and reports its success.
    async fn finish_poll(&mut self, fetched: Result<PollResponse, PollError>, took: Duration) {
        let stored = match fetched {
            Ok(response) => self.store(response).await,
            Err(failure) => Err(failure),
        };
        let (app, telemetry) = (&self.target.endpoint.name, &self.context.telemetry);
        telemetry.poll_up.with([app.as_str()]).set(i64::from(stored.is_ok()));
        self.context.inlet.bus().publish(&Notification::Polled {
            app: app.clone(),
            up: stored.is_ok(),
            took,
            at: (self.context.clock)(),
        });
        tracing::debug!(endpoint = %app, up = stored.is_ok(), seconds = took.as_secs_f64(), "polled");
        let transition = self.schedule.polled(Instant::now(), stored.is_ok());
        match (stored, transition) {
            (Err(failure), transition) => {
                if transition == Some(Transition::Failed)
                    && let Some(suppressed) = telemetry.admit_line(&format!("poll {app}"))
                {
                    tracing::warn!(endpoint = %app, suppressed, "poll failed: {failure}");
                }
                self.show_failure(&failure);
            }
            (Ok(()), Some(Transition::Recovered)) => {
                if let Some(suppressed) = telemetry.admit_line(&format!("poll {app}")) {
                    tracing::info!(endpoint = %app, suppressed, "polling works again");
                }
            }
            (Ok(()), _) => {}
        }
    }

    /// Records the events of a response, which is then marked as received, and stores the rest.
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
        let stored = self.put(update).await?;
        telemetry.app_updated(
            &self.target.endpoint.name,
            UpdateOutcome {
                source: &self.target.source,
                client: None,
                bytes: body.len(),
                refused: stored.as_ref().err().map(|refused| unusable(refused, &body).0),
            },
        );
        match stored {
            Ok(receipt) => {
                telemetry.updates_total.with([source, Format::Poll.as_str()]).inc();
                if sample.is_some() {
                    self.context.peer_samples.put(&self.target.endpoint.name, sample);
                }
                if let Some(complaint) = receipt.news() {
                    telemetry.log_skipped_lines(source, &self.target.endpoint.name, complaint);
                }
                Ok(())
            }
            Err(refused) => {
                let (reason, detail) = unusable(&refused, &body);
                telemetry.record_rejection(Rejection {
                    source,
                    peer: self.host(),
                    reason,
                    detail: &detail,
                });
                Err(unusable_body(refused, &body, coding))
            }
        }
    }

    /// Moves the events of an update into the event log. The response is marked as received once they are durable.
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
        let changes: Vec<_> = match inlet.bus().has_subscribers(Topic::OneShot) {
            true => events
                .iter()
                .map(|event| Notification::one_shot(&metric, &event.event, now))
                .collect(),
            false => Vec::new(),
        };
        inlet.emit_polled(&update.app, events, now).await?;
        self.fetcher.mark_received(had_events);
        self.recorded = stamped;
        for change in &changes {
            inlet.bus().publish(change);
        }
        Ok(update)
    }

    /// Stores an update.
    async fn put(&self, update: Update) -> Result<Result<Receipt, Refused>, PollError> {
        let inlet = self.context.inlet.clone();
        self.work(update.body.len(), move || inlet.put(update, PutOptions::POLLED)).await
    }

    /// Runs `work` on a text of `bytes` bytes; on a blocking thread if it is large, because it would delay other tasks.
    async fn work<T: Send + 'static>(&self, bytes: usize, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PollError> {
        let caught = move || catch_unwind(AssertUnwindSafe(work));
        let done = if bytes > LARGE_BYTES { blocking(caught).await } else { caught() };
        done.map_err(|panic| self.panicked(&*panic))
    }

    /// Counts and logs event samples that are not valid events and were left out.
    fn refuse_events(&self, count: u64, first: &str) {
        let source = &*self.target.source;
        let detail = format!("invalid sample among its one-shot events: {first}");
        self.context.telemetry.reject(Rejection {
            source,
            peer: self.host(),
            reason: "bad_event",
            detail: &detail,
        });
        // The rejection has counted the first one.
        self.context.telemetry.rejected_total.with([source, "bad_event"]).add(count - 1);
    }

    /// The host of the endpoint, as the client of a refusal.
    fn host(&self) -> &str {
        self.target.endpoint.url.host_str().unwrap_or_default()
    }

    fn update(&self, response: PollResponse) -> Update {
        Update {
            app: self.target.endpoint.name.clone(),
            body: response.body,
            syntax: response.syntax,
            records: response.read.as_ref().map_or_else(bytes::Bytes::new, |read| read.record_bytes()),
            read: response.read,
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

    /// Has data expire that no poll of this task has brought: another replica of the cluster had polled the endpoint before, or this one in an
    /// earlier run. It may also arrive later, so it is looked for while there is none.
    fn find_data(&mut self) {
        let PollContext { inlet, clock, .. } = &self.context;
        if !self.schedule.has_data()
            && let Some(age) = inlet.age_of_polled(&self.target.endpoint.name, clock())
        {
            let now = Instant::now();
            self.schedule.found(now.checked_sub(age).unwrap_or(now));
        }
    }

    /// Lists the endpoint in `/apps` before its first poll.
    fn register(&self) {
        let now = (self.context.clock)();
        let registered = self.context.inlet.register(self.target.endpoint.name.clone(), self.origin(), now);
        if let Err(refused) = registered {
            tracing::warn!(endpoint = %self.target.endpoint.name, "cannot add endpoint: {refused}");
        }
    }

    /// Shows a failure in `/apps`; lists the endpoint again if it was deleted meanwhile.
    fn show_failure(&self, failure: &PollError) {
        let (inlet, app) = (&self.context.inlet, &self.target.endpoint.name);
        let what = format!("poll failed: {failure}");
        if !inlet.fault(app, &what) && inlet.register(app.clone(), self.origin(), (self.context.clock)()).is_ok() {
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

/// Removes stale data from the exposition.
fn withdraw(schedule: &mut PollSchedule, target: &Target, context: &PollContext) {
    let endpoint = &target.endpoint;
    context.inlet.withdraw(&endpoint.name);
    context.peer_samples.put(&endpoint.name, None);
    schedule.withdrawn();
    if let Some(suppressed) = context.telemetry.admit_line(&format!("stale {}", endpoint.name)) {
        tracing::warn!(
            endpoint = %endpoint.name,
            suppressed,
            "no successful poll for {:?}: its series are dropped from /metrics until it recovers",
            endpoint.stale_after
        );
    }
}

/// The error of a poll with an unusable body: names its format if it is recognized, and its encoding if that is unknown.
fn unusable_body(refused: Refused, body: &[u8], coding: Option<String>) -> PollError {
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
