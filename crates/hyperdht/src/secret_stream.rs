//! An authenticated, encrypted connection that carries messages in both directions, in order.
//!
//! The wire format is that of `@hyperswarm/secret-stream` after its handshake: each message is its length as three bytes, little-endian,
//! followed by its ciphertext from libsodium's secretstream. The first message in each direction is not encrypted: it identifies the
//! handshake and contains the header of the secretstream. An empty message is a keep-alive.

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::hash::{keyed_hash, namespace};
use crate::key::PublicKey;
use crate::noise::Session;
use crate::stream_cipher::{Decryptor, Encryptor, HEADER_BYTES, OVERHEAD_BYTES};

/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 3;
/// Limit on a message: its length with the authentication tag must fit into three bytes. The JavaScript implementation has the same
/// limit.
pub const MAX_MESSAGE_BYTES: usize = 0xff_ffff - OVERHEAD_BYTES;
/// Bytes of the first message: the id of the stream and the header of the secretstream.
const HEADER_MESSAGE_BYTES: usize = 32 + HEADER_BYTES;
/// Interval of keep-alives on an idle connection, the same as in the JavaScript implementation.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Idle timeout: six keep-alives of the peer, so that a busy program is not disconnected.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Timeout from the first to the last byte of a message: 140 kB/s for the largest one. Without it a peer that sends a byte now and then
/// could keep a partial message in memory forever.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(120);
/// Limit on the wait for the peer to receive the close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit on queued messages; a longer queue would only hide a slow peer from the sender.
const WRITE_QUEUE: usize = 1;
/// Minimum size of a read, so that several small messages need one call.
const READ_BYTES: usize = 64 * 1024;

