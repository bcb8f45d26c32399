//! Versions of the protocol, and their negotiation for a stream.

use std::convert::Infallible;
use std::future::{Ready, ready};

use libp2p_core::upgrade::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p_swarm::{Stream, StreamProtocol};

/// The version with presences, the only one in which an answer can say that a block is missing.
const V1_2: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.2.0");
const V1_1: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.1.0");
const V1_0: StreamProtocol = StreamProtocol::new("/ipfs/bitswap/1.0.0");

/// The prefix of all versions.
const NAME: &str = "/ipfs/bitswap/";

/// Returns true for a version that the monitor reads.
pub(super) fn is_supported(protocol: &str) -> bool {
    [V1_2, V1_1, V1_0].iter().any(|known| known.as_ref() == protocol)
}

/// Returns true for a version of Bitswap that the monitor cannot read, such as 1.3.0.
pub(super) fn is_newer(protocol: &str) -> bool {
    protocol.starts_with(NAME) && !is_supported(protocol)
}

/// Negotiates a stream on which a peer sends messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Receive;

impl UpgradeInfo for Receive {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 3];

    fn protocol_info(&self) -> Self::InfoIter {
        [V1_2, V1_1, V1_0]
    }
}

impl InboundUpgrade<Stream> for Receive {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}

/// Negotiates a stream for answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer;

impl UpgradeInfo for Answer {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 1];

    fn protocol_info(&self) -> Self::InfoIter {
        [V1_2]
    }
}

impl OutboundUpgrade<Stream> for Answer {
    type Output = Stream;
    type Error = Infallible;
    type Future = Ready<Result<Stream, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, _: StreamProtocol) -> Self::Future {
        ready(Ok(stream))
    }
}
