//! Peers that load a Bitswap monitor, or are hostile to it, each with an identity and a connection of its own.
//!
//!     cargo run --release --features bitswap --example bitswap_peers -- ADDRESS ACT [PEERS] [SECONDS] [PER_SECOND]
//!
//! ADDRESS is a TCP multiaddress, as the monitor logs it. Acts:
//!
//! - `load`: each peer sends wantlists of ten entries, PER_SECOND of them, or as fast as possible with 0
//! - `idle`: connections that send nothing
//! - `endless`: wantlists of 4 MiB, one after the other
//! - `oversized`: messages of more than 4 MiB, each on a new stream
//! - `garbage`: bytes that are no message, each on a new stream
//! - `half`: eight streams of each peer with all but the last byte of a message of 4 MiB
//! - `streams`: as many streams as the connection allows
//!
//! At the end it prints the numbers of connections and messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for measurements fails by panicking, and prints"
)]

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use libp2p_core::muxing::{StreamMuxer as _, StreamMuxerBox, SubstreamBox};
use libp2p_core::transport::{Boxed, DialOpts, PortUse};
use libp2p_core::upgrade::Version;
use libp2p_core::{Endpoint, Multiaddr, Transport as _};
use libp2p_identity::{Keypair, PeerId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, sleep, timeout_at};

/// Entries of a wantlist.
const ENTRIES: usize = 10;
/// Both sides of multistream-select, where the other end agrees.
const NEGOTIATION: &[u8; 41] = b"\x13/multistream/1.0.0\n\x14/ipfs/bitswap/1.2.0\n";
/// The longest message that the monitor takes.
const LARGEST: usize = 4 << 20;

#[derive(Debug, Default)]
struct Counts {
    connected: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
}

#[derive(Debug, Clone)]
struct Plan {
    address: Multiaddr,
    act: String,
    until: Instant,
    per_second: u64,
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, act, ..] = &arguments[..] else {
        eprintln!("usage: bitswap_peers ADDRESS ACT [PEERS] [SECONDS] [PER_SECOND]");
        std::process::exit(2);
    };
    let number = |at: usize, default: u64| arguments.get(at).map_or(default, |text| text.parse().expect("a number"));
    let (peers, seconds) = (number(2, 1), number(3, 10));
    let plan = Plan {
        address: address.parse().expect("a multiaddress"),
        act: act.clone(),
        until: Instant::now() + Duration::from_secs(seconds),
        per_second: number(4, 0),
    };
    let (counts, began) = (Arc::<Counts>::default(), Instant::now());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..peers {
        tasks.spawn(peer(plan.clone(), Arc::clone(&counts)));
        // Handshakes take most of the time of a connection, and too many at a time run into time-outs.
        sleep(Duration::from_millis(1)).await;
    }
    while tasks.join_next().await.is_some() {}
    let (took, shown) = (began.elapsed().as_secs_f64(), |count: &AtomicU64| count.load(Ordering::Relaxed));
    println!(
        "{act}: {} connected, {} failed, {} lost, {} messages, {:.0} a second, {:.1} MB in {took:.1} s",
        shown(&counts.connected),
        shown(&counts.failed),
        shown(&counts.lost),
        shown(&counts.messages),
        shown(&counts.messages) as f64 / took,
        shown(&counts.bytes) as f64 / 1e6,
    );
}

/// One peer, until its time is over or its connection is lost.
async fn peer(plan: Plan, counts: Arc<Counts>) {
    let mut transport = transport(&Keypair::generate_ed25519());
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    let dialing = transport.dial(plan.address.clone(), options).expect("an address of TCP");
    let deadline = plan.until.into();
    let Ok(Ok((_, muxer))) = timeout_at(deadline, dialing).await else {
        counts.failed.fetch_add(1, Ordering::Relaxed);
        return;
    };
    counts.connected.fetch_add(1, Ordering::Relaxed);
    let (streams, requests) = mpsc::channel(1);
    let driving = tokio::spawn(drive(muxer, requests));
    let acting = act(&plan, &streams, &counts);
    let ended = timeout_at(deadline, acting).await;
    // Where there is nothing more to send, the connection stays.
    if ended.is_ok() {
        let _ = timeout_at(deadline, streams.closed()).await;
    }
    if driving.is_finished() {
        counts.lost.fetch_add(1, Ordering::Relaxed);
    }
    driving.abort();
}

