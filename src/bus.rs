//! The live feed: what changes in the store, and what else is worth telling, for whoever follows.
//!
//! Nobody who tells ever waits: a follower that does not keep pace misses changes and sees by the numbers which ones.
//! While nobody follows a topic, telling costs one look at an atomic.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::model::{AppName, Event, LabelPair, Timestamp, Topic, Topics};

/// Changes kept for a follower that has not come for them: a burst of a quarter of a second at the pace at which messages can be compressed.
const MAX_QUEUED: usize = 16_384;
/// Bytes of them, since one heard message may have megabytes.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Notification {
    /// An application was updated.
    Updated {
        /// Its name.
        app: AppName,
        /// Where the update came from.
        source: Arc<str>,
        /// The length of its exposition text.
        bytes: u64,
        /// Its families and its series, where texts are read at all.
        counted: Option<Counted>,
        /// When.
        at: Timestamp,
    },
    /// An application was forgotten.
    Forgotten {
        /// Its name.
        app: AppName,
        /// When.
        at: Timestamp,
    },
    /// An endpoint was polled.
    Polled {
        /// Its application.
        app: AppName,
        /// Whether it answered well.
        up: bool,
        /// How long it took.
        took: Duration,
        /// When.
        at: Timestamp,
    },
    /// A one-shot event was accepted.
    OneShot {
        /// The family it will stand under.
        metric: Arc<str>,
        /// Its labels.
        labels: Arc<[LabelPair]>,
        /// Its value.
        value: f64,
        /// When.
        at: Timestamp,
    },
    /// An upstream's monitoring stream brought a message.
    Relayed {
        /// What it is about.
        topic: Topic,
        /// The event, as a JSON object ready to be sent on.
        event: Bytes,
    },
}

/// What is in an exposition text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Families.
    pub families: usize,
    /// Series.
    pub series: u32,
}

impl Notification {
    /// The change that a one-shot event is which was just accepted; it will be a sample of `metric`.
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

    /// What the change is about.
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

    /// The bytes it keeps, roughly; the names of applications and sources are shared with the store.
    fn weight(&self) -> usize {
        let own = match self {
            Self::Relayed { event, .. } => event.len(),
            Self::OneShot { labels, .. } => labels.iter().map(|(name, value)| name.len() + value.len()).sum(),
            _ => 0,
        };
        own + size_of::<Self>()
    }
}

/// A change and its number. The numbers of one feed have no gaps but for what it missed.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequenced {
    /// How many changes of the feed's topics came before it.
    pub number: u64,
    /// The change.
    pub change: Notification,
}

/// All subscribers.
#[derive(Debug, Default)]
struct Subscribers {
    /// A bit for each topic that somebody follows.
    interest: AtomicU8,
    /// As many as there are outlets that follow: a handful at most.
    queues: Mutex<Vec<Arc<Queue>>>,
    /// Told whenever a follower has taken what was queued, or has gone.
    room: Notify,
}

/// What waits for one follower.
#[derive(Debug)]
struct Queue {
    /// The bits of its [`Topics`]. Written under the lock of all queues.
    topics: AtomicU8,
    /// Held for one push or one swap; nobody awaits under it.
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

/// How many changes of each topic a follower missed because its queue was full.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Missed([u64; Topic::ALL.len()]);

impl Missed {
    /// The topics of which changes were missed, and how many.
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

    /// Queues a notification for each subscriber of its topic, without waiting; a subscriber whose queue is full misses it.
    pub fn publish(&self, notification: &Notification) {
        let topic = notification.topic();
        if self.has_subscribers(topic) {
            let bits = Topics::only(topic).bits();
            for queue in self.0.queues().iter().filter(|queue| queue.topics() & bits != 0) {
                queue.push(notification);
            }
        }
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

    fn push(&self, change: &Notification) {
        let mut waiting = self.waiting();
        let (number, bytes) = (waiting.next, waiting.bytes + change.weight());
        waiting.next += 1;
        // A single change is always taken, however large: else it could never be told.
        if waiting.changes.len() < MAX_QUEUED && (bytes <= MAX_QUEUED_BYTES || waiting.changes.is_empty()) {
            waiting.bytes = bytes;
            waiting.changes.push(Sequenced {
                number,
                change: change.clone(),
            });
            drop(waiting);
            self.arrived.notify_one();
        } else {
            waiting.missed.0[change.topic() as usize] += 1;
        }
    }

    fn has_room(&self) -> bool {
        let waiting = self.waiting();
        waiting.changes.len() <= MAX_QUEUED / 2 && waiting.bytes <= MAX_QUEUED_BYTES / 2
    }
}

/// What one follower hears, from the moment it began to follow. Dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    queue: Arc<Queue>,
    subscribers: Arc<Subscribers>,
}

/// Changes the topics of a [`Subscription`] from elsewhere than where it is read.
#[derive(Debug, Clone)]
pub struct SubscriptionTopics {
    queue: Arc<Queue>,
    subscribers: Arc<Subscribers>,
}

impl SubscriptionTopics {
    /// Follows these topics from now on. What is queued already stays.
    pub fn set(&self, topics: Topics) {
        let queues = self.subscribers.queues();
        self.queue.topics.store(topics.bits(), Ordering::Relaxed);
        self.subscribers.note_interest(&queues);
    }
}

impl Subscription {
    /// A handle by which the topics can be changed.
    #[must_use]
    pub fn topics(&self) -> SubscriptionTopics {
        SubscriptionTopics {
            queue: Arc::clone(&self.queue),
            subscribers: Arc::clone(&self.subscribers),
        }
    }

