//! Loads a bridge: many simulated proxies in this process, a real bridge in another, and a scrape of each every 15 s.
//!
//! `scripts/bench/bridge` runs it. It prints what it has measured and has no opinion on it.

#![allow(clippy::print_stdout, reason = "it is a measurement")]

use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use exporter_proxy::peer::{
    Alias, Client, ClientSettings, Identity, LinkAddress, LinkEvents, PublicKey, Registration, RunningClient, metrics_service,
};
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Interval of the scrapes of each proxy.
const INTERVAL: Duration = Duration::from_secs(15);
/// Connections of the scraper, kept alive.
const CONNECTIONS: usize = 16;
/// Apps of the proxy with which latencies are compared, 18 kB each, and how many scrapes of each kind: 20 kB and 1 MB, near enough.
const COMPARED: [(usize, usize); 2] = [(1, 4_000), (56, 1_000)];
/// Datagrams of garbage a second.
const GARBAGE: u32 = 10_000;
const SECRET: &str = "1111111111111111111111111111111111111111111111111111111111111111";

/// A program that is stopped when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, proxies, seconds] = &arguments[..] else {
        anyhow::bail!("usage: bridge-load PROGRAM PROXIES SECONDS")
    };
    let (proxies, seconds): (usize, u64) = (proxies.parse()?, seconds.parse()?);
    let folder = tempfile::tempdir()?;
    let [http, quic, direct, tcp] = free_ports()?;
    let key = Identity::create(&folder.path().join("bridge.key"))?.public_key();
    let place = folder.path().display();
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:{http}\"\nquic_listen = \"127.0.0.1:{quic}\"\nkey_file = \"{place}/bridge.key\"\n\
         secret = \"{SECRET}\"\ntargets_file = \"{place}/targets.json\"\n"
    );
    let bridge = start(program, "bridge", &folder.path().join("bridge.toml"), &text)?;
    let http: SocketAddr = ([127, 0, 0, 1], http).into();
    let address: LinkAddress = format!("{key}@127.0.0.1:{quic}").parse().map_err(anyhow::Error::msg)?;
    // Once it answers, it is what it is without proxies.
    while connect(http).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let before = usage(bridge.0.id())?;

    let began = Instant::now();
    let clients = register(proxies, &address).await?;
    println!("{proxies} proxies registered within {:.1} s", began.elapsed().as_secs_f64());
    let registered = usage(bridge.0.id())?;
    tokio::time::sleep(INTERVAL).await;
    let idle = usage(bridge.0.id())?;
    println!(
        "bridge: {:.1} MiB before, {:.1} MiB with all links idle ({:.1} KiB each), {:.1} % of a core idle",
        before.mib,
        idle.mib,
        (idle.mib - before.mib) * 1024.0 / as_float(proxies),
        (idle.cpu - registered.cpu) * 100.0 / INTERVAL.as_secs_f64(),
    );

    let span = Duration::from_secs(seconds);
    measured("while each proxy is scraped every 15 s", &bridge, scrape_all(http, proxies, span)).await?;
    let flood = Flood::start(quic)?;
    let under = format!("the same with {GARBAGE} garbage datagrams a second beside it");
    measured(&under, &bridge, scrape_all(http, proxies, span)).await?;
    println!("  {} garbage datagrams sent in {seconds} s", flood.stop());
    drop(clients);
    compare(program, folder.path(), http, (key, quic), (direct, tcp)).await
}

/// Prints what a round of scrapes was like and what it cost the bridge.
async fn measured(what: &str, bridge: &Running, round: impl Future<Output = anyhow::Result<(Vec<f64>, usize)>>) -> anyhow::Result<()> {
    let (before, began) = (usage(bridge.0.id())?, Instant::now());
    let (latencies, failed) = round.await?;
    let (after, took) = (usage(bridge.0.id())?, began.elapsed().as_secs_f64());
    println!(
        "{what}:\n  {} scrapes in {took:.0} s, {failed} failed; p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms\n  \
         bridge: {:.1} % of a core, {:.1} MiB",
        latencies.len(),
        quantile(&latencies, 0.5),
        quantile(&latencies, 0.99),
        quantile(&latencies, 1.0),
        (after.cpu - before.cpu) * 100.0 / took,
        after.mib,
    );
    Ok(())
}

/// Garbage for the bridge's UDP port at a steady rate, until it is stopped.
struct Flood {
    ended: Arc<AtomicBool>,
    sender: std::thread::JoinHandle<u64>,
}

