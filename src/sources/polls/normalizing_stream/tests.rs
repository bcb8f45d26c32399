#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use tokio::io::AsyncReadExt;

use super::*;

/// A stream that returns pieces of one size.
struct Pieces {
    bytes: Vec<u8>,
    size: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let count = self.size.min(self.bytes.len()).min(buf.remaining());
        let rest = self.bytes.split_off(count);
        buf.put_slice(&self.bytes);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

async fn read(bytes: &[u8], size: usize) -> Vec<u8> {
    let expected = HeadExpected::default();
    expected.set();
    let bytes = bytes.to_vec();
    let mut stream = NormalizingStream::new(Pieces { bytes, size }, expected);
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn heads_are_normalized_and_bodies_are_not() {
    let body = "X : y\r\n\r\n z\r\n\r\n";
    let sent = format!("HTTP/1.1 100 Continue\r\nA : b\r\n\r\nHTTP/1.1 200 OK\r\nC : d\r\n e\r\n\r\n{body}");
    let expected = format!("HTTP/1.1 100 Continue\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\nC: d e\r\n\r\n{body}");
    for size in [1, 7, 1_000] {
        assert_eq!(read(sent.as_bytes(), size).await, expected.as_bytes(), "in pieces of {size}");
    }
}

#[tokio::test]
async fn what_ends_early_or_never_is_passed_on() {
    for sent in [b"HTTP/1.1 200 OK\r\nA : b\r\n".to_vec(), b"garbage".to_vec(), Vec::new()] {
        assert_eq!(read(&sent, 3).await, sent);
    }
    let endless = [b"HTTP/1.1 200 OK\r\nX: ".to_vec(), vec![b'y'; 3 * MAX_HEAD_BYTES]].concat();
    assert_eq!(read(&endless, 10_000).await, endless);
}

#[tokio::test]
async fn each_response_has_a_head() {
    let expected = HeadExpected::default();
    let one = "HTTP/1.1 200 OK\r\nA : b\r\nContent-Length: 4\r\n\r\nx :\n";
    let pieces = Pieces {
        bytes: one.repeat(2).into(),
        size: one.len(),
    };
    let mut stream = NormalizingStream::new(pieces, expected.clone());
    let mut response = vec![0; one.len() - 1];
    for _ in 0..2 {
        expected.set();
        stream.read_exact(&mut response).await.unwrap();
        assert_eq!(response, one.replace("A :", "A:").as_bytes());
    }
}
