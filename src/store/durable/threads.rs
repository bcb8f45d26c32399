//! The threads that write: one for the journal, one for the apps.

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Health;
use super::app_log::AppLog;
use super::health::StatusCallback;
use super::writer::JournalWriter;
use crate::store::Shared;
use crate::store::persistence::Wake;
use crate::supervise::Service;

/// From one writing of the apps to the next, its own time included: with a second for the writing, what a restart
/// finds is never older than five.
const APPS_EVERY: Duration = Duration::from_secs(4);

/// The least pause between two writings, on a disk that does not keep up. The first one after a start as well, and the next
/// ones twice as long each, up to [`APPS_EVERY`]: what lives for three seconds at a time loses at most the last of them.
const APPS_PAUSE: Duration = Duration::from_millis(500);

/// The writing threads before they run. Until then events wait.
pub struct Persistence {
    pub(super) writer: JournalWriter,
    pub(super) app_log: AppLog,
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Persistence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Persistence").finish_non_exhaustive()
    }
}

impl Persistence {
    /// Starts the threads. `on_change` is called with the log that cannot be written and the error, and with `None` once it can be written
    /// again.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, on_change: impl Fn(&'static str, Option<&str>) + Send + Sync + 'static) -> io::Result<PersistenceHandle> {
        let on_change: StatusCallback = Arc::new(on_change);
        let Self { writer, app_log, shared } = self;
        let (wake_apps, woken) = mpsc::channel();
        let journal = Arc::clone(&shared);
        let health = Health::new("events", Arc::clone(&on_change));
        let events = Thread::start("events-log", move || writer.run(health))?;
        let health = Health::new("applications", on_change);
        shared.apps().wake_writer(wake_apps.clone());
        let work = AppsWriter {
            log: app_log,
            shared,
            woken,
            health,
        };
        let apps = Thread::start("apps-log", move || work.run())?;
        Ok(PersistenceHandle {
            threads: [events, apps],
            wake_apps,
            journal,
        })
    }
}

/// A thread that others wait for.
#[derive(Debug, Clone)]
struct Thread {
    name: &'static str,
    ended: CancellationToken,
}

impl Thread {
    fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let ended = CancellationToken::new();
        let guard: DropGuard = ended.clone().drop_guard();
        let work = move || {
            // Dropped at the end, even if that is a panic.
            let _guard = guard;
            work();
        };
        thread::Builder::new().name(name.to_owned()).spawn(work)?;
        Ok(Self { name, ended })
    }
}

/// The writing threads. When this is dropped, they write what is queued and end.
#[derive(Debug)]
pub struct PersistenceHandle {
    threads: [Thread; 2],
    wake_apps: Sender<Wake>,
    journal: Arc<Shared>,
}

impl PersistenceHandle {
    /// A part that falls when a thread does.
    #[must_use]
    pub fn watch(&self) -> impl Service + use<> {
        Watch(self.threads.clone())
    }

    /// Writes all that is queued and ends the threads. To be called when the store has no more writers.
    pub async fn finish(self) {
        let threads = self.threads.clone();
        drop(self);
        for thread in &threads {
            thread.ended.cancelled().await;
        }
    }
}

impl Drop for PersistenceHandle {
    fn drop(&mut self) {
        if let Some(journal) = &self.journal.journal {
            journal.stop();
        }
        // Fails only if the thread has ended.
        let _ = self.wake_apps.send(Wake::Stop);
    }
}

struct Watch([Thread; 2]);

impl Service for Watch {
    fn name(&self) -> &str {
        "store.path"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let [events, apps] = self.0;
            let fallen = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = events.ended.cancelled() => events.name,
                () = apps.ended.cancelled() => apps.name,
            };
            anyhow::bail!("the thread {fallen} has ended")
        })
    }
}

/// The earliest time of the next writing.
#[derive(Debug)]
struct Times {
    earliest: Instant,
    /// From the beginning of the next writing to that of the one after it.
    pause: Duration,
}

impl Times {
    fn new(start: Instant) -> Self {
        Self {
            earliest: start,
            pause: APPS_PAUSE,
        }
    }

    fn written(&mut self, began: Instant, ended: Instant) {
        self.earliest = (began + self.pause).max(ended + APPS_PAUSE);
        self.pause = (self.pause * 2).min(APPS_EVERY);
    }
}

/// The work of the thread that writes the apps: the first change at once, later ones no sooner than a pause after the
/// last writing.
struct AppsWriter {
    log: AppLog,
    shared: Arc<Shared>,
    /// Bounded: one message for the first change after each writing, and one at the end.
    woken: Receiver<Wake>,
    health: Health,
}

impl AppsWriter {
    fn run(mut self) {
        let mut times = Times::new(Instant::now());
        let mut pending = self.log.is_due();
        loop {
            let stopping = self.wait(times.earliest, pending);
            let began = Instant::now();
            let outcome = match stopping {
                true => self.log.finish(&self.shared.apps),
                false => self.log.write_changes(&self.shared.apps),
            };
            pending = outcome.is_err();
            match outcome {
                Ok(()) => self.health.recovered(),
                Err(error) => self.health.failed(&format!("{}: {error}", self.log.show())),
            }
            if stopping {
                return;
            }
            times.written(began, Instant::now());
        }
    }

    /// Waits until there is something to write and `earliest` is over; true at the end.
    fn wait(&self, earliest: Instant, mut pending: bool) -> bool {
        loop {
            let message = if pending {
                self.woken.recv_timeout(earliest.saturating_duration_since(Instant::now()))
            } else {
                self.woken.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            match message {
                Ok(Wake::Changed) => pending = true,
                Err(RecvTimeoutError::Timeout) => return false,
                Ok(Wake::Stop) | Err(RecvTimeoutError::Disconnected) => return true,
            }
        }
    }
}
