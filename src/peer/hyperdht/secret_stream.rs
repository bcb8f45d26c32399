//! One authenticated, encrypted connection: whole messages in both directions, in order.
//!
//! The bytes are those of `@hyperswarm/secret-stream` after its handshake: each message is its length as three bytes, the low one first,
//! then what libsodium's secretstream makes of it. The first message each way is no secret: it says which handshake the connection
//! continues, and holds the header of the secretstream. An empty message says that somebody is still there.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use blake2::Blake2bMac;
use blake2::digest::consts::U32;
use blake2::digest::{KeyInit, Mac as _};
use bytes::{Buf as _, Bytes, BytesMut};
use peeroxide_dht::crypto::namespace;
use peeroxide_dht::secretstream::{ABYTES, HEADERBYTES, Pull, Push};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::peer::PublicKey;

/// Bytes that hold the length of a message.
const LENGTH_BYTES: usize = 3;
/// The longest message: its length and that of its seal must fit into three bytes. The JavaScript side refuses to send more, too.
pub(super) const MAX_MESSAGE_BYTES: usize = 0xff_ffff - ABYTES;
/// Bytes of the first message: the name of the stream, and the header of the secretstream.
const HEADER_MESSAGE_BYTES: usize = 32 + HEADERBYTES;
/// How long we are silent before an empty message says that we are there; what the JavaScript side does.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the other end may be silent: six of its keep-alives, so that a program that is busy for a while is not given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a message may take from its first byte to its last: the largest one at 140 kB a second. Without a limit somebody who sends a
/// byte now and then would have us hold what came before for ever.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the other end has to hear that we go.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages that wait for the one that is being written; more would only hide from the sender that the other end is slow.
const WRITE_QUEUE: usize = 1;
/// Bytes that are asked of the transport at least, so that small messages do not need a call each.
const READ_BYTES: usize = 64 * 1024;

/// Why a connection carries no more messages.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretStreamError {
    /// A message is longer than a connection can carry.
    #[error("a message of {0} bytes is more than the {MAX_MESSAGE_BYTES} that HyperDHT can carry")]
    TooLarge(usize),
    /// The transport gave up.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// The connection ended in the middle of a message.
    #[error("the connection ended within a message")]
    Truncated,
    /// Nothing was heard for too long.
    #[error("the other end has been silent for {IDLE_TIMEOUT:?}")]
    IdleTimeout,
    /// A message is announced that is longer than any that we want.
    #[error("a message of {bytes} bytes was announced, where none has more than {max_bytes}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The longest that is taken.
        max_bytes: usize,
    },
    /// A message did not end in time.
    #[error("a message was not complete within {MESSAGE_TIMEOUT:?}")]
    MessageTimeout,
    /// What came was not sealed by the other end of the handshake.
    #[error("a message was not sealed by the other end")]
    NotAuthentic,
    /// We closed it.
    #[error("the connection is closed")]
    Closed,
}

/// What the two ends of a handshake share.
#[derive(Clone)]
pub(super) struct SessionKeys {
    /// Whether we spoke first.
    pub(super) initiator: bool,
    /// Seals what we send.
    pub(super) tx: [u8; 32],
    /// Opens what we receive.
    pub(super) rx: [u8; 32],
    /// The hash of the handshake.
    pub(super) hash: [u8; 64],
}

impl SessionKeys {
    /// How the end that did or did not speak first calls the stream.
    fn name(&self, initiator: bool) -> [u8; 32] {
        let purpose = namespace("hyperswarm/secret-stream", &[u8::from(!initiator)]);
        let mut mac = <Blake2bMac<U32> as KeyInit>::new_from_slice(&self.hash).expect("BLAKE2b takes keys of up to 64 bytes");
        mac.update(&purpose[0]);
        mac.finalize().into_bytes().into()
    }
}

/// A connection to a peer that has shown its key.
pub(super) struct SecretStream {
    /// Who is at the other end.
    pub(super) peer: PublicKey,
    /// Where its packets come from.
    pub(super) address: SocketAddr,
    /// What it sends.
    pub(super) reader: SecretStreamReader,
    /// What it is sent.
    pub(super) writer: SecretStreamWriter,
}

