//! TLS of a receiver, on the terms of the HTTP port's web configuration.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::supervise::Stream;

/// Limit from the acceptance of a connection to the end of its handshake, as on the HTTP port.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit on the last bytes to a sender: the error line for one without TLS, and the end of a session.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// Buffer size for draining input.
const SINK_BYTES: usize = 16 * 1024;
/// The first byte of a TLS connection: the record type of a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;
/// The line that a sender without TLS gets.
const TLS_ONLY: &[u8] = b"{\"error\":\"this receiver takes TLS only (receiver.tls)\"}\n";

/// The TLS alert `access_denied`, fatal (RFC 8446, 6): clients print its name.
const ACCESS_DENIED: &[u8] = &[0x15, 3, 3, 0, 2, 2, 49];

/// Refuses a sender in place of a handshake.
pub(super) async fn deny(stream: Stream) {
    reply_and_close(stream, ACCESS_DENIED).await;
}

/// Sends the last bytes to a sender and closes.
async fn reply_and_close(mut stream: Stream, reply: &[u8]) {
    let refuse = async {
        stream.write_all(reply).await?;
        stream.shutdown().await?;
        // Unread bytes would reset the connection and destroy the reply.
        let mut sink = vec![0; SINK_BYTES];
        while stream.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // The result does not matter: the sender may have closed already.
    let _ = timeout(REPLY_TIMEOUT, refuse).await;
}

/// The byte stream of a sender.
#[derive(Debug)]
pub(super) enum ReceiverStream {
    Plain(Stream),
    Tls(Box<TlsStream<Stream>>),
}

impl ReceiverStream {
    /// Does the handshake with a new sender. `None` if the sender has sent nothing.
    ///
    /// # Errors
    ///
    /// The reason if the sender does not use TLS, or the handshake fails.
    pub(super) async fn accept_tls(stream: Stream, config: Arc<ServerConfig>) -> Result<Option<Self>, String> {
        match stream.first_byte().await {
            Ok(Some(HANDSHAKE_RECORD)) => {}
            Ok(None) | Err(_) => return Ok(None),
            Ok(Some(_)) => {
                reply_and_close(stream, TLS_ONLY).await;
                return Err("the sender does not use TLS (receiver.tls)".to_owned());
            }
        }
        let accepted = TlsAcceptor::from(config).accept(stream).await;
        let stream = accepted.map_err(|why| format!("TLS handshake: {why}"))?;
        Ok(Some(Self::Tls(Box::new(stream))))
    }

    /// The connection below.
    pub(super) fn transport(&self) -> &Stream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Ends a TLS session, so that the sender can tell the end of the connection from a truncation.
    pub(super) async fn end_session(&mut self) {
        if let Self::Tls(stream) = self {
            // A sender that does not read must not hold the connection.
            let _ = timeout(REPLY_TIMEOUT, stream.shutdown()).await;
        }
    }

    /// Returns true if bytes of the sender wait to be read, decrypted or not, even if the runtime has not noticed them yet.
    pub(super) fn has_unread(&mut self) -> bool {
        match self {
            Self::Plain(stream) => stream.has_unread(),
            Self::Tls(stream) => {
                let (transport, session) = stream.get_mut();
                let decrypted = session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0);
                decrypted || transport.has_unread()
            }
        }
    }
}

/// Forwards a poll to whichever stream it is.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Self::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for ReceiverStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for ReceiverStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}
