//! Decoding of a received message into counts, an event and the wants to answer.

use std::sync::Arc;

use bytes::Bytes;

use crate::bus::Publisher;
use crate::model::{Clock, Topic};
use crate::wire::bitswap::{Message, MessageError};
use crate::wire::monitoring::{BitswapEvent, Tally};

/// Limit of the wants of a peer that wait for an answer; further ones get none. That is the limit of Kubo for the wants of a peer.
pub(super) const MAX_UNANSWERED: usize = 1_024;

/// The settings that every connection needs to make events.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) monitor: Arc<str>,
    pub(super) legacy_addresses: bool,
    pub(super) clock: Clock,
    pub(super) bus: Publisher,
}

/// A received message.
#[derive(Debug)]
pub(super) struct Observed {
    /// Its counts.
    pub(super) tally: Tally,
    /// Its event as JSON, if the stream has subscribers.
    pub(super) event: Option<Bytes>,
    /// The binary CIDs to answer with `DONT_HAVE`, at most [`MAX_UNANSWERED`].
    pub(super) unanswered: Vec<Box<[u8]>>,
}

impl Observer {
    /// Decodes a message of `peer`, connected from `remote`.
    ///
    /// # Errors
    /// If it is malformed.
    pub(super) fn observe(&self, bytes: &[u8], peer: &str, remote: &str) -> Result<Observed, MessageError> {
        let message = Message::read(bytes)?;
        let event = self.bus.has_subscribers(Topic::Bitswap).then(|| {
            let mut event = Vec::with_capacity(256 + message.wants.len() * 160);
            self.event(peer).write_message(&message, &[remote], &mut event);
            Bytes::from(event.into_boxed_slice())
        });
        let asked = message.wants.iter().filter(|want| want.send_dont_have && !want.cancel);
        Ok(Observed {
            tally: Tally::of_message(&message),
            event,
            unanswered: asked.take(MAX_UNANSWERED).map(|want| want.cid.as_bytes().into()).collect(),
        })
    }

    /// The event of a connection, if the stream has subscribers.
    pub(super) fn connection(&self, peer: &str, remote: &str, opened: bool) -> Option<Bytes> {
        self.bus.has_subscribers(Topic::Bitswap).then(|| {
            let mut event = Vec::with_capacity(256);
            self.event(peer).write_connection(remote, opened, &mut event);
            Bytes::from(event.into_boxed_slice())
        })
    }

    fn event<'a>(&'a self, peer: &'a str) -> BitswapEvent<'a> {
        BitswapEvent {
            at: (self.clock)(),
            peer,
            monitor: &self.monitor,
            legacy_addresses: self.legacy_addresses,
        }
    }
}
