//! protomux: several channels on one stream of messages.
//!
//! A message begins with the number of its channel, as numbered by the sender. Channel 0 is for control: opening, rejecting
//! and closing channels, and batches of frames in one message.

use bytes::Bytes;

use super::{Reader, WireFault, Writer};

/// Limit of a protocol name and of an id in bytes. The names in use have 18 characters, the ids 32 bytes.
pub const MAX_PROTOCOL_BYTES: usize = 255;

/// The channel of control frames.
const CONTROL: u64 = 0;

/// The kinds of control frames.
const BATCH: u64 = 0;
const OPEN: u64 = 1;
const REJECT: u64 = 2;
const CLOSE: u64 = 3;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The sender opens a channel. It is open once both peers have opened it for the same protocol and id.
    Open {
        /// The sender's number for it, from 1.
        channel: u64,
        /// The protocol of the channel.
        protocol: String,
        /// Distinguishes channels of the same protocol; usually empty.
        id: Bytes,
    },
    /// The sender rejects a channel.
    Reject {
        /// The receiver's number for it.
        channel: u64,
    },
    /// The sender closes a channel.
    Close {
        /// The sender's number for it.
        channel: u64,
    },
    /// A message of the channel's protocol.
    Data {
        /// The sender's number for the channel.
        channel: u64,
        /// The kind of message in the protocol.
        kind: u64,
        /// The message.
        payload: Bytes,
    },
}

impl Frame {
    /// Encodes the frame as a message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        match self {
            Self::Open { channel, protocol, id } => {
                to.uint(CONTROL).uint(OPEN).uint(*channel).text(protocol).bytes(id);
            }
            Self::Reject { channel } => {
                to.uint(CONTROL).uint(REJECT).uint(*channel);
            }
            Self::Close { channel } => {
                to.uint(CONTROL).uint(CLOSE).uint(*channel);
            }
            Self::Data { channel, kind, payload } => {
                to.uint(*channel).uint(*kind).raw(payload);
            }
        }
        to.finish()
    }
}

/// Iterator over the frames of one message: one, or those of a batch, or none for an unknown kind of control frame. It ends after a fault.
#[derive(Debug, Clone)]
pub struct Frames(FramesState);

#[derive(Debug, Clone)]
enum FramesState {
    Whole(Reader),
    Batch { channel: u64, rest: Reader },
    Over,
}

impl Frames {
    /// The frames of this message.
    #[must_use]
    pub fn of(message: Bytes) -> Self {
        // An empty message is a keepalive.
        Self(if message.is_empty() {
            FramesState::Over
        } else {
            FramesState::Whole(Reader::new(message))
        })
    }

    fn step(&mut self) -> Result<Option<Frame>, WireFault> {
        loop {
            match std::mem::replace(&mut self.0, FramesState::Over) {
                FramesState::Over => return Ok(None),
                FramesState::Whole(mut message) => {
                    let channel = message.uint("a channel")?;
                    let kind = message.uint("a kind")?;
                    if (channel, kind) != (CONTROL, BATCH) {
                        return frame(channel, kind, message);
                    }
                    let channel = message.uint("a batch")?;
                    self.0 = FramesState::Batch { channel, rest: message };
                }
                FramesState::Batch { rest, .. } if rest.is_empty() => return Ok(None),
                FramesState::Batch { mut channel, mut rest } => {
                    let length = rest.uint("a batch")?;
                    if length == 0 {
                        channel = rest.uint("a batch")?;
                        self.0 = FramesState::Batch { channel, rest };
                        continue;
                    }
                    let mut part = Reader::new(rest.take(length, "a batch")?);
                    self.0 = FramesState::Batch { channel, rest };
                    let kind = part.uint("a kind")?;
                    if (channel, kind) == (CONTROL, BATCH) {
                        // Nested batches are never legitimate, and would allow unlimited recursion.
                        return Err(WireFault::Unknown {
                            what: "a batch in a batch, kind",
                            value: BATCH,
                        });
                    }
                    if let Some(frame) = frame(channel, kind, part)? {
                        return Ok(Some(frame));
                    }
                }
            }
        }
    }
}

impl Iterator for Frames {
    type Item = Result<Frame, WireFault>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.0 = FramesState::Over;
        }
        step.transpose()
    }
}

/// Decodes the rest of a frame after its channel and kind; `None` for an unknown kind of control frame.
fn frame(channel: u64, kind: u64, mut rest: Reader) -> Result<Option<Frame>, WireFault> {
    if channel != CONTROL {
        let payload = rest.rest();
        return Ok(Some(Frame::Data { channel, kind, payload }));
    }
    Ok(Some(match kind {
        // A handshake of the protocol may follow; the supported protocols have none.
        OPEN => Frame::Open {
            channel: rest.uint("a channel")?,
            protocol: rest.name(MAX_PROTOCOL_BYTES, "a protocol")?,
            id: rest.bytes(MAX_PROTOCOL_BYTES, "an id")?,
        },
        REJECT => Frame::Reject {
            channel: rest.uint("a channel")?,
        },
        CLOSE => Frame::Close {
            channel: rest.uint("a channel")?,
        },
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests;
