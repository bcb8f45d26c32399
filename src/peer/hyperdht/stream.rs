//! Streams of bytes over the node's socket.

use std::io;
use std::net::SocketAddr;

use libudx::{UdxAsyncStream, UdxError, UdxStream};
use tokio::sync::oneshot;

use super::node::Node;

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

    /// The stream, once the other end was heard.
    pub(super) fn open(self) -> UdxAsyncStream {
        self.stream.into_async_stream()
    }
}

fn failed(error: UdxError) -> io::Error {
    io::Error::other(error.to_string())
}
