//! Streams of bytes over the node's socket: our own UDX behind the reader and writer of tokio.
//!
//! The node's socket belongs to the crate that speaks with the network, and only its streams are told of packets. So each of our streams
//! has some of those before it, which pass on packets unread, to a socket of ours on the loopback interface and back, as a relay would.
//! It costs a few microseconds a packet, and all that the crate's own stream decides, above all how fast to send, is ours to decide.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libudx::{UdxError, UdxSocket, UdxStream};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, sleep_until};

use super::node::{Node, lock};
use super::udx::Stream;
use crate::wire::UdxPacket;

/// How often we send a packet towards a peer that has not been heard, so that a firewall on our side lets it in.
pub(super) const PUNCH_INTERVAL: Duration = Duration::from_millis(300);
/// A packet of one byte opens the way; the other end ignores it.
const PUNCH_PACKET: &[u8] = &[0];
/// Packets that are sent or received before others get their turn.
const BATCH: usize = 32;
/// How long they have for it, unless something comes before.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// No packet of UDX is longer.
const PACKET_BYTES: usize = 2048;
/// How long the peer has to end its direction after we ended ours; what is due is looked at that often at least.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// How long the last packet has to get through the relay before that goes.
const RELAY_LINGER: Duration = Duration::from_millis(200);
/// Room in our socket, as far as the system grants it: a burst must not be lost between two parts of this program.
const SOCKET_BYTES: usize = 1024 * 1024;

/// A number for a stream that nobody can guess. Packets are not authenticated, so whoever knows it could end the stream, from wherever they
/// are; that two streams of a node get the same is less likely than that a connection breaks for another reason.
pub(super) fn stream_id() -> io::Result<u32> {
    let mut id = [0; 4];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|_| io::Error::other("the system has no randomness"))?;
    Ok(u32::from_ne_bytes(id))
}

/// A stream whose other end is not known yet.
pub(super) struct PendingStream {
    node: Node,
    relay: Relay,
    first: oneshot::Receiver<SocketAddr>,
}

impl PendingStream {
    /// From now on packets for `own` are kept, be it that they come before anybody knows from where.
    pub(super) async fn new(node: &Node, own: u32) -> io::Result<Self> {
        let relay = Relay::new(node, own).await?;
        let (heard, first) = oneshot::channel();
        // Whether anybody still waits to hear of it does not matter: the packet is taken.
        let hook = move |_: &_, port, address| {
            let _ = heard.send(SocketAddr::new(address, port));
            true
        };
        // What the other end calls the stream is written over by the relay.
        relay.from_peer.set_firewall_hook(&node.socket, 0, hook).map_err(failed)?;
        Ok(Self {
            node: node.clone(),
            relay,
            first,
        })
    }

