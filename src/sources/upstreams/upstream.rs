//! One upstream: followed for ever, counted, and relayed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Surroundings;
use super::backoff::{Backoff, chance};
use super::counts::render;
use super::link::{Link, Lost};
use crate::model::{AppName, Format, Origin, Syntax, Update};
use crate::store::Change;
use crate::telemetry::Rejection;
use crate::wire::monitoring::{Heard, MessageCounts};

/// How often counts are brought up to date in the store, where there is something new: well below any interval of scrapes.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// How old the counts of a silent upstream may grow before they are confirmed, so that it does not look stale.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);
/// Proxies that a message may pass. More of them mean that some relay each other in a circle.
const MAX_HOPS: u32 = 8;

/// One upstream and what is known of it.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Its address, which is also its name in messages and labels.
    monitor: Arc<str>,
    app: AppName,
    origin: Origin,
    legacy_addresses: bool,
    surroundings: Surroundings,
    sums: MessageCounts,
    /// The sums in the store, and since when they stand there.
    stored: Option<(MessageCounts, Instant)>,
    backoff: Backoff,
    /// Whether it was connected when last looked at; `None` before the first attempt.
    up: Option<bool>,
}

impl Upstream {
    pub(super) fn new(address: &str, legacy_addresses: bool, surroundings: Surroundings) -> anyhow::Result<Self> {
        let source: Arc<str> = format!("stream: {address}").into();
        Ok(Self {
            monitor: address.into(),
            app: AppName::new(&source)?,
            origin: Origin {
                source,
                format: Format::Stream,
            },
            legacy_addresses,
            surroundings,
            sums: MessageCounts::default(),
            stored: None,
            backoff: Backoff::default(),
            up: None,
        })
    }

    /// Follows the upstream until it is dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let Surroundings { inlet, clock, .. } = &self.surroundings;
        if let Err(refused) = inlet.announce(self.app.clone(), self.origin.clone(), clock()) {
            tracing::warn!(upstream = &*self.monitor, "cannot list an upstream: {refused}");
        }
        loop {
            let lost = match Link::open(&self.monitor).await {
                Ok(link) => self.follow(link).await,
                Err(lost) => lost,
            };
            self.store_counts();
            self.note_lost(&lost);
            sleep(self.backoff.next(chance())).await;
        }
    }

    /// Hears what a server says until the connection is lost.
    async fn follow<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut link: Link<S>) -> Lost {
        self.note_up();
        let mut ticks = interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                _ = ticks.tick() => {
                    self.store_counts();
                    continue;
                }
                frame = link.frame() => frame,
            };
            let heard = match heard {
                Ok(frame) => self.hear_all(&mut link, frame).await,
                Err(lost) => Err(lost),
            };
            if let Err(lost) = heard {
                return lost;
            }
        }
    }

    /// Hears a frame and all that came with it.
    async fn hear_all<S: AsyncRead + AsyncWrite + Unpin>(&mut self, link: &mut Link<S>, first: Bytes) -> Result<(), Lost> {
        let mut next = Some(first);
        while let Some(frame) = next {
            self.hear(link.text(&frame)?).await;
            next = link.frame_at_hand()?;
        }
        Ok(())
    }

    /// Counts a message, and relays it if somebody follows its topic.
    async fn hear(&mut self, text: &[u8]) {
        let heard = match Heard::read(text) {
            Ok(heard) => heard,
            Err(error) => return self.refuse("malformed", &error.to_string()),
        };
        let Some(topic) = heard.topic else {
            return self.refuse("unknown_event", "a message about nothing that is known");
        };
        if heard.hops >= MAX_HOPS {
            return self.refuse("loop", "a message that has passed too many proxies: do some relay each other?");
        }
        self.backoff.reset();
        self.sums += heard.tally;
        let inlet = &self.surroundings.inlet;
        if inlet.is_followed(topic) {
            let mut event = Vec::with_capacity(text.len() + 64);
            heard.write(&self.monitor, self.legacy_addresses, &mut event);
            inlet.room().await;
            let event = Bytes::from(event.into_boxed_slice());
            inlet.tell(&Change::Heard { topic, event });
        }
    }

    fn refuse(&self, reason: &'static str, detail: &str) {
        let (source, peer) = (&*self.origin.source, &*self.monitor);
        self.surroundings.telemetry.reject(Rejection {
            source,
            peer,
            reason,
            detail,
        });
    }

    /// Brings the counts in the store up to date.
    fn store_counts(&mut self) {
        let now = Instant::now();
        let wanted = match &self.stored {
            _ if self.up != Some(true) => false,
            Some((sums, since)) => *sums != self.sums || now - *since >= CONFIRM_EVERY,
            None => true,
        };
        if !wanted {
            return;
        }
        let Surroundings { inlet, telemetry, clock } = &self.surroundings;
        let stored = inlet.put_polled(Update {
            app: self.app.clone(),
            body: Bytes::from(render(&self.monitor, &self.sums).into_bytes().into_boxed_slice()),
            syntax: Some(Syntax::Text),
            labels: [].into(),
            origin: self.origin.clone(),
            at: clock(),
        });
        match stored {
            Ok(_) => {
                telemetry.updates_total.with([&self.origin.source, Format::Stream.as_str()]).inc();
                self.stored = Some((self.sums, now));
            }
            Err(refused) => self.refuse(refused.reason(), &refused.to_string()),
        }
    }

    fn note_up(&mut self) {
        self.up = Some(true);
        // Storing the counts again takes the fault out of `/apps`.
        self.stored = None;
        self.surroundings.telemetry.stream_upstream_up.with([&*self.monitor]).set(1);
        tracing::info!(upstream = &*self.monitor, "follows the monitoring stream of {}", self.monitor);
    }

    /// Shows in `/apps` why the upstream is not heard, and logs it once for each time that it is lost.
    fn note_lost(&mut self, lost: &Lost) {
        if self.up.replace(false) != Some(false) {
            tracing::warn!(
                upstream = &*self.monitor,
                "the monitoring stream of {} is lost: {lost}",
                self.monitor
            );
        }
        self.surroundings.telemetry.stream_upstream_up.with([&*self.monitor]).set(0);
        self.surroundings.inlet.fault(&self.app, &format!("stream failed: {lost}"));
    }
}
