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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;
    use proptest::prelude::*;

    fn open(channel: u64, protocol: &str) -> Frame {
        Frame::Open {
            channel,
            protocol: protocol.to_owned(),
            id: Bytes::new(),
        }
    }

    fn data(channel: u64, kind: u64, payload: &'static [u8]) -> Frame {
        let payload = Bytes::from_static(payload);
        Frame::Data { channel, kind, payload }
    }

    fn frames(message: &[u8]) -> Result<Vec<Frame>, WireFault> {
        Frames::of(Bytes::copy_from_slice(message)).collect()
    }

    /// As seen from the JavaScript programs.
    #[test]
    fn the_bytes_are_the_originals() {
        let seen = b"\x00\x01\x01\x0eregister-alias\x00";
        assert_eq!(open(1, "register-alias").encode(), seen);
        assert_eq!(frames(seen).unwrap(), [open(1, "register-alias")]);
        let seen = [1, 0, 0x18, 7, b'm', b'e', b't', b'r', b'i', b'c', b's', 1, 1];
        assert_eq!(frames(&seen).unwrap(), [data(1, 0, b"\x18\x07metrics\x01\x01")]);
        assert_eq!(Frame::Reject { channel: 3 }.encode(), [0, 2, 3]);
        assert_eq!(Frame::Close { channel: 2 }.encode(), [0, 3, 2]);
    }

    #[test]
    fn a_batch_holds_frames_of_several_channels() {
        let mut batch = vec![0, 0, 7, 2, 1, b'a', 1, 2, 0, 9, 3, 0, b'b', b'c'];
        assert_eq!(frames(&batch).unwrap(), [data(7, 1, b"a"), data(7, 2, b""), data(9, 0, b"bc")]);
        // It may contain control frames, also of unknown kinds.
        batch.extend_from_slice(&[0, 0, 2, 3, 7, 1, 99, 5, 1, 2, 1, b'p', 0]);
        assert_eq!(frames(&batch).unwrap()[3..], [Frame::Close { channel: 7 }, open(2, "p")]);
        assert_eq!(frames(&[0, 0, 7]).unwrap(), []);
    }

    #[test]
    fn faults_end_a_message() {
        for bad in [
            &[0][..],
            &[1],
            &[0, 0],
            &[0, 0, 7, 5, 1],
            &[0, 0, 0, 2, 0, 1],
            &[0, 0, 7, 0],
            &[0, 1, 1, 4, b'x'],
            &[0, 1, 1, 1, 0xff, 0],
            &[0, 1, 1, 0xfd, 0, 1, 0],
            &[0, 2],
        ] {
            assert!(frames(bad).is_err(), "{bad:?}");
        }
        assert_eq!(frames(&[]).unwrap(), []);
        assert_eq!(frames(&[0, 9, 1, 2, 3]).unwrap(), [], "a kind of control of tomorrow");
        let mut after = Frames::of(Bytes::from_static(&[0, 0, 0, 2, 0, 1, 1, 1]));
        assert!(after.next().unwrap().is_err() && after.next().is_none());
    }

    proptest! {
        #[test]
        fn frames_read_back(channel in 1_u64.., protocol in "\\PC{0,60}", id: Vec<u8>, kind: u64, payload: Vec<u8>) {
            for frame in [
                Frame::Open { channel, protocol, id: id.into() },
                Frame::Reject { channel },
                Frame::Close { channel },
                Frame::Data { channel, kind, payload: payload.into() },
            ] {
                prop_assert_eq!(frames(&frame.encode())?, [frame]);
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..120), control in 0_u8..4) {
            let _ = frames(&bytes);
            let _ = frames(&[&[0, control][..], &bytes].concat());
        }
    }
}
