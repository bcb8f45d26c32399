//! The threads that write: one for the journal, one for the applications.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Health;
use super::app_log::AppLog;
use super::health::Told;
use super::writer::Writer;
use crate::store::Shared;
use crate::supervise::Part;

/// From one writing of the applications to the next, its own time included: with a second for the writing, what a restart
/// finds is never older than five.
const APPS_EVERY: Duration = Duration::from_secs(4);

/// The least pause between two writings, on a disk that does not keep up.
const APPS_PAUSE: Duration = Duration::from_millis(500);

/// What writes, before it runs. Until then events wait.
pub struct Keeper {
    pub(super) writer: Writer,
    pub(super) apps: AppLog,
    pub(super) shared: Arc<Shared>,
}

impl std::fmt::Debug for Keeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keeper").finish_non_exhaustive()
    }
}

impl Keeper {
    /// Starts to write. `told` hears which log cannot be written and why, and `None` once it can be again.
    ///
    /// # Errors
    /// When the system has no thread for it.
    pub fn start(self, told: impl Fn(&'static str, Option<&str>) + Send + Sync + 'static) -> io::Result<Running> {
        let told: Told = Arc::new(told);
        let Self { writer, apps, shared } = self;
        let (stop_apps, asked) = mpsc::channel();
        let door = Arc::clone(&shared);
        let health = Health::new("events", Arc::clone(&told));
        let events = Thread::start("events-log", move || writer.run(health))?;
        let health = Health::new("applications", told);
        let work = AppsWriter {
            log: apps,
            shared,
            asked,
            health,
        };
        let apps = Thread::start("apps-log", move || work.run())?;
        Ok(Running {
            threads: [events, apps],
            stop_apps,
            door,
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

/// The writing threads. Dropped, it tells them to write what waits and end.
#[derive(Debug)]
pub struct Running {
    threads: [Thread; 2],
    stop_apps: Sender<()>,
    door: Arc<Shared>,
}

impl Running {
    /// A part that falls when a thread does.
    #[must_use]
    pub fn watch(&self) -> impl Part + use<> {
        Watch(self.threads.clone())
    }

    /// Has everything written that waits and ends. To be called when nobody is left who writes to the store.
    pub async fn finish(self) {
        let threads = self.threads.clone();
        drop(self);
        for thread in &threads {
            thread.ended.cancelled().await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(door) = &self.door.journal {
            door.stop();
        }
        // A thread that has ended needs no telling.
        let _ = self.stop_apps.send(());
    }
}

struct Watch([Thread; 2]);

impl Part for Watch {
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

/// The work of the thread that writes the applications.
struct AppsWriter {
    log: AppLog,
    shared: Arc<Shared>,
    asked: Receiver<()>,
    health: Health,
}

impl AppsWriter {
    fn run(mut self) {
        let mut pause = APPS_EVERY;
        loop {
            let stopping = !matches!(self.asked.recv_timeout(pause), Err(RecvTimeoutError::Timeout));
            let began = Instant::now();
            match self.log.write_changes(&self.shared.latest) {
                Ok(()) => self.health.well(),
                Err(error) => self.health.ill(&format!("{}: {error}", self.log.show())),
            }
            if stopping {
                return;
            }
            pause = APPS_EVERY.saturating_sub(began.elapsed()).max(APPS_PAUSE);
        }
    }
}
