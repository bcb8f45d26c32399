//! UDX streams over the node's socket, as tokio readers and writers.

use std::io;
use std::net::SocketAddrV4;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;
use tokio::time::sleep_until;

use crate::mutex::lock;
use crate::node_socket::{NodeSocket, PacketSink, StreamRegistration};
use crate::udx::UdxEndpoint;
use crate::udx::UdxPacket;

/// Interval of hole punching packets towards a peer before its first packet.
pub(crate) const PUNCH_INTERVAL: Duration = Duration::from_millis(300);
/// A hole punching packet of one byte, which the peer ignores.
const PUNCH_PACKET: &[u8] = &[0];
/// Packets sent in a row before other tasks run.
const BATCH: usize = 32;
/// Pause after a full batch, unless a packet arrives first: more at once would overflow the receive buffers of peers. It is also the pause
/// if the next event is overdue although everything was sent: a stream must not use up a core.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// Larger than any UDX packet that is sent.
const PACKET_BYTES: usize = 2048;
/// Time for the peer to close its direction after ours, and the longest interval between checks of a stream.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// Limit on packets that are kept before the stream is open: a peer sends its first window before it waits for us. More are lost, and sent
/// again.
const EARLY_PACKETS: usize = 16;

/// A stream that waits for the peer's address.
pub(crate) struct PendingStream {
    registration: StreamRegistration,
    early: Arc<EarlyPackets>,
}

/// The packets of a peer before the stream is open.
#[derive(Default)]
struct EarlyPackets {
    state: Mutex<EarlyState>,
    arrived: Notify,
}

#[derive(Default)]
struct EarlyState {
    /// The source of the first packet.
    peer: Option<SocketAddrV4>,
    packets: Vec<Vec<u8>>,
    closed: bool,
}

impl PacketSink for EarlyPackets {
    fn receive(&self, from: SocketAddrV4, datagram: &[u8]) {
        let mut state = lock(&self.state);
        state.peer.get_or_insert(from);
        if state.packets.len() < EARLY_PACKETS && datagram.len() <= PACKET_BYTES {
            state.packets.push(datagram.to_vec());
        }
        self.arrived.notify_one();
    }

    fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_one();
    }
}

impl PendingStream {
    /// Starts receiving packets under a new stream id, which can arrive before the peer's address is known.
    ///
    /// # Errors
    ///
    /// As [`NodeSocket::register`].
    pub(crate) fn new(socket: &Arc<NodeSocket>) -> io::Result<Self> {
        let early = Arc::<EarlyPackets>::default();
        let registration = socket.register(early.clone())?;
        Ok(Self { registration, early })
    }

    /// Returns our id of the stream.
    pub(crate) fn id(&self) -> u32 {
        self.registration.id()
    }

    /// Waits for the first packet. Cancel-safe.
    pub(crate) async fn first_packet(&mut self) -> io::Result<SocketAddrV4> {
        loop {
            {
                let state = lock(&self.early.state);
                if let Some(peer) = state.peer {
                    return Ok(peer);
                }
                if state.closed {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            self.early.arrived.notified().await;
        }
    }

    /// Waits for the first packet like [`PendingStream::first_packet`], and sends hole punching packets at these times, so that a NAT or
    /// firewall on our side admits the peer.
    pub(crate) async fn punch_until_first_packet(&mut self, address: SocketAddrV4, punches: &[Duration]) -> io::Result<SocketAddrV4> {
        let began = tokio::time::Instant::now();
        for punch in punches {
            tokio::select! {
                first_packet = self.first_packet() => return first_packet,
                () = sleep_until(began + *punch) => {}
            }
            self.registration.socket().try_send(PUNCH_PACKET, address);
        }
        self.first_packet().await
    }

    /// Opens the stream to the peer, with the peer's id `remote`, at this address. `receive_bytes` limits what the peer can have buffered
    /// here, see [`UdxEndpoint::with_receive_limit`].
    pub(crate) fn open(self, remote: u32, address: SocketAddrV4, receive_bytes: usize) -> (UdxReader, UdxWriter) {
        let Self { registration, early } = self;
        let state = StreamState {
            stream: UdxEndpoint::new(remote, Instant::now()).with_receive_limit(receive_bytes),
            reader: None,
            writer: None,
            handles: 2,
            unused_since: None,
            closed: false,
        };
        let shared = Arc::new(StreamShared {
            state: Mutex::new(state),
            changed: Notify::new(),
            received: Notify::new(),
        });
        // First the new receiver, so that no packet falls between the two.
        registration.replace(shared.clone());
        for packet in std::mem::take(&mut lock(&early.state).packets) {
            shared.receive(address, &packet);
        }
        // Ends shortly after both handles are dropped and the peer was notified.
        tokio::spawn(drive(shared.clone(), registration, address));
        (UdxReader(StreamHandle(shared.clone())), UdxWriter(StreamHandle(shared)))
    }
}

struct StreamShared {
    state: Mutex<StreamState>,
    /// Notified when bytes were written or read, or a handle was dropped.
    changed: Notify,
    /// Notified when packets were received, or the socket was closed.
    received: Notify,
}

impl PacketSink for StreamShared {
    fn receive(&self, _: SocketAddrV4, datagram: &[u8]) {
        if let Some(packet) = UdxPacket::decode(datagram) {
            let mut state = lock(&self.state);
            state.stream.receive(&packet, Instant::now());
            state.wake();
            self.received.notify_one();
        }
    }

    fn close(&self) {
        let mut state = lock(&self.state);
        state.stream.abort();
        state.closed = true;
        state.wake();
        self.received.notify_one();
    }
}

struct StreamState {
    stream: UdxEndpoint,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The number of open handles.
    handles: u8,
    /// The time at which the last handle was dropped.
    unused_since: Option<Instant>,
    /// True if the socket was closed.
    closed: bool,
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

/// Sends the packets of a stream until it is closed.
async fn drive(shared: Arc<StreamShared>, registration: StreamRegistration, address: SocketAddrV4) {
    let mut packets = Vec::with_capacity(BATCH);
    loop {
        let (due, alive) = collect(&shared, &mut packets);
        let full = packets.len() == BATCH;
        for packet in packets.drain(..) {
            // A packet that cannot be sent counts as lost.
            registration.socket().send(&packet, address).await;
        }
        if !alive {
            return;
        }
        let due = if full { Instant::now() + BATCH_PAUSE } else { due };
        tokio::select! {
            () = shared.received.notified() => {}
            () = shared.changed.notified(), if !full => {}
            () = sleep_until(due.into()) => {}
        }
    }
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
    let due = match state.stream.due(now) {
        Some(overdue) if overdue <= now => now + BATCH_PAUSE,
        due => due.unwrap_or(now + CLOSE_GRACE).min(now + CLOSE_GRACE),
    };
    let open = state.handles > 0 || state.stream.error().is_none();
    (due, going && open && !state.closed)
}
