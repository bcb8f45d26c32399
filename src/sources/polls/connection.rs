//! The connection to a target: name lookup, TCP, TLS, and keep-alive as long as the target allows.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Url};

use super::error::{Phase, PollError};
use super::normalizing_stream::{HeadExpected, NormalizingStream};
use super::settings::{ClientCertificate, Endpoint};
use super::socket::{CloseMode, PollSocket};
use super::trust::{Trust, with_client_certificate};
use crate::supervise::lookup::PeerLookup;
use crate::supervise::secret_file::FileRule;

/// Limit of addresses that are tried per poll: enough for IPv6 and IPv4 of a few hosts, few enough to leave each some time.
const MAX_ADDRESSES: usize = 8;

/// Limit of a response head, and of the unread part of a body: exporters send some hundred bytes of headers.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// Limit of header lines: as many of 32 bytes as fit into the largest head.
const MAX_HEADERS: usize = MAX_HEAD_BYTES / 32;

/// A poll request, which has no body.
pub(super) type PollRequest = Request<Empty<Bytes>>;

/// The connection of an endpoint. Dropping it closes everything.
#[derive(Debug)]
pub(super) struct PollConnection {
    trust: Trust,
    certificate: Option<ClientCertificate>,
    /// The rule for its key file.
    secret_rule: FileRule,
    socket: Option<PathBuf>,
    open: Option<OpenConnection>,
    /// The lookups of the host, which a poll that times out leaves to the next one.
    lookup: PeerLookup,
    /// The current phase, for the message of a timeout.
    pub(super) phase: Phase,
}

#[derive(Debug)]
struct OpenConnection {
    to: url::Origin,
    sender: SendRequest<Empty<Bytes>>,
    head_expected: HeadExpected,
    close_mode: CloseMode,
    /// Drives the connection; `sender` observes its end.
    _driver: AbortOnDropHandle<()>,
}

impl PollConnection {
    /// A connection for an endpoint that is opened by its first poll.
    pub(super) fn new(trust: Trust, endpoint: &Endpoint, secret_rule: FileRule) -> Self {
        Self {
            trust,
            certificate: endpoint.certificate.clone(),
            secret_rule,
            socket: endpoint.socket.clone(),
            open: None,
            lookup: PeerLookup::default(),
            phase: Phase::Preparing,
        }
    }

    /// Closes the connection. It is reset unless the last response was [received](Self::mark_received).
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Marks the last response as received: the connection is closed gracefully from now on.
    pub(super) fn mark_received(&self) {
        if let Some(open) = &self.open {
            open.close_mode.set_graceful();
        }
    }

    /// Sends the request of `request` to the origin of `url` and waits for the head of the response.
    ///
    /// The connection is reset on close until [`PollConnection::mark_received`] is called.
    ///
    /// A target may close an idle connection while the next request is in flight; only such a request is retried once.
    pub(super) async fn send(
        &mut self,
        url: &Url,
        deadline: Instant,
        request: impl Fn() -> PollRequest,
    ) -> Result<Response<Incoming>, PollError> {
        self.phase = Phase::Waiting;
        if let Some(open) = self.open.as_mut().filter(|open| open.to == url.origin())
            && open.sender.ready().await.is_ok()
            && let Ok(response) = open.request(request()).await
        {
            return Ok(response);
        }
        self.close();
        let open = self.connect(url, deadline).await?;
        self.phase = Phase::Waiting;
        let sent = self.open.insert(open).request(request()).await;
        sent.map_err(|e| {
            self.close();
            PollError::http(&e)
        })
    }

    async fn connect(&mut self, url: &Url, deadline: Instant) -> Result<OpenConnection, PollError> {
        let stream = self.connect_socket(url, deadline).await?;
        tracing::debug!(host = url.host_str(), "connected for polls");
        let close_mode = stream.close_mode();
        match url.scheme() {
            "https" => {
                self.phase = Phase::Preparing;
                let config = self.tls().await?;
                self.phase = Phase::Securing;
                let stream = secure(url, stream, TlsConnector::from(config)).await?;
                OpenConnection::handshake(url, stream, close_mode).await
            }
            _ => OpenConnection::handshake(url, stream, close_mode).await,
        }
    }

