#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::header::ACCEPT_ENCODING;
use http_body::Body as _;

use super::super::compression::tests::read;
use super::*;

/// Numbered lines.
struct Lines {
    next: usize,
    end: usize,
}

impl PieceWriter for Lines {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while self.next < self.end {
            if out.len() >= enough {
                return true;
            }
            out.extend_from_slice(format!("line {}\n", self.next).as_bytes());
            self.next += 1;
        }
        false
    }

    fn memory(&self) -> u64 {
        (self.end - self.next) as u64
    }
}

fn gzip() -> HeaderMap {
    [(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))].into_iter().collect()
}

fn lines(end: usize) -> String {
    (0..end).map(|number| format!("line {number}\n")).collect()
}

#[tokio::test]
async fn a_text_is_the_same_in_one_piece_and_in_many() {
    use ContentEncoding::{Gzip, Identity};
    let queue = Arc::new(PieceQueue::default());
    for (end, accepted, expected, has_length) in [
        (3, Gzip, Identity, true),
        (3_000, Gzip, Gzip, true),
        (3_000, Identity, Identity, true),
        (200_000, Gzip, Gzip, false),
        (200_000, Identity, Identity, false),
    ] {
        let headers = if accepted == Gzip { gzip() } else { HeaderMap::new() };
        let response = queue.respond_encoded(&headers, "text/plain", Lines { next: 0, end }).await;
        assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
        assert_eq!(response.body().size_hint().exact().is_some(), has_length, "{end} lines");
        let (got, text) = read(response).await;
        assert!(got == expected && text == lines(end), "{end} lines as {got:?}");
    }
}

fn kept(memory: &ResponseMemory) -> u64 {
    memory.unshared().load(Ordering::Relaxed)
}

#[tokio::test]
async fn what_the_writer_keeps_counts_until_the_last_piece() {
    use http_body_util::BodyExt as _;

    let queue = Arc::new(PieceQueue::default());
    let mut response = queue.respond("text/plain", Lines { next: 0, end: 100_000 }).await;
    assert!(response.headers().get("vary").is_none(), "the text does not depend on a header");
    let memory = response.extensions_mut().remove::<ResponseMemory>().unwrap();
    let (mut counted, mut body) = (vec![kept(&memory)], response.into_body());
    while let Some(frame) = body.frame().await {
        let frame = frame.unwrap();
        assert!(frame.data_ref().unwrap().len() < PIECE_BYTES + 100);
        counted.push(kept(&memory));
    }
    assert!(
        counted.len() > 3 && counted[0] > 0 && counted.is_sorted_by(|one, next| one >= next),
        "{counted:?}"
    );
    assert_eq!(counted.last(), Some(&0));
}