    /// Appends all that came since the last call to `changes` and returns what was missed meanwhile; waits until there is
    /// something. Dropping the future loses nothing.
    pub async fn take(&mut self, changes: &mut VecDeque<Sequenced>) -> Missed {
        loop {
            // A permit left by an earlier push makes this look once more, which does no harm.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(topic: Topic, length: usize) -> Notification {
        Notification::Relayed {
            topic,
            event: vec![b'x'; length].into(),
        }
    }

    async fn numbers(feed: &mut Subscription) -> Vec<u64> {
        numbers_and_missed(feed).await.0
    }

    async fn numbers_and_missed(feed: &mut Subscription) -> (Vec<u64>, Vec<(Topic, u64)>) {
        let mut taken = VecDeque::new();
        let missed = feed.take(&mut taken).await;
        (taken.iter().map(|numbered| numbered.number).collect(), missed.iter().collect())
    }

    #[tokio::test]
    async fn topics_change_while_a_feed_is_read_and_numbers_go_on() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
        let topics = feed.topics();
        publisher.publish(&heard(Topic::Poll, 1));
        publisher.publish(&heard(Topic::Bitswap, 1));
        topics.set(Topics::ALL);
        assert!(publisher.has_subscribers(Topic::Poll));
        publisher.publish(&heard(Topic::Poll, 1));
        topics.set(Topics::default());
        assert!(!publisher.has_subscribers(Topic::Bitswap));
        publisher.publish(&heard(Topic::Bitswap, 1));
        topics.set(Topics::only(Topic::Bitswap));
        publisher.publish(&heard(Topic::Bitswap, 1));
        assert_eq!(numbers(&mut feed).await, [0, 1, 2]);
        drop(feed);
        topics.set(Topics::ALL);
        assert!(!publisher.has_subscribers(Topic::Poll), "a feed that is gone follows nothing");
    }

    #[tokio::test]
    async fn each_hears_its_topics_from_when_it_came() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        assert!(!publisher.has_subscribers(Topic::Poll));
        publisher.publish(&heard(Topic::Poll, 1));
        let mut polls = bus.subscribe(Topics::only(Topic::Poll));
        let mut all = bus.subscribe(Topics::ALL);
        assert!(publisher.has_subscribers(Topic::Poll));
        for topic in [Topic::Poll, Topic::Bitswap, Topic::Poll] {
            publisher.publish(&heard(topic, 1));
        }
        assert_eq!(numbers(&mut polls).await, [0, 1]);
        assert_eq!(numbers(&mut all).await, [0, 1, 2]);
        drop(all);
        assert!(publisher.has_subscribers(Topic::Poll) && !publisher.has_subscribers(Topic::Bitswap));
        drop(polls);
        assert!(!publisher.has_subscribers(Topic::Poll));
    }

    #[tokio::test]
    async fn who_does_not_come_misses_the_newest_and_sees_it() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
        for _ in 0..MAX_QUEUED + 10 {
            publisher.publish(&heard(Topic::Bitswap, 1));
        }
        let (taken, missed) = numbers_and_missed(&mut feed).await;
        assert_eq!((taken.len(), taken.last()), (MAX_QUEUED, Some(&(MAX_QUEUED as u64 - 1))));
        assert_eq!(missed, [(Topic::Bitswap, 10)]);
        publisher.publish(&heard(Topic::Bitswap, 1));
        assert_eq!(numbers_and_missed(&mut feed).await, (vec![MAX_QUEUED as u64 + 10], vec![]));
    }

    #[tokio::test]
    async fn large_changes_are_bounded_by_their_bytes() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
        for _ in 0..4 {
            publisher.publish(&heard(Topic::Bitswap, MAX_QUEUED_BYTES / 2 - 100));
        }
        assert_eq!(numbers(&mut feed).await, [0, 1]);
        publisher.publish(&heard(Topic::Bitswap, MAX_QUEUED_BYTES * 2));
        assert_eq!(numbers(&mut feed).await, [4]);
    }

    #[tokio::test]
    async fn who_can_wait_is_told_when_there_is_room() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        publisher.wait_for_capacity().await;
        let mut feed = bus.subscribe(Topics::only(Topic::Bitswap));
        for _ in 0..=MAX_QUEUED / 2 {
            publisher.publish(&heard(Topic::Bitswap, 1));
        }
        let mut room = std::pin::pin!(publisher.wait_for_capacity());
        assert!(futures_util::poll!(&mut room).is_pending());
        numbers(&mut feed).await;
        room.await;
    }

    #[tokio::test]
    async fn a_follower_that_goes_leaves_room() {
        let bus = Bus::default();
        let publisher = bus.publisher().clone();
        let feed = bus.subscribe(Topics::only(Topic::Bitswap));
        publisher.publish(&heard(Topic::Bitswap, MAX_QUEUED_BYTES));
        let mut room = std::pin::pin!(publisher.wait_for_capacity());
        assert!(futures_util::poll!(&mut room).is_pending());
        drop(feed);
        room.await;
    }
}
