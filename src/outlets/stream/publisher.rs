//! The part that turns what happens into frames, once for all clients.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::hub::{Hub, Order};
use super::packer::Packer;
use crate::bus::{Missed, Sequenced, Subscription};
use crate::supervise::Service;

/// The pause behind each round: what comes meanwhile goes out together, in one write a client instead of one a message.
/// The first message after a pause is not delayed.
const PAUSE: Duration = Duration::from_millis(5);

/// Encodes, numbers and compresses while there are clients.
#[derive(Debug)]
pub struct Publisher {
    hub: Arc<Hub>,
    packer: Packer,
    feed: Option<Subscription>,
    /// Changes taken from the feed: at most the capacity of its queue.
    changes: VecDeque<Sequenced>,
    /// The number in the stream of the feed's number 0.
    base: u64,
    /// The next number in the stream.
    next: u64,
}

impl Publisher {
    pub(super) fn new(hub: Arc<Hub>) -> Self {
        Self {
            packer: Packer::new(Arc::clone(&hub.proxy)),
            hub,
            feed: None,
            changes: VecDeque::new(),
            base: 0,
            next: 0,
        }
    }

    async fn work(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                order = self.hub.order() => self.obey(order),
                missed = next(&mut self.feed, &mut self.changes) => {
                    missed.iter().for_each(|(topic, messages)| self.hub.count_lost(topic, messages));
                    self.publish().await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        self.hub.close();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Follow(feed) => {
                self.feed = Some(feed);
                self.base = self.next;
            }
            Order::Rest => self.feed = None,
            Order::GoOn => {}
        }
    }

    /// Hands out all changes that were taken.
    async fn publish(&mut self) {
        while let Some(Sequenced { number, change }) = self.changes.pop_front() {
            let seq = self.base + number;
            self.next = seq + 1;
            tracing::trace!(topic = ?change.topic(), seq, "stream message");
            if !self.packer.push(seq, &change) {
                self.hub.count_lost(change.topic(), 1);
            }
            if self.packer.is_full() {
                self.hand_out();
                tokio::task::yield_now().await;
            }
        }
        self.hand_out();
    }

    fn hand_out(&mut self) {
        if let Some(packed) = self.packer.finish() {
            self.hub.hand_out(&packed);
        }
    }
}

/// Takes what the feed has; waits for ever where there is none.
async fn next(feed: &mut Option<Subscription>, changes: &mut VecDeque<Sequenced>) -> Missed {
    match feed {
        Some(feed) => feed.take(changes).await,
        None => std::future::pending().await,
    }
}

impl Service for Publisher {
    fn name(&self) -> &str {
        "stream publisher"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            self.work(stop).await;
            Ok(())
        })
    }
}
