//! The RPC client of a connection: sends requests on one channel and receives the responses in any order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::api::HyperdhtError;
use super::message_writer::{MessageQueue, MessageWriter, WriterClosed};
use super::secret_stream::{SecretStream, SecretStreamReader};
use crate::peer::link_event::LinkEnd;
use crate::wire::hyperdht::{Call, Frame, Frames, Reply, RpcError, RpcErrorCode, WireFault};

/// Our id of the channel.
const CHANNEL: u64 = 1;

/// Limit on pending calls of a connection, more than a proxy has scrapers.
const MAX_PENDING: usize = 1_024;

/// The reasons for the end of a connection.
pub(super) const CLOSED_BY_PEER: &str = "closed by the peer";
pub(super) const WRITE_FAILED: &str = "writing to the connection failed";

/// Sends requests over a connection; dropping it closes the connection.
pub(super) struct RpcClient {
    calls: Arc<PendingCalls>,
    queue: MessageQueue,
    writer: MessageWriter,
    reader: AbortOnDropHandle<()>,
    end_notifier: EndNotifier,
}

/// Reports the end of a connection once: the first reason counts, at the latest on drop.
struct EndNotifier(Arc<EndCallback>);

/// Called with the end of a connection.
type EndFn = Box<dyn FnOnce(LinkEnd) + Send>;

/// The callback, until it was called.
struct EndCallback(Mutex<Option<EndFn>>);

impl EndCallback {
    fn notify(&self, end: LinkEnd) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            ended(end);
        }
    }
}

impl Drop for EndNotifier {
    fn drop(&mut self) {
        self.0.notify(LinkEnd::closed_here());
    }
}

#[derive(Default)]
struct PendingCalls(Mutex<CallTable>);

#[derive(Default)]
struct CallTable {
    last_id: u64,
    /// At most [`MAX_PENDING`].
    pending: HashMap<u64, oneshot::Sender<Result<Bytes, HyperdhtError>>>,
    end_reason: Option<String>,
}

impl RpcClient {
    /// Opens a channel of this protocol. `ended` is called when the connection ends or is dropped.
    pub(super) fn new(stream: SecretStream, protocol: &str, ended: impl FnOnce(LinkEnd) + Send + 'static) -> Self {
        let open = Frame::Open {
            channel: CHANNEL,
            protocol: protocol.to_owned(),
            id: Bytes::new(),
        };
        let (queue, writer) = MessageWriter::start(stream.writer, Some(open.encode()));
        let calls = Arc::<PendingCalls>::default();
        let reader = ResponseReader {
            protocol: protocol.to_owned(),
            peer_channel: None,
            calls: calls.clone(),
            queue: queue.clone(),
        };
        let source = stream.reader;
        let end_notifier = EndNotifier(Arc::new(EndCallback(Mutex::new(Some(Box::new(ended))))));
        let on_end = end_notifier.0.clone();
        let reading = tokio::spawn(async move {
            let calls = reader.calls.clone();
            let end = reader.run(source).await;
            calls.end(&end.why);
            on_end.notify(end);
        });
        Self {
            calls,
            queue,
            writer,
            reader: AbortOnDropHandle::new(reading),
            end_notifier,
        }
    }

    /// Reports the end of the connection before it is dropped.
    pub(super) fn notify_end(&self, end: LinkEnd) {
        self.end_notifier.0.notify(end);
    }

    /// Returns true while the connection is open.
    pub(super) fn is_alive(&self) -> bool {
        self.calls.lock().end_reason.is_none()
    }

    /// Sends a request and waits for the response.
    ///
    /// # Errors
    ///
    /// If the response does not arrive in time, or is an error.
    pub(super) async fn call(&self, method: &str, value: &[u8], wait: Duration) -> Result<Bytes, HyperdhtError> {
        let mut call = PendingCall::new(&self.calls)?;
        let request = Call::request(CHANNEL, call.id, method, value);
        let answered = async {
            // The reason of a closed writer is in the result of the call.
            let _ = self.queue.send(request).await;
            (&mut call.answer).await
        };
        match timeout(wait, answered).await {
            Err(_) => Err(HyperdhtError::Timeout(wait)),
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(HyperdhtError::Lost("the connection is closed".to_owned())),
        }
    }

    /// Closes the connection gracefully.
    pub(super) async fn close(self) {
        let Self { queue, writer, reader, .. } = self;
        // The writer ends once all queues are dropped and the messages are written.
        drop((queue, reader));
        writer.finish().await;
    }
}