impl SecretStream {
    /// Continues a handshake over a transport. A flush of `sink` has to last until the other end's transport has acknowledged all.
    pub(super) fn new(
        peer: PublicKey,
        address: SocketAddr,
        keys: SessionKeys,
        source: impl AsyncRead + Send + Unpin + 'static,
        sink: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let (push, header) = Push::new(&keys.tx);
        let mut first_message = Vec::with_capacity(LENGTH_BYTES + HEADER_MESSAGE_BYTES);
        first_message.extend(length(HEADER_MESSAGE_BYTES));
        first_message.extend(keys.name(keys.initiator));
        first_message.extend(header);
        let (commands, inbox) = mpsc::channel(WRITE_QUEUE);
        let task = WriteTask { push, sink, inbox };
        Self {
            peer,
            address,
            reader: SecretStreamReader {
                state: ReadState::Header(Box::new(ExpectedHeader {
                    name: keys.name(!keys.initiator),
                    rx: keys.rx,
                })),
                source: Box::new(source),
                buffer: BytesMut::new(),
                max_bytes: MAX_MESSAGE_BYTES,
                last_read: Instant::now(),
                message_started: None,
            },
            writer: SecretStreamWriter {
                commands,
                task: Some(AbortOnDropHandle::new(tokio::spawn(task.run(first_message)))),
            },
        }
    }
}

/// What has been read.
enum ReadState {
    /// The first message has not come.
    Header(Box<ExpectedHeader>),
    /// It has, and opens the others.
    Messages(Pull),
}

/// What the other end's first message has to be.
struct ExpectedHeader {
    name: [u8; 32],
    rx: [u8; 32],
}

/// The receiving half.
pub(super) struct SecretStreamReader {
    state: ReadState,
    source: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    /// The longest message that is taken.
    max_bytes: usize,
    last_read: Instant,
    /// When the first byte of a message came that is not complete.
    message_started: Option<Instant>,
}

impl SecretStreamReader {
    /// Takes no message from now on that is longer than `bytes`: strangers must not choose how much we hold for them.
    pub(super) fn limit_message_bytes(&mut self, bytes: usize) {
        self.max_bytes = bytes;
    }

