//! Answers to a peer: that the blocks it wants are missing.

use std::collections::VecDeque;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{AsyncWriteExt as _, FutureExt as _};
use libp2p_swarm::Stream;
use tokio::time::timeout;

use super::observer::MAX_UNANSWERED;
use crate::wire::bitswap::dont_have;

/// Timeout of writing one answer, of at most 180 kB.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The answers of one connection: at most one stream, opened at the first answer and kept.
#[derive(Default)]
pub(super) struct Answers {
    /// Binary CIDs, at most [`MAX_UNANSWERED`].
    pending: VecDeque<Box<[u8]>>,
    state: State,
}

#[derive(Default)]
enum State {
    /// No stream.
    #[default]
    Closed,
    /// A stream was requested.
    Opening,
    /// A stream that can be written to.
    Open(Stream),
    /// An answer is being written.
    Writing(BoxFuture<'static, io::Result<Stream>>),
    /// The peer does not accept answers.
    Unsupported,
}

impl Answers {
    /// Adds wants. Those beyond the limit get no answer.
    pub(super) fn push(&mut self, cids: Vec<Box<[u8]>>) {
        if !matches!(self.state, State::Unsupported) {
            let room = MAX_UNANSWERED - self.pending.len();
            self.pending.extend(cids.into_iter().take(room));
        }
    }

    /// Uses a stream that was requested.
    pub(super) fn opened(&mut self, stream: Stream) {
        self.state = State::Open(stream);
    }

    /// Handles a failed request for a stream.
    pub(super) fn failed(&mut self, unsupported: bool) {
        self.pending = VecDeque::new();
        self.state = if unsupported { State::Unsupported } else { State::Closed };
    }

    /// Writes what is pending. Ready if a stream must be requested.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::take(&mut self.state) {
                State::Closed if !self.pending.is_empty() => {
                    self.state = State::Opening;
                    return Poll::Ready(());
                }
                State::Open(stream) if !self.pending.is_empty() => {
                    let answer = dont_have(self.pending.iter().map(|cid| &**cid));
                    self.pending = VecDeque::new();
                    self.state = State::Writing(write(stream, answer).boxed());
                }
                State::Writing(mut writing) => match writing.poll_unpin(cx) {
                    Poll::Ready(Ok(stream)) => self.state = State::Open(stream),
                    // The next answer opens another stream.
                    Poll::Ready(Err(_)) => {}
                    Poll::Pending => {
                        self.state = State::Writing(writing);
                        return Poll::Pending;
                    }
                },
                idle => {
                    self.state = idle;
                    return Poll::Pending;
                }
            }
        }
    }
}

async fn write(mut stream: Stream, answer: Vec<u8>) -> io::Result<Stream> {
    let writing = async {
        stream.write_all(&answer).await?;
        stream.flush().await
    };
    timeout(WRITE_TIMEOUT, writing).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(stream)
}
