//! The commands of every day: status, top, sd-config, keygen --show, --listen, -c, help.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use http::Request;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::harness::{Proxy, ask, free_port, peer};
use crate::links::TestBridge;
use crate::process::{Process, config, program};

/// Runs the program; whether it succeeded, its standard output, and its standard error.
async fn ran(arguments: &[&str]) -> (bool, String, String) {
    let mut command = program(arguments);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_top_show_what_runs() {
    let proxy = Proxy::start().await;
    let url = format!("http://{}", proxy.http);
    assert_eq!(proxy.send(Request::put("/apps/good/metrics"), "m 1\nn 2\n").await.status(), 200);
    assert_eq!(proxy.send(Request::put("/apps/bad/metrics"), "m{ 1\n").await.status(), 400);
    let (good, text, why) = ran(&["status", "--from", &url]).await;
    assert!(good, "{why}");
    for part in [
        ", proxy at 127.0.0.1:",
        ", ready\n1 app: 1 ok, 0 stale, 0 with faults; 2 series, ",
        "\nLimits:\n  store.max_apps: 1 of ",
        "\nRefused:\n  ",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let (good, text, _) = ran(&["status", "--json", "--from", &url]).await;
    let status: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(good && status["role"] == "proxy" && status["apps"]["series"] == 2, "{text}");
    let (good, text, why) = ran(&["top", "--from", &url, "--sort", "name"]).await;
    assert!(good, "{why}");
    assert!(text.contains("1 app: 1 ok") && text.contains("\ngood  "), "{text}");
    assert!(!text.contains('\u{1b}'), "no terminal, no control sequences: {text}");
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), "").await;
    let url = format!("http://{}", bridge.http);
    for command in ["status", "top"] {
        let (good, text, why) = ran(&[command, "--from", &url]).await;
        assert!(
            good && text.contains(", bridge at ") && text.contains("0 aliases, 0 connected"),
            "{text}{why}"
        );
    }
}

/// A server that answers its first requests with these bodies, and none after them. It reports each request that it does not answer.
async fn hanging(answers: &'static [&'static str]) -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (report, hangs) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut answers, mut held) = (answers.iter(), Vec::new());
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while request.is_empty() || request.starts_with(b"GET ") && !request.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut request).await.unwrap() > 0);
            }
            if let Some(body) = answers.next() {
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            } else {
                held.push(stream);
                let _ = report.send(());
            }
        }
    });
    (address, hangs)
}

