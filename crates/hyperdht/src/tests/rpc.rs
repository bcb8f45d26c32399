//! Tests of the RPC client and server over in-memory connections, also with bytes that other programs send.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::rpc_client::{CallError, ConnectionEnd, MAX_REFUSALS, RpcClient};
use crate::rpc_server::{RpcMethod, RpcReply, serve};
use crate::secret_stream::{SecretStream, pair};
use crate::wire::{Call, Frame, Frames, Reply};

/// The protocols and the method of programs that are served so.
const PROTOCOL: &str = "prometheus-metrics";
const METHOD: &str = "metrics";
const OTHER_PROTOCOL: &str = "register-alias";

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

/// Returns the request value, and counts the received replies.
#[derive(Default)]
struct Echo {
    on_acked: Arc<AtomicUsize>,
}

impl RpcMethod for Echo {
    const PROTOCOL: &'static str = PROTOCOL;
    const METHOD: &'static str = METHOD;
    /// The reply has the size of the request.
    const MAX_BYTES: usize = 2_000_000;

    async fn call(&self, value: Bytes) -> RpcReply {
        if value == "never" {
            std::future::pending().await
        }
        let on_acked = self.on_acked.clone();
        RpcReply {
            outcome: Ok(vec![Bytes::from_static(b"<"), value, Bytes::from_static(b">")]),
            on_acked: Some(Box::new(move || _ = on_acked.fetch_add(1, Ordering::SeqCst))),
        }
    }
}

/// An echo server at the far end of a connection.
struct Served {
    near: SecretStream,
    on_acked: Arc<AtomicUsize>,
    ended: JoinHandle<ConnectionEnd>,
    stop: CancellationToken,
}

fn served() -> Served {
    let (near, far) = pair();
    let (echo, stop) = (Echo::default(), CancellationToken::new());
    let on_acked = echo.on_acked.clone();
    let ended = tokio::spawn(serve(far, Arc::new(echo), LONG, stop.clone()));
    Served {
        near,
        on_acked,
        ended,
        stop,
    }
}

async fn frames(stream: &mut SecretStream) -> Vec<Frame> {
    let message = timeout(LONG, stream.reader.next()).await.unwrap().unwrap().unwrap();
    Frames::of(message).map(Result::unwrap).collect()
}

fn open(channel: u64, protocol: &str) -> Frame {
    Frame::Open {
        channel,
        protocol: protocol.to_owned(),
        id: Bytes::new(),
    }
}

