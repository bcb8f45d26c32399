//! The task of one endpoint: wait, poll, tell the store.

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
use crate::model::{Clock, Format, Origin, PeerSample, Update};
use crate::sources::{LARGE_BYTES, unusable};
use crate::store::{Change, Inlet, Refused};
use crate::supervise::{blocking, panic_message};
use crate::telemetry::SharedTelemetry;
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
}

impl Worker {
    pub(super) fn new(target: Arc<Target>, course: Course, shared: Arc<Shared>, listeners: Listeners) -> Self {
        Self {
            fetcher: Fetcher::new(Arc::clone(&target), shared),
            target,
            course,
            listeners,
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

    async fn store(&self, mut answer: Answer) -> Result<(), Failure> {
        let sample = answer.swarm.take().map(|(connections, peers)| PeerSample {
            at: (self.listeners.clock)(),
            connections,
            peers,
        });
        let (coding, body) = (answer.coding.take(), answer.body.clone());
        let (inlet, update) = (self.listeners.inlet.clone(), self.update(answer));
        let large = update.body.len() > LARGE_BYTES;
        let put = move || catch_unwind(AssertUnwindSafe(|| inlet.put_polled(update)));
        // A large body takes long enough to read to make other tasks late.
        let put = if large { blocking(put).await } else { put() };
        let (telemetry, source) = (&self.listeners.telemetry, &*self.target.source);
        match put {
            Ok(Ok(receipt)) => {
                telemetry.updates_total.with([source, Format::Poll.as_str()]).inc();
                if sample.is_some() {
                    self.listeners.inlet.put_peers(&self.target.endpoint.name, sample);
                }
                if let Some(complaint) = receipt.news() {
                    telemetry.complain(source, &self.target.endpoint.name, complaint);
                }
            }
            Ok(Err(refused)) => {
                let (reason, _) = unusable(&refused, &body);
                telemetry.rejected_total.with([source, reason]).inc();
                return Err(why_unusable(refused, &body, coding));
            }
            Err(panic) => return Err(self.panicked(&*panic)),
        }
        Ok(())
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
