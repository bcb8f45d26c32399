//! `exporter-proxy send APP [FILE|-]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http::Request;
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use super::input;
use super::target::{Target, send_request};
use crate::exposition::detect;
use crate::exposition::negotiate::Format;
use crate::model::{AppName, Syntax};
use crate::wire::encode;

/// How long a receiver may take to close the connection once it was told everything.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most that is read of a receiver's complaints.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024;
/// What may stand in a path segment as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

#[derive(Debug, Args)]
pub(super) struct Send {
    /// The application's name; its earlier metrics are replaced.
    app: String,
    /// The file with the metrics in the Prometheus text format, or in OpenMetrics if it ends with # EOF; - is standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Send an input without any text too, which leaves the application listed with no metrics.
    #[arg(long)]
    allow_empty: bool,
    /// Where the proxy listens: tcp://HOST:PORT, unix:PATH or http://HOST:PORT. Over HTTP the proxy says exactly what it took.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:6555")]
    to: Target,
    /// The message format on TCP and Unix sockets.
    #[arg(long, value_enum, default_value_t)]
    format: Framing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Framing {
    /// A JSON object; the proxy answers when it refuses something.
    #[default]
    Json,
    /// A Cap'n Proto message; the proxy never answers, so only its log tells of a refusal.
    Capnp,
}

impl Send {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let app = AppName::new(&self.app)?;
        let metrics = input::read(&self.file)?;
        if metrics.trim_ascii().is_empty() && !self.allow_empty {
            let name = input::name(&self.file);
            bail!("{name} is empty, and sending it would take all metrics of {app} away; pass --allow-empty if that is meant");
        }
        let said = super::current_thread_runtime()?.block_on(async {
            match &self.to {
                Target::Http(authority) => push(authority, &app, metrics).await,
                Target::Tcp(authority) => {
                    let stream = TcpStream::connect(authority)
                        .await
                        .with_context(|| format!("cannot connect to {authority}"))?;
                    self.send_message(stream, &app, &metrics).await
                }
                Target::Unix(path) => {
                    let stream = UnixStream::connect(path)
                        .await
                        .with_context(|| format!("cannot connect to {}", path.display()))?;
                    self.send_message(stream, &app, &metrics).await
                }
            }
        })?;
        super::print(&said)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sends one message to a receiver, ends, and waits for what it has to say: nothing, if all is well.
    async fn send_message(&self, stream: impl AsyncRead + AsyncWrite + Unpin, app: &AppName, metrics: &Bytes) -> anyhow::Result<String> {
        let text = std::str::from_utf8(metrics).context("the metrics are not UTF-8")?;
        let message = match self.format {
            Framing::Json => serde_json::to_vec(&serde_json::json!({ app.as_str(): text }))?,
            Framing::Capnp => encode(app, text),
        };
        let told = tokio::time::timeout(TIMEOUT, exchange(stream, &message))
            .await
            .context("the proxy did not close the connection")??;
        match (told.trim_end(), self.format) {
            ("", Framing::Json) => Ok(format!("sent {} bytes of {app}; the proxy has no objection\n", metrics.len())),
            ("", Framing::Capnp) => Ok(format!(
                "sent {} bytes of {app}; over Cap'n Proto only the proxy's log tells of a refusal\n",
                metrics.len()
            )),
            (told, _) => bail!("the proxy refused: {told}"),
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, message: &[u8]) -> anyhow::Result<String> {
    let sent = async {
        stream.write_all(message).await?;
        stream.shutdown().await
    }
    .await;
    // A proxy that refuses early closes early: what it said counts more than that we could not finish.
    let mut told = Vec::new();
    let heard = stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut told).await;
    if told.is_empty() {
        sent.and(heard.map(|_| ()))
            .context("the proxy cut the connection; its log says why")?;
    }
    Ok(String::from_utf8_lossy(&told).into_owned())
}

async fn push(authority: &str, app: &AppName, metrics: Bytes) -> anyhow::Result<String> {
    let format = match detect(&metrics) {
        Syntax::Text => Format::Text004,
        Syntax::OpenMetrics => Format::OpenMetrics100(None),
    };
    let path = format!("/apps/{}/metrics", utf8_percent_encode(app.as_str(), SEGMENT));
    let request = Request::put(path)
        .header("host", authority)
        .header("content-type", format.content_type())
        // Without it an empty push would be one whose length is not given.
        .header("content-length", metrics.len())
        .body(Full::new(metrics))?;
    let answer = send_request(authority, request).await?;
    let text = String::from_utf8_lossy(answer.body());
    if !answer.status().is_success() {
        bail!("the proxy answered {}: {}", answer.status(), text.trim_end());
    }
    Ok(format!("the proxy answered {}: {}\n", answer.status(), text.trim_end()))
}
