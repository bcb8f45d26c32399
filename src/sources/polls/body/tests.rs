#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt as _;
use http_body::Frame;
use http_body_util::{Empty, StreamBody};
use proptest::prelude::*;
use tokio::time::timeout;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

async fn read(encoding: &str, body: &[u8], piece: usize, limit: usize) -> Result<Bytes, PollError> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
    let pieces: Vec<_> = body
        .chunks(piece)
        .map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    let budget = budget_of(limit);
    let reader = BodyReader {
        limit,
        expected: 0,
        budget: &budget,
    };
    let read = reader.read(&headers, StreamBody::new(futures_util::stream::iter(pieces))).await;
    assert!(is_unused(&budget, limit), "all of it is returned");
    read
}

fn budget_of(limit: usize) -> Arc<Budget> {
    let budget = budget();
    budget.set_limit(budget_for(limit));
    budget
}

fn is_unused(budget: &Arc<Budget>, limit: usize) -> bool {
    budget.reservation().try_reserve(LARGE_BYTES + budget_for(limit))
}

const MIB: usize = 1 << 20;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// A body that stalls after this number of bytes.
fn stalled(bytes: usize) -> impl Body<Data = Bytes, Error = hyper::Error> + Unpin {
    let start = futures_util::stream::iter([Ok(Frame::data(Bytes::from(vec![b'a'; bytes])))]);
    StreamBody::new(start.chain(futures_util::stream::pending()))
}

#[tokio::test]
async fn endpoints_that_stall_hold_no_more_than_they_have_sent() {
    let (limit, headers) = (4 * MIB, HeaderMap::new());
    let budget = budget_of(limit);
    let reader = BodyReader {
        limit,
        expected: 0,
        budget: &budget,
    };
    let mut stalling: Vec<_> = (0..20).map(|_| Box::pin(reader.read(&headers, stalled(MIB + 1)))).collect();
    for stalls in &mut stalling {
        assert!(futures_util::poll!(stalls).is_pending());
    }
    let whole = futures_util::stream::iter([Ok(Frame::data(Bytes::from(vec![b'a'; limit])))]);
    let read = timeout(PATIENCE, reader.read(&headers, StreamBody::new(whole))).await;
    assert_eq!(read.expect("it does not wait for them").unwrap().len(), limit);
    drop(stalling);
    assert!(is_unused(&budget, limit));
}

#[tokio::test]
async fn a_body_waits_for_memory_until_another_one_ends() {
    let (limit, headers) = (4 * MIB, HeaderMap::new());
    let budget = budget_of(limit);
    let reader = BodyReader {
        limit,
        expected: 0,
        budget: &budget,
    };
    // Without their free bytes ten of them leave 2 MiB.
    let mut full: Vec<_> = (0..10).map(|_| Box::pin(reader.read(&headers, stalled(limit)))).collect();
    for stalls in &mut full {
        assert!(futures_util::poll!(stalls).is_pending());
    }
    // One may exceed the limit, the next one waits.
    let mut exceeding = Box::pin(reader.read(&headers, stalled(limit)));
    assert!(futures_util::poll!(&mut exceeding).is_pending());
    let whole = || StreamBody::new(futures_util::stream::iter([Ok(Frame::data(Bytes::from(vec![b'a'; limit])))]));
    let mut waiting = Box::pin(reader.read(&headers, whole()));
    assert!(futures_util::poll!(&mut waiting).is_pending());
    let small = StreamBody::new(futures_util::stream::iter([Ok(Frame::data(Bytes::from(vec![b'a'; MIB])))]));
    let read = timeout(PATIENCE, reader.read(&headers, small)).await;
    assert_eq!(read.expect("up to 1 MiB never waits").unwrap().len(), MIB);
    drop((full, exceeding));
    let read = timeout(PATIENCE, waiting).await;
    assert_eq!(read.expect("there is memory again").unwrap().len(), limit);
}

#[tokio::test]
async fn a_bomb_is_cut_at_the_limit() {
    let bomb = gzip(&vec![b'a'; 4 << 20]);
    let failure = read("gzip", &bomb, 64 << 10, 2 << 20).await.unwrap_err();
    assert!(matches!(failure, PollError::Bomb(2_097_152)), "{failure}");
    assert_eq!(read("gzip", &bomb, 64 << 10, 4 << 20).await.unwrap().len(), 4 << 20);
}

