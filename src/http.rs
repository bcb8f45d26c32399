//! HTTP/1.1 over any byte stream: service, connections, delivery outcomes, limits, effective client address. Without routes.
//!
//! [`HttpService::serve`] serves a byte stream. Below HTTP it has two wrappers: `TransportIo` counts bytes and detects the end of file,
//! errors and stalls; `HttpIo` above it detects the begin of a request and the end of a written response. Each request carries a
//! [`Connection`], which gives a handler the client's address and the delivery outcome of its response.

use std::time::Duration;

mod accept;
mod access;
mod authentication;
mod authorization;
mod body;
mod browsers;
mod client;
mod connection;
mod connection_state;
mod delivery;
mod file_watch;
mod http_io;
mod layer;
mod lingering_close;
mod public_url;
pub mod reply;
mod response_ack;
mod routes;
mod self_wakes;
mod server;
mod server_metrics;
mod service;
mod shared_body;
mod stalled_responses;
mod stats;
mod timer;
mod tls_signatures;
mod tracked_body;
mod transport_io;
mod web;
mod web_config;

#[cfg(test)]
mod tests;

pub use accept::{accepts, path_segment};
pub use access::{
    Access, AccessControl, AccessDenied, AccessRule, AccessRules, AppPattern, Identity, Login, Need, Role, Sender, Token, Tokens,
    token_reload,
};
pub use authorization::{Authorization, Credentials};
pub use body::{BodyError, BodyLimit, MemoryBudget, drain_body, read_body, read_kept_body};
pub use browsers::is_from_browser;
pub use client::{Client, PeerAddr, effective_client};
pub use connection::{Connection, RequestObserver, SendQueue};
pub use delivery::{Delivery, DeliveryOutcome};
pub use public_url::{PublicUrl, Scheme};
pub use response_ack::ResponseAck;
pub use routes::{Permission, Routes};
pub use server::Server;
pub use server_metrics::{Connections, ServerMetrics};
pub(crate) use service::whole_response;
pub use service::{ConnectionInfo, HttpService, JSON_REFUSAL, OnRefused};
pub use shared_body::{ResponseMemory, SharedBody, Slices};
pub use stalled_responses::{MAX_STALLED_BYTES, StalledResponses};
pub use stats::HttpStats;
pub(crate) use tls_signatures::verify_signatures;
pub use web::WebPolicy;
pub use web_config::{CheckedWebConfig, WebConfig, WebConfigFaults, WebConfigReading, read_web_config};

/// Bytes of a request's head, and of a piece of a body that is read at once: cookies and a long query fit, a flood does not.
pub const MAX_HEAD: usize = 64 * 1024;

/// Idle timeout between requests. At least ten minutes: the next request acks the last response, and closing earlier would prevent that.
/// Prometheus itself closes after five.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15 * 60);

/// Timeouts of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// From the acceptance of an encrypted connection to the end of its handshake.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its head.
    pub head: Duration,
    /// Between two pieces of a request's body; a whole body may take five times that.
    pub body_stall: Duration,
    /// Without the client taking a byte of a response.
    pub write_stall: Duration,
    /// Between a response and the next request.
    pub idle: Duration,
    /// For the client's end of file after we have closed, and again for its acknowledgements.
    pub lingering_close: Duration,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
            idle: KEEP_ALIVE_IDLE,
            lingering_close: Duration::from_secs(5),
        }
    }
}
