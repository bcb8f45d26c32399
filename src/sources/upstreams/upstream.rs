//! One upstream: connected forever, counted, and relayed.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::UpstreamContext;
use super::backoff::{Backoff, chance};
use super::connection::{ConnectionError, UpstreamConnection};
use super::counts::render;
use crate::bus::Notification;
use crate::model::{AppName, Format, Origin, Syntax, Update};
use crate::store::PutOptions;
use crate::supervise::lookup::PeerLookup;
use crate::telemetry::Rejection;
use crate::wire::monitoring::{Tally, UpstreamMessage};

/// Interval of storing changed counts: well below any scrape interval.
const COUNT_EVERY: Duration = Duration::from_secs(1);
/// Interval of storing unchanged counts, so that a silent upstream does not become stale.
const CONFIRM_EVERY: Duration = Duration::from_secs(60);
/// Limit of proxies that relayed a message. More indicate a loop.
const MAX_HOPS: u32 = 8;

/// The start of the sources of upstreams.
pub(super) const SOURCE_START: &str = "stream: ";

/// The name of the app of an upstream, which is its source as well.
pub(super) fn app_name(address: &str) -> String {
    format!("{SOURCE_START}{address}")
}

/// State of one upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    /// Its address, also its name in messages and labels.
    monitor: Arc<str>,
    app: AppName,
    origin: Origin,
    legacy_addresses: bool,
    context: UpstreamContext,
    sums: Tally,
    /// The stored sums and the time of storing them.
    stored: Option<(Tally, Instant)>,
    backoff: Backoff,
    lookup: PeerLookup,
    /// True while connected; `None` before the first attempt.
    up: Option<bool>,
}

impl Upstream {
    pub(super) fn new(address: &str, legacy_addresses: bool, context: UpstreamContext) -> anyhow::Result<Self> {
        let source: Arc<str> = app_name(address).into();
        Ok(Self {
            monitor: address.into(),
            app: AppName::new(&source)?,
            origin: Origin {
                source,
                format: Format::Stream,
            },
            legacy_addresses,
            context,
            sums: Tally::default(),
            stored: None,
            backoff: Backoff::default(),
            lookup: PeerLookup::default(),
            up: None,
        })
    }

    /// Keeps the upstream connected until the future is dropped.
    pub(super) async fn run(mut self) -> Infallible {
        let UpstreamContext { inlet, clock, .. } = &self.context;
        if let Err(refused) = inlet.register(self.app.clone(), self.origin.clone(), clock()) {
            tracing::warn!(upstream = &*self.monitor, "cannot add upstream: {refused}");
        }
        loop {
            let error = match UpstreamConnection::open(&self.monitor, &mut self.lookup).await {
                Ok(connection) => self.follow(connection).await,
                Err(error) => error,
            };
            self.store_counts();
            self.report_disconnected(&error);
            sleep(self.backoff.next(chance())).await;
        }
    }

    /// Handles frames until the connection fails.
    async fn follow<S: AsyncRead + AsyncWrite + Unpin>(&mut self, mut connection: UpstreamConnection<S>) -> ConnectionError {
        self.report_connected();
        let mut ticks = interval(COUNT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                _ = ticks.tick() => {
                    self.store_counts();
                    continue;
                }
                frame = connection.frame() => frame,
            };
            let message = match message {
                Ok(frame) => self.handle_frames(&mut connection, frame).await,
                Err(error) => Err(error),
            };
            if let Err(error) = message {
                return error;
            }
        }
    }

    /// Handles a frame and all frames that are already buffered.
    async fn handle_frames<S: AsyncRead + AsyncWrite + Unpin>(
        &mut self,
        connection: &mut UpstreamConnection<S>,
        first: Bytes,
    ) -> Result<(), ConnectionError> {
        let mut next = Some(first);
        while let Some(frame) = next {
            self.handle_message(connection.text(&frame)?).await;
            next = connection.frame_at_hand()?;
        }
        Ok(())
    }

    /// Counts a message, and relays it if its topic has subscribers.
    async fn handle_message(&mut self, text: &[u8]) {
        tracing::trace!(upstream = &*self.monitor, bytes = text.len(), "message received");
        let message = match UpstreamMessage::read(text) {
            Ok(message) => message,
            Err(error) => return self.refuse("malformed", &error.to_string()),
        };
        let Some(topic) = message.topic else {
            return self.refuse("unknown_event", "a message of an unknown topic");
        };
        if message.hops >= MAX_HOPS {
            return self.refuse("loop", "a message that was relayed by too many proxies (is there a loop?)");
        }
        self.backoff.reset();
        self.sums += message.tally;
        let inlet = &self.context.inlet;
        if inlet.bus().has_subscribers(topic) {
            let mut event = Vec::with_capacity(text.len() + 64);
            message.write(&self.monitor, self.legacy_addresses, &mut event);
            inlet.bus().wait_for_capacity().await;
            let event = Bytes::from(event.into_boxed_slice());
            inlet.bus().publish(&Notification::Relayed { topic, event });
        }
    }

    fn refuse(&self, reason: &'static str, detail: &str) {
        let (source, peer) = (&*self.origin.source, &*self.monitor);
        self.context.telemetry.reject(Rejection {
            source,
            peer,
            reason,
            detail,
        });
    }

    /// Stores the counts if they changed or are old.
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
        let UpstreamContext { inlet, telemetry, clock } = &self.context;
        let stored = inlet.put(
            Update {
                app: self.app.clone(),
                body: Bytes::from(render(&self.monitor, &self.sums).into_bytes().into_boxed_slice()),
                syntax: Some(Syntax::Text),
                records: Bytes::new(),
                read: None,
                labels: [].into(),
                origin: self.origin.clone(),
                at: clock(),
            },
            PutOptions::POLLED,
        );
        match stored {
            Ok(_) => {
                telemetry.updates_total.with([&self.origin.source, Format::Stream.as_str()]).inc();
                tracing::debug!(upstream = &*self.monitor, "counts stored");
                self.stored = Some((self.sums, now));
            }
            Err(refused) => self.refuse(refused.reason(), &refused.to_string()),
        }
    }

    fn report_connected(&mut self) {
        self.up = Some(true);
        // Storing the counts again removes the fault from `/apps`.
        self.stored = None;
        self.context.telemetry.stream_upstream_up.with([&*self.monitor]).set(1);
        if let Some(suppressed) = self.context.telemetry.admit_line(&self.origin.source) {
            tracing::info!(upstream = &*self.monitor, suppressed, "connected to upstream {}", self.monitor);
        }
    }

    /// Shows the error in `/apps`, and logs it once per loss of the connection.
    fn report_disconnected(&mut self, error: &ConnectionError) {
        let was_up = self.up.replace(false);
        if was_up == Some(false) {
            tracing::debug!(
                upstream = &*self.monitor,
                "still cannot connect to upstream {}: {error}",
                self.monitor
            );
        } else if let Some(suppressed) = self.context.telemetry.admit_line(&self.origin.source) {
            match was_up {
                None => tracing::warn!(
                    upstream = &*self.monitor,
                    suppressed,
                    "cannot connect to upstream {}: {error}",
                    self.monitor
                ),
                Some(_) => tracing::warn!(upstream = &*self.monitor, suppressed, "lost upstream {}: {error}", self.monitor),
            }
        }
        self.context.telemetry.stream_upstream_up.with([&*self.monitor]).set(0);
        self.context.inlet.fault(&self.app, &format!("stream failed: {error}"));
    }
}
