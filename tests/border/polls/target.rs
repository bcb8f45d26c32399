//! A small server for each test, which does on every connection what the test says.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use crate::harness::until;

/// What a connection may be made of.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What a target has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    ended: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

/// A server on a port of its own.
pub struct Target {
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _task: AbortOnDropHandle<()>,
}

/// One connection to a target.
pub struct Connection {
    pub io: Box<dyn Io>,
    seen: Arc<Seen>,
}

impl Target {
    /// Serves each connection by `serve`, until the target is dropped.
    pub async fn serve<F, R>(serve: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start(None, serve).await
    }

    /// As [`Target::serve`], over TLS.
    pub async fn serve_tls<F, R>(tls: rustls::ServerConfig, serve: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        Self::start(Some(TlsAcceptor::from(Arc::new(tls))), serve).await
    }

    /// Gives the same answer to every request, and keeps connections open.
    pub async fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::serve(move |mut connection| {
            let answer = Arc::clone(&answer);
            async move {
                loop {
                    connection.request().await?;
                    connection.io.write_all(&answer).await?;
                    connection.io.flush().await?;
                }
            }
        })
        .await
    }

    async fn start<F, R>(tls: Option<TlsAcceptor>, serve: F) -> Self
    where
        F: Fn(Connection) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, seen, serve) = (listener.local_addr().unwrap(), Arc::new(Seen::default()), Arc::new(serve));
        let accept = accept(listener, tls, Arc::clone(&seen), serve);
        Self {
            address,
            seen,
            _task: AbortOnDropHandle::new(tokio::spawn(accept)),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// The heads of all requests so far.
    pub fn requests(&self) -> Vec<String> {
        self.seen.requests.lock().unwrap().clone()
    }

    /// Waits until so many connections have ended.
    pub async fn ended(&self, connections: usize) {
        eventually("a connection to end", || {
            (self.seen.ended.load(Ordering::SeqCst) >= connections).then_some(())
        })
        .await;
    }

    /// Waits until so many requests have come.
    pub async fn asked(&self, requests: usize) {
        eventually("a request", || (self.seen.requests.lock().unwrap().len() >= requests).then_some(())).await;
    }
}

async fn accept<F, R>(listener: TcpListener, tls: Option<TlsAcceptor>, seen: Arc<Seen>, serve: Arc<F>)
where
    F: Fn(Connection) -> R + Send + Sync + 'static,
    R: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, seen, serve) = (tls.clone(), Arc::clone(&seen), Arc::clone(&serve));
        tasks.spawn(async move {
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let io: io::Result<Box<dyn Io>> = match tls {
                Some(tls) => tls.accept(stream).await.map(|stream| Box::new(stream) as _),
                None => Ok(Box::new(stream)),
            };
            if let Ok(io) = io {
                let seen = Arc::clone(&seen);
                // The peer closing the connection is how most of them end.
                let _ = serve(Connection { io, seen }).await;
            }
            seen.ended.fetch_add(1, Ordering::SeqCst);
        });
    }
}

impl Connection {
    /// Reads the head of the next request.
    pub async fn request(&mut self) -> io::Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.io.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        self.seen.requests.lock().unwrap().push(head.clone());
        Ok(head)
    }

    /// Writes an answer with a length.
    pub async fn answer(&mut self, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
        let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
        self.io.write_all(head.as_bytes()).await?;
        self.io.write_all(body).await?;
        self.io.flush().await
    }

    /// Reads and forgets all that comes until the peer closes the connection.
    pub async fn until_closed(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while self.io.read(&mut buffer).await? > 0 {}
        Ok(())
    }
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let mut answer = None;
    until(what, async || {
        answer = ask();
        answer.is_some()
    })
    .await;
    answer.expect("it was just seen")
}
