//! The UDP socket of a node: one address for the network and for all streams, so that a NAT shows one address to all.
//!
//! Packets of UDX begin with the byte 255 and go to their stream, by the id in them; all others are messages of the network.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::UdpSocket;
use tokio::time::sleep;

use crate::key::fill_random;
use crate::mutex::lock;
use crate::udx::UdxPacket;

/// Datagrams received in a row before other tasks run.
const BATCH: usize = 64;
/// Buffer of a datagram. Packets of UDX are smaller than 1500 bytes; messages of the network with larger values do not occur.
const DATAGRAM_BYTES: usize = 8 * 1024;
/// Receive buffer of the socket, as far as the system grants it: a burst of all streams waits in it while other tasks run.
const SOCKET_BYTES: usize = 4 * 1024 * 1024;
/// Pause after a failed read, so that a persistent error does not use up a core.
const ERROR_PAUSE: Duration = Duration::from_millis(10);
/// Limit on streams; several times what the listeners of a node hold while they wait for peers, and the connections of a large bridge.
const MAX_STREAMS: usize = 16 * 1024;

/// The receiver of a stream's packets.
pub(crate) trait PacketSink: Send + Sync {
    /// Handles a packet. It must not wait: all streams receive through one task.
    fn receive(&self, from: SocketAddrV4, datagram: &[u8]);

    /// Handles that the socket was closed.
    fn close(&self);
}

/// The socket of a node.
pub(crate) struct NodeSocket {
    socket: UdpSocket,
    address: SocketAddr,
    sinks: Mutex<Sinks>,
}

/// The receivers by their stream ids.
#[derive(Default)]
struct Sinks {
    by_id: HashMap<u32, Arc<dyn PacketSink>>,
    closed: bool,
}

impl NodeSocket {
    /// Binds a socket.
    ///
    /// # Errors
    ///
    /// If the address is not free.
    pub(crate) async fn bind(address: SocketAddrV4) -> io::Result<Arc<Self>> {
        let socket = UdpSocket::bind(address).await?;
        // With smaller buffers more packets are retransmitted.
        let _ = SockRef::from(&socket).set_recv_buffer_size(SOCKET_BYTES);
        let _ = SockRef::from(&socket).set_send_buffer_size(SOCKET_BYTES);
        Ok(Arc::new(Self {
            address: socket.local_addr()?,
            socket,
            sinks: Mutex::default(),
        }))
    }

    /// Returns the port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sends a datagram if the socket takes it at once; otherwise it counts as lost on the way.
    pub(crate) fn try_send(&self, datagram: &[u8], to: SocketAddrV4) {
        let _ = self.socket.try_send_to(datagram, to.into());
    }

    /// Sends a datagram as soon as the socket takes it. Errors are ignored, because the datagram may be lost on the way as well.
    pub(crate) async fn send(&self, datagram: &[u8], to: SocketAddrV4) {
        let _ = self.socket.send_to(datagram, SocketAddr::from(to)).await;
    }

    /// Registers a receiver under a new random stream id. Packets are not authenticated, so anyone who knows the id could end the stream.
    ///
    /// # Errors
    ///
    /// If there are too many streams, the socket was closed, or the system has no randomness.
    pub(crate) fn register(self: &Arc<Self>, sink: Arc<dyn PacketSink>) -> io::Result<StreamRegistration> {
        let mut sinks = lock(&self.sinks);
        if sinks.closed {
            return Err(io::ErrorKind::NotConnected.into());
        }
        if sinks.by_id.len() >= MAX_STREAMS {
            return Err(io::Error::other(format!("{MAX_STREAMS} streams are open already")));
        }
        loop {
            let mut id = [0; 4];
            fill_random(&mut id)?;
            let id = u32::from_ne_bytes(id);
            if let Entry::Vacant(free) = sinks.by_id.entry(id) {
                free.insert(sink);
                let socket = Arc::clone(self);
                return Ok(StreamRegistration { socket, id });
            }
        }
    }

    /// Receives datagrams forever; passes those that belong to no stream to `on_message`, and calls `on_batch` after some of them.
    pub(crate) async fn receive(&self, mut on_message: impl FnMut(SocketAddrV4, &[u8]), mut on_batch: impl FnMut()) {
        let mut buffer = vec![0; DATAGRAM_BYTES];
        loop {
            // An error is reported by the next read as well.
            let _ = self.socket.readable().await;
            let (mut messages, mut failed) = (0, false);
            for _ in 0..BATCH {
                match self.socket.try_recv_from(&mut buffer) {
                    Ok((length, SocketAddr::V4(from))) => {
                        let datagram = &buffer[..length];
                        if !self.dispatch(from, datagram) {
                            on_message(from, datagram);
                            messages += 1;
                        }
                    }
                    Ok((_, SocketAddr::V6(_))) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        failed = true;
                        break;
                    }
                }
            }
            if messages > 0 {
                on_batch();
            }
            if failed {
                sleep(ERROR_PAUSE).await;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Passes a packet to its stream; `false` if it is not a packet of a stream.
    fn dispatch(&self, from: SocketAddrV4, datagram: &[u8]) -> bool {
        let Some(id) = UdxPacket::stream_of(datagram) else {
            return false;
        };
        let sink = lock(&self.sinks).by_id.get(&id).cloned();
        if let Some(sink) = sink {
            sink.receive(from, datagram);
        }
        true
    }

    /// Ends all streams, and refuses new ones.
    pub(crate) fn close(&self) {
        let sinks = {
            let mut sinks = lock(&self.sinks);
            sinks.closed = true;
            std::mem::take(&mut sinks.by_id)
        };
        sinks.into_values().for_each(|sink| sink.close());
    }
}

/// The id of a stream, free again when it is dropped.
pub(crate) struct StreamRegistration {
    socket: Arc<NodeSocket>,
    id: u32,
}

impl StreamRegistration {
    /// Returns the id.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// Returns the socket.
    pub(crate) fn socket(&self) -> &NodeSocket {
        &self.socket
    }

    /// Replaces the receiver. It is closed at once if the socket was closed.
    pub(crate) fn replace(&self, sink: Arc<dyn PacketSink>) {
        let mut sinks = lock(&self.socket.sinks);
        if sinks.closed {
            drop(sinks);
            sink.close();
        } else {
            sinks.by_id.insert(self.id, sink);
        }
    }
}

impl Drop for StreamRegistration {
    fn drop(&mut self) {
        lock(&self.socket.sinks).by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
