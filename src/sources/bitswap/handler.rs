//! The Bitswap streams of one connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::{BoxStream, SelectAll};
use libp2p_swarm::handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p_swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};

use super::inbound::{IncompleteMessages, StreamFault, messages};
use super::observer::{Observed, Observer};
use super::outbound::Answers;
use super::protocol::{Answer, Receive};

/// Limit of the streams on which a peer sends at the same time. Nodes use one, and open another one after an error.
pub(super) const MAX_STREAMS: usize = 8;

/// A report of a handler.
#[derive(Debug)]
pub(super) enum Received {
    /// A message.
    Message(Observed),
    /// A stream was reset.
    Fault(StreamFault),
}

/// The handler of one connection.
pub(super) struct Handler {
    observer: Arc<Observer>,
    memory: IncompleteMessages,
    peer: Arc<str>,
    remote: Arc<str>,
    /// At most [`MAX_STREAMS`].
    streams: SelectAll<BoxStream<'static, Result<Observed, StreamFault>>>,
    answers: Answers,
    /// A stream was refused since the last poll.
    refused: bool,
}

impl Handler {
    pub(super) fn new(observer: Arc<Observer>, memory: IncompleteMessages, peer: Arc<str>, remote: Arc<str>) -> Self {
        Self {
            observer,
            memory,
            peer,
            remote,
            streams: SelectAll::new(),
            answers: Answers::default(),
            refused: false,
        }
    }
}

type Event = ConnectionHandlerEvent<Answer, (), Received>;

impl ConnectionHandler for Handler {
    type FromBehaviour = Infallible;
    type ToBehaviour = Received;
    type InboundProtocol = Receive;
    type OutboundProtocol = Answer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Receive> {
        SubstreamProtocol::new(Receive, ())
    }

    /// A monitor keeps its connections: a peer without wants may have some later.
    fn connection_keep_alive(&self) -> bool {
        true
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if std::mem::take(&mut self.refused) {
            let fault = StreamFault::Streams(MAX_STREAMS);
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(Received::Fault(fault)));
        }
        if let Poll::Ready(Some(received)) = self.streams.poll_next_unpin(cx) {
            let received = match received {
                Ok(mut observed) => {
                    self.answers.push(std::mem::take(&mut observed.unanswered));
                    Received::Message(observed)
                }
                Err(fault) => Received::Fault(fault),
            };
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(received));
        }
        self.answers.poll(cx).map(|()| ConnectionHandlerEvent::OutboundSubstreamRequest {
            protocol: SubstreamProtocol::new(Answer, ()),
        })
    }

    fn on_behaviour_event(&mut self, never: Infallible) {
        match never {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Receive, Answer>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: stream, .. }) => {
                if self.streams.len() < MAX_STREAMS {
                    let (memory, observer) = (self.memory.clone(), Arc::clone(&self.observer));
                    let (peer, remote) = (Arc::clone(&self.peer), Arc::clone(&self.remote));
                    self.streams.push(messages(stream, memory, observer, peer, remote));
                } else {
                    self.refused = true;
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: stream, .. }) => self.answers.opened(stream),
            ConnectionEvent::DialUpgradeError(DialUpgradeError { error, .. }) => {
                self.answers.failed(matches!(error, StreamUpgradeError::NegotiationFailed));
            }
            _ => {}
        }
    }
}