impl Flood {
    fn start(port: u16) -> anyhow::Result<Self> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(("127.0.0.1", port))?;
        let ended = Arc::new(AtomicBool::new(false));
        let until = ended.clone();
        // A thread of its own: neither the proxies nor the scraper are to wait for it.
        let sender = std::thread::spawn(move || {
            let (began, mut sent) = (Instant::now(), 0_u64);
            while !until.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() * u128::from(GARBAGE) / 1_000;
                while u128::from(sent) < due {
                    // It may be refused where the kernel's buffer is full; it was sent all the same.
                    let _ = socket.send(&garbage(sent));
                    sent += 1;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        Ok(Self { ended, sender })
    }

    /// Ends it and says how many datagrams were sent.
    fn stop(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.sender.join().unwrap_or_default()
    }
}

/// Long and short headers of QUIC, of its version 1 and of none, of any length: some look like the first packet of a connection,
/// others like one of a connection that is not there.
fn garbage(n: u64) -> Vec<u8> {
    let [low, ..] = n.to_le_bytes();
    let mut datagram = vec![low.wrapping_mul(31); 20 + usize::from(low) * 5];
    datagram[0] = if n.is_multiple_of(2) { 0xc3 } else { 0x43 };
    let version: u32 = if n.is_multiple_of(3) { 1 } else { 0xabcd_ef00 };
    datagram[1..5].copy_from_slice(&version.to_be_bytes());
    datagram
}

fn as_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

fn free_ports() -> anyhow::Result<[u16; 4]> {
    let mut held = Vec::new();
    let mut ports = [0; 4];
    for port in &mut ports {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

fn start(program: &str, command: &str, file: &std::path::Path, text: &str) -> anyhow::Result<Running> {
    std::fs::write(file, text)?;
    let child = Command::new(program)
        .args([command, "--config"])
        .arg(file)
        .env("RUST_LOG", "error")
        .spawn()
        .with_context(|| program.to_owned())?;
    Ok(Running(child))
}

/// Starts the proxies and waits until all have registered.
async fn register(proxies: usize, bridge: &LinkAddress) -> anyhow::Result<Vec<RunningClient>> {
    let mut starting = JoinSet::new();
    for n in 0..proxies {
        let settings = ClientSettings {
            identity: Identity::ephemeral()?,
            bridges: vec![bridge.clone()],
            registration: Registration {
                alias: Alias::new(&format!("proxy{n}"))?,
                service: "load".to_owned(),
                hostname: "here".to_owned(),
                secret: SECRET.parse()?,
                interval: Duration::from_secs(3_600),
            },
            listen: None,
            allow: Vec::new(),
            bootstrap: Vec::new(),
        };
        starting.spawn(async move {
            // 200 series, as of a small program: about 18 kB.
            let metrics = || async { Ok::<_, std::convert::Infallible>(exposition()) };
            let mut running = Client::bind(settings, metrics_service(metrics), LinkEvents::default())
                .await?
                .start();
            running.ready().await;
            anyhow::Ok(running)
        });
    }
    let mut clients = Vec::new();
    while let Some(client) = starting.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

fn exposition() -> String {
    (0..200).fold(String::new(), |mut text, n| {
        use std::fmt::Write as _;
        let _ = writeln!(
            text,
            "load_requests_total{{method=\"GET\",path=\"/some/path/{n}\",status=\"200\",instance=\"one\"}} {n}"
        );
        text
    })
}

/// Scrapes each proxy once an interval, evenly spread, and gives the latencies in milliseconds and the number of failures.
async fn scrape_all(http: SocketAddr, proxies: usize, span: Duration) -> anyhow::Result<(Vec<f64>, usize)> {
    let mut scrapers = JoinSet::new();
    let began = Instant::now();
    for scraper in 0..CONNECTIONS {
        scrapers.spawn(async move {
            let (mut latencies, mut failed) = (Vec::new(), 0);
            let mut sender = connect(http).await?;
            let mine: Vec<usize> = (0..proxies).filter(|n| n % CONNECTIONS == scraper).collect();
            for round in 0.. {
                for n in &mine {
                    let at = INTERVAL * round + INTERVAL.mul_f64(as_float(*n) / as_float(proxies));
                    if at >= span {
                        return anyhow::Ok((latencies, failed));
                    }
                    tokio::time::sleep_until((began + at).into()).await;
                    let asked = Instant::now();
                    match get(&mut sender, http, &format!("/scrape/proxy{n}/metrics")).await {
                        Ok(200) => latencies.push(asked.elapsed().as_secs_f64() * 1_000.0),
                        Ok(_) => failed += 1,
                        Err(_) => {
                            failed += 1;
                            sender = connect(http).await?;
                        }
                    }
                }
            }
            anyhow::Ok((latencies, failed))
        });
    }
    let (mut all, mut failures) = (Vec::new(), 0);
    while let Some(done) = scrapers.join_next().await {
        let (latencies, failed) = done??;
        all.extend(latencies);
        failures += failed;
    }
    all.sort_by(f64::total_cmp);
    ensure!(!all.is_empty(), "nothing was scraped");
    Ok((all, failures))
}

async fn connect(http: SocketAddr) -> anyhow::Result<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(http).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // A connection that breaks shows in its next request.
    tokio::spawn(connection);
    Ok(sender)
}

async fn get(sender: &mut SendRequest<Empty<Bytes>>, http: SocketAddr, path: &str) -> anyhow::Result<u16> {
    sender.ready().await?;
    let request = Request::get(path).header("host", http.to_string()).body(Empty::new())?;
    let answer = sender.send_request(request).await?;
    let status = answer.status().as_u16();
    answer.into_body().collect().await?;
    Ok(status)
}

/// A proxy with 18 kB and with 1 MB of metrics, scraped in turn directly and through the bridge.
async fn compare(
    program: &str,
    folder: &std::path::Path,
    bridge: SocketAddr,
    (key, quic): (PublicKey, u16),
    (direct, tcp): (u16, u16),
) -> anyhow::Result<()> {
    let text = format!(
        "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:{direct}\"\n[receiver]\nreceive_on_unix_socket = false\n\
         receiver_tcp_socket = \"127.0.0.1:{tcp}\"\n[p2p]\nenabled = true\nkey_file = \"{}/p2p.key\"\nalias = \"real\"\n\
         secret = \"{SECRET}\"\nbridges = [\"quic://{key}@127.0.0.1:{quic}\"]\n",
        folder.display()
    );
    let _proxy = start(program, "run", &folder.join("proxy.toml"), &text)?;
    let direct: SocketAddr = ([127, 0, 0, 1], direct).into();
    let mut through = connect(bridge).await?;
    while get(&mut through, bridge, "/scrape/real/metrics").await? != 200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut straight = connect(direct).await?;
    for (apps, rounds) in COMPARED {
        for n in 0..apps {
            let mut sender = connect(direct).await?;
            let request = Request::put(format!("/apps/app{n}/metrics")).header("host", "x");
            let body = exposition().replace("load_", &format!("load{n}_"));
            let request = request.body(http_body_util::Full::new(Bytes::from(body)))?;
            push(direct, request).await?;
            sender.ready().await?;
        }
        let (mut by_bridge, mut by_port) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let asked = Instant::now();
            ensure!(get(&mut straight, direct, "/metrics?own=false").await? == 200);
            by_port.push(asked.elapsed().as_secs_f64() * 1_000.0);
            let asked = Instant::now();
            ensure!(get(&mut through, bridge, "/scrape/real/metrics?own=false").await? == 200);
            by_bridge.push(asked.elapsed().as_secs_f64() * 1_000.0);
        }
        by_bridge.sort_by(f64::total_cmp);
        by_port.sort_by(f64::total_cmp);
        println!(
            "{} kB: directly p50 {:.2} ms, p99 {:.2} ms; through the bridge p50 {:.2} ms, p99 {:.2} ms",
            apps * exposition().len() / 1_000,
            quantile(&by_port, 0.5),
            quantile(&by_port, 0.99),
            quantile(&by_bridge, 0.5),
            quantile(&by_bridge, 0.99),
        );
    }
    Ok(())
}

async fn push(to: SocketAddr, request: Request<http_body_util::Full<Bytes>>) -> anyhow::Result<()> {
    let (mut sender, connection) = handshake(TokioIo::new(TcpStream::connect(to).await?)).await?;
    let driver = tokio::spawn(connection);
    let status = sender.send_request(request).await?.status();
    driver.abort();
    ensure!(status.is_success(), "the push was answered with {status}");
    Ok(())
}

/// The value below which this share of sorted values lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let last = sorted.len() - 1;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share of a length is a position"
    )]
    let at = (as_float(last) * share).round() as usize;
    sorted[at.min(last)]
}

/// CPU seconds used so far, and resident memory.
struct Usage {
    cpu: f64,
    mib: f64,
}

/// Reads `/proc`; see proc(5) for the fields.
fn usage(pid: u32) -> anyhow::Result<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().context("no stat")?.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no memory")?;
    let kib: f64 = resident.trim().trim_end_matches(" kB").parse()?;
    // Linux counts in hundredths of a second whatever its clock.
    Ok(Usage {
        cpu: ticks / 100.0,
        mib: kib / 1024.0,
    })
}
