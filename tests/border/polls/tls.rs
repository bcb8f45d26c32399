//! Whom polls believe.

use std::path::PathBuf;

use exporter_proxy::sources::polls::{Endpoint, PollSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

use super::rig::{Rig, endpoint, poll_as, settings};
use super::target::{Connection, Target};

/// A folder of certificates.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Writes PEM text into a file that becomes an endpoint's `ca_file`.
    fn file(&self, pem: &str) -> PathBuf {
        let path = self.0.path().join("ca.pem");
        std::fs::write(&path, pem).unwrap();
        path
    }
}

fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

async fn serve(certificate: CertificateDer<'static>, key: &KeyPair) -> Target {
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = rustls::crypto::ring::default_provider();
    let config = rustls::ServerConfig::builder_with_provider(provider.into())
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Target::serve_tls(config, |mut connection: Connection| async move {
        loop {
            connection.request().await?;
            connection.answer("200 OK", "", b"a 1\n").await?;
        }
    })
    .await
}

/// A target with a certificate of `ca` for 127.0.0.1.
async fn signed(ca: &CertifiedIssuer<'static, KeyPair>) -> Target {
    let key = KeyPair::generate().unwrap();
    let certificate = names(&["127.0.0.1"]).signed_by(&key, ca).unwrap();
    serve(certificate.der().clone(), &key).await
}

fn secure(target: &Target, ca_file: Option<PathBuf>) -> Endpoint {
    let mut endpoint = endpoint(&format!("https://{}/", target.address));
    endpoint.ca_file = ca_file;
    endpoint
}

async fn refused(settings: PollSettings, why: &str) {
    let fault = poll_as(settings).await.unwrap_err();
    assert!(fault.starts_with("TLS with 127.0.0.1: ") && fault.contains(why), "{fault}");
}

#[tokio::test]
async fn a_ca_of_ones_own() {
    let (ca, folder) = (ca("ours"), Folder::new());
    let target = signed(&ca).await;
    let file = folder.file(&ca.pem());
    assert_eq!(poll_as(settings([secure(&target, Some(file))])).await.unwrap(), "a 1\n");
}

#[tokio::test]
async fn another_ca_and_the_systems_do_not_vouch_for_it() {
    let (target, folder) = (signed(&ca("theirs")).await, Folder::new());
    refused(settings([secure(&target, Some(folder.file(&ca("ours").pem())))]), "UnknownIssuer").await;
    let fault = poll_as(settings([secure(&target, None)])).await.unwrap_err();
    assert!(
        fault.contains("UnknownIssuer") || fault.contains("the system has no CA certificates"),
        "{fault}"
    );
}

#[tokio::test]
async fn any_certificate_is_taken_only_when_that_is_asked_for() {
    let key = KeyPair::generate().unwrap();
    let mut params = names(&["elsewhere"]);
    params.not_after = date_time_ymd(2001, 1, 1);
    let target = serve(params.self_signed(&key).unwrap().der().clone(), &key).await;
    let mut settings = settings([secure(&target, None)]);
    settings.allow_invalid_certs = true;
    assert_eq!(poll_as(settings).await.unwrap(), "a 1\n");
}

#[tokio::test]
async fn a_certificate_in_the_file_may_vouch_for_itself_but_not_for_another_name_or_day() {
    let folder = Folder::new();
    for (name, year, why) in [
        ("127.0.0.1", 2999, None),
        ("127.0.0.2", 2999, Some("not valid for name")),
        ("127.0.0.1", 2001, Some("xpired")),
    ] {
        let (key, mut params) = (KeyPair::generate().unwrap(), names(&[name]));
        // As openssl makes it: a server's certificate that calls itself a CA.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let target = serve(certificate.der().clone(), &key).await;
        let settings = settings([secure(&target, Some(folder.file(&certificate.pem())))]);
        match why {
            None => assert_eq!(poll_as(settings).await.unwrap(), "a 1\n"),
            Some(why) => refused(settings, why).await,
        }
    }
}

#[tokio::test]
async fn a_renewed_ca_file_is_read_without_a_restart() {
    let (good, folder) = (ca("ours"), Folder::new());
    let target = signed(&good).await;
    let endpoint = secure(&target, Some(folder.file("nothing of the kind")));
    let name = endpoint.name.to_string();
    let rig = Rig::start(settings([endpoint]));
    assert!(rig.fault(&name).await.contains("no PEM certificate in the file"));
    folder.file(&good.pem());
    rig.app(&name, |app| app.fault.is_none() && app.updated.is_some()).await;
}

#[tokio::test]
async fn a_target_that_does_not_speak_tls() {
    let target = Target::serve(|mut connection: Connection| async move {
        // The first byte of a handshake is no request, and servers say so without waiting for the end of a head.
        connection.io.read_u8().await?;
        connection.answer("400 Bad", "", b"").await?;
        connection.until_closed().await
    })
    .await;
    let fault = poll_as(settings([secure(&target, None)])).await.unwrap_err();
    assert!(fault.starts_with("TLS with "), "{fault}");
    assert_eq!(target.requests().len(), 0);
}

#[tokio::test]
async fn a_target_that_does_not_answer_a_handshake() {
    let target = Target::serve(|mut connection: Connection| async move { connection.until_closed().await }).await;
    let mut hasty = secure(&target, None);
    // Long enough for a busy machine to connect.
    hasty.timeout = std::time::Duration::from_secs(2);
    let fault = poll_as(settings([hasty])).await.unwrap_err();
    assert_eq!(fault, "no response within 2s (timed out in the TLS handshake)");
}
