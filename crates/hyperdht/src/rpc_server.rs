//! The RPC server of a connection: answers requests of one method on one channel concurrently.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::message_writer::{MessageQueue, MessageWriter, OnAcked, WriterClosed};
use crate::rpc_client::{CLOSED_BY_PEER, ConnectionEnd, Refusals, TooManyRefusals, WRITE_FAILED, unknown_method};
use crate::secret_stream::SecretStream;
use crate::wire::{Call, Frame, Frames, RpcError, WireFault};

/// Our id of the channel.
const CHANNEL: u64 = 1;

/// Limit on concurrent calls of a connection; no more requests are read until one is answered.
const MAX_CONCURRENT_CALLS: usize = 32;

/// An RPC method.
pub trait RpcMethod: Send + Sync + 'static {
    /// The protocol of the channel.
    const PROTOCOL: &'static str;
    /// The only method of the protocol.
    const METHOD: &'static str;
    /// Limit on the bytes of a request message, which bounds the memory that a peer can use.
    const MAX_BYTES: usize = 64 << 10;
    /// Limit on the requests of a connection, openings of the channel included. One for peers that have shown nothing yet bounds what is
    /// sent to an address that may be made up. Without one only refusals are limited, to 16.
    const MAX_REQUESTS: usize = usize::MAX;

    /// Handles a request.
    fn call(&self, value: Bytes) -> impl Future<Output = RpcReply> + Send;
}

/// The reply to a request.
pub struct RpcReply {
    /// The value, in chunks that are joined when they are sent, or the error.
    pub outcome: Result<Vec<Bytes>, RpcError>,
    /// Called once the peer has received the reply.
    pub on_acked: Option<OnAcked>,
}

impl RpcReply {
    /// Creates a reply without tracking of its delivery.
    #[must_use]
    pub fn untracked(value: Vec<u8>) -> Self {
        Self {
            outcome: Ok(vec![value.into()]),
            on_acked: None,
        }
    }
}

/// Serves a connection until it ends, is idle for too long, or `stop`; then finishes the open calls.
pub async fn serve<S: RpcMethod>(stream: SecretStream, handler: Arc<S>, idle: Duration, stop: CancellationToken) -> ConnectionEnd {
    let (queue, writer) = MessageWriter::start(stream.writer, None);
    let mut reader = stream.reader;
    reader.limit_message_bytes(S::MAX_BYTES);
    let mut server = RpcServer {
        handler,
        queue,
        peer_channel: None,
        calls: JoinSet::new(),
        requests: 0,
        refusals: Refusals::default(),
    };
    let mut last_message = Instant::now();
    // `Ok` for a graceful end by this side.
    let end: Result<String, ConnectionEnd> = loop {
        tokio::select! {
            () = stop.cancelled() => break Ok("stopping".to_owned()),
            () = server.queue.closed() => break Err(ConnectionEnd::lost(WRITE_FAILED)),
            () = sleep_until(last_message + idle), if server.calls.is_empty() => break Ok(format!("no request for {idle:?}")),
            Some(done) = server.calls.join_next() => log_panic(done),
            message = reader.next(), if server.calls.len() < MAX_CONCURRENT_CALLS => {
                last_message = Instant::now();
                match message {
                    Ok(Some(message)) => match server.handle_message(message).await {
                        Ok(()) => {}
                        Err(ServeError::Wire(fault)) => break Err(ConnectionEnd::lost(fault.to_string())),
                        Err(ServeError::WriterClosed) => break Err(ConnectionEnd::lost(WRITE_FAILED)),
                        Err(ServeError::TooManyRefusals(end)) => break Err(end.into()),
                        Err(ServeError::TooManyRequests) => {
                            break Err(ConnectionEnd::lost(format!("more than {} requests on a connection", S::MAX_REQUESTS)));
                        }
                    },
                    // The peer reads no more replies, so the open calls are dropped.
                    Ok(None) => break Err(ConnectionEnd::graceful(CLOSED_BY_PEER)),
                    Err(error) => break Err(ConnectionEnd::lost(error.to_string())),
                }
            }
        }
    };
    match end {
        Ok(why) => {
            // The duration is up to the caller, who can drop this future.
            while let Some(done) = server.calls.join_next().await {
                log_panic(done);
            }
            drop(server);
            writer.finish().await;
            ConnectionEnd::graceful(why)
        }
        Err(end) => {
            writer.abort();
            end
        }
    }
}

