//! One connection of a receiver: reads messages, stores updates, and reports refusals to the sender.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::ListenerShared;
use super::budget::{FREE_BYTES, Reservation};
use super::tls::ReceiverStream;
use crate::http::whole_response;
use crate::model::{Client, Format, Update};
use crate::sources::{LARGE_BYTES, unusable};
use crate::store::PutOptions;
use crate::supervise::{Pace, Slot, blocking};
use crate::telemetry::{Rejection, UpdateOutcome};
use crate::wire::{Inbound, StreamDecoder};

/// Minimum size of a read. A buffer at most doubles with each read, so that a sender must send half of the memory that it causes.
const READ_BYTES: usize = 64 * 1024;
/// Time limit of a complete message, as a multiple of `receiver.idle_timeout`.
const MESSAGE_TIMEOUTS: u32 = 5;
/// Limit of the lingering close after a refusal: enough for the sender to read the error line, which a reset due to unread bytes would
/// destroy.
const LINGERING_CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The reason for a connection that is closed because its address has too many incomplete messages.
const TOO_MANY_INCOMPLETE: &str = "no free connection slots, and this address has too many connections with an incomplete message";
/// Buffer size for draining input.
const SINK_BYTES: usize = 16 * 1024;

/// A connection of one sender.
pub(super) struct ReceiverConnection<'a> {
    stream: ReceiverStream,
    shared: &'a ListenerShared,
    peer: String,
    decoder: StreamDecoder,
    reservation: Reservation,
    clock: MessageClock,
    /// The time from which on an incomplete message counts against the address of its sender; `None` while it does, or while no message is
    /// complete yet.
    counts_from: Option<Instant>,
    /// True after an error line could not be written: the next one would fail as well.
    reply_failed: bool,
    /// Messages and refusals so far, for the log.
    messages: u64,
}

/// Events that end a wait.
enum Wake {
    Read(io::Result<usize>),
    Stalled,
    Evicted,
    /// The message is to count against the address of its sender again.
    Counts,
    /// Another message waits for the memory of this one, which hardly comes.
    AskedBack,
    Stopping,
}

/// Reasons for the end of a connection.
enum End {
    /// The sender closed the connection.
    Finished,
    /// The input is broken and cannot be continued.
    Broken,
    /// A message was not completed in time.
    Stalled,
    /// Another connection needs the slot, and the address of the sender has too many incomplete messages, of which this one hardly comes.
    TooManyIncomplete,
    /// Another message waits for memory, and this one hardly comes.
    MemoryAskedBack,
    /// Evicted, or the program stops.
    Closed,
    /// The connection failed.
    Failed(io::Error),
}

impl End {
    /// The reason in a log line.
    const fn name(&self) -> &'static str {
        match self {
            Self::Finished => "by the sender",
            Self::Broken => "invalid input",
            Self::Stalled => "message timeout",
            Self::TooManyIncomplete => "too many incomplete messages of its address",
            Self::MemoryAskedBack => "another message needs its memory",
            Self::Closed => "evicted or stopping",
            Self::Failed(_) => "connection error",
        }
    }
}

impl<'a> ReceiverConnection<'a> {
    pub(super) fn new(stream: ReceiverStream, peer: String, shared: &'a ListenerShared) -> Self {
        let limits = shared.limits.borrow().clone();
        let decoder = StreamDecoder::new(limits.format, limits.max_message_bytes);
        let clock = MessageClock::new(limits.idle_timeout, Instant::now());
        Self {
            stream,
            shared,
            peer,
            decoder,
            reservation: shared.budget.reservation(),
            clock,
            counts_from: None,
            reply_failed: false,
            messages: 0,
        }
    }

