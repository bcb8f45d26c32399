#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use futures_util::io::Cursor;

use super::*;
use crate::bus::Bus;
use crate::model::{Timestamp, Topic, Topics};
use crate::wire::bitswap::{MAX_MESSAGE_BYTES, dont_have};

fn observer(bus: &Bus) -> Arc<Observer> {
    Arc::new(Observer {
        monitor: "north".into(),
        legacy_addresses: true,
        clock: || Timestamp::from_millis(0),
        bus: bus.publisher().clone(),
    })
}

fn read<S: AsyncRead + Unpin + Send + 'static>(
    stream: S,
    memory: &IncompleteMessages,
) -> BoxStream<'static, Result<Observed, StreamFault>> {
    messages(
        stream,
        memory.clone(),
        observer(&Bus::default()),
        "peer".into(),
        "/ip4/1.2.3.4/tcp/1".into(),
    )
}

async fn reasons(bytes: &[u8]) -> Vec<&'static str> {
    let items: Vec<_> = read(Cursor::new(bytes.to_vec()), &IncompleteMessages::default()).collect().await;
    items
        .iter()
        .map(|item| item.as_ref().err().map_or("message", |fault| fault.reason().unwrap_or("io")))
        .collect()
}

const CID: &[u8] = &[1, 0x55, 0, 1, b'x'];

#[tokio::test]
async fn messages_of_any_length_follow_each_other() {
    let large = vec![CID; 100_000];
    let bytes = [dont_have([CID]), dont_have(large), dont_have([]), dont_have([CID, CID])].concat();
    let items: Vec<_> = read(Cursor::new(bytes), &IncompleteMessages::default()).collect().await;
    let counts: Vec<u64> = items.iter().map(|item| item.as_ref().unwrap().tally.dont_have).collect();
    assert_eq!(counts, [1, 100_000, 0, 2]);
}

#[tokio::test]
async fn a_fault_is_the_last_item() {
    let message = dont_have([CID]);
    for (bytes, reason) in [
        (vec![0xff; 20], "malformed"),
        (vec![0x81, 0x80, 0x80, 2, 0], "too_large"),
        (vec![1, 7], "malformed"),
        (vec![9, 0x0a], "truncated"),
        (vec![0x80], "truncated"),
    ] {
        assert_eq!(reasons(&[&message[..], &bytes].concat()).await, ["message", reason], "{bytes:x?}");
    }
    assert_eq!(reasons(&message).await, ["message"]);
    assert!(reasons(b"").await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_half_message_times_out_and_a_silent_stream_does_not() {
    let (near, _far) = tokio::io::duplex(64);
    let half = futures_util::io::AsyncReadExt::chain(Cursor::new(vec![100, 1, 2]), Silent(near));
    let items: Vec<_> = read(half, &IncompleteMessages::default()).collect().await;
    assert!(matches!(items[..], [Err(StreamFault::Timeout)]), "{items:?}");
    let (near, _far) = tokio::io::duplex(64);
    let mut silent = read(Silent(near), &IncompleteMessages::default());
    assert!(timeout(MESSAGE_TIMEOUT * 100, silent.next()).await.is_err());
}

/// A stream without bytes that does not end.
struct Silent(#[expect(dead_code, reason = "keeps the other end open")] tokio::io::DuplexStream);

impl AsyncRead for Silent {
    fn poll_read(self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>, _: &mut [u8]) -> std::task::Poll<io::Result<usize>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn incomplete_messages_share_a_limit_and_small_ones_need_no_share() {
    let memory = IncompleteMessages(Arc::new(Semaphore::new(4)));
    let mut large = vec![0x80, 0x80, 0x80, 2];
    large.resize(MAX_MESSAGE_BYTES, 0);
    let items: Vec<_> = read(Cursor::new(large), &memory).collect().await;
    assert!(matches!(items[..], [Err(StreamFault::Memory)]), "{items:?}");
    assert_eq!(memory.0.available_permits(), 4, "what was reserved is free again");
    let none = IncompleteMessages(Arc::new(Semaphore::new(0)));
    let items: Vec<_> = read(Cursor::new(dont_have(vec![CID; 1000])), &none).collect().await;
    assert!(items[0].is_ok() && items.len() == 1);
}

#[tokio::test]
async fn events_are_made_only_for_subscribers_and_answers_only_where_asked() {
    let bus = Bus::default();
    let observer = observer(&bus);
    // A want with and one without a request for an answer.
    let wants = b"\x0a\x14\x0a\x09\x0a\x05\x01\x55\0\x01x\x28\x01\x0a\x07\x0a\x05\x01\x55\0\x01y";
    let observed = observer.observe(wants, "peer", "/ip4/1.2.3.4/tcp/1").unwrap();
    assert!(observed.event.is_none());
    assert_eq!(observed.unanswered, [CID.into()]);
    assert_eq!(observed.tally.want_block, [1, 1]);
    let _subscription = bus.subscribe(Topics::only(Topic::Bitswap));
    let event = observer.observe(wants, "peer", "/ip4/1.2.3.4/tcp/1").unwrap().event.unwrap();
    assert!(String::from_utf8(event.to_vec()).unwrap().contains("bitswap_message"));
}