    /// The next message; `None` where the other end has closed. May be dropped at any time and called again.
    ///
    /// # Errors
    ///
    /// Where nothing more can come: the transport broke, the other end fell silent, or somebody else meddles.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, SecretStreamError> {
        self.read_header().await?;
        while let Some(frame) = self.frame().await? {
            let ReadState::Messages(pull) = &mut self.state else { break };
            let (message, _) = pull.next(&frame).map_err(|_| SecretStreamError::NotAuthentic)?;
            if !message.is_empty() {
                return Ok(Some(message.into()));
            }
        }
        Ok(None)
    }

    /// Waits until the other end has said that it continues our handshake.
    ///
    /// # Errors
    ///
    /// As [`SecretStreamReader::next`].
    pub(super) async fn read_header(&mut self) -> Result<(), SecretStreamError> {
        if let ReadState::Header(_) = self.state {
            let frame = self.frame().await?.ok_or(SecretStreamError::Truncated)?;
            let ReadState::Header(first_message) = &self.state else {
                return Ok(());
            };
            let (name, header) = frame.split_first_chunk::<32>().ok_or(SecretStreamError::NotAuthentic)?;
            if *name != first_message.name {
                return Err(SecretStreamError::NotAuthentic);
            }
            let header = header.try_into().map_err(|_| SecretStreamError::NotAuthentic)?;
            self.state = ReadState::Messages(Pull::new(&first_message.rx, header));
        }
        Ok(())
    }

    /// The next frame without its length; `None` where the transport ended between two.
    async fn frame(&mut self) -> Result<Option<BytesMut>, SecretStreamError> {
        loop {
            let wanted = match self.buffer.first_chunk() {
                Some(&[low, middle, high]) => LENGTH_BYTES + usize::from(low) + (usize::from(middle) << 8) + (usize::from(high) << 16),
                None => LENGTH_BYTES,
            };
            let max_bytes = match self.state {
                ReadState::Header(_) => HEADER_MESSAGE_BYTES,
                ReadState::Messages(_) => self.max_bytes + ABYTES,
            };
            if wanted - LENGTH_BYTES > max_bytes {
                let bytes = wanted - LENGTH_BYTES;
                return Err(SecretStreamError::TooLong { bytes, max_bytes });
            }
            if wanted > LENGTH_BYTES && self.buffer.len() >= wanted {
                return Ok(Some(self.take_frame(wanted)));
            }
            if wanted == LENGTH_BYTES && self.buffer.len() >= LENGTH_BYTES {
                return Err(SecretStreamError::NotAuthentic);
            }
            if !self.read_more().await? {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(SecretStreamError::Truncated)
                };
            }
        }
    }

    /// Takes a frame of so many bytes off the buffer, and its length off the frame.
    fn take_frame(&mut self, bytes: usize) -> BytesMut {
        let mut frame = self.buffer.split_to(bytes);
        frame.advance(LENGTH_BYTES);
        self.message_started = (!self.buffer.is_empty()).then_some(self.last_read);
        if bytes > READ_BYTES {
            // Otherwise the room that the longest message took would stay with the connection for as long as it lives.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        frame
    }

    /// Reads on; `false` where the transport has ended.
    async fn read_more(&mut self) -> Result<bool, SecretStreamError> {
        // The buffer grows with what comes, not with what a length announces.
        self.buffer.reserve(READ_BYTES);
        let silent = self.last_read + IDLE_TIMEOUT;
        let slow = self
            .message_started
            .map(|message_started| message_started + MESSAGE_TIMEOUT)
            .filter(|slow| *slow < silent);
        let read = timeout_at(slow.unwrap_or(silent), self.source.read_buf(&mut self.buffer)).await;
        let read = read.map_err(|_| {
            if slow.is_some() {
                SecretStreamError::MessageTimeout
            } else {
                SecretStreamError::IdleTimeout
            }
        })??;
        self.last_read = Instant::now();
        self.message_started.get_or_insert(self.last_read);
        Ok(read > 0)
    }
}

enum WriteCommand {
    Message(Bytes),
    Acknowledged(oneshot::Sender<()>),
    Close,
}

/// The sending half. Dropped without being closed it leaves at once, and what is still on its way may be lost.
pub(super) struct SecretStreamWriter {
    commands: mpsc::Sender<WriteCommand>,
    task: Option<AbortOnDropHandle<io::Result<()>>>,
}

impl SecretStreamWriter {
    /// Sends a message as one write. Waits while an earlier one has not been taken by the transport, which holds a bounded number of bytes.
    ///
    /// # Errors
    ///
    /// Where the message is too long, or the connection is broken or closed.
    pub(super) async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), SecretStreamError> {
        let message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(SecretStreamError::TooLarge(message.len()));
        }
        self.command(WriteCommand::Message(message)).await
    }

    /// Waits until the other end's transport has acknowledged all that was sent.
    ///
    /// # Errors
    ///
    /// Where the connection broke before.
    pub(super) async fn acknowledged(&mut self) -> Result<(), SecretStreamError> {
        let (done, acked) = oneshot::channel();
        self.command(WriteCommand::Acknowledged(done)).await?;
        match acked.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ending().await),
        }
    }

    /// Sends what waits, then tells the other end that nothing more comes.
    pub(super) async fn close(mut self) {
        // Where it is broken already there is nothing to close.
        if self.command(WriteCommand::Close).await.is_ok()
            && let Some(task) = self.task.take()
        {
            let _ = timeout(CLOSE_TIMEOUT, task).await;
        }
    }

    async fn command(&mut self, command: WriteCommand) -> Result<(), SecretStreamError> {
        match self.commands.send(command).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ending().await),
        }
    }

    /// How the writing ended, told once.
    async fn ending(&mut self) -> SecretStreamError {
        match self.task.take() {
            Some(task) => match task.await {
                Ok(Err(error)) => error.into(),
                Ok(Ok(())) | Err(_) => SecretStreamError::Closed,
            },
            None => SecretStreamError::Closed,
        }
    }
}

