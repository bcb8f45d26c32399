//! The clients, what each of them has asked for, and what the store's feed therefore has to bring.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::batch::{Batch, Packed};
use super::queue::ClientQueue;
use crate::bus::{Subscription, SubscriptionTopics};
use crate::model::{Topic, Topics};
use crate::store::View;
use crate::telemetry::SharedTelemetry;

/// Time for writing the queued messages at shutdown: enough for every client that reads, and less than the drain timeout.
const FAREWELL: Duration = Duration::from_secs(3);

/// The clients, between the publisher and the connections.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) settings: Settings,
    /// The proxy's name.
    pub(super) proxy: Arc<str>,
    pub(super) telemetry: SharedTelemetry,
    view: View,
    state: Mutex<HubState>,
    /// Notified when the first client connects or the last one disconnects.
    changed: Notify,
    closed: CancellationToken,
}

#[derive(Debug, Default)]
struct HubState {
    /// As many as there are slots.
    clients: Vec<Arc<ClientQueue>>,
    /// The subscription for the first client, until the publisher takes it.
    feed: Option<Subscription>,
    /// The topics of the feed, wherever it is. There is one while there are clients.
    topics: Option<SubscriptionTopics>,
}

impl HubState {
    /// The topics that at least one client gets.
    fn wanted(&self) -> Topics {
        self.clients
            .iter()
            .fold(Topics::default(), |all, client| all.union(client.topics()))
    }

    /// Has the feed bring what the clients get and nothing else, so that nothing is encoded for no one.
    fn narrow_feed(&self) {
        if let Some(topics) = &self.topics {
            topics.set(self.wanted());
        }
    }
}

/// A client's place among the others; dropping it leaves.
#[derive(Debug)]
pub(super) struct Position {
    hub: Arc<Hub>,
    queue: Arc<ClientQueue>,
}

/// Command to the publisher.
#[derive(Debug)]
pub(super) enum Order {
    /// Publish what this feed brings.
    Follow(Subscription),
    /// Publish nothing.
    Rest,
    /// Go on.
    GoOn,
}

impl Hub {
    pub(super) fn new(settings: Settings, proxy: Arc<str>, view: View, telemetry: SharedTelemetry) -> Self {
        Self {
            settings,
            proxy,
            telemetry,
            view,
            state: Mutex::default(),
            changed: Notify::new(),
            closed: CancellationToken::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, HubState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a client: it gets all that happens after this call in the topics that it asked for, as far as the stream carries them.
    pub(super) fn join(self: &Arc<Self>, asked: Topics) -> Position {
        let topics = asked.intersection(self.settings.topics);
        let queue = Arc::new(ClientQueue::new(topics, self.settings.subscriber_buffer));
        let mut state = self.state();
        if self.closed.is_cancelled() {
            queue.close();
        } else if state.clients.is_empty() {
            // Followed here and not by the publisher, which wakes up too late for what happens right now.
            let feed = self.view.subscribe(topics);
            state.topics = Some(feed.topics());
            state.feed = Some(feed);
            self.changed.notify_one();
        }
        state.clients.push(Arc::clone(&queue));
        state.narrow_feed();
        self.telemetry.stream_subscribers.add(1);
        Position {
            hub: Arc::clone(self),
            queue,
        }
    }

    fn leave(&self, queue: &Arc<ClientQueue>) {
        let mut state = self.state();
        state.clients.retain(|client| !Arc::ptr_eq(client, queue));
        if state.clients.is_empty() {
            (state.feed, state.topics) = (None, None);
            self.changed.notify_one();
        } else {
            state.narrow_feed();
        }
        self.telemetry.stream_subscribers.add(-1);
    }

    /// Waits until the publisher may have to do something else than before.
    pub(super) async fn order(&self) -> Order {
        self.changed.notified().await;
        let mut state = self.state();
        match state.feed.take() {
            Some(feed) => Order::Follow(feed),
            None if state.clients.is_empty() => Order::Rest,
            None => Order::GoOn,
        }
    }

    /// Gives each client the messages of its topics.
    pub(super) fn hand_out(&self, packed: &Packed) {
        // Clients that get the same share it. There are at most as many entries as there are sets of topics.
        let mut shares: Vec<(Topics, Option<Batch>)> = Vec::new();
        let mut dropped = 0;
        for client in &self.state().clients {
            let topics = client.topics();
            let at = shares.iter().position(|(of, _)| *of == topics).unwrap_or_else(|| {
                shares.push((topics, packed.of(topics)));
                shares.len() - 1
            });
            dropped += shares[at].1.as_ref().map_or(0, |batch| client.offer(batch));
        }
        self.telemetry.stream_dropped_total.add(dropped);
    }

    /// Counts messages of a topic that no client could be given.
    pub(super) fn count_lost(&self, topic: Topic, messages: u64) {
        let clients = self.state().clients.iter().filter(|client| client.topics().contains(topic)).count() as u64;
        self.telemetry.stream_dropped_total.add(messages.saturating_mul(clients));
    }

    /// Lets every client have what is queued for it, and no more.
    pub(super) fn close(&self) {
        let state = self.state();
        self.closed.cancel();
        state.clients.iter().for_each(|client| client.close());
    }

    /// Ends when clients that still have not taken what was queued for them when the stream was closed are to be let go.
    pub(super) async fn patience(&self) {
        self.closed.cancelled().await;
        tokio::time::sleep(FAREWELL).await;
    }
}

impl Position {
    pub(super) fn queue(&self) -> &ClientQueue {
        &self.queue
    }
}

impl Drop for Position {
    fn drop(&mut self) {
        self.hub.leave(&self.queue);
    }
}
