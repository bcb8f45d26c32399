//! Parts: bind, start, watch, stop, drain. Knows no room of the house.
//!
//! All sockets are taken before the first [`Service`] runs; from then on the [`Supervisor`] owns every service, the first one to fall brings
//! the others down, and draining has a limit that names what remains.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub mod accept;
mod blocking;
mod cgroup;
pub mod files;
pub mod limits;
pub mod listen;
mod memory;
pub mod notes;
pub mod probe;
pub mod service_manager;
pub mod signals;
pub mod slots;
pub mod stream;
pub mod unix_socket;

pub use accept::{Accepted, ListenerStats};
pub use blocking::blocking;
pub use cgroup::default_memory_limit;
pub use listen::{AddressFamilies, BindError, BindErrorKind, Listener};
pub use memory::MallocTrim;
pub use notes::Notes;
pub use slots::{ConnectionSlots, Slot};
pub use stream::Stream;
pub use unix_socket::UnixAccess;

/// How long services may take to finish what they have in work: longer than any scrape that still has a reader, shorter than the patience
/// of a service manager (systemd waits 90 s).
pub const DRAIN: Duration = Duration::from_secs(10);

/// One long-running piece of the program: a listener, a poller, an expiry clock.
pub trait Service: Send {
    /// What the service is called in logs and errors, such as `http 0.0.0.0:6555`.
    fn name(&self) -> &str;

    /// Works until `stop` is cancelled, then finishes what it has begun and returns.
    ///
    /// An error, a panic, or an end that nobody asked for brings the whole program down. When draining takes too long the future is
    /// dropped, so all that it started must end by drop.
    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>>;
}

/// The two ways to be told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Finish what is in work, take nothing new.
    pub graceful: CancellationToken,
    /// Drop everything now.
    pub immediate: CancellationToken,
}

/// A service that ended before anybody asked it to, or badly.
#[derive(Debug)]
pub struct TaskFailure {
    /// The service's name.
    pub service: String,
    /// What it ended with.
    pub why: anyhow::Error,
}

/// How a run ended.
#[derive(Debug, Default)]
pub struct Report {
    /// The services that fell, the first one first: it brought the others down.
    pub failures: Vec<TaskFailure>,
    /// The services that were still at work when time was up.
    pub unfinished: Vec<String>,
}

impl Report {
    /// Whether every service ended well, because it was asked to, and in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.unfinished.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("every service has ended well");
        }
        let mut lead = "";
        for failure in &self.failures {
            write!(f, "{lead}{} fell: {:#}", failure.service, failure.why)?;
            lead = "; ";
        }
        if !self.unfinished.is_empty() {
            write!(f, "{lead}still at work when time was up: {}", self.unfinished.join(", "))?;
        }
        Ok(())
    }
}

/// The owner of all services.
#[derive(Default)]
pub struct Supervisor {
    services: Vec<Box<dyn Service>>,
}

impl Supervisor {
    /// A supervisor without services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a service that has bound all it needs; it starts with [`Supervisor::run`].
    pub fn add(&mut self, service: impl Service + 'static) {
        self.services.push(Box::new(service));
    }

    /// The names of the services, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(|service| service.name())
    }

    /// Runs all services until `stop` is asked for or one of them falls, then gives the rest `drain` to finish.
    ///
    /// Dropping this future drops all services at once.
    pub async fn run(self, stop: Stop, drain: Duration) -> Report {
        let mut running = RunningTasks::start(self.services, &stop.graceful);
        let mut report = Report::default();
        tokio::select! {
            () = stop.immediate.cancelled() => {}
            () = running.watch(&stop.graceful, &mut report) => {
                let drained = async {
                    tokio::select! {
                        () = stop.immediate.cancelled() => {}
                        () = tokio::time::sleep(drain) => {}
                        () = running.drain(&mut report) => {}
                    }
                };
                drained.await;
            }
        }
        report.unfinished = running.abort().await;
        report
    }
}

/// The services at work.
struct RunningTasks {
    tasks: JoinSet<anyhow::Result<()>>,
    names: HashMap<Id, String>,
}

impl RunningTasks {
    fn start(services: Vec<Box<dyn Service>>, stop: &CancellationToken) -> Self {
        let mut running = Self {
            tasks: JoinSet::new(),
            names: HashMap::new(),
        };
        for service in services {
            let name = service.name().to_owned();
            let handle = running.tasks.spawn(service.run(stop.clone()));
            running.names.insert(handle.id(), name);
        }
        running
    }