/// The task that seals and writes.
struct WriteTask<W> {
    push: Push,
    sink: W,
    inbox: mpsc::Receiver<WriteCommand>,
}

impl<W: AsyncWrite + Unpin> WriteTask<W> {
    async fn run(mut self, first_message: Vec<u8>) -> io::Result<()> {
        self.sink.write_all(&first_message).await?;
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
        let mut due = Instant::now() + KEEP_ALIVE;
        loop {
            tokio::select! {
                command = self.inbox.recv() => match command {
                    Some(WriteCommand::Message(message)) => {
                        self.write(&message).await?;
                        due = Instant::now() + KEEP_ALIVE;
                    }
                    // One caller has the writer, so one waits; those that went away meanwhile are forgotten.
                    Some(WriteCommand::Acknowledged(done)) => {
                        waiting.retain(|done| !done.is_closed());
                        waiting.push(done);
                    }
                    Some(WriteCommand::Close) | None => return self.sink.shutdown().await,
                },
                flushed = self.sink.flush(), if !waiting.is_empty() => {
                    flushed?;
                    // Whoever does not wait any more does not want to know.
                    mem::take(&mut waiting).into_iter().for_each(|done| _ = done.send(()));
                }
                () = sleep_until(due) => {
                    self.write(&[]).await?;
                    due = Instant::now() + KEEP_ALIVE;
                }
            }
        }
    }

    /// Length and sealed message go out together: apart they would cost a round trip.
    async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let sealed = self.push.next(message);
        let mut frame = Vec::with_capacity(LENGTH_BYTES + sealed.len());
        frame.extend(length(sealed.len()));
        frame.extend(sealed);
        self.sink.write_all(&frame).await
    }
}

/// A length as it stands before a message.
fn length(bytes: usize) -> [u8; LENGTH_BYTES] {
    let [low, middle, high, ..] = bytes.to_le_bytes();
    [low, middle, high]
}

/// Two ends of a connection that is only memory, for tests of what runs above.
#[cfg(test)]
pub(super) fn pair() -> (SecretStream, SecretStream) {
    let (a, b) = tokio::io::duplex(READ_BYTES);
    (over(a, true, 0), over(b, false, 0))
}

