//! Address of a running proxy, and HTTP requests to it.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Timeout of a request: a proxy responds from memory.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest response that is read: the table of the largest store.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Address of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A TCP receiver, `tcp://HOST:PORT`.
    Tcp(String),
    /// A Unix socket receiver, `unix:PATH`.
    Unix(PathBuf),
    /// The HTTP port, `http://HOST:PORT`.
    Http(String),
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err("unix: needs a path, e.g. unix:/run/exporter-proxy.sock".into())
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let (scheme, authority) = text
            .split_once("://")
            .ok_or("expected tcp://HOST:PORT, unix:PATH or http://HOST:PORT")?;
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| format!("{authority:?} has no port"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{authority:?} is not HOST:PORT"));
        }
        match scheme {
            "tcp" => Ok(Self::Tcp(authority.into())),
            "http" => Ok(Self::Http(authority.into())),
            other => Err(format!("{other:?} is not one of tcp, unix, http")),
        }
    }
}

/// Sends a request to `authority` and reads the whole response.
pub(super) async fn send_request(authority: &str, request: Request<Full<Bytes>>) -> anyhow::Result<Response<Bytes>> {
    let exchange = async {
        let stream = TcpStream::connect(authority).await.map_err(|why| cannot_connect(authority, &why))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|why| not_http(authority, why))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_RESPONSE_BYTES)
                .collect()
                .await
                .map_err(|e| anyhow::anyhow!("cannot read the answer: {e}"))?;
            anyhow::Ok(Response::from_parts(head, body.to_bytes()))
        };
        tokio::pin!(answer);
        // The connection is driven until the response is complete.
        tokio::select! {
            answer = &mut answer => answer,
            ended = connection => { ended.map_err(|why| not_http(authority, why))?; answer.await }
        }
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .with_context(|| format!("{authority} did not answer within {} s", TIMEOUT.as_secs()))?
}

/// The error of a connection that was not established.
pub(super) fn cannot_connect(address: &str, why: &std::io::Error) -> anyhow::Error {
    let reason = match why.kind() {
        ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ErrorKind::NotFound => "no such file".to_owned(),
        _ => why.to_string(),
    };
    anyhow::anyhow!("cannot connect to {address}: {reason}. Is the proxy running there?")
}

/// The error of an exchange over HTTP; a response that does not parse comes from another protocol.
fn not_http(authority: &str, why: hyper::Error) -> anyhow::Error {
    match why.is_parse() {
        true => anyhow::anyhow!("{authority} does not speak HTTP; is it the TCP receiver? use tcp://{authority}"),
        false => anyhow::Error::new(why).context(format!("request to {authority} failed")),
    }
}

/// Sends a GET and returns the text of a successful response.
pub(super) async fn get(authority: &str, path: &str, accept: &str) -> anyhow::Result<String> {
    let request = Request::get(path)
        .header("host", authority)
        .header("accept", accept)
        .body(Full::default())?;
    let answer = send_request(authority, request).await?;
    let (status, text) = (answer.status(), String::from_utf8_lossy(answer.body()).into_owned());
    if !status.is_success() {
        bail!("{authority} answered {status}: {}", text.trim_end());
    }
    ensure!(!text.is_empty(), "empty response from {authority}");
    Ok(text)
}

#[cfg(test)]
mod tests;
