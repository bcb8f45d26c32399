#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::*;

async fn echo(accepted: Accepted) {
    let Accepted { mut stream, slot } = accepted;
    let mut buf = [0; 64];
    loop {
        slot.idle();
        let read = tokio::select! {
            read = stream.read(&mut buf) => read,
            () = slot.evicted() => return,
        };
        slot.busy();
        match read {
            Ok(n) if n > 0 => {
                assert_ne!(&buf[..n], b"panic", "as the client wished");
                stream.write_all(&buf[..n]).await.unwrap();
            }
            _ => return,
        }
    }
}

struct Echo {
    address: SocketAddr,
    stats: Arc<ListenerStats>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

async fn start(slots: ConnectionSlots) -> Echo {
    let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
    let (address, stats, stop) = (listener.local_addr().unwrap(), listener.stats().clone(), CancellationToken::new());
    let running = tokio::spawn(listener.serve(slots, stop.clone(), echo));
    Echo {
        address,
        stats,
        stop,
        running,
    }
}

async fn say(stream: &mut TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut buf = [0; 64];
    let n = stream.read(&mut buf).await.unwrap();
    String::from_utf8_lossy(&buf[..n]).into_owned()
}

#[tokio::test]
async fn a_taken_or_foreign_address_is_named() {
    let taken = Listener::tcp("127.0.0.1:0").await.unwrap();
    let error = Listener::tcp(taken.place()).await.unwrap_err();
    // With all causes, as the program says it at its end: the reason stands there once.
    let error = format!("{:#}", anyhow::Error::new(error));
    assert_eq!(error.matches("Address already in use").count(), 1, "{error}");
    assert!(
        error.starts_with(&format!("cannot listen on tcp {}: Address already in use", taken.place())),
        "{error}"
    );
    let error = Listener::tcp("127.0.0.1").await.unwrap_err().to_string();
    assert!(
        error.starts_with("cannot listen on tcp 127.0.0.1: the address does not resolve"),
        "{error}"
    );
    let error = Listener::tcp("192.0.2.1:1").await.unwrap_err().to_string();
    assert!(error.contains("Cannot assign requested address"), "{error}");
    let named = Listener::tcp("localhost:0").await.unwrap();
    assert!(named.local_addr().unwrap().ip().is_loopback());
}

/// Binds two addresses with one port. A port that the system gives to the first may be in use by another program for the second.
async fn bind_both(first: &str, second: &str) -> (Listener, Listener) {
    const PORTS: usize = 100;
    for _ in 0..PORTS {
        let first = Listener::tcp_for(&format!("{first}:0"), AddressFamilies::Own).await.unwrap();
        let port = first.local_addr().unwrap().port();
        match Listener::tcp_for(&format!("{second}:{port}"), AddressFamilies::Own).await {
            Ok(second) => return (first, second),
            Err(error) => assert!(
                matches!(&error.why, BindErrorKind::Bind(why) if why.kind() == io::ErrorKind::AddrInUse),
                "{error}"
            ),
        }
    }
    panic!("{PORTS} ports are in use");
}

#[tokio::test]
async fn both_families_have_a_listener_of_their_own_on_one_port() {
    for (first, second) in [("0.0.0.0", "[::]"), ("[::]", "0.0.0.0"), ("[::]", "127.0.0.1")] {
        let (first, second) = bind_both(first, second).await;
        let port = first.local_addr().unwrap().port();
        for host in ["127.0.0.1", "::1"] {
            let address = SocketAddr::new(host.parse().unwrap(), port);
            TcpStream::connect(address).await.unwrap();
        }
        drop((first, second));
    }
    let all = Listener::tcp("[::]:0").await.unwrap();
    TcpStream::connect(("127.0.0.1", all.local_addr().unwrap().port())).await.unwrap();
}

#[tokio::test]
async fn an_address_can_be_taken_again_right_after_a_run_with_connections() {
    let server = start(ConnectionSlots::new(4)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(say(&mut client, "hello").await, "hello");
    server.running.abort();
    assert!(server.running.await.unwrap_err().is_cancelled());
    Listener::tcp(&server.address.to_string()).await.unwrap();
}

#[tokio::test]
async fn a_panic_is_one_failed_connection() {
    let server = start(ConnectionSlots::new(4)).await;
    let (mut good, mut bad) = (
        TcpStream::connect(server.address).await.unwrap(),
        TcpStream::connect(server.address).await.unwrap(),
    );
    assert_eq!(say(&mut good, "one").await, "one");
    assert_eq!(say(&mut bad, "panic").await, "");
    assert_eq!(say(&mut good, "two").await, "two");
    drop((good, bad));
    server.stop.cancel();
    server.running.await.unwrap();
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    assert_eq!(
        (
            count(&server.stats.accepted),
            count(&server.stats.panicked),
            count(&server.stats.open)
        ),
        (2, 1, 0)
    );
}

#[tokio::test]
async fn idle_connections_give_way_and_lose_nothing_that_was_asked() {
    const SLOTS: usize = 32;
    let server = start(ConnectionSlots::new(SLOTS)).await;
    let mut first = Vec::new();
    for _ in 0..SLOTS {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(say(&mut client, "a").await, "a");
        first.push(client);
    }
    for _ in 0..SLOTS {
        let mut client = TcpStream::connect(server.address).await.unwrap();
        assert_eq!(say(&mut client, "b").await, "b");
        first.push(client);
    }
    // The first half has been closed, in order; the second is served as before.
    for (number, client) in first.iter_mut().enumerate() {
        let open = number >= SLOTS;
        if open {
            assert_eq!(say(client, "c").await, "c");
        } else {
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
        }
    }
}

#[tokio::test]
async fn a_stop_takes_nobody_new_and_waits_for_who_is_there() {
    let server = start(ConnectionSlots::new(4)).await;
    let mut client = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(say(&mut client, "x").await, "x");
    server.stop.cancel();
    // The listener is closed as soon as the loop has seen the stop; the kernel refuses from then on.
    while TcpStream::connect(server.address).await.is_ok() {}
    assert_eq!(say(&mut client, "y").await, "y");
    assert!(!server.running.is_finished());
    drop(client);
    server.running.await.unwrap();
}

#[tokio::test]
async fn a_unix_listener_serves_by_the_same_loop() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let access = UnixAccess {
        user: None,
        group: None,
        mode: 0o600,
    };
    let listener = Listener::unix(&path, &access).await.unwrap();
    assert_eq!(&**listener.place(), path.to_str().unwrap());
    let error = Listener::unix(&path, &access).await.unwrap_err().to_string();
    assert_eq!(
        error,
        format!("cannot listen on unix {}: another process is listening there", path.display())
    );
    let stop = CancellationToken::new();
    let part = listener.into_service("echo".to_owned(), ConnectionSlots::new(4), echo);
    assert_eq!(part.name(), "echo");
    let running = tokio::spawn(Box::new(part).run(stop.clone()));
    let mut client = UnixStream::connect(&path).await.unwrap();
    client.write_all(b"hi").await.unwrap();
    let mut buf = [0; 2];
    client.read_exact(&mut buf).await.unwrap();
    assert_eq!(&buf, b"hi");
    drop(client);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn the_kernel_takes_a_bounded_part_for_a_client_that_does_not_read() {
    let listener = Listener::tcp("127.0.0.1:0").await.unwrap();
    let client = TcpSocket::new_v4().unwrap();
    client.set_recv_buffer_size(4_096).unwrap();
    let _client = client.connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = listener.socket.accept().await.unwrap();
    let (mut taken, piece) = (0, vec![0; 64 << 10]);
    while let Ok(written) = tokio::time::timeout(std::time::Duration::from_secs(1), stream.write(&piece)).await {
        taken += written.unwrap();
    }
    assert!((1..2 * UNSENT_BYTES as usize).contains(&taken), "{taken} bytes");
}
