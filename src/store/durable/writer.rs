//! The thread that writes the journal: all queued events are written and synced together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::Health;
use super::journal::{Journal, NotAccepted};
use crate::store::EmitError;
use crate::store::events::{Accepted, Events, Submission};

/// The most events that wait for the disk; further producers wait for a place. A disk that takes a tenth of a second for
/// a batch so still serves 10,000 of them a second.
const WAITING: usize = 1_024;

/// The time within which what was written survives a loss of power, if no event brings that about sooner, and is sealed.
const SYNC_WITHIN: Duration = Duration::from_secs(1);

/// The interval of checking a failed disk when no event is submitted.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The time that the thread sleeps without work: any, it is woken by messages.
const ASLEEP: Duration = Duration::from_secs(3_600);

enum Message {
    Submission(Request),
    /// Something about scrapers has changed.
    Changed,
    Stop,
}

/// Events that are made durable together or not at all.
struct Request {
    submissions: Vec<Submission>,
    answer: oneshot::Sender<Result<Outcomes, EmitError>>,
    /// The places in the queue, free again after the response.
    _places: OwnedSemaphorePermit,
}

/// The result for each event of a request, in its order.
type Outcomes = Vec<Result<Accepted, EmitError>>;

/// The way to the writing thread.
#[derive(Debug)]
pub(in crate::store) struct JournalHandle {
    /// Bounded by `places` and `change_queued`.
    messages: Sender<Message>,
    places: Arc<Semaphore>,
    /// True while a [`Message::Changed`] is queued.
    change_queued: Arc<AtomicBool>,
}

impl JournalHandle {
    /// Has an event made durable and accepted.
    pub(in crate::store) async fn submit(&self, submission: Submission) -> Result<Accepted, EmitError> {
        let outcome = self.submit_all(vec![submission]).await?.pop();
        outcome.unwrap_or_else(|| Err(stopping()))
    }

    /// Has events made durable and accepted: all of them, or after an error none.
    pub(in crate::store) async fn submit_all(&self, submissions: Vec<Submission>) -> Result<Outcomes, EmitError> {
        // More than there are places wait for all of them, as there will never be more.
        let wanted = u32::try_from(submissions.len().min(WAITING)).unwrap_or(u32::MAX);
        let places = Arc::clone(&self.places).acquire_many_owned(wanted).await.map_err(|_| stopping())?;
        let (answer, outcome) = oneshot::channel();
        let request = Request {
            submissions,
            answer,
            _places: places,
        };
        self.messages.send(Message::Submission(request)).map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// Has what has changed about scrapers written.
    pub(in crate::store) fn changed(&self) {
        if !self.change_queued.swap(true, Ordering::AcqRel) {
            // A thread that has ended has written all it was going to.
            let _ = self.messages.send(Message::Changed);
        }
    }

    /// Asks the thread to write what waits and end.
    pub(super) fn stop(&self) {
        let _ = self.messages.send(Message::Stop);
    }
}

fn stopping() -> EmitError {
    EmitError::NotDurable("the program is stopping".into())
}

/// The thread's work.
pub(in crate::store) struct JournalWriter {
    journal: Journal,
    state: Arc<Mutex<Events>>,
    messages: Receiver<Message>,
    change_queued: Arc<AtomicBool>,
    /// Since when something has been written but not synced and sealed.
    unsynced_since: Option<Instant>,
    stopping: bool,
}

impl JournalWriter {
    pub(super) fn new(journal: Journal, state: Arc<Mutex<Events>>) -> (Self, JournalHandle) {
        let (sender, messages) = mpsc::channel();
        let change_queued = Arc::new(AtomicBool::new(false));
        let handle = JournalHandle {
            messages: sender,
            places: Arc::new(Semaphore::new(WAITING)),
            change_queued: Arc::clone(&change_queued),
        };
        let writer = Self {
            journal,
            state,
            messages,
            change_queued,
            unsynced_since: Some(Instant::now()),
            stopping: false,
        };
        (writer, handle)
    }

