//! TCP with TLS or Noise, and QUIC.

use std::io;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use futures_util::{AsyncRead, AsyncWrite};
use libp2p_core::Transport as _;
use libp2p_core::muxing::StreamMuxerBox;
use libp2p_core::transport::Boxed;
use libp2p_core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade, UpgradeInfo, Version};
use libp2p_identity::{Keypair, PeerId};
use libp2p_swarm::StreamProtocol;

/// Timeout of a connection with its handshakes.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of the streams of a connection over TCP: those of Bitswap, identify and ping in both directions, and some to refuse. Each has a
/// window of 256 KiB, which the library keeps in memory.
const MAX_STREAMS: usize = 32;

/// The transport of connections that are encrypted and have streams.
///
/// # Errors
/// If the key cannot be used.
pub(super) fn transport(key: &Keypair) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let mut yamux = libp2p_yamux::Config::default();
    yamux.set_max_num_streams(MAX_STREAMS);
    let tcp = libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default().nodelay(true))
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(key)?)
        .multiplex(yamux)
        .timeout(HANDSHAKE_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let mut quic = libp2p_quic::Config::new(key);
    quic.max_concurrent_stream_limit = 32;
    let quic = libp2p_quic::tokio::Transport::new(quic).map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let either = tcp.or_transport(quic).map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    Ok(either.boxed())
}

/// The negotiation of TLS or Noise. Nodes offer both, as a rule.
#[derive(Clone)]
struct Security {
    tls: libp2p_tls::Config,
    noise: libp2p_noise::Config,
}

impl Security {
    fn new(key: &Keypair) -> io::Result<Self> {
        Ok(Self {
            tls: libp2p_tls::Config::new(key).map_err(io::Error::other)?,
            noise: libp2p_noise::Config::new(key).map_err(io::Error::other)?,
        })
    }
}

/// The name of Noise; the other protocol is TLS.
const NOISE: StreamProtocol = StreamProtocol::new("/noise");
const TLS: StreamProtocol = StreamProtocol::new("/tls/1.0.0");

impl UpgradeInfo for Security {
    type Info = StreamProtocol;
    type InfoIter = [StreamProtocol; 2];

    fn protocol_info(&self) -> Self::InfoIter {
        [TLS, NOISE]
    }
}

/// An encrypted stream.
type Encrypted<C> = Either<TlsStream<C>, libp2p_noise::Output<C>>;
type TlsStream<C> = libp2p_tls::TlsStream<C>;

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> InboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Encrypted<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn upgrade_inbound(self, socket: C, protocol: StreamProtocol) -> Self::Future {
        async move {
            if protocol == NOISE {
                let upgrade = self.noise.upgrade_inbound(socket, "/noise").await;
                upgrade
                    .map(|(peer, stream)| (peer, Either::Right(stream)))
                    .map_err(io::Error::other)
            } else {
                let upgrade = self.tls.upgrade_inbound(socket, "/tls/1.0.0").await;
                upgrade.map(|(peer, stream)| (peer, Either::Left(stream))).map_err(io::Error::other)
            }
        }
        .boxed()
    }
}

impl<C: AsyncRead + AsyncWrite + Send + Unpin + 'static> OutboundConnectionUpgrade<C> for Security {
    type Output = (PeerId, Encrypted<C>);
    type Error = io::Error;
    type Future = BoxFuture<'static, Result<Self::Output, io::Error>>;

    fn upgrade_outbound(self, socket: C, protocol: StreamProtocol) -> Self::Future {
        async move {
            if protocol == NOISE {
                let upgrade = self.noise.upgrade_outbound(socket, "/noise").await;
                upgrade
                    .map(|(peer, stream)| (peer, Either::Right(stream)))
                    .map_err(io::Error::other)
            } else {
                let upgrade = self.tls.upgrade_outbound(socket, "/tls/1.0.0").await;
                upgrade.map(|(peer, stream)| (peer, Either::Left(stream))).map_err(io::Error::other)
            }
        }
        .boxed()
    }
}