async fn response(stream: &mut SecretStream) -> (u64, Reply) {
    let [Frame::Data { channel, kind, payload }] = &frames(stream).await[..] else {
        panic!("no response")
    };
    match Call::decode(*kind, payload.clone()).unwrap() {
        Some(Call::Response(reply)) => (*channel, reply),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_requests_at_once_get_their_own_answers() {
    let Served { near, on_acked, .. } = served();
    let client = Arc::new(RpcClient::new(near, PROTOCOL, |_| {}));
    let mut asking = JoinSet::new();
    for n in 0..200_usize {
        let client = client.clone();
        asking.spawn(async move {
            let value = vec![u8::try_from(n).unwrap(); 60_000];
            let answer = client.call(METHOD, &value, LONG).await.unwrap();
            assert_eq!(answer, [b"<", &value[..], b">"].concat());
        });
    }
    while let Some(asked) = asking.join_next().await {
        asked.unwrap();
    }
    timeout(LONG, async {
        while on_acked.load(Ordering::SeqCst) < 200 {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("all answers were received");
}

/// The behavior of the first generation of bridges: an unwanted channel, and requests before the channel is confirmed.
#[tokio::test]
async fn unwanted_channels_are_rejected_and_the_rest_goes_on() {
    let mut served = served();
    let near = &mut served.near;
    near.writer.send(open(1, OTHER_PROTOCOL).encode()).await.unwrap();
    near.writer.send(open(2, PROTOCOL).encode()).await.unwrap();
    // The body of one byte differs from that of newer bridges.
    near.writer.send(Call::request(2, 7, METHOD, &[0])).await.unwrap();
    near.writer.send(open(3, PROTOCOL).encode()).await.unwrap();
    assert_eq!(frames(near).await, [Frame::Reject { channel: 1 }]);
    assert_eq!(frames(near).await, [open(1, PROTOCOL)]);
    let mut outcome = [frames(near).await, frames(near).await].concat();
    outcome.sort_by_key(|frame| matches!(frame, Frame::Reject { .. }));
    assert_eq!(outcome[1], Frame::Reject { channel: 3 });
    assert!(matches!(&outcome[0], Frame::Data { channel: 1, kind: 1, payload } if payload[..] == *b"\x00\x07<\x00>"));
    // Closed; the id can be reused.
    near.writer.send(Frame::Close { channel: 2 }.encode()).await.unwrap();
    near.writer.send(open(2, PROTOCOL).encode()).await.unwrap();
    assert_eq!(frames(near).await, [open(1, PROTOCOL)]);
}

#[tokio::test]
async fn batches_and_strange_requests_are_understood() {
    let mut served = served();
    let near = &mut served.near;
    // One message with the opening of our channel, a request without reply, one for an unknown method, and a valid one.
    let request = |id: u8, method: &str| [&[0, id, u8::try_from(method.len()).unwrap()][..], method.as_bytes(), b"v"].concat();
    let mut batch = vec![0, 0, 0];
    let opening = &open(5, PROTOCOL).encode()[1..];
    for part in [opening, &[0, 5]] {
        if part[0] == 0 {
            batch.extend_from_slice(part);
        } else {
            batch.push(u8::try_from(part.len()).unwrap());
            batch.extend_from_slice(part);
        }
    }
    for part in [request(0, METHOD), request(1, "nonsense"), request(2, METHOD)] {
        batch.push(u8::try_from(part.len()).unwrap());
        batch.extend_from_slice(&part);
    }
    near.writer.send(batch).await.unwrap();
    assert_eq!(frames(near).await, [open(1, PROTOCOL)]);
    let (channel, reply) = response(near).await;
    assert_eq!((channel, reply.id), (1, 1));
    let failure = reply.outcome.unwrap_err().to_string();
    assert!(failure.starts_with("UNKNOWN_METHOD: ") && failure.contains("nonsense"), "{failure}");
    let (channel, reply) = response(near).await;
    assert_eq!((channel, reply.id, reply.outcome), (1, 2, Ok(Bytes::from_static(b"<v>"))));
}

/// A method for peers that have shown nothing yet.
struct Careful;

impl RpcMethod for Careful {
    const PROTOCOL: &'static str = PROTOCOL;
    const METHOD: &'static str = METHOD;
    const MAX_REQUESTS: usize = 5;

    async fn call(&self, _: Bytes) -> RpcReply {
        RpcReply::untracked(b"no".to_vec())
    }
}

/// Returns one message with these requests on a channel.
fn batch(channel: u8, requests: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut batch = vec![0, 0, channel];
    for request in requests {
        batch.push(u8::try_from(request.len()).unwrap());
        batch.extend(request);
    }
    batch
}

/// Returns the number of messages until the end of the connection, and their bytes.
async fn messages(stream: &mut SecretStream) -> (usize, usize) {
    let (mut count, mut bytes) = (0, 0);
    while let Ok(Some(message)) = timeout(LONG, stream.reader.next()).await.unwrap() {
        count += 1;
        bytes += message.len();
    }
    (count, bytes)
}

#[tokio::test]
async fn a_batch_of_refused_requests_gets_a_few_short_replies_and_the_connection_ends() {
    let long_method = [&[0, 1, 240][..], &[1; 240]].concat();
    for (refused, each) in [(vec![0, 1, 0], 60), (long_method, 220)] {
        let mut served = served();
        let near = &mut served.near;
        near.writer.send(open(1, PROTOCOL).encode()).await.unwrap();
        assert_eq!(frames(near).await, [open(1, PROTOCOL)]);
        let refused = std::iter::repeat_n(refused, if each == 60 { 1_000 } else { 200 });
        near.writer.send(batch(1, refused)).await.unwrap();
        let (count, bytes) = messages(near).await;
        assert!(
            count <= MAX_REFUSALS && bytes <= MAX_REFUSALS * each,
            "{count} replies, {bytes} bytes"
        );
        let end = timeout(LONG, served.ended).await.unwrap().unwrap();
        assert!(!end.is_graceful && end.why.contains("more than 16"), "{end:?}");
    }
    // Channels of other protocols count as well.
    let mut served = served();
    let near = &mut served.near;
    for channel in 1..=1_000 {
        if near.writer.send(open(channel, OTHER_PROTOCOL).encode()).await.is_err() {
            break;
        }
    }
    assert!(messages(near).await.0 <= MAX_REFUSALS);
    assert!(!timeout(LONG, served.ended).await.unwrap().unwrap().is_graceful);
}

#[tokio::test]
async fn requests_beyond_the_limit_of_a_method_end_the_connection() {
    for reopened in [false, true] {
        let (mut near, far) = pair();
        let ended = tokio::spawn(serve(far, Arc::new(Careful), LONG, CancellationToken::new()));
        near.writer.send(open(1, PROTOCOL).encode()).await.unwrap();
        assert_eq!(frames(&mut near).await, [open(1, PROTOCOL)]);
        for id in 1..=100 {
            let message = match reopened {
                false => Call::request(1, id, METHOD, b""),
                true if id % 2 == 0 => open(1, PROTOCOL).encode(),
                true => Frame::Close { channel: 1 }.encode(),
            };
            if near.writer.send(message).await.is_err() {
                break;
            }
        }
        let count = messages(&mut near).await.0;
        assert!(count < Careful::MAX_REQUESTS, "{count} replies beside the first");
        let end = timeout(LONG, ended).await.unwrap().unwrap();
        assert_eq!(end, ConnectionEnd::lost("more than 5 requests on a connection"));
    }
}

#[tokio::test]
async fn a_peer_that_was_dialed_gets_few_refusals_as_well() {
    let (near, mut far) = pair();
    let (tell, outcome) = oneshot::channel();
    let client = RpcClient::new(near, PROTOCOL, |end| tell.send(end).unwrap());
    assert_eq!(frames(&mut far).await, [open(1, PROTOCOL)]);
    far.writer.send(open(1, PROTOCOL).encode()).await.unwrap();
    far.writer.send(batch(1, std::iter::repeat_n(vec![0, 1, 0], 1_000))).await.unwrap();
    assert!(!timeout(LONG, outcome).await.unwrap().unwrap().is_graceful);
    drop(client);
    assert!(messages(&mut far).await.0 <= MAX_REFUSALS);
}

#[tokio::test]
async fn nonsense_ends_a_connection() {
    for bad in [
        &[0][..],
        &[0, 0, 0, 3, 0, 1, 1],
        &[0, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        let mut served = served();
        served.near.writer.send(bad.to_vec()).await.unwrap();
        let ConnectionEnd { is_graceful, why } = timeout(LONG, served.ended).await.unwrap().unwrap();
        assert!(!is_graceful, "{why}");
        let (near, mut far) = pair();
        let (tell, outcome) = oneshot::channel();
        let client = RpcClient::new(near, PROTOCOL, |end| tell.send(end).unwrap());
        far.writer.send(bad.to_vec()).await.unwrap();
        assert!(!timeout(LONG, outcome).await.unwrap().unwrap().is_graceful);
        assert!(!client.is_alive());
    }
}

#[tokio::test]
async fn who_stops_finishes_what_is_in_work() {
    let Served { near, ended, stop, .. } = served();
    let (tell, outcome) = oneshot::channel();
    let client = RpcClient::new(near, PROTOCOL, |end| tell.send(end).unwrap());
    assert_eq!(client.call(METHOD, b"a", LONG).await.unwrap(), "<a>");
    stop.cancel();
    assert!(timeout(LONG, ended).await.unwrap().unwrap().is_graceful);
    assert!(timeout(LONG, outcome).await.unwrap().unwrap().is_graceful, "the end was meant");
    assert!(matches!(client.call(METHOD, b"a", LONG).await, Err(CallError::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_late_disturbs_nobody() {
    let (near, mut far) = pair();
    let client = RpcClient::new(near, PROTOCOL, |_| {});
    assert_eq!(frames(&mut far).await, [open(1, PROTOCOL)]);
    far.writer.send(open(9, PROTOCOL).encode()).await.unwrap();
    let second = Duration::from_secs(1);
    assert_eq!(client.call(METHOD, b"x", second).await, Err(CallError::Timeout(second)));
    far.writer.send(Call::response(9, 1, Ok(&["late".into()]))).await.unwrap();
    far.writer.send(Call::response(9, 2, Ok(&["in time".into()]))).await.unwrap();
    // A response before its request is dropped as well, since ids are unique.
    tokio::time::sleep(second).await;
    let answering = async {
        for id in [1, 2] {
            let [Frame::Data { payload, .. }] = &frames(&mut far).await[..] else {
                panic!("no request")
            };
            assert_eq!(u64::from(payload[0]), id);
        }
        far.writer.send(open(3, OTHER_PROTOCOL).encode()).await.unwrap();
        far.writer.send(Call::request(9, 1, "what", b"")).await.unwrap();
        assert_eq!(frames(&mut far).await, [Frame::Reject { channel: 3 }]);
        assert!(
            response(&mut far)
                .await
                .1
                .outcome
                .unwrap_err()
                .to_string()
                .starts_with("UNKNOWN_METHOD")
        );
        far.writer.send(Call::response(9, 2, Ok(&["right".into()]))).await.unwrap();
    };
    let (answer, ()) = tokio::join!(client.call(METHOD, b"y", LONG), answering);
    assert_eq!(answer.unwrap(), "right");
}

#[tokio::test]
async fn who_is_rejected_or_left_alone_is_told_at_once() {
    for last in [Some(Frame::Reject { channel: 1 }), None] {
        let (near, mut far) = pair();
        let (tell, mut outcome) = mpsc::unbounded_channel();
        let client = RpcClient::new(near, PROTOCOL, move |end| tell.send(end).unwrap());
        let leaving = async {
            frames(&mut far).await;
            frames(&mut far).await;
            if let Some(last) = last {
                far.writer.send(last.encode()).await.unwrap();
            }
            far.writer.close().await;
        };
        let (answer, ()) = tokio::join!(client.call(METHOD, b"x", LONG), leaving);
        assert!(matches!(answer, Err(CallError::Lost(_))), "{answer:?}");
        assert!(!client.is_alive());
        assert!(timeout(LONG, outcome.recv()).await.unwrap().unwrap().is_graceful);
    }
}

/// A reply counts as received when the peer's transport has acknowledged it.
#[tokio::test]
async fn what_was_cut_off_was_not_received() {
    let served = served();
    let mut near = served.near;
    near.writer.send(open(1, PROTOCOL).encode()).await.unwrap();
    // More than the connection buffers; nothing is read from it.
    near.writer.send(Call::request(1, 1, METHOD, &vec![b'x'; 1_000_000])).await.unwrap();
    frames(&mut near).await;
    drop(near);
    assert!(!timeout(LONG, served.ended).await.unwrap().unwrap().why.is_empty());
    assert_eq!(served.on_acked.load(Ordering::SeqCst), 0);
}
