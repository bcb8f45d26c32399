//! Load for the measurements of `scripts/bench/pushgateway` and `scripts/soak/push`: pushes and scrapes over real sockets.
//!
//!     cargo run --release -p exporter-proxy-load --bin load -- push --to 127.0.0.1:6555 --by put --apps 1000 --series 100 --seconds 5
//!     cargo run --release -p exporter-proxy-load --bin load -- scrape --from 127.0.0.1:6555 --connections 4 --every 1000 --seconds 60
//!
//! A program of its own in Rust because one in Python spends several times as long on a push as the server does, so that it would
//! measure itself. One thread a connection, blocking sockets, requests made up before the clock starts. The result is one line of JSON.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Parser, ValueEnum};
use exporter_proxy::wire::schema::inbound_metrics_capnp::inbound_metrics;
use exporter_proxy_workload::{Order, Workload};

/// Values that a series takes by turns, so that no push repeats the one before.
const TURNS: usize = 2;

/// Silence of a server after which the run counts as failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Pushes and scrapes in a hurry, and says in one line of JSON how that went.
#[derive(Debug, Parser)]
enum Command {
    /// Sends what many apps say.
    Push(Push),
    /// Asks for everything, again and again.
    Scrape(Scrape),
}

#[derive(Debug, Clone, Args)]
struct Push {
    /// The server.
    #[arg(long)]
    to: SocketAddr,
    /// The way in.
    #[arg(long, value_enum)]
    by: Way,
    /// Number of apps.
    #[arg(long, default_value_t = 1000)]
    apps: usize,
    /// Number of series of each app.
    #[arg(long, default_value_t = 100)]
    series: usize,
    /// Number of families, of a hundred, that all apps share.
    #[arg(long, default_value_t = 0)]
    shared: usize,
    /// Connections at the same time.
    #[arg(long, default_value_t = 16)]
    connections: usize,
    /// Duration; without it each app is pushed once.
    #[arg(long)]
    seconds: Option<f64>,
    /// Pushes a second over all connections; without it as many as there can be.
    #[arg(long)]
    rate: Option<f64>,
}

/// Ways of handing in metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// `PUT /apps/NAME/metrics`, all on one connection.
    Put,
    /// The same with a connection for each push.
    PutEach,
    /// `PUT /metrics/job/NAME`, as Pushgateway has it, all on one connection.
    Pushgateway,
    /// `POST /api/v1/import/prometheus`, as VictoriaMetrics has it, all on one connection.
    VictoriaMetrics,
    /// A stream of Cap'n Proto messages.
    Capnp,
    /// A connection for each Cap'n Proto message.
    CapnpEach,
    /// A stream of JSON objects.
    Json,
    /// A connection for each JSON object.
    JsonEach,
}

#[derive(Debug, Clone, Args)]
struct Scrape {
    /// The server.
    #[arg(long)]
    from: SocketAddr,
    /// Path of the scrapes.
    #[arg(long, default_value = "/metrics")]
    path: String,
    /// Headers, such as `Accept-Encoding: gzip`.
    #[arg(long)]
    header: Vec<String>,
    /// Connections at the same time.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Duration.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Milliseconds from one scrape of a connection to its next; 0: at once.
    #[arg(long, default_value_t = 0)]
    every: u64,
}

/// Result of one connection.
#[derive(Debug, Default)]
struct Tally {
    done: u64,
    bytes: u64,
    micros: Vec<u32>,
}

impl Tally {
    fn add(&mut self, bytes: usize, since: Instant) {
        self.done += 1;
        self.bytes += bytes as u64;
        self.micros.push(u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX));
    }
}

fn main() -> anyhow::Result<()> {
    let (tallies, seconds) = match Command::parse() {
        Command::Push(push) => at_once(
            push.connections,
            |connection| push.requests(connection),
            |connection, requests| push.run(connection, &requests),
        )?,
        Command::Scrape(scrape) => at_once(scrape.connections, |_| (), |_, ()| scrape.run())?,
    };
    let line = summary(&tallies, seconds);
    io::stdout().write_all(format!("{line}\n").as_bytes())?;
    Ok(())
}

