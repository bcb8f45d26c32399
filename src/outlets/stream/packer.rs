//! Changes to frames.

use bytes::Bytes;

use super::batch::Packed;
use crate::bus::Notification;
use crate::model::Topic;
use crate::wire::monitoring::{Compressor, LENGTH_BYTES, ProxyEvent, ProxyMessage, length_of};

/// Messages made before they are handed out: their compression takes about a millisecond, for which others wait.
const MAX_MESSAGES: usize = 64;
/// Bytes made before they are handed out.
const MAX_BYTES: usize = 64 << 10;
/// A buffer that one huge message has grown beyond this is given back.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// Makes frames, with buffers that are used again and again.
#[derive(Debug)]
pub(super) struct Packer {
    proxy: std::sync::Arc<str>,
    compressor: Compressor,
    text: Vec<u8>,
    frames: Vec<u8>,
    ends: Vec<usize>,
    /// The topic of each frame.
    topics: Vec<Topic>,
}

impl Packer {
    pub(super) fn new(proxy: std::sync::Arc<str>) -> Self {
        Self {
            proxy,
            compressor: Compressor::default(),
            text: Vec::new(),
            frames: Vec::new(),
            ends: Vec::new(),
            topics: Vec::new(),
        }
    }

    /// Adds a message. False if it is too long for a frame.
    pub(super) fn push(&mut self, seq: u64, change: &Notification) -> bool {
        self.text.clear();
        write(&self.proxy, seq, change, &mut self.text);
        let start = self.frames.len();
        self.frames.extend_from_slice(&[0; LENGTH_BYTES]);
        self.compressor.member(&self.text, &mut self.frames);
        match length_of(self.frames.len() - start - LENGTH_BYTES) {
            Ok(length) => {
                self.frames[start..start + LENGTH_BYTES].copy_from_slice(&length);
                self.ends.push(self.frames.len());
                self.topics.push(change.topic());
                true
            }
            Err(_) => {
                self.frames.truncate(start);
                false
            }
        }
    }

    /// Returns true if the packed messages should be distributed.
    pub(super) fn is_full(&self) -> bool {
        self.ends.len() >= MAX_MESSAGES || self.frames.len() >= MAX_BYTES
    }

    /// The messages packed since the last call, in an allocation of exactly their size; `None` if there are none.
    pub(super) fn finish(&mut self) -> Option<Packed> {
        if self.ends.is_empty() {
            return None;
        }
        let topics = std::mem::take(&mut self.topics);
        let packed = Packed::new(Bytes::copy_from_slice(&self.frames), self.ends.as_slice().into(), topics);
        self.frames.clear();
        self.ends.clear();
        self.frames.shrink_to(MAX_KEPT_BYTES);
        self.text.shrink_to(MAX_KEPT_BYTES);
        Some(packed)
    }
}

/// The text of a message.
fn write(proxy: &str, seq: u64, change: &Notification, out: &mut Vec<u8>) {
    let (at, event) = match change {
        Notification::Relayed { event, .. } => return ProxyMessage::write_relayed(seq, event, out),
        Notification::Updated {
            app,
            source,
            bytes,
            counted,
            at,
        } => {
            let event = ProxyEvent::AppUpdate {
                app: app.as_str(),
                source,
                families: counted.map(|counted| counted.families),
                series: counted.map(|counted| counted.series),
                bytes: *bytes,
            };
            (at, event)
        }
        Notification::Forgotten { app, at } => (at, ProxyEvent::AppExpired { app: app.as_str() }),
        Notification::Polled { app, up, took, at } => {
            let (endpoint, up, seconds) = (app.as_str(), *up, took.as_secs_f64());
            (at, ProxyEvent::Poll { endpoint, up, seconds })
        }
        Notification::OneShot { metric, labels, value, at } => {
            let value = *value;
            (at, ProxyEvent::OneShot { metric, labels, value })
        }
    };
    let at = *at;
    ProxyMessage { at, proxy, seq, event }.write(out);
}