/// The reason for the end of reading.
enum ServeError {
    Wire(WireFault),
    WriterClosed,
    TooManyRefusals(TooManyRefusals),
    TooManyRequests,
}

impl From<TooManyRefusals> for ServeError {
    fn from(end: TooManyRefusals) -> Self {
        Self::TooManyRefusals(end)
    }
}

impl From<WireFault> for ServeError {
    fn from(fault: WireFault) -> Self {
        Self::Wire(fault)
    }
}

impl From<WriterClosed> for ServeError {
    fn from(_: WriterClosed) -> Self {
        Self::WriterClosed
    }
}

struct RpcServer<S> {
    handler: Arc<S>,
    queue: MessageQueue,
    /// The peer's id of the channel.
    peer_channel: Option<u64>,
    /// At most [`MAX_CONCURRENT_CALLS`].
    calls: JoinSet<()>,
    /// The number of requests, at most [`RpcMethod::MAX_REQUESTS`].
    requests: usize,
    refusals: Refusals,
}

impl<S: RpcMethod> RpcServer<S> {
    fn count_request(&mut self) -> Result<(), ServeError> {
        if self.requests >= S::MAX_REQUESTS {
            return Err(ServeError::TooManyRequests);
        }
        self.requests += 1;
        Ok(())
    }

    async fn handle_message(&mut self, message: Bytes) -> Result<(), ServeError> {
        for frame in Frames::of(message) {
            match frame? {
                Frame::Open { channel, protocol, id } => {
                    let wanted = self.peer_channel.is_none() && id.is_empty() && protocol == S::PROTOCOL;
                    let answer = if wanted {
                        self.count_request()?;
                        self.peer_channel = Some(channel);
                        Frame::Open {
                            channel: CHANNEL,
                            protocol,
                            id,
                        }
                    } else {
                        // Without a reject the peer would keep the channel open.
                        self.refusals.add()?;
                        Frame::Reject { channel }
                    };
                    self.queue.send(answer.encode()).await?;
                }
                // Closed at both ends; both ids can be reused.
                Frame::Close { channel } if Some(channel) == self.peer_channel => self.peer_channel = None,
                Frame::Data { channel, kind, payload } if Some(channel) == self.peer_channel => self.handle_call(kind, payload).await?,
                // Frames of a rejected channel, sent before the peer received the reject.
                Frame::Reject { .. } | Frame::Close { .. } | Frame::Data { .. } => {}
            }
        }
        Ok(())
    }

    async fn handle_call(&mut self, kind: u64, payload: Bytes) -> Result<(), ServeError> {
        let Some(Call::Request { id, method, value }) = Call::decode(kind, payload)? else {
            return Ok(());
        };
        if method != S::METHOD {
            if id != 0 {
                self.refusals.add()?;
                let failure = unknown_method(&method);
                self.queue.send(Call::response(CHANNEL, id, Err(&failure))).await?;
            }
            return Ok(());
        }
        self.count_request()?;
        // A batch can contain more requests than the limit.
        while self.calls.len() >= MAX_CONCURRENT_CALLS
            && let Some(done) = self.calls.join_next().await
        {
            log_panic(done);
        }
        self.calls.spawn(answer_call(self.handler.clone(), self.queue.clone(), id, value));
        Ok(())
    }
}

async fn answer_call<S: RpcMethod>(handler: Arc<S>, queue: MessageQueue, id: u64, value: Bytes) {
    let RpcReply { outcome, on_acked } = handler.call(value).await;
    if id == 0 {
        // The request expects no reply.
        return;
    }
    let message = || Call::response(CHANNEL, id, outcome.as_deref());
    // If the writer is closed, the reply counts as not received.
    let _ = queue.send_tracked(message, on_acked).await;
}

/// Logs the panic of a handler.
fn log_panic(ended: Result<(), JoinError>) {
    if let Err(lost) = ended {
        tracing::error!("an RPC handler ended by a bug (panic), please report it: {lost}");
    }
}
