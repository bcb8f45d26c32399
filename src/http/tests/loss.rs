//! Delivery outcomes with dropped packets: loopback acknowledges everything immediately and so hides faults that a slow link shows.

use std::process::Command;

use super::*;

const NAME: &str = "http::tests::loss::an_end_of_file_without_acknowledgements_gives_back";

/// Set in the copy of this test that runs inside a network of its own.
const INSIDE: &str = "EXPORTER_PROXY_TEST_INSIDE_NAMESPACE";

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program)
        .args(arguments)
        .status()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Returns true if this machine can drop packets; under CI it must.
#[allow(clippy::print_stderr, reason = "a test says aloud what it skips")]
fn can_lose() -> bool {
    let tried = Command::new("unshare")
        .args(["--map-root-user", "--net", "nft", "list", "tables"])
        .output();
    let can = tried.is_ok_and(|output| output.status.success());
    if !can {
        assert!(
            std::env::var_os("CI").is_none(),
            "no network namespace with nft can be made, and under CI nothing may be skipped"
        );
        eprintln!("skipped: no network namespace with nft can be made");
    }
    can
}

#[test]
fn an_end_of_file_without_acknowledgements_gives_back() {
    if std::env::var_os(INSIDE).is_none() {
        if !can_lose() {
            return;
        }
        let output = Command::new("unshare")
            .args(["--map-root-user", "--net"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let printed = String::from_utf8_lossy(&output.stdout);
        // With a name that no test has, nothing runs and the exit code is 0 as well.
        assert!(
            output.status.success() && printed.contains("1 passed"),
            "{NAME} in a process of its own: {}\n{printed}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    run("ip", &["link", "set", "lo", "up"]);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(lossy());
}

/// From now on the server's answers are lost on their way, its bare acknowledgements are not.
fn lose_answers(port: u16) {
    run("nft", &["add", "table", "ip", "loss"]);
    run(
        "nft",
        &["add", "chain", "ip", "loss", "out", "{ type filter hook output priority 0 ; }"],
    );
    run(
        "nft",
        &[
            "add",
            "rule",
            "ip",
            "loss",
            "out",
            "tcp",
            "sport",
            &port.to_string(),
            "meta",
            "length",
            ">",
            "100",
            "drop",
        ],
    );
}

async fn lossy() {
    let timers = Timers {
        lingering_close: Duration::from_secs(1),
        ..Timers::default()
    };
    let mut served = Served::start(timers, 8).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = served.connect().await;
        ask(&mut client, "/lent?size=10").await;
        ask(&mut client, "/small").await;
        assert_eq!(served.site.outcome().await, (10, DeliveryOutcome::Acked));
        clients.push(client);
    }
    lose_answers(served.address.port());
    for (number, mut client) in clients.into_iter().enumerate() {
        let size = [1_000, 100_000, 20_000_000][number];
        request(&mut client, "GET", &format!("/lent?size={size}")).await;
        let late = tokio::time::timeout(Duration::from_millis(300), client.read_u8()).await;
        assert!(late.is_err(), "nothing comes through");
        if number == 0 {
            // It has come back elsewhere meanwhile.
            assert_eq!(served.site.delivery(3).settle_now(), Some(DeliveryOutcome::Unacked));
        }
        // The scraper's timeout: an end of file and no reset, for nothing that the kernel would have to refuse has arrived.
        drop(client);
        assert_eq!(served.site.outcome().await, (size, DeliveryOutcome::Unacked));
    }
}
