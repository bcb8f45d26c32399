//! Rights of files with keys, passwords and tokens.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::harness::{Proxy, until};
use crate::process::{Process, config, program};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A file with this mode.
fn file(directory: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    set_mode(&path, mode);
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn check(config: &Path) -> (bool, String) {
    let output = program(&["check", "--config", config.to_str().unwrap()]).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

/// The text of the `[bridge]` section with a secret file.
fn bridge(directory: &Path, secret: &Path) -> String {
    let (key, targets) = (directory.join("bridge.key"), directory.join("targets.json"));
    format!(
        "bridge.http_listen = \"127.0.0.1:0\"\nbridge.quic_listen = \"127.0.0.1:0\"\nbridge.key_file = {key:?}\n\
         bridge.targets_file = {targets:?}\nbridge.secret_file = {secret:?}\n"
    )
}

#[test]
fn a_secret_that_all_can_read_is_a_warning_and_with_secrets_strict_refused() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "secret", SECRET, 0o644);
    let lenient = bridge(directory.path(), &secret);
    let path = config(directory.path(), &lenient);
    let warning = format!(
        "bridge.secret_file: every user of this machine can read or change {} (mode 0644)",
        secret.display()
    );
    let (valid, printed) = check(&path);
    assert!(valid && printed.contains(&format!("warning: {warning}")), "{printed}");
    let mut process = Process::command("bridge", &path);
    process.line(&warning);
    process.line("proxies register at udp");
    process.stop();

    config(directory.path(), &format!("secrets.strict = true\n{lenient}"));
    let (valid, printed) = check(&path);
    assert!(!valid && printed.contains(&warning), "{printed}");
    let refused = program(&["bridge", "--config", path.to_str().unwrap()]).output().unwrap();
    let log = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{log}");
    assert!(log.contains("secrets.strict refuses") && log.contains(&warning), "{log}");

    for mode in [0o640, 0o600] {
        set_mode(&secret, mode);
        let (valid, printed) = check(&path);
        assert!(valid && !printed.contains("every user"), "{printed}");
        let mut process = Process::command("bridge", &path);
        process.line("proxies register at udp");
        assert!(!process.stop().contains("every user"));
    }
}

#[test]
fn a_secret_in_a_configuration_that_all_can_read_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let endpoint = "{ url = \"http://127.0.0.1:1\", basic_auth = { username = \"u\", password = \"p\" } }";
    let polls = format!("poll_external.poll_other_scrape_endpoints = true\npoll_external.other_scrape_endpoints = [{endpoint}]\n");
    for (text, key) in [
        (format!("bridge.secret = \"{SECRET}\"\n"), "bridge.secret"),
        (polls, "poll_external.other_scrape_endpoints"),
    ] {
        let path = config(directory.path(), &text);
        set_mode(&path, 0o644);
        let warning = format!("{key}: every user of this machine can read or change {}", path.display());
        let (valid, printed) = check(&path);
        assert!(valid && printed.contains(&warning), "{printed}");
        set_mode(&path, 0o640);
        let (valid, printed) = check(&path);
        assert!(valid && !printed.contains("every user"), "{printed}");
    }
}

#[test]
fn the_key_of_a_certificate_for_polls_is_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let key = file(directory.path(), "client.key", "a key", 0o644);
    let endpoint = format!("{{ url = \"https://127.0.0.1:1\", cert_file = \"/c.pem\", key_file = {key:?} }}");
    let polls = format!("poll_external.poll_other_scrape_endpoints = true\npoll_external.other_scrape_endpoints = [{endpoint}]\n");
    let path = config(directory.path(), &polls);
    let warning = format!(
        "poll_external.other_scrape_endpoints: every user of this machine can read or change {}",
        key.display()
    );
    assert!(check(&path).1.contains(&warning));
    set_mode(&key, 0o600);
    assert!(!check(&path).1.contains("every user"));
}

/// The lines of a replica whose engine nothing listens at.
#[cfg(feature = "cluster")]
fn cluster(password: &Path, strict: bool) -> String {
    format!(
        "secrets.strict = {strict}\nevents.enabled = false\ncluster.url = \"redis://127.0.0.1:1\"\ncluster.password_file = {password:?}\n"
    )
}

