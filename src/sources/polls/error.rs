//! Errors of polls, with messages for `/apps` and the log.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

use crate::exposition::protobuf::{DecodeError, UnsupportedProtobuf};
use crate::store::{EmitError, Refused};
use crate::wire::ForeignFormat;

/// Error of a poll. Never contains a secret, nor long text or control characters from the target.
#[derive(Debug, thiserror::Error)]
pub(super) enum PollError {
    #[error("no response within {after:?} (timed out {phase})")]
    Timeout { after: Duration, phase: Phase },
    #[error("cannot look up {host}: {why}")]
    Lookup { host: String, why: io::Error },
    #[error("cannot connect to {address}: {why}")]
    Connect { address: SocketAddr, why: io::Error },
    #[error("cannot connect to {}: {why}", path.display())]
    ConnectUnix { path: PathBuf, why: io::Error },
    #[error("TLS with {host}: {why}")]
    Tls { host: String, why: String },
    #[error("cannot read {}: {why}", path.display())]
    File { path: PathBuf, why: String },
    #[error("not a valid HTTP response: {0}")]
    Http(String),
    #[error("the response has status {0}")]
    Status(StatusCode),
    #[error("more than {0} redirects")]
    Redirects(usize),
    #[error("redirected without a usable Location")]
    NoLocation,
    #[error("redirected to another host ({0}), which is not followed")]
    OtherHost(String),
    #[error("redirected from https to http, which is not followed")]
    Downgrade,
    #[error("the body is longer than {0} bytes (poll_external.max_body_bytes)")]
    TooLong(usize),
    #[error("the body is longer than {0} bytes once decompressed (poll_external.max_body_bytes)")]
    Bomb(usize),
    #[error("invalid gzip: {0}")]
    Gzip(io::Error),
    #[error("{0}")]
    Protobuf(#[from] DecodeError),
    #[error("{0}")]
    UnsupportedProtobuf(#[from] UnsupportedProtobuf),
    #[error("the body is not metrics but {0}")]
    NotMetrics(ForeignFormat),
    #[error("unknown Content-Encoding \"{coding}\", and not metrics as plain text: {why}")]
    ContentEncoding { coding: String, why: Box<Self> },
    #[error("the body is not an IPFS node's list of peers: {0}")]
    NotPeers(String),
    #[error("cannot record its one-shot events, they will be polled again: {0}")]
    Events(#[from] EmitError),
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("bug (panic), please report: {0}")]
    Panic(String),
}

impl PollError {
    /// An error of HTTP itself, with all causes.
    pub(super) fn http(error: &hyper::Error) -> Self {
        Self::Http(chain(error))
    }
}

/// Phase of a poll, for timeouts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Preparing,
    LookingUp,
    Connecting,
    Securing,
    Waiting,
    Reading,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preparing => "reading certificates or credentials",
            Self::LookingUp => "looking up the host",
            Self::Connecting => "connecting",
            Self::Securing => "in the TLS handshake",
            Self::Waiting => "waiting for the headers",
            Self::Reading => "reading the body",
        })
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
