#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use tokio::time::sleep;

#[tokio::test]
async fn messages_arrive_whole_and_in_order() {
    let (mut a, mut b) = pair();
    let writer = tokio::spawn(async move {
        for size in [1, 2, 70_000, 3, 5_000_000] {
            a.writer.send(vec![u8::try_from(size % 251).unwrap(); size]).await.unwrap();
        }
        a.writer.acknowledged().await.unwrap();
        a.writer.close().await;
        a.reader.next().await
    });
    for size in [1, 2, 70_000, 3, 5_000_000] {
        let message = b.reader.next().await.unwrap().unwrap();
        assert!(message.len() == size && message.iter().all(|byte| usize::from(*byte) == size % 251));
    }
    assert!(b.reader.next().await.unwrap().is_none(), "it was closed");
    b.writer.close().await;
    assert!(writer.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn too_long_a_message_is_refused_and_harms_nothing() {
    let (mut a, mut b) = pair();
    let refused = a.writer.send(vec![0; MAX_MESSAGE_BYTES + 1]).await;
    assert!(matches!(refused, Err(SecretStreamError::TooLarge(_))));
    a.writer.send("short").await.unwrap();
    assert_eq!(b.reader.next().await.unwrap().unwrap(), "short");
}

#[tokio::test(start_paused = true)]
async fn keep_alives_are_swallowed_and_silence_is_noticed() {
    let (mut a, mut b) = pair();
    for _ in 0..12 {
        assert!(
            timeout(KEEP_ALIVE, b.reader.next()).await.is_err(),
            "an empty message is no message"
        );
    }
    a.writer.send("still here").await.unwrap();
    assert_eq!(b.reader.next().await.unwrap().unwrap(), "still here");
}

#[tokio::test(start_paused = true)]
async fn silence_is_noticed() {
    let (a, _b) = tokio::io::duplex(READ_BYTES);
    let (mut end, start) = (over(a, true, 1), Instant::now());
    assert!(matches!(end.reader.next().await, Err(SecretStreamError::IdleTimeout)));
    assert_eq!(start.elapsed(), IDLE_TIMEOUT);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_never_ends_is_given_up() {
    let (near, mut far) = tokio::io::duplex(READ_BYTES);
    let mut end = over(near, true, 0);
    let dribbling = tokio::spawn(async move {
        let session = session(false, 0);
        let (_, header) = Encryptor::new(&session.tx).unwrap();
        let name = stream_name(&session.hash, false);
        far.write_all(&[&length(HEADER_MESSAGE_BYTES)[..], &name, &header].concat())
            .await
            .unwrap();
        far.write_all(&length(0xff_ffff)).await.unwrap();
        while far.write_all(b"x").await.is_ok() {
            sleep(IDLE_TIMEOUT / 2).await;
        }
    });
    let start = Instant::now();
    assert!(matches!(end.reader.next().await, Err(SecretStreamError::MessageTimeout)));
    assert_eq!(start.elapsed(), MESSAGE_TIMEOUT);
    assert!(end.reader.buffer.capacity() <= 2 * READ_BYTES, "what was announced takes no room");
    drop(end);
    dribbling.await.unwrap();
}

#[tokio::test]
async fn who_sends_more_than_is_wanted_is_cut_off_before_it_is_held() {
    let (mut a, mut b) = pair();
    b.reader.limit_message_bytes(1000);
    a.writer.send(vec![1; 1000]).await.unwrap();
    assert_eq!(b.reader.next().await.unwrap().unwrap().len(), 1000);
    a.writer.send(vec![1; 5_000_000]).await.unwrap();
    assert!(matches!(b.reader.next().await, Err(SecretStreamError::TooLong { bytes, .. }) if bytes == 5_000_000 + OVERHEAD_BYTES));
    assert!(b.reader.buffer.capacity() <= 2 * READ_BYTES);
}

#[tokio::test]
async fn a_long_message_leaves_no_room_behind() {
    let (mut a, mut b) = pair();
    let writer = tokio::spawn(async move {
        a.writer.send(vec![1; 5_000_000]).await.unwrap();
        a.writer.send("short").await.unwrap();
        a
    });
    assert_eq!(b.reader.next().await.unwrap().unwrap().len(), 5_000_000);
    assert_eq!(b.reader.next().await.unwrap().unwrap(), "short");
    assert!(b.reader.buffer.capacity() <= 4 * READ_BYTES, "{}", b.reader.buffer.capacity());
    drop(writer.await.unwrap());
}

#[tokio::test]
async fn another_handshake_is_not_continued() {
    let (a, b) = tokio::io::duplex(READ_BYTES);
    let (mut a, _b) = (over(a, true, 1), over(b, false, 2));
    assert!(matches!(a.reader.read_header().await, Err(SecretStreamError::NotAuthentic)));
}

/// The id of a responder in the npm package hyperdht, for the handshake that `noise` is tested with.
#[test]
fn the_names_of_streams_are_those_of_the_javascript_programs() {
    let hash = crate::key::tests::bytes(
        "8d8d401a3472852151bda897558faac2df3f6109ad62739683a3e1f9add11188d1cfeae18fe59e732fd8345ed76426bbcd8009d809adf927a4418dfc3d4539c8",
    );
    let expected = crate::key::tests::bytes("7f77d3ea808b7a5830aa056c6b84c0937ceb3748426d5be75b81af73ce3bbc56");
    assert_eq!(stream_name(&hash, false), expected);
    assert_ne!(stream_name(&hash, true), expected);
}
