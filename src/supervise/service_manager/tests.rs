#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt as _;

use super::*;

fn passed(address: &str, only_v6: bool) -> Passed {
    let address: SocketAddr = address.parse().expect("an address");
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), Type::STREAM, None).expect("a socket");
    if address.is_ipv6() {
        socket.set_only_v6(only_v6).expect("an option of IPv6");
    }
    socket.bind(&address.into()).expect("a free port");
    Passed::new(socket.into()).expect("a socket of IP")
}

#[test]
fn a_socket_for_both_families_serves_both_unspecified_addresses() {
    for (address, only_v6, configured, serves) in [
        ("[::]:0", false, "0.0.0.0", true),
        ("[::]:0", false, "::", true),
        ("[::]:0", false, "127.0.0.1", false),
        ("[::]:0", true, "0.0.0.0", false),
        ("0.0.0.0:0", false, "::", false),
        ("[::1]:0", false, "::", false),
    ] {
        let passed = passed(address, only_v6);
        let port = passed.address.as_socket().expect("an address of IP").port();
        let configured = SocketAddr::new(configured.parse().expect("an address"), port);
        assert_eq!(
            passed.serves_both(configured),
            serves,
            "{address} (IPv6 only: {only_v6}) {configured}"
        );
        let other_port = SocketAddr::new(configured.ip(), port ^ 1);
        assert!(!passed.serves_both(other_port), "{address} {other_port}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_notification_reaches_an_abstract_socket() {
    let name = format!("exporter-proxy-test-{}", std::process::id());
    let address = unix::net::SocketAddr::from_abstract_name(&name).expect("a short name");
    let manager = UnixDatagram::bind_addr(&address).expect("a free name");
    send(OsStr::new(&format!("@{name}")), b"READY=1\n", SendMode::AtOnce).expect("a socket that listens");
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..length], b"READY=1\n");
}

#[test]
fn a_notification_needs_no_thread_while_the_receiver_takes_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("notify");
    let manager = UnixDatagram::bind(&place).expect("a free path");
    // Its only thread for blocking work is busy until the end of the test.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let (release, held) = std::sync::mpsc::channel::<()>();
    runtime.block_on(async {
        let busy = tokio::spawn(blocking(move || held.recv()));
        tokio::task::yield_now().await;
        let sent = tokio::time::timeout(Duration::from_secs(30), deliver(place.into(), "WATCHDOG=1\n".to_owned()));
        sent.await.expect("no thread is needed").expect("a socket that listens");
        drop(release);
        let _ = busy.await;
    });
    let mut buffer = [0; 64];
    let length = manager.recv(&mut buffer).expect("a datagram");
    assert_eq!(&buffer[..length], b"WATCHDOG=1\n");
}

#[tokio::test]
async fn a_notification_waits_for_a_full_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().join("notify");
    let manager = UnixDatagram::bind(&place).expect("a free path");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut queued = 0;
    while send(place.as_os_str(), b"FILLED=1", SendMode::AtOnce).is_ok() {
        queued += 1;
    }
    let sent = tokio::spawn(deliver(place.into(), "READY=1\n".to_owned()));
    // Reading makes room, whether the sender waits already or not yet.
    let received = blocking(move || {
        let mut buffer = [0; 64];
        (0..=queued)
            .map(|_| manager.recv(&mut buffer).map(|length| buffer[..length].to_vec()))
            .collect::<Vec<_>>()
    });
    let received = received.await;
    sent.await.expect("no panic").expect("room in the queue");
    let last = received.last().expect("all that was sent").as_ref().expect("a datagram");
    assert_eq!(last, b"READY=1\n");
}
