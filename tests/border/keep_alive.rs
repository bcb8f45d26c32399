//! A reader that keeps its connection, as Prometheus does.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::harness::PATIENCE;

/// One connection, on which requests follow one another. Dropped, it is reset if anything is unread.
pub struct KeepAlive {
    address: SocketAddr,
    sender: Option<SendRequest<Empty<Bytes>>>,
    driver: JoinHandle<()>,
}

impl KeepAlive {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        Self {
            address,
            sender: Some(sender),
            driver: tokio::spawn(async move {
                // A connection that breaks shows in the body.
                let _ = connection.await;
            }),
        }
    }

    /// The whole body of an answer that must be 200.
    pub async fn get(&mut self, path: &str) -> Bytes {
        let body = self.stream(path).await.body;
        timeout(PATIENCE, body.collect()).await.expect("it ends").unwrap().to_bytes()
    }

    /// The body of an answer that must be 200, piece by piece.
    pub async fn stream(&mut self, path: &str) -> Reading {
        let sender = self.sender.as_mut().unwrap();
        let request = Request::get(path).header("host", self.address.to_string());
        let request = request.body(Empty::new()).unwrap();
        timeout(PATIENCE, sender.ready()).await.expect("the last answer is read").unwrap();
        let answer = timeout(PATIENCE, sender.send_request(request)).await.expect("it answers").unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        Reading {
            body: answer.into_body(),
            failed: false,
        }
    }

    /// Ends the connection in good order.
    pub async fn close(mut self) {
        self.sender = None;
        timeout(PATIENCE, &mut self.driver).await.expect("it closes").unwrap();
    }
}

impl Drop for KeepAlive {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A body that is being read.
pub struct Reading {
    body: Incoming,
    failed: bool,
}

impl Reading {
    /// The next piece; none at the end, and where it broke.
    pub async fn next(&mut self) -> Option<Bytes> {
        match timeout(PATIENCE, self.body.frame()).await.expect("something comes")? {
            Ok(frame) => Some(frame.into_data().unwrap_or_default()),
            Err(_) => {
                self.failed = true;
                None
            }
        }
    }

    /// Whether it broke.
    pub fn failed(&self) -> bool {
        self.failed
    }
}
