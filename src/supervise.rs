//! Services: bind, start, watch, drain, stop. Imports no other module but `telemetry`.
//!
//! All sockets are bound before the first [`Service`] runs. From then on the [`Supervisor`] owns every service. The first one that fails
//! stops the others, and draining has a limit; services that exceed it are named.

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
pub mod lookup;
mod memory;
pub mod notes;
mod pace;
pub mod probe;
mod readiness;
pub mod secret_file;
pub mod service_manager;
pub mod signals;
pub mod slots;
pub mod stream;
pub mod unix_socket;

pub use accept::{Accepted, ListenerStats};
pub use blocking::{BLOCKING_THREADS, MAX_HANGING, blocking, blocking_holding, blocking_within};
pub use cgroup::default_memory_limit;
pub use listen::{AddressFamilies, BindError, BindErrorKind, Listener};
pub use memory::MallocTrim;
pub use notes::Notes;
pub use pace::Pace;
pub use readiness::Readiness;
pub use slots::{ConnectionSlots, Slot};
pub use stream::Stream;
pub use unix_socket::UnixAccess;

/// Limit on the time in which services finish their open requests: longer than any scrape that still has a reader, shorter than the stop
/// timeout of a service manager (90 s for systemd).
pub const DRAIN: Duration = Duration::from_secs(10);

/// A long-running task of the program, such as a listener, the polls or the expiry of apps.
pub trait Service: Send {
    /// The name in logs and errors, such as `http 0.0.0.0:6555`.
    fn name(&self) -> &str;

    /// Runs until `stop` is cancelled, then finishes its open work and returns.
    ///
    /// An error, a panic, or a return before `stop` stops the whole program. When draining exceeds its limit the future is dropped, so
    /// everything that it started must end by drop.
    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>>;
}

/// The two stop signals.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Graceful shutdown: open requests are finished, new ones are not accepted.
    pub graceful: CancellationToken,
    /// Immediate shutdown: everything is dropped.
    pub immediate: CancellationToken,
}

/// The failure of a service: an error, a panic, or a return without a request to stop.
#[derive(Debug)]
pub struct TaskFailure {
    /// The service's name.
    pub service: String,
    /// The error or the text of the panic.
    pub why: anyhow::Error,
}

/// Result of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// The failed services in order of time; the first one stopped the others.
    pub failures: Vec<TaskFailure>,
    /// The services that did not finish within the limit on draining.
    pub unfinished: Vec<String>,
}

impl Report {
    /// Returns true if every service ended on request, without an error and in time.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.unfinished.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return f.write_str("all services stopped");
        }
        let mut lead = "";
        for failure in &self.failures {
            write!(f, "{lead}{} failed: {:#}", failure.service, failure.why)?;
            lead = "; ";
        }
        if !self.unfinished.is_empty() {
            write!(f, "{lead}gave up waiting for {}", self.unfinished.join(", "))?;
        }
        Ok(())
    }
}

/// Owner of all services.
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

    /// Adds a service that has bound its sockets; it starts with [`Supervisor::run`].
    pub fn add(&mut self, service: impl Service + 'static) {
        self.services.push(Box::new(service));
    }

    /// Runs all services until a stop is requested or one of them fails, then gives the rest `drain` to finish.
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

/// The tasks of the running services.
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

    /// Returns on a request to stop, or requests the stop itself when a service has ended.
    async fn watch(&mut self, stop: &CancellationToken, report: &mut Report) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            Some(ended) = self.tasks.join_next_with_id() => {
                let unasked = || anyhow::anyhow!("it ended without a request to stop");
                self.note(ended, report, unasked);
                stop.cancel();
            }
        }
    }

    /// Waits for all running services.
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
                "{} failed; shutting down: {:#}",
                failure.service,
                failure.why
            );
        }
    }

    /// Records the end of a service and returns its name.
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

    /// Aborts the running services and returns their names, sorted.
    async fn abort(mut self) -> Vec<String> {
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next_with_id().await {
            // A service that finished just before the abort was not cut off.
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

/// The text of a task's panic, or that the task was dropped.
pub(crate) fn panic_text(lost: JoinError) -> String {
    match lost.try_into_panic() {
        Ok(panic) => format!("it panicked: {}", panic_message(&*panic)),
        Err(_) => "it was dropped".to_owned(),
    }
}

/// The text of a caught panic.
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
mod tests;
