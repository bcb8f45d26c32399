#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use http_body_util::StreamBody;
use proptest::prelude::*;

use super::*;

/// Memory without end; how much was asked for at the most.
struct Plenty(usize);

impl MemoryBudget for Plenty {
    async fn reserve(&mut self, bytes: usize) {
        self.0 = self.0.max(bytes);
    }
}

const LIMIT: BodyLimit = BodyLimit {
    bytes: 10_000,
    key: "a.key",
};

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pieces(data: &[u8], size: usize) -> Body {
    let pieces: Vec<_> = data
        .chunks(size)
        .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
        .collect();
    Body::new(StreamBody::new(stream::iter(pieces)))
}

/// Reads a body that comes in pieces of a size; the error as status and text.
async fn read(data: &[u8], size: usize, encoding: Option<&str>) -> Result<Bytes, (u16, String)> {
    let mut headers = HeaderMap::new();
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, encoding.parse().unwrap());
    }
    read_body(&headers, pieces(data, size), LIMIT, &mut Plenty(0))
        .await
        .map_err(|e| (e.status().as_u16(), e.to_string()))
}

#[tokio::test]
async fn one_piece_is_passed_on_without_a_copy() {
    let data = Bytes::from(vec![1; 500]);
    let read = read_body(&HeaderMap::new(), Body::from(data.clone()), LIMIT, &mut Plenty(0))
        .await
        .unwrap();
    assert_eq!(read.as_ptr(), data.as_ptr());
}

#[tokio::test]
async fn the_limit_holds_packed_and_unpacked() {
    let too_large = Err((413, "the body is larger than 10000 bytes, the limit that a.key sets".to_owned()));
    assert_eq!(read(&[0; 10_000], 999, None).await.unwrap().len(), 10_000);
    assert_eq!(read(&[0; 10_001], 999, None).await, too_large);
    assert_eq!(read(&gzip(&[0; 10_000]), 7, Some("gzip")).await.unwrap().len(), 10_000);
    assert_eq!(read(&gzip(&[0; 10_001]), 7, Some("gzip")).await, too_large);
    assert_eq!(read(&gzip(&[0; 2_000_000]), 1_000, Some("x-gzip")).await, too_large);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, "10001".parse().unwrap());
    let never = Body::new(StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>()));
    assert!(matches!(
        read_body(&headers, never, LIMIT, &mut Plenty(0)).await,
        Err(BodyError::TooLarge(LIMIT))
    ));
}

