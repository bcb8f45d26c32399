#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

fn of_proxy() -> HttpAccess {
    HttpAccess {
        ca_file: Some("ca.pem".into()),
        credentials_file: Some("/nowhere/credentials".into()),
        cert_file: Some("cert.pem".into()),
        key_file: Some("key.pem".into()),
        ..HttpAccess::default()
    }
}

#[test]
fn a_source_gets_no_credentials_and_no_certificate_of_the_proxy() {
    let access = of_proxy()
        .pinned_to(Some(CertificateDer::from(vec![0])))
        .to_source(&SourceAccess::default());
    assert_eq!(access.tls_files(), (Some(Path::new("ca.pem")), None));
    assert_eq!((access.authorization().unwrap(), access.credential()), (None, None));
    assert_eq!(access.pinned, None);
}

#[test]
fn a_source_gets_what_its_own_options_name() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "user:password\n").unwrap();
    let source = SourceAccess {
        source_credentials_file: Some(file.path().into()),
        source_cert_file: Some("source.pem".into()),
        source_key_file: Some("source.key".into()),
        ..SourceAccess::default()
    };
    let access = of_proxy().to_source(&source);
    assert_eq!(access.authorization().unwrap().unwrap(), "Basic dXNlcjpwYXNzd29yZA==");
    assert_eq!(access.tls_files().1, Some((Path::new("source.pem"), Path::new("source.key"))));
}

#[test]
fn a_hint_names_the_options_of_the_server_that_asks() {
    let asks = |challenges: &[&'static str]| {
        let values = challenges
            .iter()
            .map(|challenge| (WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        values.collect::<HeaderMap>()
    };
    let (proxy, source) = (of_proxy(), of_proxy().to_source(&SourceAccess::default()));
    let basic = asks(&["Basic realm=\"x\""]);
    assert_eq!(proxy.hint(&basic), "; set --credentials-file or EXPORTER_PROXY_CREDENTIALS");
    assert_eq!(source.hint(&basic), "; set --source-credentials-file");
    assert_eq!(source.hint(&asks(&["Bearer"])), "; set --source-token-file");
    let both = asks(&["Basic", "Bearer"]);
    assert_eq!(source.hint(&both), "; set --source-credentials-file or --source-token-file");
    assert_eq!((proxy.hint(&asks(&[])), source.hint(&asks(&["Digest"]))), ("", ""));
}
