//! The message bus: notifications of updates, polls and events, from publishers to subscribers.
//!
//! Publishing never waits: a subscriber with a full queue misses notifications, and sees a gap in the sequence numbers. Publishing on a
//! topic without subscribers costs one read of an atomic.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::model::{AppName, Event, LabelPair, Timestamp, Topic, Topics};

/// Notifications queued for one subscriber: a burst of a quarter of a second at the pace at which messages can be compressed.
const MAX_QUEUED: usize = 16_384;
/// Bytes of them, since one relayed message may have megabytes.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// A notification of something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    /// An app was updated.
    Updated {
        /// Its name.
        app: AppName,
        /// The origin of the update.
        source: Arc<str>,
        /// The length of its exposition text.
        bytes: u64,
        /// The numbers of its families and series; `None` in raw mode.
        counted: Option<Counted>,
        /// The time.
        at: Timestamp,
    },
    /// An app was forgotten.
    Forgotten {
        /// Its name.
        app: AppName,
        /// The time.
        at: Timestamp,
    },
    /// An endpoint was polled.
    Polled {
        /// Its app.
        app: AppName,
        /// True if the poll succeeded.
        up: bool,
        /// The duration of the poll.
        took: Duration,
        /// The time.
        at: Timestamp,
    },
    /// A one-shot event was accepted.
    OneShot {
        /// The family of its samples.
        metric: Arc<str>,
        /// Its labels.
        labels: Arc<[LabelPair]>,
        /// Its value.
        value: f64,
        /// The time.
        at: Timestamp,
    },
    /// An upstream's monitoring stream brought a message.
    Relayed {
        /// Its topic.
        topic: Topic,
        /// The event, as a JSON object ready to be relayed.
        event: Bytes,
    },
}

/// The content of an exposition text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Families.
    pub families: usize,
    /// Series.
    pub series: u32,
}

impl Notification {
    /// The notification of a one-shot event that was just accepted; it becomes a sample of `metric`.
    #[must_use]
    pub fn one_shot(metric: &Arc<str>, event: &Event, at: Timestamp) -> Self {
        let labels = event.labels.iter().map(|(name, value)| (name.into(), value.into()));
        Self::OneShot {
            metric: Arc::clone(metric),
            labels: labels.collect(),
            value: event.value,
            at,
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> Topic {
        match self {
            Self::Updated { .. } => Topic::AppUpdate,
            Self::Forgotten { .. } => Topic::AppExpired,
            Self::Polled { .. } => Topic::Poll,
            Self::OneShot { .. } => Topic::OneShot,
            Self::Relayed { topic, .. } => *topic,
        }
    }

    /// The bytes it keeps in memory, roughly; the names of apps and sources are shared with the store.
    fn weight(&self) -> usize {
        let own = match self {
            Self::Relayed { event, .. } => event.len(),
            Self::OneShot { labels, .. } => labels.iter().map(|(name, value)| name.len() + value.len()).sum(),
            _ => 0,
        };
        own + size_of::<Self>()
    }
}

/// A notification and its sequence number. Gaps in the numbers of a subscription are notifications that it missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequenced {
    /// The number of earlier notifications of the subscription's topics.
    pub number: u64,
    /// The notification.
    pub change: Notification,
}

/// All subscribers.
#[derive(Debug, Default)]
struct Subscribers {
    /// A bit for each topic with subscribers.
    interest: AtomicU8,
    /// One for each subscription: a handful at most.
    queues: Mutex<Vec<Arc<Queue>>>,
    /// Notified whenever a subscriber has emptied its queue, or was dropped.
    room: Notify,
}

/// The queue of one subscriber.
#[derive(Debug)]
struct Queue {
    /// The bits of its [`Topics`]. Written under the lock of all queues.
    topics: AtomicU8,
    /// Held for one push or one swap, never across an await.
    waiting: Mutex<Waiting>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Bounded by [`MAX_QUEUED`] and [`MAX_QUEUED_BYTES`].
    changes: Vec<Sequenced>,
    bytes: usize,
    next: u64,
    missed: Missed,
}

/// The numbers of notifications of each topic that a subscriber missed because its queue was full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed([u64; Topic::ALL.len()]);

impl Missed {
    /// The topics of which notifications were missed, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (Topic, u64)> {
        Topic::ALL
            .into_iter()
            .map(|topic| (topic, self.0[topic as usize]))
            .filter(|(_, count)| *count > 0)
    }
}

/// The message bus. Cloning it clones a handle.
#[derive(Debug, Clone, Default)]
pub struct Bus(Publisher);

/// The publishing half of a bus. Cloning it clones a handle.
#[derive(Debug, Clone, Default)]
pub struct Publisher(Arc<Subscribers>);

impl Bus {
    /// The publishing half.
    #[must_use]
    pub const fn publisher(&self) -> &Publisher {
        &self.0
    }

