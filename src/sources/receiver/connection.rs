//! One connection to a receiver: bytes in, updates out, and a word to the sender when something is refused.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::budget::{FREE_BYTES, Hold};
use crate::model::{Format, Update};
use crate::sources::{LARGE_BYTES, unusable};
use crate::supervise::seats::GRACE;
use crate::supervise::{Seat, Stream, blocking};
use crate::telemetry::Rejection;
use crate::wire::{Inbound, StreamDecoder};

/// The least that a read asks for. Beyond it a buffer may double with each read, so that a sender must send half of
/// what it makes us set aside.
const READ_BYTES: usize = 64 * 1024;
/// How many times `receiver.idle_timeout` a whole message may take.
const MESSAGE_TIMEOUTS: u32 = 5;
/// How long a sender that was refused may go on sending before the connection is cut: long enough to read the error
/// line, which the reset that answers unread bytes would destroy.
const LINGER: Duration = Duration::from_secs(1);
/// Where bytes go that nobody wants any more.
const SINK_BYTES: usize = 16 * 1024;

/// A conversation with one sender.
pub(super) struct Conversation<'a> {
    stream: Stream,
    shared: &'a Shared,
    peer: String,
    decoder: StreamDecoder,
    hold: Hold,
    clock: MessageClock,
    /// Set once the sender did not take an error line: it would not take the next one either.
    deaf: bool,
}

/// What ends a wait.
enum Wake {
    Read(io::Result<usize>),
    Stalled,
    Evicted,
    Stopping,
}

/// Why a conversation ended.
enum End {
    /// The sender has said all it had to say.
    Finished,
    /// What it sent cannot be read any further.
    Broken,
    /// It fell silent inside a message, or took too long over one.
    Stalled,
    /// Its seat was needed, or the program stops.
    Asked,
    Failed(io::Error),
}

impl<'a> Conversation<'a> {
    pub(super) fn new(stream: Stream, peer: String, shared: &'a Shared) -> Self {
        let limits = shared.limits.borrow().clone();
        let decoder = StreamDecoder::new(limits.format, limits.max_message_bytes);
        let clock = MessageClock::new(limits.idle_timeout, Instant::now());
        Self {
            stream,
            shared,
            peer,
            decoder,
            hold: shared.budget.hold(),
            clock,
            deaf: false,
        }
    }

    /// Receives until the sender ends, breaks a rule, or is asked to leave.
    pub(super) async fn run(mut self, seat: &Seat, stop: &CancellationToken) {
        let held = |conversation: &Self| conversation.decoder.buffered();
        match self.receive(seat, stop).await {
            End::Finished => {
                if let Some(refusal) = self.decoder.finish() {
                    self.refuse(refusal.reason(), &refusal.to_string());
                }
            }
            End::Broken => self.linger().await,
            End::Stalled => {
                let detail = format!(
                    "no complete message within receiver.idle_timeout; the {} bytes of it are dropped",
                    held(&self)
                );
                self.refuse("stalled", &detail);
            }
            End::Failed(error) if self.decoder.mid_message() => {
                let detail = format!(
                    "the connection failed inside a message, of which {} bytes are dropped: {error}",
                    held(&self)
                );
                self.refuse("truncated", &detail);
            }
            End::Failed(error) => tracing::debug!(
                source = &*self.shared.source,
                peer = self.peer,
                "connection failed between messages: {error}"
            ),
            End::Asked => {}
        }
    }

    async fn receive(&mut self, seat: &Seat, stop: &CancellationToken) -> End {
        let mut stopping = false;
        loop {
            let mid_message = self.decoder.mid_message();
            let allowance = self.provide(mid_message, seat).await;
            let read = match self.wait(allowance, mid_message, stopping, seat, stop).await {
                Wake::Read(read) => read,
                Wake::Stalled => return End::Stalled,
                Wake::Stopping if stopping => return End::Asked,
                Wake::Stopping => {
                    stopping = true;
                    continue;
                }
                Wake::Evicted => match self.last_look(allowance).await {
                    Some(read) => read,
                    None => return End::Asked,
                },
            };
            match read {
                Ok(0) => return End::Finished,
                Err(error) => return End::Failed(error),
                Ok(_) => {}
            }
            // Even if all that came was whole messages: the time of being idle begins anew.
            seat.busy();
            let now = Instant::now();
            self.clock.bytes_came(now);
            if !self.take_messages().await {
                return End::Broken;
            }
            if !mid_message {
                self.clock.message_begins(now);
            }
        }
    }

    /// Takes or gives back memory and the place in the queue of idle connections before a wait, and says how many bytes may be read.
    async fn provide(&mut self, mid_message: bool, seat: &Seat) -> usize {
        if !mid_message {
            self.decoder.release();
            self.hold.keep(0);
            seat.idle();
            return READ_BYTES;
        }
        seat.busy();
        let held = self.decoder.held();
        self.hold.keep(held);
        let wanted = self.appetite();
        if self.hold.try_cover(held + wanted) {
            return wanted;
        }
        if held < FREE_BYTES {
            // Small messages never wait for those who hold the budget.
            return wanted.min(FREE_BYTES - held);
        }
        let since = Instant::now();
        self.hold.cover(held + wanted).await;
        // The sender is not to blame for the time that it had to wait for memory.
        self.clock.forgive(since.elapsed());
        wanted
    }

