//! Dialling: from a key to a connection whose other end has shown that key.

use std::time::Duration;

use super::pipe::PipeError;
use crate::peer::PublicKey;

/// Why nobody was reached.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    /// Nobody in the network knows the key.
    #[error("{0} is not announced in HyperDHT")]
    Unknown(PublicKey),
    /// It did not answer in time: it is gone, or does not let us in, which looks the same.
    #[error("{0} did not answer within {1:?}")]
    Silent(PublicKey, Duration),
    /// It refused.
    #[error("{0} refused: {1}")]
    Refused(PublicKey, String),
    /// Both ends are behind translators of addresses, and no way through was found.
    #[error("{0} is behind a firewall and no way through was found: {1}")]
    Unreachable(PublicKey, String),
    /// The connection broke while it was made.
    #[error("{0}: {1}")]
    Pipe(PublicKey, PipeError),
}