    /// Returns when a stop is asked for, or asks for it when a service has ended by itself.
    async fn watch(&mut self, stop: &CancellationToken, report: &mut Report) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Some(ended) = self.tasks.join_next_with_id() => {
                let unasked = || anyhow::anyhow!("it ended although nobody asked it to");
                self.note(ended, report, unasked);
                stop.cancel();
            }
        }
    }

    /// Waits for all that are left.
    async fn drain(&mut self, report: &mut Report) {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.end(ended, report);
        }
    }

    fn note(&mut self, ended: Ended, report: &mut Report, unasked: impl FnOnce() -> anyhow::Error) {
        let before = report.failures.len();
        let name = self.end(ended, report);
        if report.failures.len() == before {
            report.failures.push(TaskFailure {
                service: name,
                why: unasked(),
            });
        }
        if let Some(failure) = report.failures.last() {
            tracing::error!(
                service = failure.service,
                "{} fell, stopping the others: {:#}",
                failure.service,
                failure.why
            );
        }
    }

    /// Books one ended service and returns its name.
    fn end(&mut self, ended: Ended, report: &mut Report) -> String {
        let (id, why) = match ended {
            Ok((id, Ok(()))) => (id, None),
            Ok((id, Err(why))) => (id, Some(why)),
            Err(lost) => (lost.id(), Some(anyhow::anyhow!(panic_text(lost)))),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        if let Some(why) = why {
            report.failures.push(TaskFailure {
                service: name.clone(),
                why,
            });
        }
        name
    }

    /// Drops what is left and says what that was, in a fixed order.
    async fn abort(mut self) -> Vec<String> {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            // A service that finished between the last look and the abort is not one that was cut off.
            if let Ok((id, _)) = ended {
                self.names.remove(&id);
            }
        }
        let mut left: Vec<String> = self.names.into_values().collect();
        left.sort();
        left
    }
}

type Ended = Result<(Id, anyhow::Result<()>), JoinError>;

/// What a task that did not end by itself has to say: its panic's text, or that it was dropped.
pub(crate) fn panic_text(lost: JoinError) -> String {
    match lost.try_into_panic() {
        Ok(panic) => format!("it panicked: {}", panic_message(&*panic)),
        Err(_) => "it was dropped".to_owned(),
    }
}

/// The text of a caught panic, as far as it is one.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "(no text)"
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    struct Act<F>(&'static str, F);

    impl<F, R> Service for Act<F>
    where
        F: FnOnce(CancellationToken) -> R + Send,
        R: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        fn name(&self) -> &str {
            self.0
        }

        fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
            Box::pin((self.1)(stop))
        }
    }

    async fn obeys(stop: CancellationToken) -> anyhow::Result<()> {
        stop.cancelled().await;
        Ok(())
    }

    async fn hangs(_: CancellationToken) -> anyhow::Result<()> {
        std::future::pending().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_everything_well() {
        let mut all = Supervisor::new();
        all.add(Act("a", obeys));
        all.add(Act("b", obeys));
        assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b"]);
        let stop = Stop::default();
        stop.graceful.cancel();
        let report = all.run(stop, DRAIN).await;
        assert!(report.is_clean(), "{report}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_to_fall_brings_the_others_down_and_is_named() {
        let mut all = Supervisor::new();
        all.add(Act("steady", obeys));
        all.add(Act("weak", |_| async { anyhow::bail!("disk on fire") }));
        let report = all.run(Stop::default(), DRAIN).await;
        assert_eq!(report.to_string(), "weak fell: disk on fire");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_nobody_asked_for_is_a_fall() {
        let mut all = Supervisor::new();
        all.add(Act("steady", obeys));
        all.add(Act("quitter", |_| async { Ok(()) }));
        let report = all.run(Stop::default(), DRAIN).await;
        assert_eq!(report.to_string(), "quitter fell: it ended although nobody asked it to");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_is_a_fall_with_its_text() {
        let mut all = Supervisor::new();
        all.add(Act("steady", obeys));
        all.add(Act("nervous", |_| async { panic!("boo {}", 1) }));
        let report = all.run(Stop::default(), DRAIN).await;
        assert_eq!(report.to_string(), "nervous fell: it panicked: boo 1");
    }

    #[tokio::test(start_paused = true)]
    async fn draining_has_a_limit_and_names_what_remains() {
        let mut all = Supervisor::new();
        all.add(Act("zeta", hangs));
        all.add(Act("alpha", hangs));
        all.add(Act("steady", obeys));
        let stop = Stop::default();
        stop.graceful.cancel();
        let began = tokio::time::Instant::now();
        let report = all.run(stop, DRAIN).await;
        assert_eq!(began.elapsed(), DRAIN);
        assert_eq!(report.to_string(), "still at work when time was up: alpha, zeta");
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_signal_stops_at_once() {
        let mut all = Supervisor::new();
        all.add(Act("slow", hangs));
        let stop = Stop::default();
        stop.graceful.cancel();
        let hurry = stop.immediate.clone();
        let began = tokio::time::Instant::now();
        let later = async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            hurry.cancel();
        };
        let (report, ()) = tokio::join!(all.run(stop, DRAIN), later);
        assert_eq!(began.elapsed(), Duration::from_secs(1));
        assert_eq!(report.unfinished, ["slow"]);
    }
}
