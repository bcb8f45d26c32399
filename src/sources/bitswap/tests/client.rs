//! A peer that sends any bytes on streams of their own, and keeps what it gets.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_identity::Keypair;
use libp2p_swarm::handler::OneShotHandler;
use libp2p_swarm::{Stream, StreamProtocol, SubstreamProtocol, Swarm, SwarmEvent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::sources::bitswap::transport::transport;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(super) const LONGEST: Duration = Duration::from_secs(30);

const PROTOCOL: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");

/// Waits until a condition holds.
pub(super) async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONGEST, waiting).await.unwrap_or_else(|_| panic!("no {what}"));
}

/// Reads the first bytes of a stream.
#[derive(Debug, Clone, Default)]
struct Receive;

/// Writes bytes on a new stream, and ends it.
#[derive(Debug, Clone)]
struct Send(Vec<u8>);

/// A stream was written, or bytes came.
#[derive(Debug)]
enum Outcome {
    Written,
    Received(Vec<u8>),
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Written
    }
}

impl From<Vec<u8>> for Outcome {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Received(bytes)
    }
}

impl UpgradeInfo for Receive {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 1];

    fn protocol_info(&self) -> Self::InfoIter {
        [PROTOCOL]
    }
}

impl InboundUpgrade<Stream> for Receive {
    type Output = Vec<u8>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Vec<u8>, std::io::Error>>;

    fn upgrade_inbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        async move {
            let mut bytes = vec![0; 1024];
            let read = stream.read(&mut bytes).await?;
            bytes.truncate(read);
            Ok(bytes)
        }
        .boxed()
    }
}

impl UpgradeInfo for Send {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 1];

    fn protocol_info(&self) -> Self::InfoIter {
        [PROTOCOL]
    }
}

impl OutboundUpgrade<Stream> for Send {
    type Output = ();
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<(), std::io::Error>>;

    fn upgrade_outbound(self, mut stream: Stream, _: StreamProtocol) -> Self::Future {
        async move {
            stream.write_all(&self.0).await?;
            stream.close().await
        }
        .boxed()
    }
}

type Handler = OneShotHandler<Receive, Send, Outcome>;

/// Sends through the one connection that it has.
#[derive(Default)]
struct Behaviour {
    connected: Option<(libp2p_identity::PeerId, libp2p_swarm::ConnectionId)>,
    to_send: std::collections::VecDeque<Vec<u8>>,
    received: std::collections::VecDeque<Vec<u8>>,
}

impl libp2p_swarm::NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Vec<u8>;

    fn handle_established_inbound_connection(
        &mut self,
        _: libp2p_swarm::ConnectionId,
        _: libp2p_identity::PeerId,
        _: &libp2p_core::Multiaddr,
        _: &libp2p_core::Multiaddr,
    ) -> Result<Handler, libp2p_swarm::ConnectionDenied> {
        Ok(handler())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: libp2p_swarm::ConnectionId,
        peer: libp2p_identity::PeerId,
        _: &libp2p_core::Multiaddr,
        _: libp2p_core::Endpoint,
        _: libp2p_core::transport::PortUse,
    ) -> Result<Handler, libp2p_swarm::ConnectionDenied> {
        self.connected = Some((peer, connection));
        Ok(handler())
    }

    fn on_swarm_event(&mut self, _: libp2p_swarm::FromSwarm<'_>) {}

    fn on_connection_handler_event(
        &mut self,
        _: libp2p_identity::PeerId,
        _: libp2p_swarm::ConnectionId,
        outcome: libp2p_swarm::THandlerOutEvent<Self>,
    ) {
        if let Ok(Outcome::Received(bytes)) = outcome {
            self.received.push_back(bytes);
        }
    }

    fn poll(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<libp2p_swarm::ToSwarm<Vec<u8>, libp2p_swarm::THandlerInEvent<Self>>> {
        if let Some(bytes) = self.received.pop_front() {
            return std::task::Poll::Ready(libp2p_swarm::ToSwarm::GenerateEvent(bytes));
        }
        match (self.connected, self.to_send.pop_front()) {
            (Some((peer_id, connection)), Some(bytes)) => std::task::Poll::Ready(libp2p_swarm::ToSwarm::NotifyHandler {
                peer_id,
                handler: libp2p_swarm::NotifyHandler::One(connection),
                event: Send(bytes),
            }),
            (_, back) => {
                self.to_send.extend(back);
                std::task::Poll::Pending
            }
        }
    }
}

fn handler() -> Handler {
    OneShotHandler::new(
        SubstreamProtocol::new(Receive, ()),
        libp2p_swarm::handler::OneShotHandlerConfig::default(),
    )
}

/// A running client.
pub(super) struct Client {
    peer: String,
    commands: mpsc::UnboundedSender<Command>,
    received: mpsc::UnboundedReceiver<Vec<u8>>,
    task: JoinHandle<()>,
}

enum Command {
    Dial(libp2p_core::Multiaddr, tokio::sync::oneshot::Sender<()>),
    Send(Vec<u8>),
}

impl Client {
    pub(super) fn start() -> Self {
        let key = Keypair::generate_ed25519();
        let config = libp2p_swarm::Config::with_tokio_executor().with_idle_connection_timeout(LONGEST);
        let swarm = Swarm::new(transport(&key).unwrap(), Behaviour::default(), key.public().to_peer_id(), config);
        let (commands, queue) = mpsc::unbounded_channel();
        let (to_test, received) = mpsc::unbounded_channel();
        Self {
            peer: key.public().to_peer_id().to_string(),
            commands,
            received,
            task: tokio::spawn(drive(swarm, queue, to_test)),
        }
    }

    pub(super) fn peer(&self) -> String {
        self.peer.clone()
    }

    /// Connects.
    pub(super) async fn dial(&self, address: &str) {
        let (connected, waiting) = tokio::sync::oneshot::channel();
        assert!(self.commands.send(Command::Dial(address.parse().unwrap(), connected)).is_ok());
        timeout(LONGEST, waiting).await.unwrap().unwrap();
    }

    /// Writes bytes on a stream of their own.
    pub(super) fn send(&self, bytes: Vec<u8>) {
        assert!(self.commands.send(Command::Send(bytes)).is_ok());
    }

    /// The first bytes of the next stream that the other end opens.
    pub(super) async fn received(&mut self) -> Vec<u8> {
        timeout(LONGEST, self.received.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(mut swarm: Swarm<Behaviour>, mut queue: mpsc::UnboundedReceiver<Command>, to_test: mpsc::UnboundedSender<Vec<u8>>) {
    let mut dialed = None;
    loop {
        tokio::select! {
            command = queue.recv() => match command {
                Some(Command::Dial(address, connected)) => {
                    swarm.dial(address).unwrap();
                    dialed = Some(connected);
                }
                Some(Command::Send(bytes)) => swarm.behaviour_mut().to_send.push_back(bytes),
                None => return,
            },
            event = swarm.select_next_some() => match event {
                SwarmEvent::ConnectionEstablished { .. } => {
                    if let Some(connected) = dialed.take() {
                        let _ = connected.send(());
                    }
                }
                SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error}"),
                SwarmEvent::Behaviour(bytes) => {
                    let _ = to_test.send(bytes);
                }
                _ => {}
            },
        }
    }
}
