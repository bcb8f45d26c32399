//! Compression in the background: what scrapes have compressed fast is compressed better once it has not changed for a while.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exposition::gzip::{CompressionLevel, Compressor};
use crate::exposition::render::Chunk;
use crate::supervise::{Service, blocking};

/// SharedBody that may wait: those of 8 GiB of text. Further ones stay as they are until they change.
const MAX_WAITING: usize = 65_536;
/// Time without a change after which a chunk is compressed again at the higher level.
const QUIET: Duration = Duration::from_secs(15);
/// Chunks compressed in one blocking task, so that a stop never waits long.
const BATCH: usize = 16;

/// Pending of chunks that scrapes have compressed fast. Cloning it clones a handle.
#[derive(Debug, Clone, Default)]
pub struct CompressionQueue(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Pending>,
    offered: Notify,
}

#[derive(Debug, Default)]
struct Pending {
    /// In the order of time. Bounded by [`MAX_WAITING`].
    waiting: VecDeque<(Instant, Weak<Chunk>)>,
    /// The same by address, so that a chunk that is offered several times waits once. A chunk's memory is not used again while it waits.
    known: HashSet<usize>,
}

impl CompressionQueue {
    /// Has these chunks, which were compressed fast, compressed better if they are still in use after `QUIET`.
    pub fn offer(&self, chunks: &[Arc<Chunk>]) {
        self.offer_at(chunks, Instant::now());
    }

    fn offer_at(&self, chunks: &[Arc<Chunk>], now: Instant) {
        if chunks.is_empty() {
            return;
        }
        let mut queue = self.queue();
        let was_empty = queue.waiting.is_empty();
        for chunk in chunks {
            if queue.waiting.len() < MAX_WAITING && queue.known.insert(Arc::as_ptr(chunk).addr()) {
                queue.waiting.push_back((now, Arc::downgrade(chunk)));
            }
        }
        if was_empty {
            self.0.offered.notify_one();
        }
    }

    /// The part that compresses what is offered.
    #[must_use]
    pub fn service(&self) -> impl Service + use<> {
        BackgroundCompressor(self.clone())
    }

    fn queue(&self) -> MutexGuard<'_, Pending> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk that has waited for [`QUIET`].
    fn next(&self, now: Instant) -> Option<Weak<Chunk>> {
        let mut queue = self.queue();
        let (_, chunk) = queue.waiting.pop_front_if(|(since, _)| now.duration_since(*since) >= QUIET)?;
        queue.known.remove(&chunk.as_ptr().addr());
        Some(chunk)
    }

    /// The time at which the next chunk will have waited for [`QUIET`].
    fn next_due(&self) -> Option<Instant> {
        self.queue().waiting.front().map(|(since, _)| *since + QUIET)
    }

    /// Compresses a few chunks. Returns false if there is nothing left to do now.
    fn work(&self, compressor: &mut Compressor, now: Instant) -> bool {
        for _ in 0..BATCH {
            let Some(chunk) = self.next(now) else { return false };
            // A chunk that is not in use any more has been replaced.
            let Some(chunk) = chunk.upgrade() else { continue };
            if chunk.level() == Some(CompressionLevel::Fast) {
                chunk.compress(CompressionLevel::Small, compressor);
            }
        }
        true
    }
}

struct BackgroundCompressor(CompressionQueue);

impl Service for BackgroundCompressor {
    fn name(&self) -> &str {
        "compression"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut compressor = Compressor::new();
            loop {
                let (compression_queue, now) = (self.0.clone(), Instant::now());
                let batch = blocking(move || {
                    let more = compression_queue.work(&mut compressor, now);
                    (more, compressor)
                });
                let more;
                (more, compressor) = batch.await;
                if stop.is_cancelled() {
                    return Ok(());
                }
                if more {
                    continue;
                }
                let due = self.0.next_due();
                let wait = async {
                    match due {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                compressor.rest();
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = self.0.0.offered.notified() => {}
                    () = wait => {}
                }
            }
        })
    }
}

#[cfg(test)]
mod tests;