    /// How many bytes the next read should take.
    fn appetite(&self) -> usize {
        let doubled = self.decoder.buffered().max(READ_BYTES);
        self.decoder.wants().map_or(doubled, |wants| wants.clamp(1, doubled))
    }

    async fn wait(&mut self, allowance: usize, mid_message: bool, stopping: bool, seat: &Seat, stop: &CancellationToken) -> Wake {
        let deadline = self.clock.deadline();
        let unread = stopping && self.stream.has_unread();
        let mut spare = self.decoder.spare(allowance);
        let mut read = std::pin::pin!(self.stream.read_buf(&mut spare));
        // What the kernel took from a sender before the stop is still delivered; the supervisor's limit bounds that.
        match (mid_message, stopping) {
            (true, true) => timeout_at(deadline, read).await.map_or(Wake::Stalled, Wake::Read),
            (false, true) if unread => Wake::Read(read.await),
            (false, true) => Wake::Stopping,
            (true, false) => tokio::select! {
                biased;
                read = timeout_at(deadline, &mut read) => read.map_or(Wake::Stalled, Wake::Read),
                () = stop.cancelled() => Wake::Stopping,
            },
            (false, false) => tokio::select! {
                biased;
                read = &mut read => Wake::Read(read),
                () = stop.cancelled() => Wake::Stopping,
                () = seat.evicted() => Wake::Evicted,
            },
        }
    }

    /// Asked to leave: what has come or comes within its grace, if anything does.
    async fn last_look(&mut self, allowance: usize) -> Option<io::Result<usize>> {
        let until = self.clock.last_byte + GRACE;
        let mut spare = self.decoder.spare(allowance);
        if let Ok(read) = timeout_at(until, self.stream.read_buf(&mut spare)).await {
            return Some(read);
        }
        // The kernel may have bytes that this task has not been woken for yet.
        if self.stream.has_unread() {
            return Some(self.stream.read_buf(&mut spare).await);
        }
        None
    }

    /// Stores all that is complete. False if nothing more can be read from this sender.
    async fn take_messages(&mut self) -> bool {
        while let Some(item) = self.decoder.next() {
            // One read may bring thousands of messages; others get their turn in between.
            consume_budget().await;
            self.clock.message_begins(Instant::now());
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
            labels: [].into(),
            origin,
            at: (self.shared.clock)(),
        };
        let body = update.body.clone();
        let stored = if update.body.len() > LARGE_BYTES {
            let inlet = self.shared.inlet.clone();
            blocking(move || inlet.put(update)).await
        } else {
            self.shared.inlet.put(update)
        };
        match stored {
            Ok(receipt) => {
                self.shared.accepted(format).inc();
                if let Some(complaint) = receipt.news() {
                    self.shared
                        .telemetry
                        .log_skipped_lines(&self.shared.source, &inbound.app, complaint);
                }
            }
            Err(refused) => {
                let (reason, why) = unusable(&refused, &body);
                self.refuse(reason, &format!("app {}: {why}", inbound.app));
            }
        }
    }

    /// Counts, logs, and tells a sender of JSON.
    fn refuse(&mut self, reason: &'static str, detail: &str) {
        let source = &*self.shared.source;
        self.shared.telemetry.reject(Rejection {
            source,
            peer: &self.peer,
            reason,
            detail,
        });
        if self.deaf || self.decoder.format() == Some(Format::Capnp) {
            return;
        }
        let mut line = serde_json::json!({ "error": detail }).to_string();
        line.push('\n');
        // A sender that does not read must not make us wait for it: the line is written now or never.
        self.deaf = !matches!(self.stream.write_all(line.as_bytes()).now_or_never(), Some(Ok(())));
    }

    /// Lets a sender whose stream broke read what we had to say about it.
    async fn linger(mut self) {
        let goodbye = async {
            self.stream.shutdown().await?;
            let mut sink = vec![0; SINK_BYTES];
            while self.stream.read(&mut sink).await? > 0 {}
            io::Result::Ok(())
        };
        // However it ends, nothing that could still come is wanted.
        let _ = timeout(LINGER, goodbye).await;
    }
}

/// Tells when a message takes too long.
#[derive(Debug)]
struct MessageClock {
    idle_timeout: Duration,
    began: Instant,
    last_byte: Instant,
}

impl MessageClock {
    fn new(idle_timeout: Duration, now: Instant) -> Self {
        Self {
            idle_timeout,
            began: now,
            last_byte: now,
        }
    }

    fn message_begins(&mut self, now: Instant) {
        (self.began, self.last_byte) = (now, now);
    }

    fn bytes_came(&mut self, now: Instant) {
        self.last_byte = now;
    }

    fn forgive(&mut self, waited: Duration) {
        self.began += waited;
        self.last_byte += waited;
    }

    fn deadline(&self) -> Instant {
        (self.last_byte + self.idle_timeout).min(self.began + self.idle_timeout * MESSAGE_TIMEOUTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDLE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_dribbling_sender_has_five_timeouts_for_a_message() {
        let start = Instant::now();
        let mut clock = MessageClock::new(IDLE, start);
        assert_eq!(clock.deadline(), start + IDLE);
        for n in 1..=20 {
            clock.bytes_came(start + Duration::from_secs(n * 30));
        }
        assert_eq!(clock.deadline(), start + IDLE * 5);
        clock.message_begins(start + IDLE * 4);
        assert_eq!(clock.deadline(), start + IDLE * 5);
        clock.forgive(IDLE);
        assert_eq!(clock.deadline(), start + IDLE * 6);
    }
}
