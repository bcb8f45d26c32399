//! The RPC client of a connection: sends requests on one channel and receives the responses in any order.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::message_writer::{MessageQueue, MessageWriter, WriterClosed};
use crate::secret_stream::{SecretStream, SecretStreamReader};
use crate::wire::{Call, Frame, Frames, Reply, RpcError, RpcErrorCode, WireFault, shortened};

/// Our id of the channel.
const CHANNEL: u64 = 1;

/// Limit on pending calls of a connection, more than a proxy has scrapers.
const MAX_PENDING: usize = 1_024;

/// Limit on the refusals that a connection sends: rejected channels and unknown methods. They are longer than what causes them, and the
/// address that they go to may be made up. A program of another version causes one or two.
pub(crate) const MAX_REFUSALS: usize = 16;

/// Bytes of a refused method name that the refusal repeats, more than any in use.
const METHOD_BYTES: usize = 32;

/// The error of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The connection ended before the response.
    #[error("connection lost: {0}")]
    Lost(String),
    /// The peer took too long.
    #[error("no response within {0:?}")]
    Timeout(Duration),
    /// Too many requests are pending on the connection.
    #[error("too many requests are waiting for a response")]
    Busy,
    /// The peer responded with an error.
    #[error("the peer responded with an error: {0}")]
    Failed(String),
}

/// The end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionEnd {
    /// True if either end closed the connection gracefully; false if it was lost.
    pub is_graceful: bool,
    /// The reason.
    pub why: String,
}

impl ConnectionEnd {
    /// Returns the end of a connection that was closed gracefully.
    #[must_use]
    pub fn graceful(why: impl Into<String>) -> Self {
        Self {
            is_graceful: true,
            why: why.into(),
        }
    }

    /// Returns the end of a lost connection.
    #[must_use]
    pub fn lost(why: impl Into<String>) -> Self {
        Self {
            is_graceful: false,
            why: why.into(),
        }
    }
}

/// The reasons for the end of a connection.
pub(crate) const CLOSED_BY_PEER: &str = "closed by the peer";
pub(crate) const WRITE_FAILED: &str = "writing to the connection failed";

/// Sends requests over a connection; dropping it closes the connection.
pub struct RpcClient {
    calls: Arc<PendingCalls>,
    queue: MessageQueue,
    writer: MessageWriter,
    reader: AbortOnDropHandle<()>,
    end_notifier: EndNotifier,
}

/// Reports the end of a connection once: the first reason counts, at the latest on drop.
struct EndNotifier(Arc<EndCallback>);

/// Called with the end of a connection.
type EndFn = Box<dyn FnOnce(ConnectionEnd) + Send>;

/// The callback, until it was called.
struct EndCallback(Mutex<Option<EndFn>>);

impl EndCallback {
    fn notify(&self, end: ConnectionEnd) {
        let ended = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            ended(end);
        }
    }
}

impl Drop for EndNotifier {
    fn drop(&mut self) {
        self.0.notify(ConnectionEnd::graceful("closed by this end"));
    }
}

#[derive(Default)]
struct PendingCalls(Mutex<CallTable>);

#[derive(Default)]
struct CallTable {
    last_id: u64,
    /// At most [`MAX_PENDING`].
    pending: HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
    end_reason: Option<String>,
}

impl RpcClient {
    /// Opens a channel of this protocol. `ended` is called when the connection ends or is dropped.
    pub fn new(stream: SecretStream, protocol: &str, ended: impl FnOnce(ConnectionEnd) + Send + 'static) -> Self {
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
            refusals: Refusals::default(),
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

    /// Reports the end of the connection before it is dropped, with this reason.
    pub fn notify_end(&self, end: ConnectionEnd) {
        self.end_notifier.0.notify(end);
    }

    /// Returns true while the connection is open.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.calls.lock().end_reason.is_none()
    }

