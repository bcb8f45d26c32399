//! Receivers: applications send Cap'n Proto or JSON over TCP or a Unix socket.

mod budget;
mod connection;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub use budget::{Budget, FREE_BYTES, Reservation};

use self::connection::ReceiverConnection;
use self::tls::{HANDSHAKE_TIMEOUT, ReceiverStream, deny};
use crate::http::{Client, WebPolicy};
use crate::model::{Clock, Format, Origin};
use crate::store::Inlet;
use crate::supervise::{Accepted, ConnectionSlots, Listener, Service, Slot, Stream};
use crate::telemetry::{Counter, Rejection, Telemetry};
use crate::wire::FormatChoice;

/// Limits of senders. A connection keeps the limits from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The accepted formats.
    pub format: FormatChoice,
    /// Limit of a message in bytes.
    pub max_message_bytes: usize,
    /// Limit of silence inside a message; a complete message may take five times as long.
    pub idle_timeout: Duration,
    /// Networks of TCP clients that may send.
    pub allow: Arc<[IpNet]>,
    /// Numbers of the users that may send over the Unix socket; empty: all that its mode lets in.
    pub allow_users: Arc<[u32]>,
}

/// Dependencies of all receivers.
#[derive(Debug, Clone)]
pub struct ReceiverContext {
    /// The store's writing half.
    pub inlet: Inlet,
    /// The self metrics.
    pub telemetry: Arc<Telemetry>,
    /// The wall clock.
    pub clock: Clock,
    /// The memory budget for incomplete messages.
    pub budget: Arc<Budget>,
    /// The limits for new connections.
    pub limits: watch::Receiver<Limits>,
    /// The addresses of HTTP, for clients that send it to a receiver.
    pub http: Arc<str>,
}

/// State shared by the connections of one listener.
#[derive(Debug)]
struct ListenerShared {
    source: Arc<str>,
    context: ReceiverContext,
    json: Arc<Counter>,
    capnp: Arc<Counter>,
}

impl std::ops::Deref for ListenerShared {
    type Target = ReceiverContext;

    fn deref(&self) -> &ReceiverContext {
        &self.context
    }
}

impl ListenerShared {
    fn new(source: Arc<str>, context: ReceiverContext) -> Self {
        let counter = |format: Format| context.telemetry.updates_total.with([&source, format.as_str()]);
        let (json, capnp) = (counter(Format::Json), counter(Format::Capnp));
        Self {
            source,
            context,
            json,
            capnp,
        }
    }

    fn origin(&self, format: Format) -> Origin {
        Origin {
            source: Arc::clone(&self.source),
            format,
        }
    }

    /// The reason if the sender is not one of those that may send.
    fn forbidden(&self, stream: &Stream) -> Option<String> {
        let limits = self.limits.borrow();
        if let Some(address) = stream.peer() {
            let client = Client::Ip(address.ip().to_canonical());
            return (!client.is_in(&limits.allow)).then(|| format!("{client} is not allowed to send; add it to receiver.allow"));
        }
        let uid = stream.peer_uid();
        if limits.allow_users.is_empty() || uid.is_some_and(|uid| limits.allow_users.contains(&uid)) {
            return None;
        }
        let user = uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}"));
        Some(format!("{user} is not allowed to send; add it to receiver.unix_socket_allow_users"))
    }

    fn reject(&self, peer: &str, reason: &'static str, detail: &str) {
        self.telemetry.reject(Rejection {
            source: &self.source,
            peer,
            reason,
            detail,
        });
    }

    fn accepted(&self, format: Format) -> &Counter {
        if format == Format::Capnp { &self.capnp } else { &self.json }
    }
}

/// The receiver on one listener.
struct Receiver {
    name: String,
    listener: Listener,
    slots: ConnectionSlots,
    shared: Arc<ListenerShared>,
    tls: Option<Arc<WebPolicy>>,
}

/// The service that receives on `listener`, with as many concurrent connections as there are slots; over TLS where a web configuration is
/// given.
pub fn service(listener: Listener, slots: ConnectionSlots, context: ReceiverContext, tls: Option<Arc<WebPolicy>>) -> impl Service {
    let shared = Arc::new(ListenerShared::new(Arc::clone(listener.place()), context));
    Receiver {
        name: format!("receiver {}", shared.source),
        listener,
        slots,
        shared,
        tls,
    }
}

impl Service for Receiver {
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self {
            listener,
            slots,
            shared,
            tls,
            ..
        } = *self;
        let asked = stop.clone();
        let serve = move |Accepted { stream, slot }: Accepted| {
            let (shared, stop, tls) = (Arc::clone(&shared), stop.clone(), tls.clone());
            async move {
                let peer = stream.peer().map_or_else(|| "a local process".to_owned(), |peer| peer.to_string());
                let stream = match tls {
                    None => ReceiverStream::Plain(stream),
                    Some(policy) => match secure(stream, &peer, &shared, (&policy, &slot, &stop)).await {
                        Some(stream) => stream,
                        None => return,
                    },
                };
                ReceiverConnection::new(stream, peer, &shared).run(&slot, &stop).await;
            }
        };
        Box::pin(async move {
            listener.serve(slots, asked, serve).await;
            Ok(())
        })
    }
}

/// Does the TLS handshake; `None` if the connection has ended without one. Until then it can be evicted as an idle one.
async fn secure(
    stream: Stream,
    peer: &str,
    shared: &ListenerShared,
    (policy, slot, stop): (&WebPolicy, &Slot, &CancellationToken),
) -> Option<ReceiverStream> {
    slot.idle();
    let began = Instant::now();
    // Before the handshake, which is work for clients that may send nothing.
    if let Some(why) = shared.forbidden(&stream) {
        shared.reject(peer, "forbidden", &why);
        slot.unless_evicted(deny(stream)).await;
        return None;
    }
    let accepting = async {
        let config = policy
            .tls_config()
            .ok_or("the web configuration file allows nothing that can be offered")?;
        ReceiverStream::accept_tls(stream, config).await
    };
    let outcome = tokio::select! {
        outcome = timeout(HANDSHAKE_TIMEOUT, accepting) => outcome,
        () = stop.cancelled() => return None,
        () = slot.evicted_after_grace(began) => {
            tracing::debug!(source = &*shared.source, peer, "connection closed: evicted before the end of its TLS handshake");
            return None;
        }
    };
    let failed = |detail: &str| shared.reject(peer, "tls", detail);
    match outcome {
        Ok(Ok(stream)) => return stream,
        Ok(Err(why)) => failed(&why),
        Err(_elapsed) => failed(&format!("no TLS handshake within {} s", HANDSHAKE_TIMEOUT.as_secs())),
    }
    None
}
