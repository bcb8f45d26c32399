//! The connection to one upstream server.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::model::Topics;
use crate::supervise::lookup::PeerLookup;
use crate::wire::monitoring::{
    GzipError, HandshakeError, Inflater, MAX_FRAME_BYTES, MAX_HANDSHAKE_BYTES, MAX_TEXT_BYTES, Oversized, client_hello, read_hello, split,
};

/// Timeout of lookup, connection and handshake together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Timeout of a frame from its first byte to its last. Between frames a server may be silent forever.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// Read size: some dozens of messages.
const READ_BYTES: usize = 64 << 10;
/// Buffers larger than this, after one huge message, are freed.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// The protocol has no heartbeat, so TCP keepalive detects a server that disappeared.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);

/// Error of a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// Lookup, connection and handshake timed out.
    #[error("no connection and handshake within {CONNECT_TIMEOUT:?}")]
    Timeout,
    /// The connection could not be established.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// The first bytes are not a frame, for example those of a web server.
    #[error("not a monitoring stream (a stream port is one of stream.listen_addresses)")]
    NotAStream,
    /// The handshake is invalid.
    #[error("invalid handshake: {0}")]
    Handshake(#[from] HandshakeError),
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Io(#[source] io::Error),
    /// The server closed it; true inside a frame.
    #[error("the server closed the connection{}", if *.0 { " inside a frame" } else { "" })]
    Closed(bool),
    /// A frame is longer than the limit.
    #[error("the server sent {0}")]
    TooLong(#[from] Oversized),
    /// A frame was not completed in time.
    #[error("a frame was not complete within {FRAME_TIMEOUT:?}")]
    FrameTimeout,
    /// A frame is not a gzip member, or decompresses to too much.
    #[error("the server sent an invalid message: {0}")]
    Gzip(#[from] GzipError),
}

/// A connection after its handshake.
#[derive(Debug)]
pub struct UpstreamConnection<S> {
    stream: S,
    buffer: BytesMut,
    /// Deadline of the current incomplete frame.
    deadline: Option<Instant>,
    inflater: Inflater,
    text: Vec<u8>,
}

impl UpstreamConnection<TcpStream> {
    /// Connects to `HOST:PORT`; `lookup` is that of this upstream.
    ///
    /// # Errors
    /// If the lookup, the connection or the handshake fails, or all of them together time out.
    pub async fn open(address: &str, lookup: &mut PeerLookup) -> Result<Self, ConnectionError> {
        let open = async {
            let addresses = lookup.addresses_of(address).await.map_err(ConnectionError::Connect)?;
            let stream = TcpStream::connect(&*addresses).await.map_err(ConnectionError::Connect)?;
            SockRef::from(&stream)
                .set_tcp_keepalive(&KEEPALIVE)
                .map_err(ConnectionError::Connect)?;
            Self::greet(stream).await
        };
        timeout(CONNECT_TIMEOUT, open).await.unwrap_or(Err(ConnectionError::Timeout))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> UpstreamConnection<S> {
    async fn greet(mut stream: S) -> Result<Self, ConnectionError> {
        // Other proxies send their own topics only to clients that request them; the original server ignores the request.
        stream.write_all(&client_hello(Topics::ALL)).await.map_err(ConnectionError::Io)?;
        let mut connection = Self {
            stream,
            buffer: BytesMut::new(),
            deadline: None,
            inflater: Inflater::default(),
            text: Vec::new(),
        };
        loop {
            if let Some(hello) = split(&mut connection.buffer, MAX_HANDSHAKE_BYTES).map_err(|_| ConnectionError::NotAStream)? {
                read_hello(&hello)?;
                return Ok(connection);
            }
            connection.read().await?;
        }
    }

    async fn read(&mut self) -> Result<(), ConnectionError> {
        self.buffer.reserve(READ_BYTES);
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) => Err(ConnectionError::Closed(!self.buffer.is_empty())),
            Ok(_) => Ok(()),
            Err(error) => Err(ConnectionError::Io(error)),
        }
    }

    /// The next frame. Cancellation-safe.
    ///
    /// # Errors
    /// If the connection fails, or a frame is invalid or incomplete for too long.
    pub async fn frame(&mut self) -> Result<Bytes, ConnectionError> {
        // Freed here, because the next frame may take forever.
        self.text.clear();
        self.text.shrink_to(MAX_KEPT_BYTES);
        loop {
            if let Some(frame) = self.frame_at_hand()? {
                return Ok(frame);
            }
            match self.deadline {
                None => self.read().await?,
                Some(deadline) => timeout_at(deadline, self.read())
                    .await
                    .unwrap_or(Err(ConnectionError::FrameTimeout))?,
            }
        }
    }

    /// The next frame, if it is already buffered.
    ///
    /// # Errors
    /// If its length is above the limit.
    pub fn frame_at_hand(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let frame = split(&mut self.buffer, MAX_FRAME_BYTES)?;
        if frame.is_some() || self.buffer.is_empty() {
            self.deadline = None;
        } else {
            self.deadline.get_or_insert_with(|| Instant::now() + FRAME_TIMEOUT);
        }
        Ok(frame)
    }

    /// The decompressed text of a frame.
    ///
    /// # Errors
    /// If it is not a gzip member, or decompresses to more than the limit.
    pub fn text(&mut self, frame: &[u8]) -> Result<&[u8], ConnectionError> {
        self.inflater.open(frame, MAX_TEXT_BYTES, &mut self.text)?;
        Ok(&self.text)
    }
}

#[cfg(test)]
mod tests;
