//! Puts load on the monitoring stream of a running `exporter-proxy` and says what came of it; `scripts/bench/stream` runs it.
//!
//! It is both ends: an upstream that sends Bitswap messages at a steady rate to a proxy that it starts, and the clients that
//! follow the proxy, some of which never read. It prints one row of a table: messages a second as wanted, readers and stalled
//! clients, messages a second as sent, messages that the readers missed, messages that the proxy counted as dropped, CPU of the
//! proxy, the same for each message, CPU of this program, memory of the proxy at most, and the bytes of a message. It fails where
//! a reader missed anything or the rate was not reached.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends here and says why"
)]

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use exporter_proxy::wire::monitoring::{Compressor, HELLO, length_of};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

/// Messages that are made beforehand and sent again and again.
const DISTINCT: usize = 500;
/// The share of the wanted rate that must have been sent: the proxy reads more slowly where it cannot keep pace, which loses nothing
/// but is no rate that it can take.
const PACE: f64 = 0.98;
/// Time for the last messages to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Parser)]
struct Options {
    /// The program.
    #[arg(long, default_value = "target/release/exporter-proxy")]
    binary: String,
    /// Messages a second.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Duration in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Clients that read.
    #[arg(long, default_value_t = 90)]
    readers: usize,
    /// Clients that never read.
    #[arg(long, default_value_t = 10)]
    stalled: usize,
}

/// Frames of each reader, and bytes of all, so far.
#[derive(Debug, Default)]
struct Got {
    frames: Vec<AtomicU64>,
    bytes: AtomicU64,
}

#[tokio::main]
async fn main() {
    let options = Options::parse();
    let upstream = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (http, stream) = (free_address(), free_address());
    let folder = tempfile::tempdir().unwrap();
    let mut proxy = start(&options.binary, folder.path(), upstream.local_addr().unwrap(), http, stream);
    let (mut feeder, _) = upstream.accept().await.unwrap();
    feeder.write_all(HELLO).await.unwrap();
    let mut hello = [0; HELLO.len()];
    feeder.read_exact(&mut hello).await.unwrap();

    let got = Arc::new(Got {
        frames: (0..options.readers).map(|_| AtomicU64::new(0)).collect(),
        bytes: AtomicU64::new(0),
    });
    let mut silent = Vec::new();
    for _ in 0..options.stalled {
        silent.push(follow(stream).await);
    }
    for reader in 0..options.readers {
        tokio::spawn(read(follow(stream).await, reader, Arc::clone(&got)));
    }
    let all = (options.readers + options.stalled) as f64;
    while own(http, "stream_subscribers").await != all {
        sleep(Duration::from_millis(20)).await;
    }

    let me = std::process::id();
    let (began, cpu, own_cpu) = (Instant::now(), cpu_seconds(proxy.id()), cpu_seconds(me));
    let sent = feed(&mut feeder, options.rate, options.seconds).await;
    let took = began.elapsed().as_secs_f64();
    let missing = settle(&got, sent).await;
    let (cpu, own_cpu) = (cpu_seconds(proxy.id()) - cpu, cpu_seconds(me) - own_cpu);

    let events = sent as f64;
    let kept_pace = events / took >= options.rate as f64 * PACE;
    println!(
        "| {} | {} and {} | {:.0} | {missing} | {} | {:.0} % | {:.1} us | {:.0} % | {} MiB | {:.0} B |",
        options.rate,
        options.readers,
        options.stalled,
        events / took,
        own(http, "stream_dropped_total").await,
        100.0 * cpu / took,
        1e6 * cpu / events,
        100.0 * own_cpu / took,
        peak_kib(&proxy) / 1024,
        got.bytes.load(Ordering::Relaxed) as f64 / events / options.readers.max(1) as f64,
    );
    proxy.kill().unwrap();
    proxy.wait().unwrap();
    drop(silent);
    std::process::exit(i32::from(missing > 0 || !kept_pace));
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn start(binary: &str, folder: &std::path::Path, upstream: SocketAddr, http: SocketAddr, stream: SocketAddr) -> Child {
    let config = folder.join("config.toml");
    let text = format!(
        "exporter.scrape_expose_endpoint = \"{http}\"\nreceiver.receive_on_unix_socket = false\nreceiver.receive_on_tcp_socket = false\n\
         stream.listen_addresses = [\"{stream}\"]\nstream.upstreams = [\"{upstream}\"]\nstream.events = [\"bitswap\"]\n"
    );
    std::fs::write(&config, text).unwrap();
    Command::new(binary)
        .arg("--config")
        .arg(config)
        .env("RUST_LOG", "warn")
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// A message as a busy node sends it: 1.7 kB of JSON.
fn message(n: usize) -> Vec<u8> {
    let mut state = n as u64 + 1;
    let mut cid = || {
        let letters = (0..55).map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            char::from(b"abcdefghijklmnopqrstuvwxyz234567"[usize::try_from(state >> 59).unwrap()])
        });
        format!("bafk{}", letters.collect::<String>())
    };
    let entry = |cid: String| {
        format!("{{\"Cid\":{{\"/\":\"{cid}\"}},\"Priority\":2147483647,\"WantType\":1,\"Cancel\":false,\"SendDontHave\":true}}")
    };
    let entries: Vec<String> = (0..10).map(|_| entry(cid())).collect();
    let text = format!(
        "{{\"event\":{{\"timestamp\":\"2026-11-21T12:53:22.{n:09}Z\",\"peer\":\"12D3KooW{n:044}\",\"bitswap_message\":{{\"wantlist_entries\":[{}],\
         \"full_wantlist\":false,\"blocks\":[],\"block_presences\":[],\"connected_addresses\":[\"/ip4/203.0.113.7/udp/4001/quic-v1\"]}}}}}}\n",
        entries.join(",")
    );
    let mut member = Vec::new();
    Compressor::default().member(text.as_bytes(), &mut member);
    [&length_of(member.len()).unwrap()[..], &member].concat()
}