/// One end, after a handshake of which only the hash differs.
#[cfg(test)]
fn over(io: tokio::io::DuplexStream, initiator: bool, hash: u8) -> SecretStream {
    let keys = SessionKeys {
        initiator,
        tx: [u8::from(initiator); 32],
        rx: [u8::from(!initiator); 32],
        hash: [hash; 64],
    };
    let (source, sink) = tokio::io::split(io);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    SecretStream::new(PublicKey::new([u8::from(!initiator); 32]), address, keys, source, sink)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use tokio::time::sleep;

    #[tokio::test]
    async fn messages_arrive_whole_and_in_order() {
        let (mut a, mut b) = pair();
        let writer = tokio::spawn(async move {
            for size in [1, 2, 70_000, 3, 5_000_000] {
                a.writer.send(vec![u8::try_from(size % 251).unwrap(); size]).await.unwrap();
            }
            a.writer.acknowledged().await.unwrap();
            a.writer.close().await;
            a.reader.next().await
        });
        for size in [1, 2, 70_000, 3, 5_000_000] {
            let message = b.reader.next().await.unwrap().unwrap();
            assert!(message.len() == size && message.iter().all(|byte| usize::from(*byte) == size % 251));
        }
        assert!(b.reader.next().await.unwrap().is_none(), "it was closed");
        b.writer.close().await;
        assert!(writer.await.unwrap().unwrap().is_none());
    }

    #[tokio::test]
    async fn too_long_a_message_is_refused_and_harms_nothing() {
        let (mut a, mut b) = pair();
        let refused = a.writer.send(vec![0; MAX_MESSAGE_BYTES + 1]).await;
        assert!(matches!(refused, Err(SecretStreamError::TooLarge(_))));
        a.writer.send("short").await.unwrap();
        assert_eq!(b.reader.next().await.unwrap().unwrap(), "short");
    }

    #[tokio::test(start_paused = true)]
    async fn keep_alives_are_swallowed_and_silence_is_noticed() {
        let (mut a, mut b) = pair();
        for _ in 0..12 {
            assert!(
                timeout(KEEP_ALIVE, b.reader.next()).await.is_err(),
                "an empty message is no message"
            );
        }
        a.writer.send("still here").await.unwrap();
        assert_eq!(b.reader.next().await.unwrap().unwrap(), "still here");
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_noticed() {
        let (a, _b) = tokio::io::duplex(READ_BYTES);
        let (mut end, start) = (over(a, true, 1), Instant::now());
        assert!(matches!(end.reader.next().await, Err(SecretStreamError::IdleTimeout)));
        assert_eq!(start.elapsed(), IDLE_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_never_ends_is_given_up() {
        let (near, mut far) = tokio::io::duplex(READ_BYTES);
        let mut end = over(near, true, 0);
        let dribbling = tokio::spawn(async move {
            let keys = SessionKeys {
                initiator: false,
                tx: [0; 32],
                rx: [1; 32],
                hash: [0; 64],
            };
            let (_, header) = Push::new(&keys.tx);
            far.write_all(&[&length(HEADER_MESSAGE_BYTES)[..], &keys.name(false), &header].concat())
                .await
                .unwrap();
            far.write_all(&length(0xff_ffff)).await.unwrap();
            while far.write_all(b"x").await.is_ok() {
                sleep(IDLE_TIMEOUT / 2).await;
            }
        });
        let start = Instant::now();
        assert!(matches!(end.reader.next().await, Err(SecretStreamError::MessageTimeout)));
        assert_eq!(start.elapsed(), MESSAGE_TIMEOUT);
        assert!(end.reader.buffer.capacity() <= 2 * READ_BYTES, "what was announced takes no room");
        drop(end);
        dribbling.await.unwrap();
    }

    #[tokio::test]
    async fn who_sends_more_than_is_wanted_is_cut_off_before_it_is_held() {
        let (mut a, mut b) = pair();
        b.reader.limit_message_bytes(1000);
        a.writer.send(vec![1; 1000]).await.unwrap();
        assert_eq!(b.reader.next().await.unwrap().unwrap().len(), 1000);
        a.writer.send(vec![1; 5_000_000]).await.unwrap();
        assert!(matches!(b.reader.next().await, Err(SecretStreamError::TooLong { bytes, .. }) if bytes == 5_000_000 + ABYTES));
        assert!(b.reader.buffer.capacity() <= 2 * READ_BYTES);
    }

    #[tokio::test]
    async fn a_long_message_leaves_no_room_behind() {
        let (mut a, mut b) = pair();
        let writer = tokio::spawn(async move {
            a.writer.send(vec![1; 5_000_000]).await.unwrap();
            a.writer.send("short").await.unwrap();
            a
        });
        assert_eq!(b.reader.next().await.unwrap().unwrap().len(), 5_000_000);
        assert_eq!(b.reader.next().await.unwrap().unwrap(), "short");
        assert!(b.reader.buffer.capacity() <= 4 * READ_BYTES, "{}", b.reader.buffer.capacity());
        drop(writer.await.unwrap());
    }

    #[tokio::test]
    async fn another_handshake_is_not_continued() {
        let (a, b) = tokio::io::duplex(READ_BYTES);
        let (mut a, _b) = (over(a, true, 1), over(b, false, 2));
        assert!(matches!(a.reader.read_header().await, Err(SecretStreamError::NotAuthentic)));
    }
}
