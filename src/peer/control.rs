//! The control messages of a link on their stream.

use bytes::BytesMut;
use quinn::{ReadError, RecvStream, SendStream, WriteError};

use crate::wire::{LinkFault, LinkMessage};

/// Read at once; a message is a few hundred bytes.
const READ: usize = 4 * 1024;

/// Why the control stream is of no more use.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlError {
    /// The connection or the stream broke.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The connection or the stream broke.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// What came is no message.
    #[error(transparent)]
    Fault(#[from] LinkFault),
    /// The other end has ended the stream.
    #[error("the control stream was ended")]
    Ended,
}

/// What the other end says.
pub(super) struct ControlReceiver {
    stream: RecvStream,
    // Bounded: a message that would not fit is a fault as soon as its header is there.
    buffer: BytesMut,
}

impl ControlReceiver {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message; those of later versions are passed over. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<LinkMessage, ControlError> {
        loop {
            if let Some((message, length)) = LinkMessage::decode(&self.buffer)? {
                let _ = self.buffer.split_to(length);
                match message {
                    Some(message) => return Ok(message),
                    None => continue,
                }
            }
            let chunk = self.stream.read_chunk(READ, true).await?.ok_or(ControlError::Ended)?;
            self.buffer.extend_from_slice(&chunk.bytes);
        }
    }
}

/// What we say.
pub(super) struct ControlSender(pub(super) SendStream);

impl ControlSender {
    /// Sends a message; it is small, so this waits only for an end that takes nothing at all.
    pub(super) async fn send(&mut self, message: &LinkMessage) -> Result<(), ControlError> {
        Ok(self.0.write_all(&message.encode()).await?)
    }
}