    /// Receives until the sender closes, violates the protocol, or is evicted.
    pub(super) async fn run(mut self, slot: &Slot, stop: &CancellationToken) {
        if let Some(why) = self.shared.forbidden(self.stream.transport()) {
            self.refuse("forbidden", &why);
            slot.unless_evicted(lingering_close(&mut self.stream)).await;
            return;
        }
        let buffered = |connection: &Self| connection.decoder.buffered();
        tracing::debug!(source = &*self.shared.source, peer = self.peer, "connection opened");
        let end = self.receive(slot, stop).await;
        tracing::debug!(
            source = &*self.shared.source,
            peer = self.peer,
            messages = self.messages,
            "connection closed: {}",
            end.name()
        );
        let is_broken = matches!(end, End::Broken);
        match end {
            End::Finished => {
                if let Some(refusal) = self.decoder.finish() {
                    self.refuse(refusal.reason(), &refusal.to_string());
                }
            }
            End::Stalled => {
                let detail = format!(
                    "no complete message within receiver.idle_timeout; dropped {} bytes",
                    buffered(&self)
                );
                self.refuse("stalled", &detail);
            }
            End::TooManyIncomplete => {
                let detail = format!("{TOO_MANY_INCOMPLETE}; dropped {} bytes", buffered(&self));
                self.refuse("stalled", &detail);
            }
            End::MemoryAskedBack => {
                let detail = format!(
                    "the message hardly arrives, and others wait for the memory that it takes (receiver.max_inflight_bytes); dropped {} bytes",
                    buffered(&self)
                );
                self.refuse("stalled", &detail);
            }
            End::Failed(error) if self.decoder.mid_message() => {
                let detail = format!("the connection failed inside a message; dropped {} bytes: {error}", buffered(&self));
                self.refuse("truncated", &detail);
            }
            End::Failed(error) => tracing::debug!(
                source = &*self.shared.source,
                peer = self.peer,
                "connection failed between messages: {error}"
            ),
            End::Broken | End::Closed => {}
        }
        let Self {
            mut stream,
            decoder,
            reservation,
            ..
        } = self;
        // The memory of an incomplete message is free before the sender has closed.
        drop((decoder, reservation));
        let closing = async {
            if is_broken {
                lingering_close(&mut stream).await;
            }
            stream.end_session().await;
        };
        slot.unless_evicted(closing).await;
    }

    async fn receive(&mut self, slot: &Slot, stop: &CancellationToken) -> End {
        let mut stopping = false;
        loop {
            let mid_message = self.decoder.mid_message();
            let allowance = self.reserve_memory(mid_message, slot).await;
            if mid_message {
                self.count(slot);
            }
            let read = match self.wait(allowance, mid_message, stopping, slot, stop).await {
                Wake::Read(read) => read,
                Wake::Counts => continue,
                Wake::Stalled => return End::Stalled,
                Wake::Stopping if stopping => return End::Closed,
                Wake::Stopping => {
                    stopping = true;
                    continue;
                }
                Wake::AskedBack => match self.gives_memory_back().await {
                    true => return End::MemoryAskedBack,
                    false => continue,
                },
                Wake::Evicted if mid_message => match self.gives_way(slot).await {
                    true => return End::TooManyIncomplete,
                    false => continue,
                },
                Wake::Evicted => match self.final_read(allowance, slot).await {
                    Some(read) => read,
                    None if self.stream.has_unread() => {
                        // The runtime has not noticed it yet. Another connection is evicted.
                        yield_now().await;
                        slot.busy();
                        continue;
                    }
                    None => return End::Closed,
                },
            };
            let now = Instant::now();
            match read {
                Ok(0) => return End::Finished,
                Err(error) => return End::Failed(error),
                Ok(bytes) => self.clock.bytes_came(bytes, now),
            }
            // Also where no message is complete: the idle time restarts.
            slot.busy();
            if !self.take_messages(slot).await {
                return End::Broken;
            }
            match (mid_message, self.decoder.mid_message()) {
                (false, true) => self.clock.message_begins(now),
                // An object without apps is a message too.
                (true, false) => self.stop_counting(slot),
                _ => {}
            }
        }
    }

    /// Reserves or releases memory and updates the idle state before a wait. Returns the number of bytes to read.
    async fn reserve_memory(&mut self, mid_message: bool, slot: &Slot) -> usize {
        if !mid_message {
            self.decoder.release();
            self.reservation.shrink_to(0);
            slot.idle();
            return READ_BYTES;
        }
        let held = self.decoder.memory_used();
        let wanted = self.read_size();
        // The share of the next read stays: each release wakes all that wait for memory, and a sender may send byte by byte.
        self.reservation.shrink_to(held + wanted);
        if self.reservation.try_reserve(held + wanted) {
            return wanted;
        }
        self.reservation.shrink_to(held);
        if held < FREE_BYTES {
            // Small messages never wait for the budget.
            return wanted.min(FREE_BYTES - held);
        }
        // Waiting for memory does not count against the sender.
        self.stop_counting(slot);
        let since = Instant::now();
        self.reservation.reserve(held + wanted).await;
        self.clock.extend(since.elapsed());
        wanted
    }

