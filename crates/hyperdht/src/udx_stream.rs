//! UDX streams over the node's socket, as tokio readers and writers.
//!
//! The crate of the node owns its socket, and only streams of that crate receive packets. So each of our streams has relay streams of the
//! crate in front, which forward packets unread to a loopback socket of ours and back. This costs a few microseconds for each packet, and
//! our own implementation controls congestion.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use libudx::{UdxError, UdxSocket, UdxStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UdpSocket;
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, sleep_until};

use crate::key::fill_random;
use crate::node::{Node, lock};
use crate::udx::UdxEndpoint;
use crate::udx::UdxPacket;

/// Interval of hole punching packets towards a peer before its first packet.
pub(crate) const PUNCH_INTERVAL: Duration = Duration::from_millis(300);
/// A hole punching packet of one byte, which the peer ignores.
const PUNCH_PACKET: &[u8] = &[0];
/// Packets sent or received in a row before other tasks run.
const BATCH: usize = 32;
/// Pause after a full batch, unless an event comes first.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// Larger than any UDX packet.
const PACKET_BYTES: usize = 2048;
/// Time for the peer to close its direction after ours, and the longest interval between checks of a stream.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Time for the last packet to pass the relay before it is dropped.
const RELAY_LINGER: Duration = Duration::from_millis(200);
/// Receive buffer of our socket, as far as the system grants it, so that no burst is lost within the program.
const SOCKET_BYTES: usize = 1024 * 1024;

/// Returns a random stream id. Packets are not authenticated, so anyone who knows the id could end the stream. A collision of two ids of
/// a node is less likely than other failures.
pub(crate) fn stream_id() -> io::Result<u32> {
    let mut id = [0; 4];
    fill_random(&mut id)?;
    Ok(u32::from_ne_bytes(id))
}

/// A stream that waits for the peer's address.
pub(crate) struct PendingStream {
    node: Node,
    relay: Relay,
    first: oneshot::Receiver<SocketAddr>,
}

impl PendingStream {
    /// Starts receiving packets for `own`, which can arrive before the peer's address is known.
    pub(crate) async fn new(node: &Node, own: u32) -> io::Result<Self> {
        let relay = Relay::new(node, own).await?;
        let (on_first_packet, first) = oneshot::channel();
        // The packet is accepted even if the waiting future was dropped.
        let hook = move |_: &_, port, address| {
            let _ = on_first_packet.send(SocketAddr::new(address, port));
            true
        };
        // The relay overwrites the peer's stream id.
        relay.from_peer.set_firewall_hook(&node.socket, 0, hook).map_err(failed)?;
        Ok(Self {
            node: node.clone(),
            relay,
            first,
        })
    }

    /// Waits for the first packet. Cancel-safe.
    pub(crate) async fn first_packet(&mut self) -> io::Result<SocketAddr> {
        (&mut self.first).await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// Waits for the first packet like [`PendingStream::first_packet`], and sends hole punching packets at these times, so that a NAT or
    /// firewall on our side admits the peer.
    pub(crate) async fn punch_until_first_packet(
        &mut self,
        socket: &UdxSocket,
        address: SocketAddr,
        punches: &[Duration],
    ) -> io::Result<SocketAddr> {
        let began = tokio::time::Instant::now();
        for punch in punches {
            tokio::select! {
                first_packet = self.first_packet() => return first_packet,
                // Errors are ignored: the path may be open already.
                () = sleep_until(began + *punch) => drop(socket.send_to(PUNCH_PACKET, address)),
            }
        }
        self.first_packet().await
    }

    /// Opens the stream to the peer, with the peer's id `remote`, at this address.
    pub(crate) async fn open(self, remote: u32, address: SocketAddr) -> io::Result<(UdxReader, UdxWriter)> {
        let Self { node, relay, .. } = self;
        relay.to_peer.connect(&node.socket, remote, address).await.map_err(failed)?;
        Ok(relay.run())
    }
}

/// Relay streams of the crate, and our socket behind them.
///
/// A relaying stream locks itself and then the destination stream. The two receiving streams must not lock each other, so each has a
/// destination stream of its own that serves as an address only. Those relay to a stream without destination, because they would send
/// packets of their own otherwise.
struct Relay {
    from_peer: UdxStream,
    to_us: UdxStream,
    from_us: UdxStream,
    to_peer: UdxStream,
    nowhere: UdxStream,
    /// The id of `from_us`.
    name: u32,
    socket: UdpSocket,
}

impl Relay {
    async fn new(node: &Node, own: u32) -> io::Result<Self> {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        socket.connect(node.relay_socket.local_addr().await.map_err(failed)?).await?;
        // With a smaller buffer more packets are retransmitted.
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
            stream: UdxEndpoint::new(self.name, Instant::now()),
            reader: None,
            writer: None,
            handles: 2,
            unused_since: None,
        };
        let shared = Arc::new(StreamShared {
            state: Mutex::new(state),
            changed: Notify::new(),
        });
        // Ends shortly after both handles are dropped and the peer was notified.
        tokio::spawn(drive(shared.clone(), self));
        (UdxReader(StreamHandle(shared.clone())), UdxWriter(StreamHandle(shared)))
    }
}

struct StreamShared {
    state: Mutex<StreamState>,
    /// Notified when bytes were written or read, or a handle was dropped.
    changed: Notify,
}

struct StreamState {
    stream: UdxEndpoint,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The number of open handles.
    handles: u8,
    /// The time at which the last handle was dropped.
    unused_since: Option<Instant>,
}

impl StreamState {
    /// Closes the stream if all handles are dropped; `false` if nothing is left to send.
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

/// One of the two handles; dropping both closes the stream.
struct StreamHandle(Arc<StreamShared>);

impl Drop for StreamHandle {
    fn drop(&mut self) {
        lock(&self.0.state).handles -= 1;
        self.0.changed.notify_one();
    }
}

/// The receiving handle.
pub(crate) struct UdxReader(StreamHandle);

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

/// The sending handle. A flush waits until the peer has acknowledged all bytes, a shutdown until it has acknowledged the end.
pub(crate) struct UdxWriter(StreamHandle);

impl UdxWriter {
    /// Polls `ready` on the stream.
    fn poll<T>(&self, context: &Context<'_>, ready: impl FnOnce(&mut UdxEndpoint) -> Option<T>) -> Poll<io::Result<T>> {
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

/// Moves packets between a stream and its socket until the stream is closed.
async fn drive(shared: Arc<StreamShared>, relay: Relay) {
    let socket = &relay.socket;
    let mut packets = Vec::with_capacity(BATCH);
    let mut buffer = vec![0; PACKET_BYTES];
    loop {
        let (due, alive) = collect(&shared, &mut packets);
        let full = packets.len() == BATCH;
        for packet in packets.drain(..) {
            // A packet that cannot be sent counts as lost.
            let _ = socket.send(&packet).await;
        }
        if !alive {
            break;
        }
        // More packets at once would overflow the buffers of the relay.
        let due = if full { Instant::now() + BATCH_PAUSE } else { due };
        tokio::select! {
            Ok(()) = socket.readable() => receive(&shared, socket, &mut buffer),
            () = shared.changed.notified(), if !full => {}
            () = sleep_until(due.into()) => {}
        }
    }
    sleep(RELAY_LINGER).await;
}

/// Collects the packets to send now. Returns the time of the next check, and whether the stream is still open.
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

/// Receives the available packets.
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