    async fn connect_socket(&mut self, url: &Url, deadline: Instant) -> Result<PollSocket, PollError> {
        if let Some(path) = &self.socket {
            self.phase = Phase::Connecting;
            let connected = UnixStream::connect(path).await;
            return connected
                .map(PollSocket::from)
                .map_err(|why| PollError::ConnectUnix { path: path.clone(), why });
        }
        let addresses = self.addresses(url).await?;
        self.phase = Phase::Connecting;
        connect_any(url, &addresses, deadline).await.map(PollSocket::from)
    }

    /// The TLS settings. Files are read again for each connection, so that new ones work without a restart.
    async fn tls(&mut self) -> Result<Arc<ClientConfig>, PollError> {
        let config = self.trust.config().await?;
        match &self.certificate {
            Some(certificate) => with_client_certificate(config, certificate, self.secret_rule).await,
            None => Ok(config),
        }
    }

    /// The addresses of the URL's host, at least one.
    async fn addresses(&mut self, url: &Url) -> Result<Vec<SocketAddr>, PollError> {
        let port = url.port_or_known_default().unwrap_or_default();
        let host = match url.host() {
            Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Domain(host)) => host,
            None => "",
        };
        self.phase = Phase::LookingUp;
        let found = self.lookup.addresses(host, port).await;
        let mut addresses = found.map_err(|why| PollError::Lookup {
            host: host.to_owned(),
            why,
        })?;
        addresses.truncate(MAX_ADDRESSES);
        Ok(addresses)
    }
}

/// Tries the addresses in order. Each gets an equal share of the remaining time, so that a dead one does not use up all of it.
async fn connect_any(url: &Url, addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, PollError> {
    let mut failure = PollError::Lookup {
        host: url.host_str().unwrap_or_default().to_owned(),
        why: io::ErrorKind::NotFound.into(),
    };
    for (tried, &address) in (0_u32..).zip(addresses) {
        let left = u32::try_from(addresses.len()).unwrap_or(u32::MAX) - tried;
        let share = deadline.saturating_duration_since(Instant::now()) / left;
        let connected = tokio::time::timeout(share, TcpStream::connect(address)).await;
        match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // Without it a request could wait for the acknowledgement of the previous one; it fails only for a dead socket.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(why) => failure = PollError::Connect { address, why },
        }
    }
    Err(failure)
}

/// The TLS handshake.
async fn secure(
    url: &Url,
    stream: PollSocket,
    tls: TlsConnector,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, PollError> {
    let host = url.host_str().unwrap_or_default();
    let fail = |why: String| PollError::Tls {
        host: host.to_owned(),
        why,
    };
    // URLs have IPv6 addresses in brackets, certificates do not.
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|e| fail(e.to_string()))?;
    tls.connect(name, stream).await.map_err(|e| fail(e.to_string()))
}

impl OpenConnection {
    /// Starts HTTP on a new connection.
    async fn handshake(
        url: &Url,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        close_mode: CloseMode,
    ) -> Result<Self, PollError> {
        let head_expected = HeadExpected::default();
        let handshake = http1::Builder::new()
            .max_buf_size(MAX_HEAD_BYTES)
            .max_headers(MAX_HEADERS)
            .handshake(TokioIo::new(NormalizingStream::new(stream, head_expected.clone())));
        let (sender, connection) = handshake.await.map_err(|e| PollError::http(&e))?;
        let driver = tokio::spawn(async move {
            // Errors are reported by the sender or by the body.
            let _ = connection.await;
        });
        Ok(Self {
            to: url.origin(),
            sender,
            head_expected,
            close_mode,
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    /// Sends a request after the previous response was read. The connection is reset on close until the response is marked as received.
    async fn request(&mut self, request: PollRequest) -> hyper::Result<Response<Incoming>> {
        self.close_mode.set_reset();
        self.head_expected.set();
        self.sender.send_request(request).await
    }
}