impl PendingCalls {
    fn lock(&self) -> MutexGuard<'_, CallTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, id: u64, outcome: Result<Bytes, HyperdhtError>) {
        let pending = self.lock().pending.remove(&id);
        // The call timed out; the response is dropped.
        if let Some(pending) = pending {
            let _ = pending.send(outcome);
        }
    }

    fn end(&self, why: &str) {
        let pending = {
            let mut table = self.lock();
            table.end_reason = Some(why.to_owned());
            std::mem::take(&mut table.pending)
        };
        for (_, pending) in pending {
            let _ = pending.send(Err(HyperdhtError::Lost(why.to_owned())));
        }
    }
}

/// A pending call, removed on drop.
struct PendingCall<'s> {
    calls: &'s PendingCalls,
    id: u64,
    answer: oneshot::Receiver<Result<Bytes, HyperdhtError>>,
}

impl<'s> PendingCall<'s> {
    fn new(calls: &'s PendingCalls) -> Result<Self, HyperdhtError> {
        let mut table = calls.lock();
        if let Some(why) = &table.end_reason {
            return Err(HyperdhtError::Lost(why.clone()));
        }
        if table.pending.len() >= MAX_PENDING {
            return Err(HyperdhtError::Busy);
        }
        let (reply_sender, answer) = oneshot::channel();
        table.last_id += 1;
        let id = table.last_id;
        table.pending.insert(id, reply_sender);
        Ok(Self { calls, id, answer })
    }
}

impl Drop for PendingCall<'_> {
    fn drop(&mut self) {
        self.calls.lock().pending.remove(&self.id);
    }
}

/// The task that reads responses.
struct ResponseReader {
    protocol: String,
    /// The peer's id of the channel, once it has opened it.
    peer_channel: Option<u64>,
    calls: Arc<PendingCalls>,
    queue: MessageQueue,
}

/// The reason for the end of reading.
enum ReadEnd {
    Graceful(&'static str),
    Fault(WireFault),
    WriterClosed,
}

impl From<WireFault> for ReadEnd {
    fn from(fault: WireFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<WriterClosed> for ReadEnd {
    fn from(_: WriterClosed) -> Self {
        Self::WriterClosed
    }
}

impl ResponseReader {
    async fn run(mut self, mut stream: SecretStreamReader) -> LinkEnd {
        loop {
            let queue = self.queue.clone();
            let message = tokio::select! {
                message = stream.next() => match message {
                    Ok(Some(message)) => message,
                    Ok(None) => return LinkEnd::graceful(CLOSED_BY_PEER),
                    Err(error) => return LinkEnd::lost(error.to_string()),
                },
                () = queue.closed() => return LinkEnd::lost(WRITE_FAILED),
            };
            if let Err(stop) = self.handle_message(message).await {
                return match stop {
                    ReadEnd::Graceful(why) => LinkEnd::graceful(why),
                    ReadEnd::Fault(fault) => LinkEnd::lost(fault.to_string()),
                    ReadEnd::WriterClosed => LinkEnd::lost(WRITE_FAILED),
                };
            }
        }
    }

    async fn handle_message(&mut self, message: Bytes) -> Result<(), ReadEnd> {
        for frame in Frames::of(message) {
            match frame? {
                Frame::Open { channel, protocol, id } => {
                    if self.peer_channel.is_none() && id.is_empty() && protocol == self.protocol {
                        self.peer_channel = Some(channel);
                    } else {
                        // Without a reject the peer would keep the channel open.
                        self.queue.send(Frame::Reject { channel }.encode()).await?;
                    }
                }
                Frame::Reject { channel: CHANNEL } => return Err(ReadEnd::Graceful("the peer does not support this protocol")),
                Frame::Close { channel } if Some(channel) == self.peer_channel => {
                    return Err(ReadEnd::Graceful("the peer closed the channel"));
                }
                Frame::Data { channel, kind, payload } if Some(channel) == self.peer_channel => {
                    self.handle_call(kind, payload).await?;
                }
                // Frames of a rejected channel, sent before the peer received the reject.
                Frame::Reject { .. } | Frame::Close { .. } | Frame::Data { .. } => {}
            }
        }
        Ok(())
    }

    async fn handle_call(&self, kind: u64, payload: Bytes) -> Result<(), ReadEnd> {
        match Call::decode(kind, payload)? {
            Some(Call::Response(Reply { id, outcome })) => {
                self.calls
                    .complete(id, outcome.map_err(|failure| HyperdhtError::Failed(failure.to_string())));
            }
            Some(Call::Request { id, method, .. }) if id != 0 => {
                let failure = unknown_method(&method);
                self.queue.send(Call::response(CHANNEL, id, Err(&failure))).await?;
            }
            Some(Call::Request { .. }) | None => {}
        }
        Ok(())
    }
}

/// Returns the error response to an unknown method.
pub(super) fn unknown_method(method: &str) -> RpcError {
    RpcError {
        message: format!("unknown method {method:?}"),
        code: Some(RpcErrorCode::UnknownMethod),
    }
}
