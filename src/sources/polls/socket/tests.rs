#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

async fn pair() -> (PollSocket, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (ours.into(), listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn bytes_go_both_ways_and_a_shutdown_is_an_end() {
    let (mut ours, mut theirs) = pair().await;
    ours.write_all(b"question").await.unwrap();
    theirs.write_all(b"answer").await.unwrap();
    ours.shutdown().await.unwrap();
    let mut received = String::new();
    theirs.read_to_string(&mut received).await.unwrap();
    drop(theirs);
    let mut answer = String::new();
    ours.read_to_string(&mut answer).await.unwrap();
    assert_eq!((received.as_str(), answer.as_str()), ("question", "answer"));
}

#[tokio::test]
async fn what_was_not_taken_is_reset() {
    for (taken, end) in [(false, Err(io::ErrorKind::ConnectionReset)), (true, Ok(0))] {
        let (ours, mut theirs) = pair().await;
        let close_mode = ours.close_mode();
        close_mode.set_reset();
        if taken {
            close_mode.set_graceful();
        }
        drop(ours);
        let read = theirs.read(&mut [0]).await.map_err(|error| error.kind());
        assert_eq!(read, end);
        close_mode.set_reset();
    }
}