#[cfg(feature = "cluster")]
#[test]
fn the_password_of_the_engine_is_a_secret() {
    let directory = tempfile::tempdir().unwrap();
    let password = directory.path().join("password");
    let path = config(directory.path(), &cluster(&password, false));
    let (valid, printed) = check(&path);
    let missing = format!("cluster.password_file: cannot read {}: No such file", password.display());
    assert!(!valid && printed.contains(&missing), "{printed}");
    file(directory.path(), "password", "word", 0o644);
    let warning = format!(
        "cluster.password_file: every user of this machine can read or change {} (mode 0644)",
        password.display()
    );
    let (valid, printed) = check(&path);
    assert!(valid && printed.contains(&format!("warning: {warning}")), "{printed}");
    config(directory.path(), &cluster(&password, true));
    let (valid, printed) = check(&path);
    assert!(!valid && printed.contains(&warning), "{printed}");
    let refused = program(&["run", "--config", path.to_str().unwrap()]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    set_mode(&password, 0o640);
    let (valid, printed) = check(&path);
    assert!(valid && !printed.contains("every user"), "{printed}");
}

#[cfg(feature = "cluster")]
#[test]
fn the_password_of_the_engine_follows_a_reload_of_secrets_strict() {
    let directory = tempfile::tempdir().unwrap();
    let password = file(directory.path(), "password", "word", 0o600);
    let path = config(directory.path(), &cluster(&password, false));
    let mut process = Process::start(&path);
    process.line("cannot use the engine: cannot connect to 127.0.0.1:1");
    config(directory.path(), &cluster(&password, true));
    process.signal(nix::sys::signal::Signal::SIGHUP);
    process.line("configuration reloaded");
    set_mode(&password, 0o644);
    process.line("cannot use the engine: ");
    assert!(process.log().contains("mode 0644 lets every user"), "{}", process.log());
    config(directory.path(), &cluster(&password, false));
    process.signal(nix::sys::signal::Signal::SIGHUP);
    process.line("configuration reloaded");
    process.line("cannot use the engine: cannot connect to 127.0.0.1:1");
    process.stop();
}

#[test]
fn a_reload_refuses_what_the_start_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let token = file(directory.path(), "token", "word", 0o600);
    let text = |strict: bool| {
        format!(
            "secrets.strict = {strict}\npoll_external.poll_other_scrape_endpoints = true\n\
             poll_external.other_scrape_endpoints = [{{ url = \"http://127.0.0.1:1\", bearer_token_file = {token:?} }}]\n"
        )
    };
    let path = config(directory.path(), &text(true));
    let mut process = Process::start(&path);
    process.line("serving http://");
    set_mode(&token, 0o604);
    process.signal(nix::sys::signal::Signal::SIGHUP);
    let refused = process.line("configuration not reloaded");
    assert!(
        refused.contains("poll_external.other_scrape_endpoints: every user of this machine"),
        "{refused}"
    );
    config(directory.path(), &text(false));
    process.signal(nix::sys::signal::Signal::SIGHUP);
    process.line("poll_external.other_scrape_endpoints: every user of this machine");
    process.line("configuration reloaded");
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poll_does_not_send_a_token_that_all_can_read_if_secrets_are_strict() {
    let directory = tempfile::tempdir().unwrap();
    let target = Proxy::start().await;
    let token = file(directory.path(), "token", "word", 0o644);
    let proxy = Proxy::with(&format!(
        "secrets.strict = true\npoll_external.poll_other_scrape_endpoints = true\npoll_external.poll_interval = 1\n\
         poll_external.other_scrape_endpoints = [{{ url = \"http://{}/healthz\", bearer_token_file = {token:?}, name = \"t\" }}]",
        target.http
    ))
    .await;
    until("/apps says why the poll failed", async || {
        proxy.text("/apps/t").await.contains("mode 0644 lets every user")
    })
    .await;
    set_mode(&token, 0o640);
    until("the poll gets further than its token", async || {
        !proxy.text("/apps/t").await.contains("mode 0644")
    })
    .await;
}

#[test]
fn a_key_may_be_readable_for_its_group_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let secret = file(directory.path(), "secret", SECRET, 0o600);
    let path = config(directory.path(), &bridge(directory.path(), &secret));
    let key = file(directory.path(), "bridge.key", SECRET, 0o640);
    for (mode, taken) in [(0o640, true), (0o440, true), (0o604, false), (0o660, false)] {
        set_mode(&key, mode);
        let (valid, printed) = check(&path);
        assert_eq!(valid, taken, "{mode:04o}: {printed}");
        assert_eq!(printed.contains(&format!("mode {mode:04o} lets other users")), !taken, "{printed}");
    }
}
