//! The connection to a target: looked up, connected, encrypted, and used again for as long as the target keeps it open.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;
use url::{Host, Url};

use super::error::{Phase, PollError};
use super::normalizing_stream::{HeadExpected, NormalizingStream};
use super::socket::{CloseMode, PollSocket};
use super::trust::Trust;

/// Addresses of one host that are tried for one poll: enough for IPv6 and IPv4 of a few machines, few enough to leave each some time.
const MAX_ADDRESSES: usize = 8;

/// The longest head of an answer, and the most of a body that waits unread: exporters send some hundred bytes of headers.
pub(super) const MAX_HEAD_BYTES: usize = 64 << 10;

/// The most header lines of an answer: as many of 32 bytes as the longest head has room for.
const MAX_HEADERS: usize = MAX_HEAD_BYTES / 32;

/// What a request looks like here: polls have no body.
pub(super) type PollRequest = Request<Empty<Bytes>>;

/// The one connection of an endpoint. Dropping it closes everything.
#[derive(Debug)]
pub(super) struct PollConnection {
    trust: Trust,
    open: Option<OpenConnection>,
    /// A lookup under way, together with its host. The system's resolver cannot be told to stop, so a poll that runs out of
    /// time leaves it to the next one, and there is never more than one thread waiting for it.
    lookup: Option<(String, AbortOnDropHandle<io::Result<Vec<SocketAddr>>>)>,
    /// What is being done, for the message if time runs out.
    pub(super) phase: Phase,
}

#[derive(Debug)]
struct OpenConnection {
    to: url::Origin,
    sender: SendRequest<Empty<Bytes>>,
    head_expected: HeadExpected,
    close_mode: CloseMode,
    /// Drives the connection; its end is seen by `sender`.
    _driver: AbortOnDropHandle<()>,
}

impl PollConnection {
    pub(super) fn new(trust: Trust) -> Self {
        Self {
            trust,
            open: None,
            lookup: None,
            phase: Phase::Preparing,
        }
    }

    /// Closes the connection, whatever state it is in. It is reset unless the last answer on it was [taken](Self::mark_received).
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// The last answer was taken for good: the connection may end as it will.
    pub(super) fn mark_received(&self) {
        if let Some(open) = &self.open {
            open.close_mode.set_graceful();
        }
    }

    /// Sends a request made by `request` to the origin of `url` and waits for the head of the answer.
    ///
    /// Until [`PollConnection::mark_received`] says that the answer was taken the connection is reset when it ends.
    ///
    /// A target may close an idle connection just when the next request is on its way; that request, and only such a one, is sent once more.
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
        let addresses = self.addresses(url).await?;
        self.phase = Phase::Connecting;
        let stream = PollSocket::new(connect_any(url, &addresses, deadline).await?);
        let close_mode = stream.close_mode();
        match url.scheme() {
            "https" => {
                self.phase = Phase::Preparing;
                let config = self.trust.config().await?;
                self.phase = Phase::Securing;
                let stream = secure(url, stream, TlsConnector::from(config)).await?;
                OpenConnection::handshake(url, stream, close_mode).await
            }
            _ => OpenConnection::handshake(url, stream, close_mode).await,
        }
    }

    /// The addresses of the URL's host, at least one.
    async fn addresses(&mut self, url: &Url) -> Result<Vec<SocketAddr>, PollError> {
        let port = url.port_or_known_default().unwrap_or_default();
        let host = match url.host() {
            Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
            Some(Host::Domain(host)) => host.to_owned(),
            None => String::new(),
        };
        self.phase = Phase::LookingUp;
        let key = format!("{host}:{port}");
        if self.lookup.as_ref().is_none_or(|(of, _)| *of != key) {
            let host = host.clone();
            let task = async move { Ok(tokio::net::lookup_host((host, port)).await?.take(MAX_ADDRESSES).collect()) };
            self.lookup = Some((key, AbortOnDropHandle::new(tokio::spawn(task))));
        }
        let found = match &mut self.lookup {
            Some((_, task)) => task.await.unwrap_or_else(|e| Err(io::Error::other(e))),
            None => Ok(Vec::new()),
        };
        self.lookup = None;
        let found = found.and_then(|found: Vec<_>| {
            if found.is_empty() {
                Err(io::ErrorKind::NotFound.into())
            } else {
                Ok(found)
            }
        });
        found.map_err(|why| PollError::Lookup { host, why })
    }
}

/// Tries one address after the other. Each has its share of the time that is left, so that a dead one does not use up all of it.
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
                // Without it a request could wait for the acknowledgement of the one before; it fails only for a dead socket.
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
    // A URL writes IPv6 addresses in brackets, a certificate does not.
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(bare).map_err(|e| fail(e.to_string()))?;
    tls.connect(name, stream).await.map_err(|e| fail(e.to_string()))
}

impl OpenConnection {
    /// Begins HTTP on a fresh connection.
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
            // An error here is reported by the sender or by the body.
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

    /// Sends a request, once the response before it has been read. Until the response to it was taken the connection is reset when it ends.
    async fn request(&mut self, request: PollRequest) -> hyper::Result<Response<Incoming>> {
        self.close_mode.set_reset();
        self.head_expected.set();
        self.sender.send_request(request).await
    }
}