/// The error of a connection.
#[derive(Debug, thiserror::Error)]
pub enum SecretStreamError {
    /// A message to send is longer than the limit.
    #[error("a message of {0} bytes exceeds the limit of HyperDHT, {MAX_MESSAGE_BYTES} bytes")]
    TooLarge(usize),
    /// The transport failed.
    #[error("connection lost: {0}")]
    Broken(#[from] io::Error),
    /// The connection ended within a message.
    #[error("the connection ended within a message")]
    Truncated,
    /// Nothing was received for too long.
    #[error("no packets received for {IDLE_TIMEOUT:?}")]
    IdleTimeout,
    /// The peer announced a message longer than the limit.
    #[error("the peer announced a message of {bytes} bytes; the limit is {max_bytes}")]
    TooLong {
        /// The announced length.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A message was not complete in time.
    #[error("a message was incomplete after {MESSAGE_TIMEOUT:?}")]
    MessageTimeout,
    /// A received message was not encrypted with the keys of the handshake.
    #[error("a message failed authentication")]
    NotAuthentic,
    /// The connection was closed at this end.
    #[error("the connection is closed")]
    Closed,
}

/// Returns the stream id of one end of a handshake with this hash: of the initiator or the responder.
fn stream_name(handshake: &[u8; 64], initiator: bool) -> [u8; 32] {
    keyed_hash(handshake, &namespace("hyperswarm/secret-stream", u8::from(!initiator)))
}

/// A connection to a peer with a verified key.
pub struct SecretStream {
    /// The key of the peer.
    pub peer: PublicKey,
    /// The source address of its packets.
    pub address: SocketAddr,
    /// The receiving half.
    pub reader: SecretStreamReader,
    /// The sending half.
    pub writer: SecretStreamWriter,
}

impl SecretStream {
    /// Creates a connection after a handshake, which this end has started or not. A flush of `sink` must wait until the peer's transport
    /// has acknowledged all bytes.
    ///
    /// # Errors
    ///
    /// If the system has no randomness.
    pub(crate) fn new(
        session: &Session,
        initiator: bool,
        address: SocketAddr,
        source: impl AsyncRead + Send + Unpin + 'static,
        sink: impl AsyncWrite + Send + Unpin + 'static,
    ) -> io::Result<Self> {
        let (encryptor, header) = Encryptor::new(&session.tx)?;
        let mut first_message = Vec::with_capacity(LENGTH_BYTES + HEADER_MESSAGE_BYTES);
        first_message.extend(length(HEADER_MESSAGE_BYTES));
        first_message.extend(stream_name(&session.hash, initiator));
        first_message.extend(header);
        let (commands, inbox) = mpsc::channel(WRITE_QUEUE);
        let task = WriteTask { encryptor, sink, inbox };
        Ok(Self {
            peer: session.remote,
            address,
            reader: SecretStreamReader {
                state: ReadState::Header(Box::new(ExpectedHeader {
                    name: stream_name(&session.hash, !initiator),
                    rx: session.rx,
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
        })
    }
}

/// The state of the receiving half.
enum ReadState {
    /// The first message was not received yet.
    Header(Box<ExpectedHeader>),
    /// The first message was received; this decrypts the others.
    Messages(Decryptor),
}

/// The expected first message of the peer.
struct ExpectedHeader {
    name: [u8; 32],
    rx: [u8; 32],
}

/// The receiving half.
pub struct SecretStreamReader {
    state: ReadState,
    source: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    /// Limit on the length of a message.
    max_bytes: usize,
    last_read: Instant,
    /// The arrival time of an incomplete message's first byte.
    message_started: Option<Instant>,
}

impl SecretStreamReader {
    /// Limits the length of messages from now on, so that a peer cannot choose our memory usage.
    pub fn limit_message_bytes(&mut self, bytes: usize) {
        self.max_bytes = bytes;
    }

    /// Returns the next message; `None` if the peer has closed the connection. Cancel-safe.
    ///
    /// # Errors
    ///
    /// If the transport failed, the peer timed out, or a message is not authentic.
    pub async fn next(&mut self) -> Result<Option<Bytes>, SecretStreamError> {
        self.read_header().await?;
        while let Some(frame) = self.frame().await? {
            let ReadState::Messages(decryptor) = &mut self.state else { break };
            let message = decryptor.open(frame).map_err(|_| SecretStreamError::NotAuthentic)?;
            if !message.is_empty() {
                // A copy of a short one, because a caller that keeps it would keep the memory of a whole read.
                let short = message.len() < READ_BYTES;
                return Ok(Some(if short {
                    Bytes::copy_from_slice(&message)
                } else {
                    message.freeze()
                }));
            }
        }
        Ok(None)
    }

    /// Waits for the first message of the peer, which continues our handshake.
    ///
    /// # Errors
    ///
    /// As [`SecretStreamReader::next`].
    pub(crate) async fn read_header(&mut self) -> Result<(), SecretStreamError> {
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
            self.state = ReadState::Messages(Decryptor::new(&first_message.rx, header));
        }
        Ok(())
    }

    /// Returns the next frame without its length; `None` if the transport ended between two frames.
    async fn frame(&mut self) -> Result<Option<BytesMut>, SecretStreamError> {
        loop {
            let wanted = match self.buffer.first_chunk() {
                Some(&[low, middle, high]) => LENGTH_BYTES + usize::from(low) + (usize::from(middle) << 8) + (usize::from(high) << 16),
                None => LENGTH_BYTES,
            };
            let max_bytes = match self.state {
                ReadState::Header(_) => HEADER_MESSAGE_BYTES,
                ReadState::Messages(_) => self.max_bytes + OVERHEAD_BYTES,
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

    /// Takes a frame of this length from the buffer and removes the length before it.
    fn take_frame(&mut self, bytes: usize) -> BytesMut {
        let mut frame = self.buffer.split_to(bytes);
        frame.advance(LENGTH_BYTES);
        self.message_started = (!self.buffer.is_empty()).then_some(self.last_read);
        if bytes > READ_BYTES {
            // Otherwise the connection would keep the memory of its longest message.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        frame
    }

    /// Reads more bytes; `false` if the transport has ended.
    async fn read_more(&mut self) -> Result<bool, SecretStreamError> {
        // The buffer grows with the received bytes, not with the announced length.
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

/// The sending half. Dropping it without closing may lose unsent messages.
pub struct SecretStreamWriter {
    commands: mpsc::Sender<WriteCommand>,
    task: Option<AbortOnDropHandle<io::Result<()>>>,
}

impl SecretStreamWriter {
    /// Sends a message as one write. Waits until the transport, with its bounded buffer, has accepted the previous one.
    ///
    /// # Errors
    ///
    /// If the message is too long, or the connection is lost or closed.
    pub async fn send(&mut self, message: impl Into<Bytes>) -> Result<(), SecretStreamError> {
        let message = message.into();
        if message.len() > MAX_MESSAGE_BYTES {
            return Err(SecretStreamError::TooLarge(message.len()));
        }
        self.command(WriteCommand::Message(message)).await
    }

    /// Waits until the peer's transport has acknowledged all sent messages.
    ///
    /// # Errors
    ///
    /// If the connection was lost before.
    pub async fn acknowledged(&mut self) -> Result<(), SecretStreamError> {
        let (done, acked) = oneshot::channel();
        self.command(WriteCommand::Acknowledged(done)).await?;
        match acked.await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.ending().await),
        }
    }

    /// Sends the queued messages and closes the sending direction.
    pub async fn close(mut self) {
        // A lost connection needs no close.
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

    /// Returns the result of the writing task, once.
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

/// The task that encrypts and writes.
struct WriteTask<W> {
    encryptor: Encryptor,
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
                    // Only one caller has the writer; requests of cancelled calls are removed.
                    Some(WriteCommand::Acknowledged(done)) => {
                        waiting.retain(|done| !done.is_closed());
                        waiting.push(done);
                    }
                    Some(WriteCommand::Close) | None => return self.sink.shutdown().await,
                },
                flushed = self.sink.flush(), if !waiting.is_empty() => {
                    flushed?;
                    // The receiver may be dropped.
                    mem::take(&mut waiting).into_iter().for_each(|done| _ = done.send(()));
                }
                () = sleep_until(due) => {
                    self.write(&[]).await?;
                    due = Instant::now() + KEEP_ALIVE;
                }
            }
        }
    }

    /// Writes length and ciphertext at once; separate packets would cost a round trip.
    async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        let sealed = message.len() + OVERHEAD_BYTES;
        let mut frame = Vec::with_capacity(LENGTH_BYTES + sealed);
        frame.extend(length(sealed));
        self.encryptor.seal(message, &mut frame);
        self.sink.write_all(&frame).await
    }
}

/// Encodes the length before a message.
fn length(bytes: usize) -> [u8; LENGTH_BYTES] {
    let [low, middle, high, ..] = bytes.to_le_bytes();
    [low, middle, high]
}

/// Returns both ends of an in-memory connection, for tests.
#[cfg(test)]
pub(crate) fn pair() -> (SecretStream, SecretStream) {
    let (a, b) = tokio::io::duplex(READ_BYTES);
    (over(a, true, 0), over(b, false, 0))
}

/// Returns the session of one end, with keys that differ in the handshake hash only.
#[cfg(test)]
fn session(initiator: bool, hash: u8) -> Session {
    Session {
        remote: PublicKey::new([u8::from(!initiator); 32]),
        tx: [u8::from(initiator); 32],
        rx: [u8::from(!initiator); 32],
        hash: [hash; 64],
    }
}

/// Returns one end over an in-memory connection.
#[cfg(test)]
fn over(io: tokio::io::DuplexStream, initiator: bool, hash: u8) -> SecretStream {
    let (source, sink) = tokio::io::split(io);
    let address = SocketAddr::from(([127, 0, 0, 1], 1));
    SecretStream::new(&session(initiator, hash), initiator, address, source, sink).expect("the system has randomness")
}

#[cfg(test)]
mod tests;
