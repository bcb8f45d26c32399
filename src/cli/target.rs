//! Address of a running proxy, and HTTP requests to it.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::builder::{StringValueParser, TypedValueParser, ValueParserFactory};
use http::header::{AUTHORIZATION, HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;

use super::http_access::HttpAccess;

/// Timeout of a request: a proxy responds from memory.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest response that is read: the table of the largest store.
const MAX_RESPONSE_BYTES: usize = 256 << 20;

/// Address of a proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A TCP receiver, `tcp://HOST:PORT`.
    Tcp(String),
    /// A TCP receiver with TLS, `tls://HOST:PORT`.
    Tls(HttpServer),
    /// A Unix socket receiver, `unix:PATH`.
    Unix(PathBuf),
    /// The Unix socket receiver at the first of the usual places, `unix:`.
    UsualUnix,
    /// The HTTP port, `http://HOST:PORT` or `https://HOST:PORT`, or HTTP on a Unix socket, `http+unix:PATH`.
    Http(HttpServer),
}

/// An HTTP port, or a receiver with TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HttpServer {
    /// `HOST:PORT`, or the path of the Unix socket.
    pub(super) place: String,
    /// The kind of connection.
    pub(super) transport: Transport,
}

/// Kind of connection to an HTTP port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Http,
    Https,
    Unix,
}

impl HttpServer {
    /// HTTP on a Unix socket.
    pub(super) fn unix(path: &str) -> Self {
        Self {
            place: path.to_owned(),
            transport: Transport::Unix,
        }
    }

    /// The `Host` header of requests.
    fn host(&self) -> &str {
        match self.transport {
            Transport::Http | Transport::Https => &self.place,
            Transport::Unix => "localhost",
        }
    }
}

impl Target {
    /// The HTTP server at the address; a Unix socket counts as one of HTTP.
    pub(super) fn http_server(&self) -> Option<HttpServer> {
        match self {
            Self::Http(server) => Some(server.clone()),
            Self::Unix(path) => Some(HttpServer::unix(path.to_str()?)),
            Self::Tcp(_) | Self::Tls(_) | Self::UsualUnix => None,
        }
    }
}

/// The schemes with a host and a port.
const SCHEMES: [&str; 4] = ["tcp", "tls", "http", "https"];

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(match path.strip_prefix("//").unwrap_or(path) {
                "" => Self::UsualUnix,
                path => Self::Unix(path.into()),
            });
        }
        if let Some(path) = text.strip_prefix("http+unix:") {
            return socket_path(path).map(|path| Self::Http(HttpServer::unix(path)));
        }
        let (scheme, authority) = text
            .split_once("://")
            .ok_or("expected tcp://HOST:PORT, tls://HOST:PORT, unix:PATH, http://HOST:PORT or https://HOST:PORT")?;
        if !SCHEMES.contains(&scheme) {
            return Err(format!("{scheme:?} is not one of {}, unix, http+unix", SCHEMES.join(", ")));
        }
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        let (host, port) = authority.rsplit_once(':').ok_or_else(|| format!("{authority:?} has no port"))?;
        if host.is_empty() || port.parse::<u16>().is_err() {
            return Err(format!("{authority:?} is not HOST:PORT"));
        }
        match scheme {
            "tcp" => Ok(Self::Tcp(authority.into())),
            "tls" => Ok(Self::Tls(HttpServer {
                place: authority.into(),
                transport: Transport::Https,
            })),
            _ => Ok(Self::Http(HttpServer {
                place: authority.into(),
                transport: if scheme == "https" { Transport::Https } else { Transport::Http },
            })),
        }
    }
}

/// The path after `unix:`.
pub(super) fn socket_path(text: &str) -> Result<&str, String> {
    let path = text.strip_prefix("//").unwrap_or(text);
    match path.is_empty() {
        true => Err("the path is missing, as in http+unix:/run/exporter-proxy/http.sock".into()),
        false => Ok(path),
    }
}

/// Returns true for a URL with a user, and perhaps a password, before its host.
pub(super) fn has_user(url: &str) -> bool {
    if url.starts_with("unix:") || url.starts_with("http+unix:") {
        return false;
    }
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?', '#']).next().is_some_and(|authority| authority.contains('@'))
}

/// Parser of an argument that is a URL. One with a user is refused without showing it, because errors end up in logs.
#[derive(Debug)]
pub(super) struct UrlParser<T>(PhantomData<fn() -> T>);

impl<T> UrlParser<T> {
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Clone for UrlParser<T> {
    fn clone(&self) -> Self {
        Self::new()
    }
}

impl<T: FromStr<Err = String> + Clone + Send + Sync + 'static> TypedValueParser for UrlParser<T> {
    type Value = T;

    fn parse_ref(&self, command: &clap::Command, argument: Option<&clap::Arg>, value: &OsStr) -> Result<T, clap::Error> {
        if value.to_str().is_some_and(has_user) {
            let name = argument.map(ToString::to_string).unwrap_or_default();
            let text = format!(
                "{name}: a user and a password in a URL are not supported; they go into --credentials-file or the variable \
                 EXPORTER_PROXY_CREDENTIALS"
            );
            return Err(command.clone().error(clap::error::ErrorKind::ValueValidation, text));
        }
        let parser = StringValueParser::new().try_map(|text: String| text.parse::<T>());
        parser.parse_ref(command, argument, value)
    }
}

impl ValueParserFactory for Target {
    type Parser = UrlParser<Self>;

    fn value_parser() -> Self::Parser {
        UrlParser::new()
    }
}

/// Sends a request to a server and reads the whole response.
pub(super) async fn send_request(
    server: &HttpServer,
    access: &HttpAccess,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Bytes>> {
    let place = &*server.place;
    request.headers_mut().insert(HOST, HeaderValue::try_from(server.host())?);
    if let Some(value) = access.authorization()? {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    let exchange = async {
        let stream = access.connect(server).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|why| not_http(server, why))?;
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
            ended = connection => { ended.map_err(|why| not_http(server, why))?; answer.await }
        }
    };
    tokio::time::timeout(TIMEOUT, exchange)
        .await
        .with_context(|| format!("{place} did not answer within {} s", TIMEOUT.as_secs()))?
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
fn not_http(server: &HttpServer, why: hyper::Error) -> anyhow::Error {
    let place = &server.place;
    match (why.is_parse(), server.transport) {
        (true, Transport::Unix) => {
            anyhow::anyhow!("{place} does not speak HTTP; is it the socket of the receiver? that of HTTP is http.unix_socket")
        }
        (true, _) => anyhow::anyhow!("{place} does not speak HTTP; is it the TCP receiver? use tcp://{place}"),
        (false, _) => anyhow::Error::new(why).context(format!("request to {place} failed")),
    }
}

/// Sends a GET and returns the text of a successful response.
pub(super) async fn get(server: &HttpServer, access: &HttpAccess, path: &str, accept: &str) -> anyhow::Result<String> {
    let place = &server.place;
    let request = Request::get(path).header("accept", accept).body(Full::default())?;
    let answer = send_request(server, access, request).await?;
    let (status, text) = (answer.status(), String::from_utf8_lossy(answer.body()).into_owned());
    if !status.is_success() {
        bail!("{place} answered {status}: {}{}", text.trim_end(), access.hint(answer.headers()));
    }
    ensure!(!text.is_empty(), "empty response from {place}");
    Ok(text)
}

#[cfg(test)]
mod tests;
