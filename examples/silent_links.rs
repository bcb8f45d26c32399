//! Links to a bridge that never register, each with a key of its own, for `scripts/faults/hostile`.
//!
//!     cargo run --example silent_links -- HOST:PORT COUNT SECONDS
//!
//! They take any key of the bridge. SECONDS after the last was opened this prints the number of links that were opened, and for each reason that the bridge has closed
//! links with how many these were.

#![allow(clippy::print_stdout, reason = "a program for measurements prints")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, ConnectionError, Endpoint};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::client::AlwaysResolvesClientRawPublicKeys;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::{default_provider, sign::any_eddsa_type};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, Error, SignatureScheme};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Handshakes at a time: the bridge takes 512, and other clients need some.
const HANDSHAKES: usize = 64;

/// The protocol of registrations (docs/p2p.md).
const PROTOCOL: &[u8] = b"exporter-proxy-register/1";

/// The bytes of DER before a raw Ed25519 public key (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Takes any key.
#[derive(Debug)]
struct AnyKey;

impl ServerCertVerifier for AnyKey {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("links support TLS 1.3 only".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// The settings of a link with a new key.
fn client_config() -> anyhow::Result<ClientConfig> {
    let new = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow::anyhow!("the system gives no random bytes"))?;
    let pair = Ed25519KeyPair::from_pkcs8(new.as_ref()).map_err(|why| anyhow::anyhow!("the new key is refused: {why}"))?;
    let public = CertificateDer::from([&SPKI_PREFIX[..], pair.public_key().as_ref()].concat());
    let signing = any_eddsa_type(&PrivatePkcs8KeyDer::from(new.as_ref().to_vec()))?;
    let key = Arc::new(CertifiedKey::new(vec![public], signing));
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key)));
    tls.alpn_protocols = vec![PROTOCOL.to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// Opens a link, and returns the reason once it is closed.
async fn silent_link(endpoint: Endpoint, bridge: SocketAddr, permits: Arc<Semaphore>, tried: Arc<AtomicUsize>) -> anyhow::Result<String> {
    let handshaking = permits.acquire_owned().await?;
    let connection = endpoint.connect_with(client_config()?, bridge, "exporter-proxy")?.await;
    tried.fetch_add(1, Ordering::Relaxed);
    drop(handshaking);
    Ok(match connection?.closed().await {
        ConnectionError::ApplicationClosed(close) => String::from_utf8_lossy(&close.reason).into_owned(),
        why => why.to_string(),
    })
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bridge, count, seconds] = &arguments[..] else {
        anyhow::bail!("usage: silent_links HOST:PORT COUNT SECONDS");
    };
    let bridge: SocketAddr = bridge.parse().context("HOST:PORT")?;
    let count: usize = count.parse().context("COUNT")?;
    let seconds = Duration::from_secs(seconds.parse().context("SECONDS")?);
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let (permits, tried) = (Arc::new(Semaphore::new(HANDSHAKES)), Arc::new(AtomicUsize::new(0)));
    let mut links = JoinSet::new();
    for _ in 0..count {
        links.spawn(silent_link(endpoint.clone(), bridge, Arc::clone(&permits), Arc::clone(&tried)));
    }
    while tried.load(Ordering::Relaxed) < count {
        sleep(Duration::from_millis(50)).await;
    }
    sleep(seconds).await;
    let (mut connected, mut closed) = (count, BTreeMap::<String, usize>::new());
    while let Some(link) = links.try_join_next() {
        let why = link?.unwrap_or_else(|why| {
            connected -= 1;
            format!("not opened: {why}")
        });
        *closed.entry(why).or_default() += 1;
    }
    println!("{connected} connected");
    for (why, links) in closed {
        println!("{links} closed: {why}");
    }
    Ok(())
}