#[tokio::test]
async fn what_is_sent_is_limited_too() {
    assert!(matches!(read("", &[b'a'; 11], 4, 10).await.unwrap_err(), PollError::TooLong(10)));
    assert_eq!(read("", &[b'a'; 10], 4, 10).await.unwrap().len(), 10);
    let stuffed = gzip(b"").repeat(100);
    assert!(matches!(
        read("gzip", &stuffed, 7, 1_000).await.unwrap_err(),
        PollError::TooLong(1_000)
    ));
}

#[tokio::test]
async fn gzip_is_unpacked_and_every_other_encoding_is_plain() {
    let whole = gzip(b"up 1\n");
    for cut in 0..whole.len() {
        assert!(
            matches!(read("gzip", &whole[..cut], 3, 100).await.unwrap_err(), PollError::Gzip(_)),
            "cut at {cut}"
        );
    }
    let mut wrong = whole.clone();
    wrong[whole.len() - 5] ^= 1;
    assert!(matches!(read("x-gzip", &wrong, 3, 100).await.unwrap_err(), PollError::Gzip(_)));
    assert!(matches!(read("gzip", b"up 1\n", 3, 100).await.unwrap_err(), PollError::Gzip(_)));
    for unknown in ["br", "utf-8", "none", "8bit", "gzip, identity"] {
        assert_eq!(read(unknown, b"up 1\n", 3, 100).await.unwrap(), "up 1\n", "{unknown}");
    }
    assert_eq!(read("GZIP", &whole.repeat(2), 3, 100).await.unwrap(), "up 1\nup 1\n");
    assert_eq!(read("identity", b"up 1\n", 3, 100).await.unwrap(), "up 1\n");
}

#[tokio::test]
async fn a_kept_body_is_no_larger_than_it_needs_to_be() {
    let (budget, headers) = (budget(), HeaderMap::new());
    let reader = BodyReader {
        limit: 1 << 20,
        expected: 10_000,
        budget: &budget,
    };
    let body = Empty::<Bytes>::new().map_err(|never| match never {});
    assert_eq!(reader.read(&headers, body).await.unwrap().len(), 0);
    let read = read("", b"up 1\n", 2, 100).await.unwrap();
    assert_eq!(Vec::from(read).capacity(), 5);
}

#[test]
fn pages_are_not_metrics() {
    for good in [
        "",
        "up 1\n",
        "# a < b\nup 1\r\n",
        "\u{feff}up 1",
        "up{x=\"<\"} 1",
        "up{x=\"\0\"} 1",
        "\u{7f}ELF\0",
    ] {
        assert!(reject_markup(good.as_bytes()).is_ok(), "{good:?}");
    }
    for bad in ["<!DOCTYPE html>", "\r\n <html>", "\u{feff}<a/>"] {
        assert!(
            matches!(reject_markup(bad.as_bytes()), Err(PollError::NotMetrics(ForeignFormat::Markup))),
            "{bad:?}"
        );
    }
}

#[test]
fn only_encodings_that_are_not_known_are_named() {
    let named = |coding: &'static [u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, http::HeaderValue::from_bytes(coding).unwrap());
        unknown_coding(&headers)
    };
    assert_eq!(unknown_coding(&HeaderMap::new()), None);
    for known in [&b""[..], b" GZIP ", b"x-gzip", b"identity"] {
        assert_eq!(named(known), None);
    }
    assert_eq!(named(b"utf-8").as_deref(), Some("utf-8"));
    assert_eq!(named(b"\xff").as_deref(), Some("\u{fffd}"));
    assert_eq!(named(&[b'x'; 100]).map(|it| it.len()), Some(QUOTED_ENCODING_BYTES));
}

#[test]
fn the_given_type_decides_on_the_format() {
    let given = |value: &'static [u8]| {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_bytes(value).unwrap());
        syntax(&headers)
    };
    assert_eq!((syntax(&HeaderMap::new()), given(b" ")), (None, None));
    for text in [
        &b"text/plain; charset=utf-8"[..],
        b"text/plain;version=1.0.0",
        b"text/html",
        b"\xff?;",
        b"application/json",
    ] {
        assert_eq!(given(text), Some(Syntax::Text));
    }
    assert_eq!(given(b"application/openmetrics-text"), Some(Syntax::OpenMetrics));
}

proptest! {
    #[test]
    fn gzip_is_read_whole_however_it_is_cut(body in prop::collection::vec(any::<u8>(), 0..5_000), piece in 1_usize..400) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(read("gzip", &gzip(&body), piece, 10_000)).unwrap();
        prop_assert_eq!(read, body);
    }

    #[test]
    fn no_garbage_panics(body in prop::collection::vec(any::<u8>(), 0..500), piece in 1_usize..100) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _ = runtime.block_on(read("gzip", &body, piece, 1_000));
        let _ = reject_markup(&body);
    }
}
