#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::net::TcpListener;

use super::*;

/// A server that answers one request with this text.
async fn server(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut request = [0; 256];
        let read = socket.read(&mut request).await.unwrap();
        assert!(request[..read].starts_with(b"GET /-/cluster HTTP/1.1\r\n"));
        socket.write_all(answer.as_bytes()).await.unwrap();
    });
    address
}

#[tokio::test]
async fn only_a_replica_that_says_so_holds_the_engine() {
    assert!(holds_engine(server("HTTP/1.1 200 OK\r\n\r\nconnected").await, None).await);
    assert!(!holds_engine(server("HTTP/1.1 503 Service Unavailable\r\n\r\n").await, None).await);
    assert!(!holds_engine(server("SSH-2.0").await, None).await);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert!(!holds_engine(gone, None).await);
}