    /// Runs until [`Message::Stop`], or until all handles are dropped.
    pub(super) fn run(mut self, mut health: Health) {
        while let Some(requests) = self.wait(health.is_failed()) {
            self.change_queued.store(false, Ordering::Release);
            if requests.is_empty() && health.is_failed() {
                let outcome = self.journal.probe(&self.state);
                self.note(outcome, &mut health);
            } else {
                self.serve(requests, &mut health);
            }
            self.sync_in_time(&mut health);
            if self.stopping {
                // Later submissions fail, because the channel is closed.
                return;
            }
        }
    }

    /// All that waits, or nothing where it is time to sync or to retry; `None` at the end.
    fn wait(&mut self, failed: bool) -> Option<Vec<Request>> {
        let mut requests = Vec::new();
        let mut next = match self.messages.recv_timeout(self.timeout(failed)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return None,
        };
        while let Some(message) = next {
            match message {
                Message::Submission(request) => requests.push(request),
                Message::Changed => {}
                Message::Stop => self.stopping = true,
            }
            next = (requests.len() < WAITING).then(|| self.messages.try_recv().ok()).flatten();
        }
        Some(requests)
    }

    fn timeout(&self, failed: bool) -> Duration {
        let sync = self.unsynced_since.map(|since| SYNC_WITHIN.saturating_sub(since.elapsed()));
        let retry = failed.then_some(RETRY_AFTER);
        sync.into_iter().chain(retry).min().unwrap_or(ASLEEP)
    }

    fn serve(&mut self, requests: Vec<Request>, health: &mut Health) {
        let (mut submissions, mut answers) = (Vec::new(), Vec::new());
        for request in requests {
            answers.push((request.submissions.len(), request.answer, request._places));
            submissions.extend(request.submissions);
        }
        match self.journal.commit(&self.state, &submissions) {
            Ok(outcomes) => {
                let wrote = outcomes.iter().any(|outcome| outcome.is_ok_and(|accepted| !accepted.repeated));
                let mut outcomes = outcomes.into_iter().map(|outcome| {
                    outcome.map_err(|why| match why {
                        NotAccepted::KeyReused => EmitError::KeyReused,
                        NotAccepted::Crowded => EmitError::Crowded,
                    })
                });
                for (submissions, answer, _places) in answers {
                    // A producer that has gone away has its events accepted all the same.
                    let _ = answer.send(Ok(outcomes.by_ref().take(submissions).collect()));
                }
                match self.journal.rewrite_if_large(&self.state) {
                    // Retries alone do not prove that anything can be written.
                    Ok(()) if !wrote => {}
                    outcome => self.note(outcome, health),
                }
            }
            Err(error) => {
                let why: Arc<str> = format!("{}: {error}", self.journal.show()).into();
                for (_, answer, _places) in answers {
                    let _ = answer.send(Err(EmitError::NotDurable(Arc::clone(&why))));
                }
                health.failed(&why);
            }
        }
        if self.journal.is_synced_and_sealed() {
            self.unsynced_since = None;
        } else {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
    }

    /// Syncs what was written and seals it, once that is due or the thread ends.
    fn sync_in_time(&mut self, health: &mut Health) {
        if self.stopping {
            if let Err(error) = self.journal.finish(&self.state) {
                self.note(Err(error), health);
            }
        } else if self.unsynced_since.is_some_and(|since| since.elapsed() >= SYNC_WITHIN) {
            self.unsynced_since = None;
            match self.journal.sync_and_seal(&self.state) {
                // A seal alone does not prove that anything can be written.
                Ok(false) => {}
                outcome => self.note(outcome.map(drop), health),
            }
        }
    }

    fn note(&self, outcome: std::io::Result<()>, health: &mut Health) {
        match outcome {
            Ok(()) => health.recovered(),
            Err(error) => health.failed(&format!("{}: {error}", self.journal.show())),
        }
    }
}