async fn act(plan: &Plan, streams: &mpsc::Sender<oneshot::Sender<SubstreamBox>>, counts: &Counts) -> Option<()> {
    match plan.act.as_str() {
        "idle" => Some(()),
        "load" => {
            let message = delimited(&wantlist(ENTRIES));
            let mut stream = open(streams).await?;
            let mut ticks = (plan.per_second > 0).then(|| interval(Duration::from_secs(1) / u32::try_from(plan.per_second).unwrap()));
            loop {
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                send(&mut stream, &message, counts).await?;
            }
        }
        "endless" => {
            // An entry takes 46 bytes.
            let message = delimited(&wantlist((LARGEST - 64) / 46));
            let mut stream = open(streams).await?;
            loop {
                send(&mut stream, &message, counts).await?;
            }
        }
        "oversized" => hostile(streams, &delimited(&vec![0; LARGEST + 1]), counts).await,
        "garbage" => hostile(streams, &[0xff; 64], counts).await,
        "half" => {
            let message = delimited(&wantlist((LARGEST - 64) / 46));
            let mut kept = Vec::new();
            for _ in 0..8 {
                let mut stream = open(streams).await?;
                // The monitor may reset a stream.
                let _ = send(&mut stream, &message[..message.len() - 1], counts).await;
                kept.push(stream);
            }
            std::future::pending().await
        }
        "streams" => {
            let mut kept = Vec::new();
            loop {
                kept.push(open(streams).await?);
                counts.messages.fetch_add(1, Ordering::Relaxed);
            }
        }
        other => panic!("unknown act {other}"),
    }
}

/// Writes the same bytes on one stream after the other.
async fn hostile(streams: &mpsc::Sender<oneshot::Sender<SubstreamBox>>, bytes: &[u8], counts: &Counts) -> Option<()> {
    loop {
        let mut stream = open(streams).await?;
        let _ = send(&mut stream, bytes, counts).await;
        let _ = stream.close().await;
    }
}

async fn send(stream: &mut SubstreamBox, message: &[u8], counts: &Counts) -> Option<()> {
    stream.write_all(message).await.ok()?;
    stream.flush().await.ok()?;
    counts.messages.fetch_add(1, Ordering::Relaxed);
    counts.bytes.fetch_add(message.len() as u64, Ordering::Relaxed);
    Some(())
}

/// Opens a stream and negotiates Bitswap on it.
async fn open(streams: &mpsc::Sender<oneshot::Sender<SubstreamBox>>) -> Option<SubstreamBox> {
    let (opened, waiting) = oneshot::channel();
    streams.send(opened).await.ok()?;
    let mut stream = waiting.await.ok()?;
    stream.write_all(NEGOTIATION).await.ok()?;
    stream.flush().await.ok()?;
    let mut answer = [0; NEGOTIATION.len()];
    stream.read_exact(&mut answer).await.ok()?;
    (answer == *NEGOTIATION).then_some(stream)
}

/// Drives a connection: opens the streams that are asked for, and refuses those of the other end.
async fn drive(mut muxer: StreamMuxerBox, mut requests: mpsc::Receiver<oneshot::Sender<SubstreamBox>>) {
    let mut request = None;
    poll_fn(|cx| {
        loop {
            if request.is_none()
                && let Poll::Ready(Some(next)) = requests.poll_recv(cx)
            {
                request = Some(next);
            }
            if request.is_some() {
                match Pin::new(&mut muxer).poll_outbound(cx) {
                    Poll::Ready(Ok(stream)) => {
                        if let Some(request) = request.take() {
                            let _ = request.send(SubstreamBox::new(stream));
                        }
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match Pin::new(&mut muxer).poll_inbound(cx) {
                Poll::Ready(Ok(_refused)) => continue,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            match Pin::new(&mut muxer).poll(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

fn transport(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    libp2p_tcp::tokio::Transport::new(libp2p_tcp::Config::default())
        .upgrade(Version::V1)
        .authenticate(libp2p_noise::Config::new(key).unwrap())
        .multiplex(libp2p_yamux::Config::default())
        .boxed()
}

/// A wantlist for as many blocks, without requests for answers.
fn wantlist(entries: usize) -> Vec<u8> {
    let mut list = Vec::new();
    for number in 0..entries {
        let mut cid = vec![1, 0x55, 0x12, 0x20];
        cid.extend_from_slice(&[7; 24]);
        cid.extend_from_slice(&(number as u64).to_be_bytes());
        let mut entry = field(1, &cid);
        entry.extend_from_slice(&[0x10, 1, 0x20, 1]);
        list.extend_from_slice(&field(1, &entry));
    }
    field(1, &list)
}

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    field.extend_from_slice(&delimited(bytes));
    field
}

/// Bytes behind their length.
fn delimited(bytes: &[u8]) -> Vec<u8> {
    let (mut out, mut length) = (Vec::with_capacity(bytes.len() + 4), bytes.len());
    while length >= 0x80 {
        out.push(length.to_le_bytes()[0] | 0x80);
        length >>= 7;
    }
    out.push(length.to_le_bytes()[0]);
    out.extend_from_slice(bytes);
    out
}
