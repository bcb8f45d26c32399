//! A proxy that has dialled us, as a bridge sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::ConnectionError;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::{ControlError, ControlReceiver, ControlSender};
use super::link::{Link, PeerState};
use super::link_event::LinkEvents;
use super::proof::{ProofInput, keying_material};
use super::quic_listener::AcceptedLink;
use super::transport::{self, CLOSED, close_reason};
use super::{ConnectionUid, PublicKey, SharedSecret};
use crate::wire::{LinkMessage, Register};

/// How long a newcomer may take to say something, and any guest to take what it is told.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// The link to a proxy, from the side that was dialled.
pub(crate) struct ProxyLink {
    accepted: AcceptedLink,
    inbox: ControlReceiver,
    outbox: ControlSender,
}

/// What comes from a guest.
pub(crate) enum ControlEvent {
    /// A message.
    Message(LinkMessage),
    /// Its link has ended: whether that was meant, and why.
    Ended(bool, String),
}

impl ProxyLink {
    /// Waits for the control stream of a newcomer; one that does not open it in time is sent away.
    pub(crate) async fn accept(accepted: AcceptedLink) -> Option<Self> {
        match timeout(CONTROL_TIMEOUT, accepted.connection.accept_bi()).await {
            Ok(Ok((send, recv))) => Some(Self {
                accepted,
                inbox: ControlReceiver::new(recv),
                outbox: ControlSender(send),
            }),
            _ => {
                accepted.connection.close(CLOSED, b"nothing was said");
                None
            }
        }
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.accepted.key
    }

    /// The number of its connection.
    pub(crate) fn uid(&self) -> ConnectionUid {
        transport::connection_uid(&self.accepted.connection)
    }

    /// Where it comes from; a proxy behind a translator of addresses may wander.
    pub(crate) fn address(&self) -> SocketAddr {
        self.accepted.connection.remote_address()
    }

    /// Where it came from at first, which is what it was admitted by.
    pub(crate) fn first_address(&self) -> SocketAddr {
        self.accepted.address
    }

    /// The first message, within the patience for it.
    pub(crate) async fn recv_first(&mut self) -> ControlEvent {
        match timeout(CONTROL_TIMEOUT, self.recv()).await {
            Ok(event) => event,
            Err(_) => ControlEvent::Ended(false, "nothing was said".to_owned()),
        }
    }

    /// What comes next. Dropping the future loses nothing.
    pub(crate) async fn recv(&mut self) -> ControlEvent {
        let error = match self.inbox.next().await {
            Ok(message) => return ControlEvent::Message(message),
            Err(error) => error,
        };
        match self.accepted.connection.close_reason() {
            Some(reason) => ended(&reason),
            None => ControlEvent::Ended(false, error.to_string()),
        }
    }

    /// Says something; a guest that does not listen has gone.
    pub(crate) async fn send(&mut self, message: &LinkMessage) -> Result<(), String> {
        let sent: Result<Result<(), ControlError>, _> = timeout(CONTROL_TIMEOUT, self.outbox.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("it takes no control messages".to_owned()),
        }
    }

    /// Whether a registration shows that its sender knows the secret, on this very connection.
    pub(crate) fn verifies(&self, register: &Register, secret: &SharedSecret, bridge: PublicKey) -> bool {
        let input = ProofInput {
            alias: &register.alias,
            service: &register.service,
            hostname: &register.hostname,
            proxy: self.accepted.key,
            bridge,
        };
        keying_material(&self.accepted.connection).is_some_and(|keying_material| input.verify(secret, &keying_material, &register.proof))
    }

    /// The link over which it can be scraped, and the control messages to be said for it.
    pub(crate) fn link(&self, memory: PeerState, events: Arc<LinkEvents>) -> (Link, mpsc::Receiver<LinkMessage>) {
        Link::new(self.accepted.connection.clone(), self.accepted.key, memory, events)
    }

    /// Says what there is to say, then closes once that has arrived or cannot.
    pub(crate) async fn close_after(mut self, message: &LinkMessage, why: &str) {
        if self.send(message).await.is_ok() && self.outbox.0.finish().is_ok() {
            // A close would overtake what was just said.
            let _ = timeout(CONTROL_TIMEOUT, self.outbox.0.stopped()).await;
        }
        self.accepted.connection.close(CLOSED, why.as_bytes());
    }

    /// Closes at once.
    pub(crate) fn close(&self, why: &str) {
        self.accepted.connection.close(CLOSED, why.as_bytes());
    }
}

fn ended(reason: &ConnectionError) -> ControlEvent {
    let (graceful, why) = close_reason(reason);
    ControlEvent::Ended(graceful, why)
}