/// Sends messages at a steady rate, and says how many that were.
async fn feed(feeder: &mut TcpStream, rate: u64, seconds: u64) -> u64 {
    let messages: Vec<Vec<u8>> = (0..DISTINCT).map(message).collect();
    let mut cycle = messages.iter().cycle();
    let (mut sent, began) = (0, Instant::now());
    let mut ticks = interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while sent < rate * seconds {
        ticks.tick().await;
        // A sender that could not keep its pace ends on time all the same.
        if began.elapsed() > Duration::from_secs(seconds) + PATIENCE {
            break;
        }
        let due = u64::try_from(began.elapsed().as_micros()).unwrap() * rate / 1_000_000;
        let mut piece = Vec::new();
        while sent < due.min(rate * seconds) {
            piece.extend_from_slice(cycle.next().unwrap());
            sent += 1;
        }
        feeder.write_all(&piece).await.unwrap();
    }
    sent
}

async fn follow(stream: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(stream).await.unwrap();
    client.write_all(HELLO).await.unwrap();
    let mut hello = [0; HELLO.len()];
    client.read_exact(&mut hello).await.unwrap();
    client
}

/// Counts the frames that come.
async fn read(mut client: TcpStream, reader: usize, got: Arc<Got>) {
    let (mut buffer, mut head, mut left, mut known) = (vec![0; 256 << 10], [0; 4], 0_usize, 0_usize);
    loop {
        let n = client.read(&mut buffer).await.unwrap_or(0);
        if n == 0 {
            return;
        }
        let (mut piece, mut frames) = (&buffer[..n], 0);
        while !piece.is_empty() {
            if left > 0 {
                let step = left.min(piece.len());
                (left, piece) = (left - step, &piece[step..]);
                frames += u64::from(left == 0);
            } else {
                (head[known], piece) = (piece[0], &piece[1..]);
                known = (known + 1) % 4;
                left = if known == 0 { u32::from_be_bytes(head) as usize } else { 0 };
            }
        }
        got.frames[reader].fetch_add(frames, Ordering::Relaxed);
        got.bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// Waits until all readers have everything or nothing more comes, and says how much is missing.
async fn settle(got: &Got, sent: u64) -> u64 {
    let missing = || got.frames.iter().map(|frames| sent - frames.load(Ordering::Relaxed)).sum::<u64>();
    let complete = async {
        while missing() > 0 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let _ = timeout(PATIENCE, complete).await;
    missing()
}

/// One of the proxy's own numbers.
async fn own(http: SocketAddr, name: &str) -> f64 {
    let mut client = TcpStream::connect(http).await.unwrap();
    client.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).await.unwrap();
    let name = format!("exporter_proxy_{name} ");
    text.lines()
        .find_map(|line| line.strip_prefix(&name)?.parse().ok())
        .unwrap_or(f64::NAN)
}

fn cpu_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // proc(5): fields 14 and 15, user and system time in ticks, of which Linux has a hundred a second everywhere.
    let behind_name: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = behind_name[11].parse::<f64>().unwrap() + behind_name[12].parse::<f64>().unwrap();
    ticks / 100.0
}

fn peak_kib(proxy: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.id())).unwrap();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok())
        .unwrap()
}