/// Prepares all connections, then runs them at the same time.
fn at_once<P: Send>(
    connections: usize,
    prepare: impl Fn(usize) -> P,
    run: impl Fn(usize, P) -> anyhow::Result<Tally> + Sync,
) -> anyhow::Result<(Vec<Tally>, f64)> {
    let prepared: Vec<P> = (0..connections).map(prepare).collect();
    let began = Instant::now();
    let tallies = std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = (0..).zip(prepared).map(|(at, it)| scope.spawn(move || run(at, it))).collect();
        let ends = threads.into_iter().map(|thread| thread.join().expect("no thread panics"));
        ends.collect::<anyhow::Result<Vec<_>>>()
    })?;
    Ok((tallies, began.elapsed().as_secs_f64()))
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn summary(tallies: &[Tally], seconds: f64) -> serde_json::Value {
    let mut micros: Vec<u32> = tallies.iter().flat_map(|it| it.micros.iter().copied()).collect();
    micros.sort_unstable();
    let quantile = |per_mille: usize| {
        micros
            .get(micros.len() * per_mille / 1000)
            .or(micros.last())
            .map(|it| f64::from(*it) / 1000.0)
    };
    let done: u64 = tallies.iter().map(|it| it.done).sum();
    let counts = || tallies.iter().map(|it| it.done);
    serde_json::json!({
        "done": done,
        "bytes": tallies.iter().map(|it| it.bytes).sum::<u64>(),
        "seconds": seconds,
        "per_second": done as f64 / seconds,
        "p50_ms": quantile(500),
        "p99_ms": quantile(990),
        "max_ms": micros.last().map(|it| f64::from(*it) / 1000.0),
        "least_of_a_connection": counts().min(),
        "most_of_a_connection": counts().max(),
    })
}

impl Push {
    /// The requests of one connection, all turns of all of its apps.
    fn requests(&self, connection: usize) -> Vec<Vec<u8>> {
        let workload = Workload {
            series: self.series,
            shared: self.shared,
            order: Order::Natural,
        };
        let turns = if self.seconds.is_some() { TURNS } else { 1 };
        (0..turns)
            .flat_map(|turn| (connection..self.apps).step_by(self.connections).map(move |app| (app, turn)))
            .map(|(app, turn)| self.request(&format!("app{app}"), &workload.app(app, turn)))
            .collect()
    }

    fn request(&self, app: &str, body: &str) -> Vec<u8> {
        let (method, path, connection) = match self.by {
            Way::Capnp | Way::CapnpEach => return message(app, body),
            Way::Json | Way::JsonEach => return serde_json::json!({ app: body }).to_string().into_bytes(),
            Way::Put => ("PUT", format!("/apps/{app}/metrics"), "keep-alive"),
            Way::PutEach => ("PUT", format!("/apps/{app}/metrics"), "close"),
            Way::Pushgateway => ("PUT", format!("/metrics/job/{app}"), "keep-alive"),
            Way::VictoriaMetrics => ("POST", format!("/api/v1/import/prometheus?extra_label=job={app}"), "keep-alive"),
        };
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nhost: load\r\nconnection: {connection}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
    }

    fn run(&self, connection: usize, requests: &[Vec<u8>]) -> anyhow::Result<Tally> {
        let mut tally = Tally::default();
        let mut line = Line::new(self.to, matches!(self.by, Way::PutEach | Way::CapnpEach | Way::JsonEach));
        let began = Instant::now();
        for (n, request) in requests.iter().cycle().enumerate() {
            let over = match self.seconds {
                Some(seconds) => began.elapsed().as_secs_f64() >= seconds,
                None => n == requests.len(),
            };
            if over {
                break;
            }
            self.wait(connection, n, began);
            let sent = Instant::now();
            match self.by {
                Way::Capnp | Way::Json => line.stream()?.write_all(request)?,
                Way::CapnpEach | Way::JsonEach => line.message(request)?,
                Way::Put | Way::PutEach | Way::Pushgateway | Way::VictoriaMetrics => {
                    line.ask(request)?;
                }
            }
            tally.add(request.len(), sent);
        }
        if matches!(self.by, Way::Capnp | Way::Json) {
            // The server reads to the end before it closes, so then all is stored.
            line.finish()?;
        }
        Ok(tally)
    }

    /// Waits until it is the turn of a connection's push number `n`.
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    fn wait(&self, connection: usize, n: usize, began: Instant) {
        let Some(rate) = self.rate else { return };
        let at = (n * self.connections + connection) as f64 / rate;
        std::thread::sleep((began + Duration::from_secs_f64(at)).saturating_duration_since(Instant::now()));
    }
}

