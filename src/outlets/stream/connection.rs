//! One client, from its handshake to its end.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::batch::Outgoing;
use super::hub::Hub;
use super::queue::ClientQueue;
use crate::http::whole_response;
use crate::supervise::{Accepted, Slot, Stream};
use crate::telemetry::Rejection;
use crate::wire::is_http;
use crate::wire::monitoring::{HELLO, HandshakeError, Hello, MAX_HANDSHAKE_BYTES, Oversized, read_hello, split};

/// Timeout of the first frame, which the original client sends immediately.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit on the wait for the first bytes of a client before the handshake is sent. Clients send theirs at once, and one of HTTP would take
/// a handshake for a broken response.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_millis(100);
/// Timeout of reading one frame.
const FRAME_TIMEOUT: Duration = Duration::from_secs(10);
/// Size of the buffer for ignored input.
const IGNORED_BYTES: usize = 1024;

/// Reason for rejecting a client.
#[derive(Debug, thiserror::Error)]
enum Rejected {
    #[error("no whole handshake within {HANDSHAKE_TIMEOUT:?}")]
    Slow,
    #[error("the place was needed for another")]
    Evicted,
    #[error("the connection was closed in the handshake")]
    Closed,
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the handshake has {0}")]
    TooLong(#[from] Oversized),
    #[error("the handshake is wrong: {0}")]
    Wrong(#[from] HandshakeError),
    #[error("this is an HTTP request at the monitoring stream; HTTP is served at {0} (exporter.scrape_expose_endpoint)")]
    Http(Arc<str>),
}

/// Reason for the end of a client's connection.
enum EndReason {
    Left,
    Failed(io::Error),
    Stalled,
    Stopped,
}

/// Serves one client.
pub(super) async fn serve(accepted: Accepted, hub: Arc<Hub>, http: Arc<str>, place: Arc<str>) {
    let Accepted { mut stream, slot } = accepted;
    let address = stream.peer();
    let peer = address.map_or_else(|| "unix".to_owned(), |peer| peer.to_string());
    tracing::debug!(peer, listener = &*place, "connection opened");
    let hello = match welcome(&mut stream, &slot, &http).await {
        Ok(hello) => hello,
        Err(refused) => return refuse(&hub, &place, &peer, &refused),
    };
    let client = hub.join(hello.topics());
    // A client that reconnects in a loop has a new port each time.
    let subject = format!(
        "stream client {}",
        address.map_or_else(|| "unix".to_owned(), |peer| peer.ip().to_string())
    );
    let admitted = hub.telemetry.admit_line(&subject);
    if let Some(suppressed) = admitted {
        tracing::info!(peer, events = %client.queue().topics(), suppressed, "stream client connected");
    }
    let (read, write) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = ignore(read) => ended,
        ended = deliver(write, client.queue()) => ended,
        () = hub.patience() => EndReason::Stopped,
    };
    let dropped = client.queue().dropped();
    match admitted {
        Some(_) => tracing::info!(peer, dropped, "stream client disconnected: {ended}"),
        None => tracing::debug!(peer, dropped, "stream client disconnected: {ended}"),
    }
}

fn refuse(hub: &Hub, place: &str, peer: &str, refused: &Rejected) {
    hub.telemetry.reject(Rejection {
        source: &format!("stream: {place}"),
        peer,
        reason: "handshake",
        detail: &refused.to_string(),
    });
}

/// The handshake. Until it is done the slot counts as idle, so that silent connections cannot block clients.
async fn welcome(stream: &mut Stream, slot: &Slot, http: &Arc<str>) -> Result<Hello, Rejected> {
    slot.idle();
    let began = Instant::now();
    let welcomed = tokio::select! {
        welcomed = timeout(HANDSHAKE_TIMEOUT, greet(stream, http)) => welcomed.unwrap_or(Err(Rejected::Slow)),
        () = slot.evicted_after_grace(began) => Err(Rejected::Evicted),
    };
    slot.busy();
    welcomed
}

async fn greet(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), http: &Arc<str>) -> Result<Hello, Rejected> {
    let mut buffer = BytesMut::with_capacity(64);
    if let Ok(first) = timeout(FIRST_BYTES_TIMEOUT, stream.read_buf(&mut buffer)).await
        && first? == 0
    {
        return Err(Rejected::Closed);
    }
    if is_http(&buffer) {
        return Err(refuse_http(stream, http).await?);
    }
    stream.write_all(HELLO).await?;
    loop {
        if let Some(hello) = split(&mut buffer, MAX_HANDSHAKE_BYTES)? {
            return Ok(read_hello(&hello)?);
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(Rejected::Closed);
        }
    }
}

/// Answers a request of HTTP with the address where it is served, and waits until the client has closed.
async fn refuse_http(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), http: &Arc<str>) -> io::Result<Rejected> {
    let refused = Rejected::Http(Arc::clone(http));
    stream
        .write_all(whole_response(StatusCode::BAD_REQUEST, &format!("{refused}\n")).as_bytes())
        .await?;
    stream.shutdown().await?;
    let mut ignored = [0; IGNORED_BYTES];
    while stream.read(&mut ignored).await? > 0 {}
    Ok(refused)
}

/// Reads what the client says, for its end alone.
async fn ignore(mut read: impl AsyncRead + Unpin) -> EndReason {
    let mut ignored = [0; IGNORED_BYTES];
    loop {
        match read.read(&mut ignored).await {
            Ok(0) => return EndReason::Left,
            Ok(_) => {}
            Err(error) => return EndReason::Failed(error),
        }
    }
}

/// Writes what the queue has, as much at once as the kernel takes.
async fn deliver(mut write: impl AsyncWrite + Unpin, queue: &ClientQueue) -> EndReason {
    let mut out = Outgoing::default();
    let mut deadline = Instant::now();
    loop {
        if out.is_empty() {
            if !queue.take(&mut out).await {
                return match write.shutdown().await {
                    Ok(()) => EndReason::Stopped,
                    Err(error) => EndReason::Failed(error),
                };
            }
            deadline = Instant::now() + FRAME_TIMEOUT;
        } else if out.has_room() {
            queue.take(&mut out).await;
        }
        let mut room = Outgoing::room();
        let used = out.slices(&mut room);
        let written = match timeout_at(deadline, write.write_vectored(&room[..used])).await {
            Ok(Ok(0)) => return EndReason::Failed(io::ErrorKind::WriteZero.into()),
            Ok(Ok(written)) => written,
            Ok(Err(error)) => return EndReason::Failed(error),
            Err(_) => return EndReason::Stalled,
        };
        let progress = out.advance(written);
        queue.written(&progress);
        if progress.frames > 0 {
            deadline = Instant::now() + FRAME_TIMEOUT;
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("it has left"),
            Self::Failed(error) => write!(f, "the connection failed: {error}"),
            Self::Stalled => write!(f, "it did not take a frame within {FRAME_TIMEOUT:?}"),
            Self::Stopped => f.write_str("the proxy stops"),
        }
    }
}
