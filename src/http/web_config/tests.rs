#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

/// Hash of `secret` at the lowest cost.
const HASH: &str = "$2b$04$NdtBAEROJw2PmgWIkNLiw.gcPkgCoTsZhYmTrDjN2M7PF100NR./u";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/web_config")
}

/// Reads a file of this text, beside the certificates of the fixtures.
fn read(text: &str) -> Result<CheckedWebConfig, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    for file in ["server.pem", "server-key.pem"] {
        std::fs::copy(fixtures().join(file), folder.path().join(file)).unwrap();
    }
    let path = folder.path().join("web.yml");
    std::fs::write(&path, text).unwrap();
    let shown = format!("{}:", path.display());
    let lines = |lines: Vec<String>| lines.iter().map(|line| line.replacen(&shown, "", 1)).collect::<Vec<_>>();
    match read_web_config(&path).outcome {
        Ok(checked) => Ok(CheckedWebConfig {
            warnings: lines(checked.warnings),
            ..checked
        }),
        Err(faults) => Err(lines(faults.0)),
    }
}

#[test]
fn all_faults_are_reported_with_their_places() {
    let text = "tls_server_config:\n  cert_file: nowhere.pem\n  keyfile: server-key.pem\n  min_version: TLS9\nhttp_server_config:\n  http2: 5\n\
                basic_auth_users:\n  alice: hunter2\n";
    let faults = read(text).unwrap_err();
    for expected in [
        "2:14: cert_file: ",
        "2:3: tls_server_config: key and key_file are missing",
        "3:3: tls_server_config: unknown key \"keyfile\"; did you mean key_file?",
        "4:16: min_version: unknown version \"TLS9\"",
        "6:10: http2: expected true or false, without quotes, found a number",
        "8:10: basic_auth_users: alice: the value is too short",
    ] {
        assert!(
            faults.iter().any(|fault| fault.starts_with(expected)),
            "{expected} is missing in {faults:#?}"
        );
    }
    assert_eq!(faults.len(), 6, "{faults:#?}");
    assert!(!faults.concat().contains("hunter2"));
}

#[test]
fn the_faults_of_the_last_file_have_no_place_in_it() {
    let missing = Path::new("/nowhere/web.yml");
    let faults = read_web_config(missing).outcome.unwrap_err().to_string();
    assert!(
        faults.starts_with("/nowhere/web.yml: cannot read the web configuration file: "),
        "{faults}"
    );
    let folder = tempfile::tempdir().unwrap();
    let faults = read_web_config(folder.path()).outcome.unwrap_err().to_string();
    assert!(faults.ends_with("it is a directory and no regular file"), "{faults}");
}

#[test]
fn what_rustls_lacks_is_a_warning() {
    let text =
        "tls_server_config:\n  cert_file: server.pem\n  key_file: server-key.pem\n  min_version: TLS10\n  curve_preferences: [CurveP521]\n";
    let checked = read(text).unwrap();
    let expected = [
        "2:3: tls_server_config: no client can connect",
        "4:16: min_version: TLS10 is not offered",
        "5:23: curve_preferences: CurveP521 is not offered",
    ];
    assert_eq!(checked.warnings.len(), expected.len(), "{:#?}", checked.warnings);
    for (warning, expected) in checked.warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}");
    }
    assert!(checked.config.is_tls() && checked.config.tls.unwrap().config.is_none());
}

#[test]
fn a_file_has_the_effect_that_it_says() {
    let text = format!(
        "tls_server_config: {{cert_file: server.pem, key_file: server-key.pem, min_version: TLS13, curve_preferences: [CurveP384]}}\n\
         http_server_config:\n  headers: {{X-Frame-Options: deny, X-XSS-Protection: }}\n\
         rate_limit: {{interval: 100ms, burst: 7}}\nbasic_auth_users: {{alice: {HASH}}}\n"
    );
    let CheckedWebConfig { config, warnings } = read(&text).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    let tls = config.tls.as_ref().unwrap().config.as_ref().unwrap();
    let groups: Vec<_> = tls.crypto_provider().kx_groups.iter().map(|group| group.name()).collect();
    assert_eq!(groups, [rustls::NamedGroup::secp384r1]);
    assert_eq!(tls.alpn_protocols, [b"http/1.1"]);
    assert_eq!(config.headers, [("x-frame-options".parse().unwrap(), "deny".parse().unwrap())]);
    let interval = Duration::from_millis(100);
    assert_eq!(config.rate_limit, Some(RateLimit { interval, burst: 7 }));
    assert!(config.users["alice"].matches(b"secret") && !config.users["alice"].matches(b"Secret"));
    assert!(!format!("{config:?}").contains("$2b$"));
}
