//! A stream on which a peer sends messages.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{AsyncRead, AsyncReadExt as _, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::observer::{Observed, Observer};
use crate::wire::bitswap::{LengthError, MessageError, message_length};

/// Memory of all incomplete messages beyond [`FREE_BYTES`] each: 64 of the largest ones.
const MAX_INCOMPLETE_BYTES: usize = 256 << 20;
/// The part of an incomplete message that needs no share of that memory: most messages are smaller.
const FREE_BYTES: usize = 16 << 10;
/// Bytes of a permit.
const PERMIT_BYTES: usize = 16 << 10;
/// Read size inside a large message.
const READ_BYTES: usize = 16 << 10;
/// The least read size, for some small messages at once.
const MIN_READ_BYTES: usize = 2 << 10;
/// Timeout of a message from its first byte to its last: 4 MiB at 70 kB/s.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Reason for resetting a stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamFault {
    /// The length of a message is invalid.
    #[error(transparent)]
    Length(#[from] LengthError),
    /// A message is malformed.
    #[error("a malformed message: {0}")]
    Message(#[from] MessageError),
    /// A message was not complete in time.
    #[error("a message was not complete within {MESSAGE_TIMEOUT:?}")]
    Timeout,
    /// The stream ended inside a message.
    #[error("the stream ended inside a message")]
    Truncated,
    /// Too many other messages are incomplete.
    #[error("the incomplete messages of all peers exceed {MAX_INCOMPLETE_BYTES} bytes")]
    Memory,
    /// The peer has too many streams.
    #[error("more than {0} streams")]
    Streams(usize),
    /// The connection failed; not a fault of the peer.
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
}

impl StreamFault {
    /// The stable word for the `reason` label; `None` if the end of a connection caused it.
    pub(super) const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Length(LengthError::TooLong(_)) => Some("too_large"),
            Self::Length(LengthError::Endless) | Self::Message(_) => Some("malformed"),
            Self::Timeout => Some("timeout"),
            Self::Truncated => Some("truncated"),
            Self::Memory => Some("busy"),
            Self::Streams(_) => Some("too_many_streams"),
            Self::Io(_) => None,
        }
    }
}

/// The memory that incomplete messages share.
#[derive(Debug, Clone)]
pub(super) struct IncompleteMessages(Arc<Semaphore>);

impl Default for IncompleteMessages {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(MAX_INCOMPLETE_BYTES / PERMIT_BYTES)))
    }
}

/// The reader of one stream.
struct Reader<S> {
    stream: S,
    /// Bytes that were read: at most one incomplete message and one read.
    buffer: Vec<u8>,
    memory: IncompleteMessages,
    reserved: Option<OwnedSemaphorePermit>,
    observer: Arc<Observer>,
    peer: Arc<str>,
    remote: Arc<str>,
}

/// The messages of a stream. The last item is a fault, unless the peer ended the stream between messages.
pub(super) fn messages<S: AsyncRead + Unpin + Send + 'static>(
    stream: S,
    memory: IncompleteMessages,
    observer: Arc<Observer>,
    peer: Arc<str>,
    remote: Arc<str>,
) -> BoxStream<'static, Result<Observed, StreamFault>> {
    let reader = Reader {
        stream,
        buffer: Vec::new(),
        memory,
        reserved: None,
        observer,
        peer,
        remote,
    };
    stream::unfold(Some(reader), |reader| async {
        let mut reader = reader?;
        match reader.next().await {
            Ok(Some(observed)) => Some((Ok(observed), Some(reader))),
            Ok(None) => None,
            Err(fault) => Some((Err(fault), None)),
        }
    })
    .boxed()
}

impl<S: AsyncRead + Unpin> Reader<S> {
    /// The next message; `None` at the end of the stream.
    async fn next(&mut self) -> Result<Option<Observed>, StreamFault> {
        if self.buffer.is_empty() {
            // Between messages a peer may be silent for ever, so nothing is kept for it.
            self.buffer = Vec::new();
            let mut first = [0];
            if self.stream.read(&mut first).await? == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&first);
        }
        timeout(MESSAGE_TIMEOUT, self.message())
            .await
            .map_err(|_| StreamFault::Timeout)?
            .map(Some)
    }

    /// Reads until the message at the start of the buffer is complete, and removes it.
    async fn message(&mut self) -> Result<Observed, StreamFault> {
        let end = loop {
            let needed = match message_length(&self.buffer)? {
                Some((varint, length)) if varint + length <= self.buffer.len() => break varint..varint + length,
                Some((varint, length)) => varint + length - self.buffer.len(),
                None => 1,
            };
            self.read(needed.min(READ_BYTES)).await?;
        };
        let observed = self.observer.observe(&self.buffer[end.clone()], &self.peer, &self.remote)?;
        self.buffer.drain(..end.end);
        self.buffer.shrink_to(READ_BYTES);
        self.reserved = None;
        Ok(observed)
    }

    /// Reads at least one byte, and what has come, up to one read or as much as the message needs.
    async fn read(&mut self, needed: usize) -> Result<(), StreamFault> {
        let before = self.buffer.len();
        self.reserve(before + READ_BYTES)?;
        self.buffer.resize(before + needed.max(MIN_READ_BYTES), 0);
        let read = self.stream.read(&mut self.buffer[before..]).await;
        self.buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        if read? == 0 {
            return Err(StreamFault::Truncated);
        }
        Ok(())
    }

    /// Reserves memory for a buffer of `bytes`, as far as it needs a share.
    fn reserve(&mut self, bytes: usize) -> Result<(), StreamFault> {
        let wanted = bytes.saturating_sub(FREE_BYTES + READ_BYTES).div_ceil(PERMIT_BYTES);
        let held = self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let Some(missing) = wanted.checked_sub(held).filter(|missing| *missing > 0) else {
            return Ok(());
        };
        let missing = u32::try_from(missing).map_err(|_| StreamFault::Memory)?;
        let more = Arc::clone(&self.memory.0)
            .try_acquire_many_owned(missing)
            .map_err(|_| StreamFault::Memory)?;
        match &mut self.reserved {
            Some(reserved) => reserved.merge(more),
            None => self.reserved = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
