//! Control messages of a link on their stream.

use bytes::BytesMut;
use quinn::{ReadError, RecvStream, SendStream, WriteError};

use crate::wire::{LinkFault, LinkMessage};

/// Bytes read at once; a message has a few hundred bytes.
const READ: usize = 4 * 1024;

/// The error of the control stream.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControlError {
    /// Reading from the stream failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing to the stream failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The received bytes are not a valid message.
    #[error(transparent)]
    Fault(#[from] LinkFault),
    /// The peer closed the stream.
    #[error("the peer closed the control stream")]
    Ended,
}

/// Receives control messages.
pub(crate) struct ControlReceiver {
    stream: RecvStream,
    // Bounded: a message longer than the limit is an error as soon as its header is complete.
    buffer: BytesMut,
}

impl ControlReceiver {
    pub(crate) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Returns the next message, skipping those of later protocol versions. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<LinkMessage, ControlError> {
        loop {
            if let Some((message, length)) = LinkMessage::decode(&self.buffer)? {
                let _ = self.buffer.split_to(length);
                match message {
                    Some(message) => {
                        tracing::trace!(stream = %self.stream.id(), ?message, "control message received");
                        return Ok(message);
                    }
                    None => continue,
                }
            }
            let chunk = self.stream.read_chunk(READ, true).await?.ok_or(ControlError::Ended)?;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

/// Sends control messages.
pub(crate) struct ControlSender(pub(crate) SendStream);

impl ControlSender {
    /// Sends a message. It is small, so this blocks only if the peer reads nothing at all.
    pub(crate) async fn send(&mut self, message: &LinkMessage) -> Result<(), ControlError> {
        tracing::trace!(stream = %self.0.id(), ?message, "control message sent");
        Ok(self.0.write_all(&message.encode()).await?)
    }
}
