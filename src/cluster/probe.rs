//! The question of one replica to another: do you hold the engine?

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use http::{Response, StatusCode};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::http::{Routes, reply};

/// The path at which a replica answers.
const PATH: &str = "/-/cluster";
/// The time in which a replica answers. One that takes longer counts as one without the engine.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The start of an answer, which is all that is read.
const HEAD: &[u8] = b"HTTP/1.1 200 ";

/// The route by which replicas and balancers ask. It is open: it shows nothing but the answer.
pub fn routes(connected: Arc<AtomicBool>) -> Routes {
    Routes::new().open_route(PATH, get(answer)).with_state(connected)
}

/// `GET /-/cluster`: 200 while the engine is connected, otherwise 503.
async fn answer(State(connected): State<Arc<AtomicBool>>) -> Response<Body> {
    match connected.load(Ordering::Relaxed) {
        true => reply::text(StatusCode::OK, "connected"),
        false => reply::text(StatusCode::SERVICE_UNAVAILABLE, "not connected"),
    }
}

/// Returns true if the replica at an address says that it holds the engine.
pub(super) async fn holds_engine(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> bool {
    matches!(timeout(TIMEOUT, ask(address, tls)).await, Ok(Ok(true)))
}

async fn ask(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> std::io::Result<bool> {
    let socket = TcpStream::connect(address).await?;
    match tls {
        None => exchange(socket, address).await,
        Some(config) => {
            let name = ServerName::from(address.ip());
            exchange(TlsConnector::from(config).connect(name, socket).await?, address).await
        }
    }
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, address: SocketAddr) -> std::io::Result<bool> {
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = [0; HEAD.len()];
    stream.read_exact(&mut head).await?;
    Ok(head == *HEAD)
}
