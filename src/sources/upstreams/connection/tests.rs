#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::wire::monitoring::HELLO;
use tokio::io::DuplexStream;

async fn linked() -> (UpstreamConnection<DuplexStream>, DuplexStream) {
    let (ours, mut theirs) = tokio::io::duplex(1 << 20);
    theirs.write_all(HELLO).await.unwrap();
    let connection = UpstreamConnection::greet(ours).await.unwrap();
    let expected = client_hello(Topics::ALL);
    let mut hello = vec![0; expected.len()];
    theirs.read_exact(&mut hello).await.unwrap();
    assert_eq!(hello, expected);
    (connection, theirs)
}

#[tokio::test(start_paused = true)]
async fn a_half_frame_ends_the_connection_after_a_minute_and_silence_does_not() {
    let (mut connection, mut server) = linked().await;
    let day = timeout(Duration::from_secs(86_400), connection.frame()).await;
    assert!(day.is_err(), "a server may be silent");
    let began = Instant::now();
    server.write_all(&[0, 0, 0, 9, 1, 2]).await.unwrap();
    // Cancelled calls do not extend the deadline.
    let error = loop {
        if let Ok(ended) = timeout(Duration::from_secs(1), connection.frame()).await {
            break ended.unwrap_err();
        }
    };
    assert!(matches!(error, ConnectionError::FrameTimeout), "{error}");
    assert!(began.elapsed() <= FRAME_TIMEOUT + Duration::from_secs(1));
}

#[tokio::test]
async fn a_web_server_is_told_from_a_stream() {
    let (ours, mut theirs) = tokio::io::duplex(1 << 10);
    theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    let error = UpstreamConnection::greet(ours).await.unwrap_err().to_string();
    assert_eq!(error, "not a monitoring stream (a stream port is one of stream.listen_addresses)");
}

#[tokio::test]
async fn an_end_within_a_frame_is_told_from_one_between() {
    for (bytes, text) in [
        (&[][..], "the server closed the connection"),
        (&[0, 0], "the server closed the connection inside a frame"),
    ] {
        let (mut connection, mut server) = linked().await;
        server.write_all(bytes).await.unwrap();
        drop(server);
        assert_eq!(connection.frame().await.unwrap_err().to_string(), text);
    }
}
