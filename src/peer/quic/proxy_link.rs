//! The link to a proxy that has dialed the bridge.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::control::{ControlError, ControlReceiver, ControlSender};
use super::link::{Link, PeerState};
use super::listener::AcceptedLink;
use super::proof::{ProofInput, keying_material};
use super::transport::{self, CLOSED, link_end};
use crate::peer::identity::{PublicKey, SharedSecret};
use crate::peer::link_event::{ConnectionUid, LinkEnd, LinkEvents};
use crate::wire::{LinkMessage, Register};

/// Limit on the wait from the end of the handshake to the first control message, and on sending one.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// The reason for closing a connection without a control message.
pub(crate) const NO_MESSAGE: &str = "no control message received within 10 s";

/// A link, seen from the dialed end.
pub(crate) struct ProxyLink {
    accepted: AcceptedLink,
    inbox: ControlReceiver,
    outbox: ControlSender,
}

/// An event of the control stream.
pub(crate) enum ControlEvent {
    /// A message was received.
    Message(LinkMessage),
    /// The link has ended.
    Ended(LinkEnd),
}

impl ProxyLink {
    /// Waits for the control stream of a new connection and its first event; closes the connection if they do not come in time.
    pub(crate) async fn accept(accepted: AcceptedLink) -> Option<(Self, ControlEvent)> {
        let connection = accepted.connection.clone();
        let first = async {
            let (send, recv) = accepted.connection.accept_bi().await.ok()?;
            let mut link = Self {
                accepted,
                inbox: ControlReceiver::new(recv),
                outbox: ControlSender(send),
            };
            let event = link.recv().await;
            Some((link, event))
        };
        let accepted = timeout(CONTROL_TIMEOUT, first).await.ok().flatten();
        if accepted.is_none() {
            connection.close(CLOSED, NO_MESSAGE.as_bytes());
        }
        accepted
    }

    pub(crate) fn key(&self) -> PublicKey {
        self.accepted.key
    }

    /// Returns the number of the connection.
    pub(crate) fn uid(&self) -> ConnectionUid {
        transport::connection_uid(&self.accepted.connection)
    }

    /// Returns the current address of the proxy, which may change behind NAT.
    pub(crate) fn address(&self) -> SocketAddr {
        self.accepted.connection.remote_address()
    }

    /// Returns the address at the time of the handshake, to which the limits on failures apply.
    pub(crate) fn first_address(&self) -> SocketAddr {
        self.accepted.address
    }

    /// Receives the next event. Cancel-safe.
    pub(crate) async fn recv(&mut self) -> ControlEvent {
        let error = match self.inbox.next().await {
            Ok(message) => return ControlEvent::Message(message),
            Err(error) => error,
        };
        match self.accepted.connection.close_reason() {
            Some(reason) => ControlEvent::Ended(link_end(&reason)),
            None => ControlEvent::Ended(LinkEnd::lost(error.to_string())),
        }
    }

    /// Sends a message. The link counts as lost if that times out.
    pub(crate) async fn send(&mut self, message: &LinkMessage) -> Result<(), String> {
        let sent: Result<Result<(), ControlError>, _> = timeout(CONTROL_TIMEOUT, self.outbox.send(message)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the peer reads no control messages".to_owned()),
        }
    }

    /// Verifies that the sender of a registration knows the secret, on this connection.
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

    /// Returns the link of a proxy that has registered for scrapes, and the queue of control messages to send for it.
    pub(crate) fn link(&self, memory: PeerState, events: Arc<LinkEvents>) -> (Link, mpsc::Receiver<LinkMessage>) {
        transport::widen_window(&self.accepted.connection);
        Link::new(self.accepted.connection.clone(), self.accepted.key, memory, events)
    }

    /// Sends a message and closes the connection once it was received, or after a timeout.
    pub(crate) async fn close_after(mut self, message: &LinkMessage, why: &str) {
        if self.send(message).await.is_ok() && self.outbox.0.finish().is_ok() {
            // Closing immediately would discard the message.
            let _ = timeout(CONTROL_TIMEOUT, self.outbox.0.stopped()).await;
        }
        self.accepted.connection.close(CLOSED, why.as_bytes());
    }

    /// Closes the connection immediately.
    pub(crate) fn close(&self, why: &str) {
        self.accepted.connection.close(CLOSED, why.as_bytes());
    }
}