/// Time in which a command must end, less than the 30 s after which a request fails by itself.
const END: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_top_while_the_proxy_hangs() {
    let Some(script) = peer("script") else { return };
    let status = r#"{"role": "proxy", "version": "1", "uptime_seconds": 1, "ready": true}"#;
    let apps = r#"{"time": "2026-01-01T00:00:00Z", "apps": []}"#;
    let answers: &'static [&'static str] = vec![status, apps].leak();
    for (answers, is_shown) in [(&[][..], false), (answers, true)] {
        let (address, mut hangs) = hanging(answers).await;
        // On a terminal of its own.
        let top = format!(
            "exec '{}' top --interval 1 --from http://{address}",
            env!("CARGO_BIN_EXE_exporter-proxy")
        );
        let mut command = tokio::process::Command::new(&script);
        command.args(["-qefc", &top, "/dev/null"]).kill_on_drop(true);
        let mut running = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        hangs.recv().await.unwrap();
        running.stdin.as_mut().unwrap().write_all(b"\x03").await.unwrap();
        let ended = tokio::time::timeout(END, running.wait_with_output())
            .await
            .expect("Ctrl-C ends it")
            .unwrap();
        let shown = String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(0), "{shown}");
        assert_eq!(shown.contains("\u{1b}[?1049h"), is_shown, "{shown}");
        assert_eq!(
            shown.trim_end().ends_with("\u{1b}[?1049l"),
            is_shown,
            "the screen is as before: {shown}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_recording_while_the_stream_does_not_greet() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (address, mut hangs) = hanging(&[]).await;
        let directory = tempfile::tempdir().unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
        command.args(["tap", "--from", &address.to_string(), "--record"]);
        let mut running = command
            .arg(directory.path().join("trace.jsonl.gz"))
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        hangs.recv().await.unwrap();
        kill(Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()), signal).unwrap();
        let ended = tokio::time::timeout(END, running.wait())
            .await
            .expect("the signal ends it")
            .unwrap();
        assert_eq!(ended.code(), Some(0), "{signal}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sd_config_is_accepted_by_promtool() {
    let proxy = Proxy::start().await;
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), "").await;
    let directory = tempfile::tempdir().unwrap();
    for address in [proxy.http, bridge.http] {
        let url = format!("http://{address}");
        let (good, text, why) = ran(&["sd-config", "--from", &url]).await;
        assert!(good && text.contains(&format!("- url: \"{url}/sd\"")), "{text}{why}");
        let Some(promtool) = peer("promtool") else { continue };
        let file = directory.path().join("prometheus.yml");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(promtool);
        command.arg("check").arg("config").arg(&file);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    let (good, _, why) = ran(&["sd-config", "--from", "unix:/nowhere"]).await;
    assert!(!good && why.contains("Prometheus cannot scrape a Unix socket"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_find_the_server_in_a_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = config(directory.path(), "");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("127.0.0.1:0", &format!("0.0.0.0:{port}"), 1)).unwrap();
    let file = file.to_str().unwrap();
    let mut process = Process::start(Path::new(file));
    process.line("serving http://");
    let metrics = directory.path().join("m.txt");
    std::fs::write(&metrics, "m 1\n").unwrap();
    for (arguments, expected) in [
        (&["send", "a", metrics.to_str().unwrap()][..], "1 series"),
        (&["apps"], "1 app, 1 series"),
        (&["status"], "1 app: 1 ok"),
        (&["top"], "1 app: 1 ok"),
        (&["sd-config"], "/sd"),
        (&["check", file], "listen"),
    ] {
        let named = if arguments[0] == "check" { &[][..] } else { &["-c", file] };
        let (good, text, why) = ran(&[arguments, named].concat()).await;
        assert!(
            good && (text.contains(expected) || arguments[0] == "check"),
            "{arguments:?}: {text}{why}"
        );
    }
    process.stop();
    let (good, _, why) = ran(&["apps", "-c", file]).await;
    assert!(!good && why.contains(&port.to_string()), "{why}");
    assert_eq!(
        why.matches("connection refused").count(),
        2,
        "the proxy and the bridge of the file: {why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn listen_replaces_the_address_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = config(directory.path(), "");
    let mut process = Process::spawn(&mut program(&[
        "run",
        "-c",
        file.to_str().unwrap(),
        "--listen",
        "127.0.0.2:0",
        "--listen",
        "127.0.0.3:0",
    ]));
    process.line("serving http://127.0.0.2:");
    process.line("serving http://127.0.0.3:");
    process.stop();
    let (good, _, why) = ran(&["run", "--listen", "nonsense"]).await;
    assert!(!good && why.contains("nonsense"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn keygen_shows_an_existing_key() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p2p.key");
    let file = file.to_str().unwrap();
    let (good, made, _) = ran(&["keygen", "--out", file]).await;
    assert!(good);
    assert_eq!(ran(&["keygen", "--show", file]).await.1, made);
    let (good, _, why) = ran(&["keygen", "--show", "/nowhere/p2p.key"]).await;
    assert!(!good && why.contains("/nowhere/p2p.key"), "{why}");
}

/// Runs the program; its exit code, and all that it printed.
async fn code(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = program(arguments);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (
        output.status.code(),
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn keygen_and_scrape_use_the_key_of_a_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let write = |text: &str| {
        let file = directory.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let bridge = directory.path().join("a bridge.key");
    let (_, bridge) = code(&["keygen", "--out", bridge.to_str().unwrap()]).await;
    let listening = format!("enabled = true\nlisten = \"127.0.0.1:0\"\nallow = [\"{}\"]\n", bridge.trim());
    // A proxy that serves another key only, and names what it refuses.
    let (own, port) = (directory.path().join("proxy.key"), free_port());
    let (_, proxy) = code(&["keygen", "--out", own.to_str().unwrap()]).await;
    let target = format!("{}@127.0.0.1:{port}", proxy.trim());
    let _proxy = Proxy::with(&format!(
        "p2p.enabled = true\np2p.listen = \"127.0.0.1:{port}\"\np2p.key_file = {own:?}\np2p.allow = [\"{}\"]",
        bridge.trim()
    ))
    .await;
    for section in ["p2p", "bridge"] {
        let key = directory.path().join(format!("{section}.key"));
        let enabled = if section == "p2p" { &*listening } else { "" };
        let file = write(&format!("[{section}]\n{enabled}key_file = {key:?}\n"));
        let (code_of, made) = code(&["keygen", "-c", &file]).await;
        assert_eq!(code_of, Some(0), "{made}");
        assert_eq!(code(&["keygen", "--show", key.to_str().unwrap()]).await, (Some(0), made.clone()));
        assert_eq!(code(&["keygen", "--show", "-c", &file]).await, (Some(0), made.clone()));
        let (failed, told) = code(&["scrape", &target, "-c", &file]).await;
        assert!(failed == Some(1) && told.contains(&format!("our key is {}", made.trim())), "{told}");
    }
    let file = write("[p2p]\nkey_file = \"p2p.key\"\n");
    let (failed, told) = code(&["keygen", "-c", &file]).await;
    assert!(
        failed == Some(1) && told.contains("p2p.enabled") && told.contains("--out"),
        "{told}"
    );
    // An option has precedence.
    let out = directory.path().join("other.key").display().to_string();
    assert_eq!(code(&["keygen", "-c", &file, "--out", &out]).await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tap_follows_the_stream_of_a_configuration_file() {
    let directory = tempfile::tempdir().unwrap();
    let (http, stream) = (free_port(), free_port());
    let file = config(directory.path(), &format!("stream.listen_addresses = [\"[::]:{stream}\"]"));
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("127.0.0.1:0", &format!("127.0.0.1:{http}"), 1)).unwrap();
    let mut process = Process::start(&file);
    process.line("serving http://");
    let file = file.to_str().unwrap();
    let mut tap = tokio::process::Command::new(env!("CARGO_BIN_EXE_exporter-proxy"));
    let mut tap = tap
        .args(["tap", "-c", file])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tap.stdout.take().unwrap()).lines();
    let address = ([127, 0, 0, 1], http).into();
    // It follows from some moment on.
    let pushes = async {
        loop {
            ask(address, Request::put("/apps/followed/metrics"), "m 1\n").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let line = tokio::select! {
        line = lines.next_line() => line.unwrap().unwrap(),
        () = pushes => unreachable!("it pushes without end"),
    };
    assert!(line.contains("followed"), "{line}");
    process.stop();
    std::fs::write(file, "").unwrap();
    let (failed, told) = code(&["tap", "-c", file]).await;
    assert!(failed == Some(1) && told.contains("stream.listen_addresses is empty"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_file_without_effect_is_refused() {
    for arguments in [
        &["completions", "bash"][..],
        &["man"],
        &["check", "web-config", "x.yml"],
        &["tap", "--replay", "x.gz"],
    ] {
        let (refused, told) = code(&[arguments, &["-c", "config.toml"]].concat()).await;
        assert!(
            refused == Some(2) && told.contains("-c would have no effect"),
            "{arguments:?}: {told}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_in_a_url_is_refused_and_not_shown() {
    let (http, tcp) = ("http://me:s3cret@127.0.0.1:1", "tcp://me:s3cret@127.0.0.1:1");
    for arguments in [
        &["apps", "--from", http][..],
        &["send", "a", "--to", tcp],
        &["top", "--from", "me:s3cret@127.0.0.1:1"],
        &["healthcheck", "http://me:s3cret@127.0.0.1:1/readyz"],
        &["import", "pushgateway", "groups", "--to", http],
    ] {
        let (refused, told) = code(arguments).await;
        assert!(
            refused == Some(2) && told.contains("EXPORTER_PROXY_CREDENTIALS"),
            "{arguments:?}: {told}"
        );
        assert!(!told.contains("s3cret"), "{arguments:?}: {told}");
    }
    let (refused, told) = code(&["import", "pushgateway", http]).await;
    assert!(
        refused == Some(1) && told.contains("--source-credentials-file") && !told.contains("s3cret"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn help_fits_a_terminal_of_80_columns() {
    let (_, help, _) = ran(&["--help"]).await;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(names.len() >= 15, "{names:?}");
    for name in names.iter().chain(&[""]).filter(|name| **name != "help") {
        let arguments: &[&str] = if name.is_empty() { &["--help"] } else { &[name, "--help"] };
        let (good, text, _) = ran(arguments).await;
        assert!(good);
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > 80).collect();
        assert!(long.is_empty(), "{name}: {long:#?}");
    }
    let (_, version, _) = ran(&["--version"]).await;
    // Builds of tests do not look for their commit.
    assert!(
        version.starts_with(concat!("exporter-proxy ", env!("CARGO_PKG_VERSION"))),
        "{version}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_on_a_port_of_another_kind_is_led_to_the_right_one() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Proxy::start().await;
    let tcp = format!("http://{}", proxy.tcp());
    let right = format!(
        "this is an HTTP request; a receiver takes JSON objects and unpacked Cap'n Proto messages; HTTP is served at {}",
        proxy.http
    );
    let answer = ask(proxy.tcp(), Request::get("/metrics"), "").await;
    assert_eq!(answer.status(), 400);
    let text = String::from_utf8(answer.into_body().to_vec()).unwrap();
    assert!(text.contains(&right), "{text}");
    let metrics = directory.path().join("m.txt");
    std::fs::write(&metrics, "m 1\n").unwrap();
    for arguments in [
        &["apps", "--from", &tcp][..],
        &["send", "a", metrics.to_str().unwrap(), "--to", &tcp],
    ] {
        let (good, _, why) = ran(arguments).await;
        assert!(!good && why.contains(&right), "{why}");
    }
    let to_http = format!("tcp://{}", proxy.http);
    let (good, _, why) = ran(&["send", "a", metrics.to_str().unwrap(), "--to", &to_http]).await;
    assert!(!good && why.contains(&format!("use http://{}", proxy.http)), "{why}");
}