    /// Counts the connection against the address of its sender, because the rest of a message is waited for, unless it was found to progress a
    /// moment ago.
    fn count(&mut self, slot: &Slot) {
        if self.counts_from.is_some_and(|from| from <= Instant::now()) {
            self.counts_from = None;
            slot.incomplete();
        }
    }

    /// Stops counting the connection against the address of its sender, until the rest of a message is waited for.
    fn stop_counting(&mut self, slot: &Slot) {
        if self.counts_from.replace(Instant::now()).is_none() {
            slot.requested();
        }
    }

    /// Decides about an incomplete message when its slot is needed. Returns true if it is to be dropped; otherwise another connection is evicted.
    async fn gives_way(&mut self, slot: &Slot) -> bool {
        let pace = self.clock.slot_pace;
        if !pace.is_slow(Instant::now()) {
            // What has arrived makes up for this time and no longer: for a byte that is a moment.
            self.counts_from = Some(pace.slow_from());
            slot.requested();
            return false;
        }
        if self.stream.has_unread() {
            // The runtime has not noticed it yet. It is read first.
            yield_now().await;
            return false;
        }
        true
    }

    /// Decides about an incomplete message when its memory is asked back. Returns true if it is to be dropped; otherwise another one is asked.
    async fn gives_memory_back(&mut self) -> bool {
        if !self.stream.has_unread() {
            return true;
        }
        // The runtime has not noticed it yet.
        yield_now().await;
        self.reservation.keep();
        false
    }

    /// Size of the next read.
    fn read_size(&self) -> usize {
        let doubled = self.decoder.buffered().max(READ_BYTES);
        self.decoder.missing().map_or(doubled, |missing| missing.clamp(1, doubled))
    }

    async fn wait(&mut self, allowance: usize, mid_message: bool, stopping: bool, slot: &Slot, stop: &CancellationToken) -> Wake {
        let (deadline, began, counts_from) = (self.clock.deadline(), self.clock.began, self.counts_from);
        let (slow_from, reservation) = (self.clock.memory_pace.slow_from(), &mut self.reservation);
        let asked_back = async {
            sleep_until(slow_from).await;
            reservation.asked_back().await;
        };
        let unread = stopping && self.stream.has_unread();
        let mut spare = self.decoder.spare(allowance);
        let mut read = std::pin::pin!(self.stream.read_buf(&mut spare));
        // Bytes that the kernel received before the stop are still processed; the supervisor's timeout bounds that.
        match (mid_message, stopping) {
            (false, true) if unread => Wake::Read(read.await),
            (false, true) => Wake::Stopping,
            (true, _) => tokio::select! {
                biased;
                read = timeout_at(deadline, &mut read) => read.map_or(Wake::Stalled, Wake::Read),
                () = stop.cancelled(), if !stopping => Wake::Stopping,
                () = slot.evicted_after_grace(began) => Wake::Evicted,
                () = asked_back => Wake::AskedBack,
                () = sleep_until(counts_from.unwrap_or(deadline)), if counts_from.is_some() => Wake::Counts,
            },
            (false, false) => tokio::select! {
                biased;
                read = &mut read => Wake::Read(read),
                () = stop.cancelled() => Wake::Stopping,
                () = slot.evicted() => Wake::Evicted,
            },
        }
    }

    /// After an eviction between messages: reads bytes that have arrived or arrive within the grace period.
    async fn final_read(&mut self, allowance: usize, slot: &Slot) -> Option<io::Result<usize>> {
        // Bytes that are no message, such as whitespace, prolong nothing.
        let since = match slot.is_evicted_as_incomplete() {
            true => self.clock.began,
            false => self.clock.last_byte,
        };
        let mut spare = self.decoder.spare(allowance);
        timeout_at(since + slot.grace(), self.stream.read_buf(&mut spare)).await.ok()
    }

    /// Stores all complete messages. Returns false if nothing more can be read from this sender.
    async fn take_messages(&mut self, slot: &Slot) -> bool {
        while let Some(item) = self.decoder.next() {
            // One read may contain thousands of messages; other tasks run in between.
            consume_budget().await;
            self.stop_counting(slot);
            self.clock.message_begins(Instant::now());
            self.messages += 1;
            match item {
                Ok(inbound) => self.store(inbound).await,
                Err(refusal) => {
                    self.refuse(refusal.reason(), &refusal.to_string());
                    if refusal.ends_connection() {
                        return false;
                    }
                }
            }
        }
        true
    }