    /// Sends a request and waits for the response.
    ///
    /// # Errors
    ///
    /// If the response does not arrive in time or is an error, the connection is lost, or too many calls are pending.
    pub async fn call(&self, method: &str, value: &[u8], wait: Duration) -> Result<Bytes, CallError> {
        let mut call = PendingCall::new(&self.calls)?;
        let request = Call::request(CHANNEL, call.id, method, value);
        let answered = async {
            // The reason of a closed writer is in the result of the call.
            let _ = self.queue.send(request).await;
            (&mut call.answer).await
        };
        match timeout(wait, answered).await {
            Err(_) => Err(CallError::Timeout(wait)),
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallError::Lost("the connection is closed".to_owned())),
        }
    }

    /// Closes the connection gracefully.
    pub async fn close(self) {
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

    fn complete(&self, id: u64, outcome: Result<Bytes, CallError>) {
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
            let _ = pending.send(Err(CallError::Lost(why.to_owned())));
        }
    }
}

/// A pending call, removed on drop.
struct PendingCall<'s> {
    calls: &'s PendingCalls,
    id: u64,
    answer: oneshot::Receiver<Result<Bytes, CallError>>,
}

impl<'s> PendingCall<'s> {
    fn new(calls: &'s PendingCalls) -> Result<Self, CallError> {
        let mut table = calls.lock();
        if let Some(why) = &table.end_reason {
            return Err(CallError::Lost(why.clone()));
        }
        if table.pending.len() >= MAX_PENDING {
            return Err(CallError::Busy);
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
    refusals: Refusals,
}

/// The number of refusals of a connection so far.
#[derive(Debug, Default)]
pub(crate) struct Refusals(usize);

/// The error of more than [`MAX_REFUSALS`] refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyRefusals;

impl Refusals {
    /// Counts a refusal that is about to be sent.
    pub(crate) fn add(&mut self) -> Result<(), TooManyRefusals> {
        self.0 += 1;
        if self.0 <= MAX_REFUSALS { Ok(()) } else { Err(TooManyRefusals) }
    }
}

impl From<TooManyRefusals> for ConnectionEnd {
    fn from(_: TooManyRefusals) -> Self {
        Self::lost(format!(
            "the peer has opened more than {MAX_REFUSALS} unknown channels or called more unknown methods"
        ))
    }
}

/// The reason for the end of reading.
enum ReadEnd {
    Graceful(&'static str),
    Fault(WireFault),
    WriterClosed,
    TooManyRefusals(TooManyRefusals),
}

impl From<TooManyRefusals> for ReadEnd {
    fn from(end: TooManyRefusals) -> Self {
        Self::TooManyRefusals(end)
    }
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
    async fn run(mut self, mut stream: SecretStreamReader) -> ConnectionEnd {
        loop {
            let queue = self.queue.clone();
            let message = tokio::select! {
                message = stream.next() => match message {
                    Ok(Some(message)) => message,
                    Ok(None) => return ConnectionEnd::graceful(CLOSED_BY_PEER),
                    Err(error) => return ConnectionEnd::lost(error.to_string()),
                },
                () = queue.closed() => return ConnectionEnd::lost(WRITE_FAILED),
            };
            if let Err(stop) = self.handle_message(message).await {
                return match stop {
                    ReadEnd::Graceful(why) => ConnectionEnd::graceful(why),
                    ReadEnd::Fault(fault) => ConnectionEnd::lost(fault.to_string()),
                    ReadEnd::WriterClosed => ConnectionEnd::lost(WRITE_FAILED),
                    ReadEnd::TooManyRefusals(end) => end.into(),
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
                        self.refusals.add()?;
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

    async fn handle_call(&mut self, kind: u64, payload: Bytes) -> Result<(), ReadEnd> {
        match Call::decode(kind, payload)? {
            Some(Call::Response(Reply { id, outcome })) => {
                self.calls
                    .complete(id, outcome.map_err(|failure| CallError::Failed(failure.to_string())));
            }
            Some(Call::Request { id, method, .. }) if id != 0 => {
                self.refusals.add()?;
                let failure = unknown_method(&method);
                self.queue.send(Call::response(CHANNEL, id, Err(&failure))).await?;
            }
            Some(Call::Request { .. }) | None => {}
        }
        Ok(())
    }
}

/// Returns the error response to an unknown method.
pub(crate) fn unknown_method(method: &str) -> RpcError {
    RpcError {
        message: format!("unknown method {:?}", shortened(method, METHOD_BYTES)),
        code: Some(RpcErrorCode::UnknownMethod),
    }
}
