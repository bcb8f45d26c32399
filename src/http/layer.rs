//! The layer between HTTP and the transport: none, or TLS.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::transport_io::TransportIo;

/// The first byte of a TLS connection: the record type of a handshake (RFC 8446, 5.1).
const HANDSHAKE: u8 = 0x16;

/// A byte stream of plain HTTP over its transport.
pub(super) enum Layer<S> {
    Plain(TransportIo<S>),
    Tls(Box<TlsStream<TransportIo<S>>>),
}

/// The reason why a connection is not encrypted.
pub(super) enum NoTls<S> {
    /// The client has sent nothing, or its connection has failed.
    Gone,
    /// The client speaks plain HTTP, or something else.
    NotTls(TransportIo<S>),
    /// The handshake failed; the client has been sent the alert.
    Failed(TransportIo<S>, io::Error),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Layer<S> {
    /// Waits for the client's first byte and does the handshake.
    pub(super) async fn accept_tls(mut transport: TransportIo<S>, config: Arc<ServerConfig>) -> Result<Self, NoTls<S>> {
        match transport.first_byte().await {
            Ok(Some(HANDSHAKE)) => {}
            Ok(Some(_)) => return Err(NoTls::NotTls(transport)),
            Ok(None) | Err(_) => return Err(NoTls::Gone),
        }
        let accepted = TlsAcceptor::from(config).accept(transport).into_fallible().await;
        accepted
            .map(|stream| Self::Tls(Box::new(stream)))
            .map_err(|(why, transport)| NoTls::Failed(transport, why))
    }

    /// Returns true if the end of our half is more than the transport's end of file: an alert, which is data.
    pub(super) fn ends_with_data(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The transport below.
    pub(super) fn transport(&mut self) -> &mut TransportIo<S> {
        match self {
            Self::Plain(transport) => transport,
            Self::Tls(stream) => stream.get_mut().0,
        }
    }

    /// The client's certificate, if it has sent one.
    pub(super) fn client_certificate(&self) -> Option<&CertificateDer<'static>> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates()?.first(),
        }
    }

    /// Returns true if the client has ended its half of the TLS session.
    fn is_closed_by_peer(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => {
                let session = stream.get_mut().1;
                session.process_new_packets().is_ok_and(|state| state.peer_has_closed())
            }
        }
    }

    /// Returns true if bytes of the client were decrypted that HTTP has not read yet.
    pub(super) fn has_decrypted(&mut self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(stream) => {
                let session = stream.get_mut().1;
                session.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
            }
        }
    }
}

/// Forwards a poll to whichever layer it is.
macro_rules! forward {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain(transport) => {
                let $stream = Pin::new(transport);
                $call
            }
            Self::Tls(tls) => {
                let $stream = Pin::new(tls.as_mut());
                $call
            }
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Layer<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Layer<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        forward!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(transport) => transport.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        forward!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A client that has ended its TLS session has most likely closed its socket, and would answer the end of ours with a reset, as if
        // it had not received the response.
        if self.is_closed_by_peer() {
            return Pin::new(self.transport()).poll_shutdown(cx);
        }
        forward!(self, stream => stream.poll_shutdown(cx))
    }
}
