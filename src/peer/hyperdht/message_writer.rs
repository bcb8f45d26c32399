//! The writing half of a connection: a task that sends what it is given, and tells when the other end has it.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{error::Elapsed, timeout};

use super::secret_stream::{SecretStreamError, SecretStreamWriter};

/// Messages that wait to be written, beside the one that is and the one after it. Each may have 16 MiB, and stays while the other end
/// takes nothing; whoever wants to add one waits, and makes it only then.
const QUEUE_LENGTH: usize = 1;

/// How long the other end may take for one message; what it has for its own, too.
const WRITE_TIMEOUT: Duration = Duration::from_secs(120);

/// How long what was said last may take to go out before a connection ends without.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Run once the other end's transport has acknowledged all of a message; dropped where that is not known.
pub(super) type OnAcked = Box<dyn FnOnce() + Send>;

struct Message {
    bytes: Vec<u8>,
    received: Option<OnAcked>,
}

/// Nothing can be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WriterClosed;

/// Takes what is to be sent. Cloning clones a handle.
#[derive(Clone)]
pub(super) struct MessageQueue(mpsc::Sender<Message>);

impl MessageQueue {
    /// Sends a message when its turn has come.
    pub(super) async fn send(&self, bytes: Vec<u8>) -> Result<(), WriterClosed> {
        self.send_tracked(|| bytes, None).await
    }

    /// Makes and sends a message when its turn has come, and follows it to the other end.
    pub(super) async fn send_tracked(&self, make: impl FnOnce() -> Vec<u8>, received: Option<OnAcked>) -> Result<(), WriterClosed> {
        let place = self.0.reserve().await.map_err(|_| WriterClosed)?;
        place.send(Message { bytes: make(), received });
        Ok(())
    }

    /// Resolves once nothing can be sent any more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}

/// The task that writes. It needs no owner: once all outboxes are gone it sends what waits, says goodbye and ends, each within a bounded
/// time.
pub(super) struct MessageWriter(JoinHandle<Result<(), SecretStreamError>>);

impl MessageWriter {
    /// Begins to send, the `first` message before all others.
    pub(super) fn start(writer: SecretStreamWriter, first: Option<Vec<u8>>) -> (MessageQueue, Self) {
        let (queue, messages) = mpsc::channel(QUEUE_LENGTH);
        (MessageQueue(queue), Self(tokio::spawn(write(writer, first, messages))))
    }

    /// Leaves at once: what has not been acknowledged by now counts as not received.
    pub(super) fn abort(self) {
        self.0.abort();
    }

    /// Waits a moment until what was sent last has gone out. All outboxes have to be gone.
    pub(super) async fn finish(self) {
        // What has not gone out by then is lost with the connection.
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
    // As many as are sent within a round trip; those who wait for an answer limit that.
    let mut tracked: Vec<OnAcked> = Vec::new();
    loop {
        let message = tokio::select! {
            biased;
            message = messages.recv() => message,
            // Given up for the next message it is asked anew, and then tells of that, too.
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