    /// Waits for the first packet. May be dropped and called again.
    pub(super) async fn first_packet(&mut self) -> io::Result<SocketAddr> {
        (&mut self.first).await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// Waits for the first packet as [`PendingStream::first_packet`], and opens the way for it from our side, each time that so much time has passed:
    /// whatever stands before us lets in whom we have sent something to.
    pub(super) async fn punch_until_first_packet(
        &mut self,
        socket: &UdxSocket,
        address: SocketAddr,
        punches: &[Duration],
    ) -> io::Result<SocketAddr> {
        let began = tokio::time::Instant::now();
        for punch in punches {
            tokio::select! {
                heard = self.first_packet() => return heard,
                // The way may be open already; what cannot be sent is not needed.
                () = sleep_until(began + *punch) => drop(socket.send_to(PUNCH_PACKET, address)),
            }
        }
        self.first_packet().await
    }

    /// The stream to the other end, which calls it `remote`, at this address.
    pub(super) async fn open(self, remote: u32, address: SocketAddr) -> io::Result<(UdxReader, UdxWriter)> {
        let Self { node, relay, .. } = self;
        relay.to_peer.connect(&node.socket, remote, address).await.map_err(failed)?;
        Ok(relay.run())
    }
}

/// Streams of the crate that pass on packets, and our socket behind them.
///
/// A stream that passes on packets locks itself and then the one whose address they go to, so the two that take packets must not go to each
/// other: each has another before it that is only an address. Those in turn pass on to one that goes nowhere, as otherwise they would talk.
struct Relay {
    from_peer: UdxStream,
    to_us: UdxStream,
    from_us: UdxStream,
    to_peer: UdxStream,
    nowhere: UdxStream,
    /// What `from_us` is called.
    name: u32,
    socket: UdpSocket,
}

impl Relay {
    async fn new(node: &Node, own: u32) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(node.relay_socket.local_addr().await.map_err(failed)?).await?;
        // The system may grant less; then more packets are sent twice.
        let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES);
        let name = stream_id()?;
        let stream = |id| node.udx.create_stream(id);
        let relay = Self {
            from_peer: stream(own).await.map_err(failed)?,
            to_us: stream(stream_id()?).await.map_err(failed)?,
            from_us: stream(name).await.map_err(failed)?,
            to_peer: stream(stream_id()?).await.map_err(failed)?,
            nowhere: stream(stream_id()?).await.map_err(failed)?,
            name,
            socket,
        };
        relay.from_peer.relay_to(&relay.to_us).map_err(failed)?;
        relay.from_us.relay_to(&relay.to_peer).map_err(failed)?;
        relay.to_us.relay_to(&relay.nowhere).map_err(failed)?;
        relay.to_peer.relay_to(&relay.nowhere).map_err(failed)?;
        let here = relay.socket.local_addr()?;
        relay.to_us.connect(&node.relay_socket, own, here).await.map_err(failed)?;
        relay.from_us.connect(&node.relay_socket, own, here).await.map_err(failed)?;
        Ok(relay)
    }

    fn run(self) -> (UdxReader, UdxWriter) {
        let state = StreamState {
            stream: Stream::new(self.name, Instant::now()),
            reader: None,
            writer: None,
            handles: 2,
            unused_since: None,
        };
        let shared = Arc::new(StreamShared {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        // It ends by itself soon after both ends are dropped, having told the peer.
        tokio::spawn(drive(shared.clone(), self));
        (UdxReader(StreamHandle(shared.clone())), UdxWriter(StreamHandle(shared)))
    }
}

struct StreamShared {
    state: Mutex<StreamState>,
    /// Something was written or read, or nobody wants the stream any more.
    changed: Notify,
}

struct StreamState {
    stream: Stream,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// How many of the two ends are held.
    handles: u8,
    /// When the last of them went.
    unused_since: Option<Instant>,
}

impl StreamState {
    /// Ends the stream where nobody wants it any more; `false` where nothing is left to be done for it.
    fn close_if_unused(&mut self, now: Instant) -> bool {
        if self.handles > 0 {
            return true;
        }
        let unused_since = *self.unused_since.get_or_insert(now);
        if self.stream.is_closed() {
            return false;
        }
        if !self.stream.is_finishing() || now >= unused_since + CLOSE_GRACE {
            self.stream.destroy();
        }
        self.stream.error().is_none()
    }

    fn wake(&mut self) {
        let over = self.stream.error().is_some();
        let reader = self.reader.take_if(|_| over || self.stream.readable());
        let writer = self.writer.take_if(|_| over || self.stream.writable() || self.stream.is_acked());
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }
}

/// One of the two ends; the stream goes with the last.
struct StreamHandle(Arc<StreamShared>);

impl Drop for StreamHandle {
    fn drop(&mut self) {
        lock(&self.0.state).handles -= 1;
        self.0.changed.notify_one();
    }
}

/// Reads what the peer sends.
pub(super) struct UdxReader(StreamHandle);

impl AsyncRead for UdxReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let shared = &self.0.0;
        let mut state = lock(&shared.state);
        match state.stream.read(out) {
            Some(0) => match state.stream.error() {
                Some(why) => Poll::Ready(Err(why.into())),
                None => {
                    state.reader = Some(context.waker().clone());
                    Poll::Pending
                }
            },
            Some(_) => {
                if state.stream.window_update_due() {
                    shared.changed.notify_one();
                }
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Writes to the peer. A flush lasts until the peer has acknowledged everything, a shutdown until it has acknowledged the end.
pub(super) struct UdxWriter(StreamHandle);

impl UdxWriter {
    /// Waits for `ready`, with the state as it is now.
    fn poll<T>(&self, context: &Context<'_>, ready: impl FnOnce(&mut Stream) -> Option<T>) -> Poll<io::Result<T>> {
        let shared = &self.0.0;
        let mut state = lock(&shared.state);
        let found = ready(&mut state.stream);
        shared.changed.notify_one();
        match (found, state.stream.error()) {
            (Some(found), _) => Poll::Ready(Ok(found)),
            (None, Some(why)) => Poll::Ready(Err(why.into())),
            (None, None) => {
                state.writer = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for UdxWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |stream| match stream.error() {
            Some(_) => None,
            None => Some(stream.write(bytes)).filter(|taken| *taken > 0 || bytes.is_empty()),
        })
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream| stream.is_acked().then_some(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream| {
            stream.finish();
            stream.is_acked().then_some(())
        })
    }
}

/// Carries packets between a stream and its socket until nobody wants it any more.
async fn drive(shared: Arc<StreamShared>, relay: Relay) {
    let socket = &relay.socket;
    let mut packets = Vec::with_capacity(BATCH);
    let mut buffer = vec![0; PACKET_BYTES];
    loop {
        let (due, alive) = collect(&shared, &mut packets);
        let full = packets.len() == BATCH;
        for packet in packets.drain(..) {
            // What cannot be sent is lost like others.
            let _ = socket.send(&packet).await;
        }
        if !alive {
            break;
        }
        // More at once would overflow the sockets of the relay before anybody empties them.
        let due = if full { Instant::now() + BATCH_PAUSE } else { due };
        tokio::select! {
            Ok(()) = socket.readable() => receive(&shared, socket, &mut buffer),
            () = shared.changed.notified(), if !full => {}
            () = sleep_until(due.into()) => {}
        }
    }
    sleep(RELAY_LINGER).await;
}

/// Fetches packets that may be sent now; also when to look again, and whether there is any reason to.
fn collect(shared: &StreamShared, packets: &mut Vec<Vec<u8>>) -> (Instant, bool) {
    let now = Instant::now();
    let mut state = lock(&shared.state);
    let going = state.close_if_unused(now);
    state.stream.tick(now);
    while packets.len() < BATCH {
        let mut packet = Vec::with_capacity(PACKET_BYTES);
        if !state.stream.transmit(now, &mut packet) {
            break;
        }
        packets.push(packet);
    }
    state.wake();
    let due = state.stream.due(now).unwrap_or(now + CLOSE_GRACE).min(now + CLOSE_GRACE);
    (due, going && (state.handles > 0 || state.stream.error().is_none()))
}

/// Takes what has come.
fn receive(shared: &StreamShared, socket: &UdpSocket, buffer: &mut [u8]) {
    for _ in 0..BATCH {
        let Ok(length) = socket.try_recv(buffer) else { return };
        if let Some(packet) = UdxPacket::decode(&buffer[..length]) {
            lock(&shared.state).stream.receive(&packet, Instant::now());
        }
    }
}

fn failed(error: UdxError) -> io::Error {
    io::Error::other(error.to_string())
}
