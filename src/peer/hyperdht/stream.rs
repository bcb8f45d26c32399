//! Streams of bytes over the node's socket.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use libudx::{UdxAsyncStream, UdxError, UdxSocket, UdxStream};
use tokio::sync::oneshot;
use tokio::time::interval;

use super::node::Node;

/// How often we send a packet towards a peer that has not been heard, so that a firewall on our side lets it in.
pub(super) const OPENING: Duration = Duration::from_millis(300);
/// A packet of one byte opens the way; the other end ignores it.
const OPENER: &[u8] = &[0];

/// A stream to a known address.
pub(super) async fn connect(node: &Node, own: u32, remote: u32, address: SocketAddr) -> io::Result<UdxAsyncStream> {
    let stream = node.udx.create_stream(own).await.map_err(failed)?;
    stream.connect(&node.socket, remote, address).await.map_err(failed)?;
    Ok(stream.into_async_stream())
}

/// A stream whose other end has not been heard yet.
pub(super) struct Expected {
    stream: UdxStream,
    first: oneshot::Receiver<SocketAddr>,
}

impl Expected {
    /// From now on packets for `own` are taken.
    pub(super) async fn new(node: &Node, own: u32, remote: u32) -> io::Result<Self> {
        let stream = node.udx.create_stream(own).await.map_err(failed)?;
        let (heard, first) = oneshot::channel();
        let hook = move |_: &_, port, address| heard.send(SocketAddr::new(address, port)).is_ok();
        stream.set_firewall_hook(&node.socket, remote, hook).map_err(failed)?;
        Ok(Self { stream, first })
    }

    /// Waits for the first packet: what is written before goes nowhere. May be dropped and called again.
    pub(super) async fn heard(&mut self) -> io::Result<SocketAddr> {
        (&mut self.first).await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    /// Waits for the first packet as [`Expected::heard`], and opens the way for it from our side: whatever stands before us lets in whom we
    /// have sent something to.
    pub(super) async fn heard_from(&mut self, socket: &UdxSocket, address: SocketAddr) -> io::Result<SocketAddr> {
        let mut openings = interval(OPENING);
        loop {
            tokio::select! {
                heard = self.heard() => return heard,
                // The way may be open already; what cannot be sent is not needed.
                _ = openings.tick() => drop(socket.send_to(OPENER, address)),
            }
        }
    }

    /// The stream, once the other end was heard.
    pub(super) fn open(self) -> UdxAsyncStream {
        self.stream.into_async_stream()
    }
}

fn failed(error: UdxError) -> io::Error {
    io::Error::other(error.to_string())
}