    async fn store(&mut self, inbound: Inbound) {
        let format = self.decoder.format().unwrap_or(Format::Json);
        let origin = self.shared.origin(format);
        let update = Update {
            app: inbound.app.clone(),
            body: inbound.data,
            syntax: None,
            records: bytes::Bytes::new(),
            read: None,
            labels: [].into(),
            origin,
            at: (self.shared.clock)(),
        };
        let body = update.body.clone();
        tracing::trace!(
            source = &*self.shared.source,
            peer = self.peer,
            app = inbound.app.as_str(),
            bytes = body.len(),
            "message received"
        );
        let stored = if update.body.len() > LARGE_BYTES {
            let inlet = self.shared.inlet.clone();
            blocking(move || inlet.put(update, PutOptions::PUSHED)).await
        } else {
            self.shared.inlet.put(update, PutOptions::PUSHED)
        };
        let address = self.stream.transport().peer();
        self.shared.telemetry.app_updated(
            &inbound.app,
            UpdateOutcome {
                source: &self.shared.source,
                client: address.map(|address| Client::Ip(address.ip().to_canonical())).as_ref(),
                bytes: body.len(),
                refused: stored.as_ref().err().map(|refused| unusable(refused, &body).0),
            },
        );
        match stored {
            Ok(receipt) => {
                self.shared.accepted(format).inc();
                tracing::debug!(
                    source = &*self.shared.source,
                    peer = self.peer,
                    app = inbound.app.as_str(),
                    bytes = body.len(),
                    "update received"
                );
                if let Some(complaint) = receipt.news() {
                    self.shared
                        .telemetry
                        .log_skipped_lines(&self.shared.source, &inbound.app, complaint);
                }
            }
            Err(refused) => {
                let (reason, why) = unusable(&refused, &body);
                self.refuse(reason, &format!("{}: {why}", inbound.app));
            }
        }
    }

    /// Counts and logs a refusal, and sends it to a JSON sender. A client of HTTP gets it as one, with the address of HTTP.
    fn refuse(&mut self, reason: &'static str, detail: &str) {
        let is_http = self.decoder.is_http();
        let with_address = is_http.then(|| format!("{detail}; HTTP is served at {} (exporter.scrape_expose_endpoint)", self.shared.http));
        let detail = with_address.as_deref().unwrap_or(detail);
        let source = &*self.shared.source;
        self.shared.telemetry.reject(Rejection {
            source,
            peer: &self.peer,
            reason,
            detail,
        });
        if self.reply_failed || self.decoder.format() == Some(Format::Capnp) {
            return;
        }
        let line = match is_http {
            true => whole_response(StatusCode::BAD_REQUEST, &format!("{detail}\n")),
            false => format!("{}\n", serde_json::json!({ "error": detail })),
        };
        // A sender that does not read must not block this task: the line is written at once or dropped.
        self.reply_failed = !matches!(self.stream.write_all(line.as_bytes()).now_or_never(), Some(Ok(())));
    }
}

/// Drains the input after a refusal, so that the sender can read the error line.
async fn lingering_close(stream: &mut ReceiverStream) {
    let drain = async {
        stream.shutdown().await?;
        let mut sink = vec![0; SINK_BYTES];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // The result does not matter, because further input is discarded.
    let _ = timeout(LINGERING_CLOSE_TIMEOUT, drain).await;
}

/// Times of the current message.
#[derive(Debug)]
struct MessageClock {
    idle_timeout: Duration,
    /// The beginning of the message, or of the connection before the first one.
    began: Instant,
    last_byte: Instant,
    slot_pace: Pace,
    memory_pace: Pace,
}

impl MessageClock {
    fn new(idle_timeout: Duration, now: Instant) -> Self {
        Self {
            idle_timeout,
            began: now,
            last_byte: now,
            slot_pace: Pace::for_slot(now),
            memory_pace: Pace::for_memory(now),
        }
    }

    fn message_begins(&mut self, now: Instant) {
        (self.began, self.last_byte) = (now, now);
        self.memory_pace = Pace::for_memory(now);
    }

    fn bytes_came(&mut self, bytes: usize, now: Instant) {
        self.last_byte = now;
        self.slot_pace.add(bytes as u64, now);
        self.memory_pace.add(bytes as u64, now);
    }

    fn extend(&mut self, waited: Duration) {
        self.began += waited;
        self.last_byte += waited;
        self.slot_pace.extend(waited);
        self.memory_pace.extend(waited);
    }

    fn deadline(&self) -> Instant {
        (self.last_byte + self.idle_timeout).min(self.began + self.idle_timeout * MESSAGE_TIMEOUTS)
    }
}

#[cfg(test)]
mod tests;
