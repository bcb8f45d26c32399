//! HTTP/1.1 over any byte stream: the service, the connection and what became of it, limits, effective client address. Knows no route.
//!
//! A stream comes in through [`HttpService::serve`]. Below HTTP it is wrapped twice: the socket wrapper counts bytes and sees the end of file,
//! errors and stalls; the turn wrapper above it knows where a request begins and where a response has been written. Each request
//! carries a [`Connection`], through which a handler learns who asks and has itself told what became of its response.

use std::time::Duration;

use ipnet::IpNet;

mod access;
mod body;
mod client;
mod connection;
mod connection_state;
mod delivery;
mod http_io;
mod lingering_close;
pub mod reply;
mod response_ack;
mod same_site;
mod server;
mod service;
mod shared_body;
mod stalled_responses;
mod stats;
mod timer;
mod tracked_body;
mod transport_io;

#[cfg(test)]
mod tests;

pub use access::{allow_from, may_write};
pub use body::{BodyError, BodyLimit, MemoryBudget, drain_body, read_body};
pub use client::{Client, PeerAddr, effective_client};
pub use connection::{Connection, RequestObserver, SendQueue};
pub use delivery::{Delivery, Fate};
pub use response_ack::ResponseAck;
pub use server::Server;
pub use service::{ConnectionInfo, HttpService};
pub use shared_body::{ResponseMemory, SharedBody, Slices};
pub use stalled_responses::{MAX_STALLED_BYTES, StalledResponses};
pub use stats::HttpStats;

/// Bytes of a request's head, and of a piece of a body that is read at once: cookies and a long query fit, a flood does not.
pub const MAX_HEAD: usize = 64 * 1024;

/// How long a connection may idle between requests. At least ten minutes, because closing takes the chance to see the next request, which
/// is what confirms the last response; Prometheus itself lets go after five.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(15 * 60);

/// Networks of clients with special rights, replaced as a whole by a configuration reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Clients that may write (`http.write_from`).
    pub write_from: Vec<IpNet>,
    /// Reverse proxies whose X-Forwarded-For and X-Real-Ip headers are evaluated (`http.trusted_proxies`).
    pub trusted_proxies: Vec<IpNet>,
}

/// How long a client may keep us waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
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
            head: Duration::from_secs(30),
            body_stall: Duration::from_secs(30),
            write_stall: Duration::from_secs(60),
            idle: KEEP_ALIVE_IDLE,
            lingering_close: Duration::from_secs(5),
        }
    }
}