#[tokio::test]
async fn memory_is_asked_for_as_it_is_taken() {
    let unpacked = vec![b'#'; 1 << 20];
    let limit = BodyLimit {
        bytes: unpacked.len(),
        key: "a.key",
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let mut plenty = Plenty(0);
    let read = read_body(&headers, Body::from(gzip(&unpacked)), limit, &mut plenty).await.unwrap();
    assert_eq!(read.len(), unpacked.len());
    assert!((unpacked.len()..=unpacked.len() * 2).contains(&plenty.0), "{}", plenty.0);
    let mut plenty = Plenty(0);
    read_body(&HeaderMap::new(), pieces(&unpacked[..200_000], 50_000), limit, &mut plenty)
        .await
        .unwrap();
    assert!((200_000..=400_000).contains(&plenty.0), "{}", plenty.0);
}

#[tokio::test]
async fn memory_that_is_not_there_is_waited_for() {
    struct Never;
    impl MemoryBudget for Never {
        async fn reserve(&mut self, _: usize) {
            std::future::pending().await
        }
    }
    let (headers, mut never) = (HeaderMap::new(), Never);
    let waits = read_body(&headers, Body::from("a"), LIMIT, &mut never);
    assert!(waits.now_or_never().is_none());
}

/// A body in pieces with a pause before each.
fn slow_pieces(count: usize, bytes: usize, pause: Duration) -> Body {
    let piece = Bytes::from(vec![b'#'; bytes]);
    let pieces = stream::iter(0..count).then(move |_| {
        let frame = Ok::<_, Infallible>(Frame::data(piece.clone()));
        async move {
            tokio::time::sleep(pause).await;
            frame
        }
    });
    Body::new(StreamBody::new(Box::pin(pieces)))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_hardly_arrives_gives_its_memory_back_where_it_is_wanted() {
    /// A budget in which others always wait for memory.
    struct Wanted;
    impl MemoryBudget for Wanted {
        async fn reserve(&mut self, _: usize) {}

        async fn asked_back(&mut self) {}
    }
    const MANY: BodyLimit = BodyLimit {
        bytes: 1 << 20,
        key: "a.key",
    };
    let headers = HeaderMap::new();
    // 20 KiB in each second, half a minute long.
    let steady = slow_pieces(150, 4 << 10, Duration::from_millis(200));
    let read = read_body(&headers, steady, MANY, &mut Wanted).await.unwrap();
    assert_eq!(read.len(), 600 << 10);
    // A pause that TCP needs for lost packets, after bytes that make up for it.
    let lossy = slow_pieces(4, 100 << 10, Duration::from_secs(4));
    assert_eq!(read_body(&headers, lossy, MANY, &mut Wanted).await.unwrap().len(), 400 << 10);
    let began = Instant::now();
    let slow = slow_pieces(1_000, 1 << 10, Duration::from_secs(1));
    let error = read_body(&headers, slow, MANY, &mut Wanted).await.unwrap_err();
    assert!(matches!(error, BodyError::Slow), "{error}");
    assert_eq!(error.status(), StatusCode::REQUEST_TIMEOUT);
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    // The same while no other one waits.
    let slow = slow_pieces(60, 1 << 10, Duration::from_secs(1));
    assert_eq!(read_body(&headers, slow, MANY, &mut Plenty(0)).await.unwrap().len(), 60 << 10);
}

#[tokio::test]
async fn gzip_that_is_wrong_is_refused() {
    let good = gzip(b"some metrics");
    assert_eq!(read(&good, 1, Some("GZIP")).await.unwrap(), "some metrics");
    for cut in [1, 9, 10, 12, good.len() - 8, good.len() - 1] {
        let (status, text) = read(&good[..cut], 5, Some("gzip")).await.unwrap_err();
        assert_eq!(status, 400, "{cut}: {text}");
        assert!(text.starts_with("the body is not valid gzip: "), "{text}");
    }
    let mut wrong = good.clone();
    *wrong.last_mut().unwrap() ^= 1;
    assert_eq!(read(&wrong, 5, Some("gzip")).await.unwrap_err().0, 400);
    assert_eq!(read(b"plain text", 5, Some("gzip")).await.unwrap_err().0, 400);
    assert_eq!(
        read(&[good.clone(), b"tail".to_vec()].concat(), 5, Some("gzip"))
            .await
            .unwrap_err()
            .0,
        400
    );
    assert_eq!(
        read(&[good.clone(), good].concat(), 5, Some("gzip")).await.unwrap(),
        "some metricssome metrics"
    );
    assert_eq!(read(b"", 5, Some("gzip")).await.unwrap(), "");
}

/// Snappy frames.
fn snappy(data: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.into_inner().unwrap()
}

#[tokio::test]
async fn snappy_is_unpacked_and_refused_where_it_is_wrong_or_too_large() {
    let good = snappy(b"some metrics");
    assert_eq!(read(&good, 1, Some("Snappy")).await.unwrap(), "some metrics");
    assert_eq!(read(b"", 1, Some("snappy")).await.unwrap(), "");
    for wrong in [
        &good[..good.len() - 1],
        &good[..15],
        b"plain text",
        b"\xff\x06\0\0sNaPpY\x01\x05\0\0aaaab",
    ] {
        let (status, text) = read(wrong, 5, Some("snappy")).await.unwrap_err();
        assert_eq!(status, 400, "{wrong:?}");
        assert!(text.starts_with("the body is not valid snappy: "), "{text}");
    }
    let large = snappy(&vec![b'#'; LIMIT.bytes + 1]);
    assert!(large.len() < LIMIT.bytes / 10);
    assert_eq!(read(&large, 500, Some("snappy")).await.unwrap_err().0, 413);
    let whole = snappy(&vec![b'#'; LIMIT.bytes]);
    assert_eq!(read(&whole, 500, Some("snappy")).await.unwrap().len(), LIMIT.bytes);
}

#[tokio::test]
async fn others_have_their_turn_while_much_unpacks_to_nothing() {
    /// Steps between two turns, with room for a few more.
    const MOST: usize = 512;
    let stream = &b"\xff\x06\0\0sNaPpY"[..];
    let (empty, padding) = (gzip(b""), &b"\xfe\0\0\0"[..]);
    for (coding, piece, body) in [
        ("gzip", empty.len(), empty.repeat(5_000)),
        ("snappy", padding.len(), [stream, &padding.repeat(20_000)].concat()),
        ("snappy", stream.len(), stream.repeat(20_000)),
    ] {
        let turns = Arc::new(AtomicUsize::new(0));
        let counted = turns.clone();
        let other = tokio::spawn(async move {
            loop {
                counted.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        let limit = BodyLimit {
            bytes: body.len(),
            key: "a.key",
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        let expected = body.len() / piece / MOST;
        let read = read_body(&headers, Body::from(body), limit, &mut Plenty(0)).await.unwrap();
        assert_eq!(read.len(), 0, "{coding}");
        let turns = turns.load(Ordering::Relaxed);
        assert!(turns > expected, "{coding}: {turns} turns, at least {expected} expected");
        other.abort();
    }
}

#[tokio::test]
async fn other_encodings_are_refused_with_what_is_understood() {
    assert_eq!(read(b"x", 5, Some("identity")).await.unwrap(), "x");
    let (status, text) = read(b"x", 5, Some("br")).await.unwrap_err();
    assert_eq!(
        (status, &*text),
        (415, "the content encoding `br` is not understood, only gzip and snappy are")
    );
    let response = BodyError::Encoding("br".into()).into_response();
    assert_eq!(
        (response.status(), &response.headers()[ACCEPT_ENCODING]),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, &"gzip, snappy".parse().unwrap())
    );
}

proptest! {
    #[test]
    fn a_body_is_the_same_however_it_comes(data in prop::collection::vec(prop::num::u8::ANY, 0..5_000), size in 1usize..3_000, packed in 0..3) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (wire, coding) = match packed {
            0 => (data.clone(), None),
            1 => (gzip(&data), Some("gzip")),
            _ => (snappy(&data), Some("snappy")),
        };
        let read = runtime.block_on(read(&wire, size, coding));
        prop_assert_eq!(read.unwrap(), data);
    }
}