impl Scrape {
    fn run(&self) -> anyhow::Result<Tally> {
        let headers: String = self.header.iter().map(|header| format!("{header}\r\n")).collect();
        let request = format!("GET {} HTTP/1.1\r\nhost: load\r\n{headers}\r\n", self.path);
        let (mut tally, mut line, began) = (Tally::default(), Line::new(self.from, false), Instant::now());
        for n in 0.. {
            let due = began + Duration::from_millis(n * self.every);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if began.elapsed().as_secs_f64() >= self.seconds {
                break;
            }
            let sent = Instant::now();
            let bytes = line.ask(request.as_bytes())?;
            tally.add(bytes, sent);
        }
        Ok(tally)
    }
}

/// A message in the framing of Cap'n Proto streams.
fn message(app: &str, data: &str) -> Vec<u8> {
    let mut message = capnp::message::Builder::new_default();
    let mut root: inbound_metrics::Builder<'_> = message.init_root();
    root.set_app_name(app);
    root.set_data(data);
    capnp::serialize::write_message_to_words(&message)
}

/// A client's connection, opened when it is needed.
struct Line {
    to: SocketAddr,
    /// True if each exchange takes a connection of its own.
    each: bool,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Line {
    fn new(to: SocketAddr, each: bool) -> Self {
        Self {
            to,
            each,
            stream: None,
            buffer: vec![0; 256 * 1024],
        }
    }

    fn stream(&mut self) -> anyhow::Result<&mut TcpStream> {
        if self.stream.is_none() {
            let stream = TcpStream::connect(self.to).with_context(|| format!("cannot connect to {}", self.to))?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            self.stream = Some(stream);
        }
        Ok(self.stream.as_mut().expect("it has just been opened"))
    }

    /// Sends a request, reads the whole answer, and returns how many bytes that were.
    fn ask(&mut self, request: &[u8]) -> anyhow::Result<usize> {
        self.stream()?.write_all(request)?;
        let bytes = self.answer()?;
        if self.each {
            self.stream = None;
        }
        Ok(bytes)
    }

    fn answer(&mut self) -> anyhow::Result<usize> {
        let (mut filled, mut end) = (0, None);
        while end.is_none() {
            let (stream, buffer) = (self.stream.as_mut().context("not connected")?, &mut self.buffer);
            let more = stream.read(&mut buffer[filled..])?;
            ensure!(more > 0, "the server closed the connection instead of answering");
            filled += more;
            end = memchr::memmem::find(&buffer[..filled], b"\r\n\r\n").map(|at| at + 4);
        }
        let head_len = end.unwrap_or_default();
        let head = String::from_utf8_lossy(&self.buffer[..head_len]).to_ascii_lowercase();
        ensure!(
            head.get(9..12).is_some_and(|status| status.starts_with('2')),
            "the server answered {}",
            String::from_utf8_lossy(&self.buffer[..filled])
        );
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        match length {
            Some(length) => self.read_length(head_len + length.trim().parse::<usize>()?, filled),
            None if head.contains("transfer-encoding: chunked") => self.read_chunks(filled),
            None if head.get(9..12) == Some("204") => Ok(head_len),
            None => bail!("an answer without a length"),
        }
    }

    fn read_length(&mut self, whole: usize, mut filled: usize) -> anyhow::Result<usize> {
        let stream = self.stream.as_mut().context("not connected")?;
        while filled < whole {
            let more = stream.read(&mut self.buffer)?;
            ensure!(more > 0, "the answer was cut off");
            filled += more;
        }
        Ok(whole)
    }

    /// Reads to the mark of the last chunk, which cannot stand inside of metrics in text.
    fn read_chunks(&mut self, filled: usize) -> anyhow::Result<usize> {
        let (mut total, mut last) = (filled, filled);
        let mut tail = self.buffer[..last].to_vec();
        while !tail.ends_with(b"0\r\n\r\n") {
            let stream = self.stream.as_mut().context("not connected")?;
            last = stream.read(&mut self.buffer)?;
            ensure!(last > 0, "the answer was cut off");
            total += last;
            tail.drain(..tail.len().saturating_sub(5));
            tail.extend_from_slice(&self.buffer[last.saturating_sub(5)..last]);
        }
        Ok(total)
    }

    fn message(&mut self, message: &[u8]) -> anyhow::Result<()> {
        self.stream()?.write_all(message)?;
        self.finish()
    }

    /// Says that nothing more follows and waits until the server has taken all.
    fn finish(&mut self) -> anyhow::Result<()> {
        if let Some(mut stream) = self.stream.take() {
            stream.shutdown(Shutdown::Write)?;
            let refused = io::copy(&mut stream, &mut io::sink())?;
            ensure!(refused == 0, "the server complained");
        }
        Ok(())
    }
}
