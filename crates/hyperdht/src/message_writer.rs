//! Writes messages to a secret stream in a task of its own, and reports when the peer has acknowledged them.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};

use crate::secret_stream::{SecretStreamError, SecretStreamWriter};

/// Limit on queued messages, in addition to the one being written and the one after it. Each can have 16 MiB and stays while the peer
/// reads nothing; a message is built only when there is room for it.
const QUEUE_LENGTH: usize = 1;

/// Timeout for writing one message, which is also that of reading one.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// Limit on writing the last messages before a connection is dropped.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Called once the peer's transport has acknowledged the whole message; dropped if that is unknown.
pub type OnAcked = Box<dyn FnOnce() + Send>;

struct Message {
    bytes: Vec<u8>,
    received: Option<OnAcked>,
}

/// The error of a closed writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WriterClosed;

/// The queue of messages to write. A clone is a handle to the same queue.
#[derive(Clone)]
pub(crate) struct MessageQueue(mpsc::Sender<Message>);

impl MessageQueue {
    /// Sends a message once there is room in the queue.
    pub(crate) async fn send(&self, bytes: Vec<u8>) -> Result<(), WriterClosed> {
        self.send_tracked(|| bytes, None).await
    }

    /// Builds and sends a message once there is room in the queue, and tracks its acknowledgement.
    pub(crate) async fn send_tracked(&self, make: impl FnOnce() -> Vec<u8>, received: Option<OnAcked>) -> Result<(), WriterClosed> {
        let place = self.0.reserve().await.map_err(|_| WriterClosed)?;
        place.send(Message { bytes: make(), received });
        Ok(())
    }

    /// Resolves when the writer is closed.
    pub(crate) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The writing task. When all queues are dropped it writes the queued messages, closes the stream and ends, each within a bounded time.
pub(crate) struct MessageWriter(JoinHandle<Result<(), SecretStreamError>>);

impl MessageWriter {
    /// Starts the task, which writes `first` before all other messages.
    pub(crate) fn start(writer: SecretStreamWriter, first: Option<Vec<u8>>) -> (MessageQueue, Self) {
        let (queue, messages) = mpsc::channel(QUEUE_LENGTH);
        (MessageQueue(queue), Self(tokio::spawn(write(writer, first, messages))))
    }

    /// Stops immediately: messages without an acknowledgement count as not received.
    pub(crate) fn abort(self) {
        self.0.abort();
    }

    /// Waits until the last messages are written, with a timeout. All queues must be dropped.
    pub(crate) async fn finish(self) {
        // Unwritten messages are lost with the connection.
        let _ = timeout(FLUSH_TIMEOUT, self.0).await;
    }
}

async fn write(
    mut writer: SecretStreamWriter,
    first: Option<Vec<u8>>,
    mut messages: mpsc::Receiver<Message>,
) -> Result<(), SecretStreamError> {
    let slow = |_: Elapsed| SecretStreamError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
    if let Some(first) = first {
        timeout(WRITE_TIMEOUT, writer.send(first)).await.map_err(slow)??;
    }
    // Bounded by the messages of one round trip, which the pending calls limit.
    let mut tracked: Vec<OnAcked> = Vec::new();
    loop {
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            // Cancelled by the next message and restarted, which then covers that message, too.
            acknowledged = writer.acknowledged(), if !tracked.is_empty() => {
                acknowledged?;
                tracked.drain(..).for_each(|received| received());
                continue;
            }
        };
        let Some(Message { bytes, received }) = message else { break };
        timeout(WRITE_TIMEOUT, writer.send(bytes)).await.map_err(slow)??;
        tracked.extend(received);
    }
    if !tracked.is_empty() {
        timeout(WRITE_TIMEOUT, writer.acknowledged()).await.map_err(slow)??;
        tracked.into_iter().for_each(|received| received());
    }
    writer.close().await;
    Ok(())
}