    /// Delivers notifications of these topics from now on.
    #[must_use]
    pub fn subscribe(&self, topics: Topics) -> Subscription {
        let queue = Arc::new(Queue {
            topics: AtomicU8::new(topics.bits()),
            waiting: Mutex::default(),
            arrived: Notify::new(),
        });
        let subscribers = &self.0.0;
        let mut queues = subscribers.queues();
        queues.push(Arc::clone(&queue));
        subscribers.note_interest(&queues);
        drop(queues);
        Subscription {
            queue,
            subscribers: Arc::clone(subscribers),
        }
    }
}

impl Publisher {
    /// True if a topic has subscribers, so that its notifications must be made at all.
    #[must_use]
    pub fn has_subscribers(&self, topic: Topic) -> bool {
        self.0.interest.load(Ordering::Relaxed) & Topics::only(topic).bits() != 0
    }

    /// Queues a notification for each subscriber of its topic, without waiting; a subscriber with a full queue misses it.
    /// Returns false if one did.
    pub fn publish(&self, notification: &Notification) -> bool {
        let (topic, mut complete) = (notification.topic(), true);
        if self.has_subscribers(topic) {
            let bits = Topics::only(topic).bits();
            for queue in self.0.queues().iter().filter(|queue| queue.topics() & bits != 0) {
                complete &= queue.push(notification);
            }
        }
        complete
    }

    /// Waits until every queue is at most half full: for publishers that read from a source that can wait. What a few of them publish
    /// at the same time then still fits.
    pub async fn wait_for_capacity(&self) {
        loop {
            let taken = self.0.room.notified();
            if self.0.queues().iter().all(|queue| queue.has_room()) {
                return;
            }
            taken.await;
        }
    }
}

impl Subscribers {
    fn note_interest(&self, queues: &[Arc<Queue>]) {
        let bits = queues.iter().fold(0, |bits, queue| bits | queue.topics());
        self.interest.store(bits, Ordering::Relaxed);
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<Queue>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn topics(&self) -> u8 {
        self.topics.load(Ordering::Relaxed)
    }

    /// Returns false if the queue is full.
    fn push(&self, change: &Notification) -> bool {
        let mut waiting = self.waiting();
        let (number, bytes) = (waiting.next, waiting.bytes + change.weight());
        waiting.next += 1;
        // A single change is always taken, however large: otherwise it could never be delivered.
        if waiting.changes.len() < MAX_QUEUED && (bytes <= MAX_QUEUED_BYTES || waiting.changes.is_empty()) {
            waiting.bytes = bytes;
            waiting.changes.push(Sequenced {
                number,
                change: change.clone(),
            });
            drop(waiting);
            self.arrived.notify_one();
            true
        } else {
            waiting.missed.0[change.topic() as usize] += 1;
            false
        }
    }

    fn has_room(&self) -> bool {
        let waiting = self.waiting();
        waiting.changes.len() <= MAX_QUEUED / 2 && waiting.bytes <= MAX_QUEUED_BYTES / 2
    }
}

/// The notifications for one subscriber, from its creation until it is dropped.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    subscribers: Arc<Subscribers>,
}

/// A handle that changes the topics of a [`Subscription`] while another task reads it.
#[derive(Debug, Clone)]
pub struct SubscriptionTopics {
    queue: Arc<Queue>,
    subscribers: Arc<Subscribers>,
}

impl SubscriptionTopics {
    /// Delivers notifications of these topics from now on. Queued ones stay.
    pub fn set(&self, topics: Topics) {
        let queues = self.subscribers.queues();
        self.queue.topics.store(topics.bits(), Ordering::Relaxed);
        self.subscribers.note_interest(&queues);
    }
}

impl Subscription {
    /// A handle that can change the topics.
    #[must_use]
    pub fn topics(&self) -> SubscriptionTopics {
        SubscriptionTopics {
            queue: Arc::clone(&self.queue),
            subscribers: Arc::clone(&self.subscribers),
        }
    }

    /// Waits for notifications, appends all that are queued to `changes`, and returns the number of those missed since the last call.
    /// Dropping the future loses nothing.
    pub async fn take(&mut self, changes: &mut VecDeque<Sequenced>) -> Missed {
        loop {
            // A permit left by an earlier push causes one more check, which does no harm.
            let arrived = self.queue.arrived.notified();
            let (taken, missed) = {
                let mut waiting = self.queue.waiting();
                waiting.bytes = 0;
                (std::mem::take(&mut waiting.changes), std::mem::take(&mut waiting.missed))
            };
            if !taken.is_empty() {
                self.subscribers.room.notify_waiters();
                changes.extend(taken);
                return missed;
            }
            arrived.await;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut queues = self.subscribers.queues();
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.subscribers.note_interest(&queues);
        drop(queues);
        self.subscribers.room.notify_waiters();
    }
}
