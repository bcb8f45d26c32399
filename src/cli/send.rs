//! `exporter-proxy send APP [FILE|-]`

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::Request;
use http_body_util::Full;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::http_access::HttpAccess;
use super::server::default_server;
use super::target::{HttpServer, Target, cannot_connect, send_request};
use super::{count, input};
use crate::daemon::usual_sockets;
use crate::exposition::negotiate::Format;
use crate::exposition::{self, detect};
use crate::http::{JSON_REFUSAL, path_segment};
use crate::model::{AppName, Syntax, printable};
use crate::wire::encode;

/// Timeout until a receiver closes the connection after the whole message was sent.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum of a receiver's error text that is read.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;
#[derive(Debug, Args)]
pub(super) struct Send {
    /// Name of the application; its earlier metrics are replaced.
    app: String,
    /// File with metrics in the Prometheus text format, or in OpenMetrics if it ends with # EOF; - is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Also send an empty input, which leaves the application listed without metrics.
    #[arg(long)]
    allow_empty: bool,
    /// Address of the proxy: http://HOST:PORT, https://HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, unix:PATH (receiver; unix: alone looks in the usual places) or http+unix:PATH (http.unix_socket). Over HTTP the proxy reports the accepted families and series. Default: the HTTP address in the file of -c, otherwise http://127.0.0.1:6555.
    #[arg(long, value_name = "URL")]
    to: Option<Target>,
    /// The message format on TCP and Unix sockets.
    #[arg(long, value_enum, default_value_t)]
    format: Framing,
    #[command(flatten)]
    access: HttpAccess,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Framing {
    /// A JSON object; the proxy reports refused metrics.
    #[default]
    Json,
    /// A Cap'n Proto message; refused metrics are only logged by the proxy.
    Capnp,
}

impl Send {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let app = AppName::new(&self.app)?;
        let metrics = input::read(&self.file)?;
        if metrics.trim_ascii().is_empty() && !self.allow_empty {
            let name = input::name(&self.file);
            bail!("{name} is empty; sending it would remove all metrics of {app} (--allow-empty sends it)");
        }
        let outcome = super::block_on(async {
            let Some(to) = &self.to else {
                let (server, access) = default_server(named, &self.access).await?;
                return push(&server, &access, &app, metrics).await;
            };
            match to {
                Target::Http(server) => push(server, &self.access, &app, metrics).await,
                Target::Tcp(authority) => {
                    let stream = TcpStream::connect(authority).await.map_err(|why| cannot_connect(authority, &why))?;
                    self.send_message(stream, authority, &app, &metrics).await
                }
                Target::Tls(server) => {
                    let stream = self.access.connect(server).await?;
                    self.send_message(stream, &server.place, &app, &metrics).await
                }
                Target::Unix(path) => self.send_to_socket(path, &app, &metrics).await,
                Target::UsualUnix => {
                    let (path, stream) = connect_to_usual_socket().await?;
                    self.send_message(stream, &path, &app, &metrics).await
                }
            }
        })?;
        super::print(&printable(&outcome))?;
        Ok(ExitCode::SUCCESS)
    }

    async fn send_to_socket(&self, path: &Path, app: &AppName, metrics: &Bytes) -> anyhow::Result<String> {
        let shown = path.display().to_string();
        let stream = UnixStream::connect(path).await.map_err(|why| cannot_connect(&shown, &why))?;
        self.send_message(stream, &shown, app, metrics).await
    }

    /// Sends one message to a receiver, closes the sending side, and reads the error text, which is empty on success.
    async fn send_message(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        address: &str,
        app: &AppName,
        metrics: &Bytes,
    ) -> anyhow::Result<String> {
        let text = std::str::from_utf8(metrics).context("the metrics are not UTF-8")?;
        let message = match self.format {
            Framing::Json => serde_json::to_vec(&serde_json::json!({ app.as_str(): text }))?,
            Framing::Capnp => encode(app, text),
        };
        let error = tokio::time::timeout(TIMEOUT, exchange(stream, &message))
            .await
            .context("the proxy did not close the connection")??;
        if error.starts_with("HTTP/") || error.trim_end() == JSON_REFUSAL.trim_end() {
            bail!("{address} is the HTTP port; use http://{address}");
        }
        if !error.trim_end().is_empty() {
            bail!("refused: {}", error.trim_end());
        }
        let checked = exposition::check(metrics, None);
        let (families, series) = (count(checked.families as u64, "family", "families"), checked.series);
        let outcome = match self.format {
            Framing::Json => "accepted",
            Framing::Capnp => "over Cap'n Proto a refusal is only in the log of the proxy",
        };
        Ok(format!("sent {app}: {families}, {series} series; {outcome}\n"))
    }
}

/// Connects to the first of the usual Unix sockets on which a proxy listens.
async fn connect_to_usual_socket() -> anyhow::Result<(String, UnixStream)> {
    let mut tried = Vec::new();
    for path in usual_sockets() {
        let shown = path.display().to_string();
        match UnixStream::connect(&path).await {
            Ok(stream) => return Ok((shown, stream)),
            Err(why) => tried.push(format!("{shown} ({why})")),
        }
    }
    bail!("cannot connect to {}. Is the proxy running, by the same user?", tried.join(" or "))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &[u8]) -> anyhow::Result<String> {
    let sent = async {
        stream.write_all(message).await?;
        stream.shutdown().await
    }
    .await;
    // A proxy that refuses early closes early: its error text is more useful than the failed write.
    let mut error = Vec::new();
    let received = stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut error).await;
    if error.is_empty() {
        sent.and(received.map(|_| ()))
            .context("the proxy closed the connection; the reason is in its log")?;
    }
    Ok(String::from_utf8_lossy(&error).into_owned())
}

async fn push(server: &HttpServer, access: &HttpAccess, app: &AppName, metrics: Bytes) -> anyhow::Result<String> {
    let format = match detect(&metrics) {
        Syntax::Text => Format::Text004,
        Syntax::OpenMetrics => Format::OpenMetrics100(None),
    };
    let path = format!("/apps/{}/metrics", path_segment(app.as_str()));
    let request = Request::put(path)
        .header("content-type", format.content_type())
        // Without it an empty push would have no length.
        .header("content-length", metrics.len())
        .body(Full::new(metrics))?;
    let answer = send_request(server, access, request).await?;
    let text = String::from_utf8_lossy(answer.body());
    if !answer.status().is_success() {
        bail!(
            "refused ({}): {}{}",
            answer.status(),
            text.trim_end(),
            access.hint(answer.headers())
        );
    }
    Ok(format!("{}\n", text.trim_end()))
}
