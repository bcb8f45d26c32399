//! Compression in the background: never on the path of a push, and of a scrape only for its small tail.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::exposition::gzip::{Compressor, Effort};
use crate::exposition::render::Chunk;
use crate::supervise::{Part, blocking};

/// Chunks that may wait: those of 16 GiB of text. What finds no place is offered again by the next scrape.
const MAX_WAITING: usize = 65_536;
/// How long a chunk must have stood unchanged before it is worth the harder work of compressing it well.
const QUIET: Duration = Duration::from_secs(15);
/// How many chunks are compressed before the thread is given back, so that a stop never waits long.
const BATCH: usize = 16;

/// Where scrapes leave what they found uncompressed. Cloning it clones a handle.
#[derive(Debug, Clone, Default)]
pub struct Deflating(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    offered: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Never compressed. Bounded by [`MAX_WAITING`].
    fresh: VecDeque<Weak<Chunk>>,
    /// The same by address, so that many scrapes offer a chunk once.
    known: HashSet<usize>,
    /// Compressed in haste, in the order of time. Bounded by [`MAX_WAITING`].
    hasty: VecDeque<(Instant, Weak<Chunk>)>,
}

impl Deflating {
    /// Leaves those chunks to be compressed that are not.
    pub fn offer(&self, chunks: &[Arc<Chunk>]) {
        let mut queue = self.queue();
        let before = queue.fresh.len();
        for chunk in chunks.iter().filter(|chunk| chunk.effort().is_none()) {
            if queue.fresh.len() < MAX_WAITING && queue.known.insert(Arc::as_ptr(chunk).addr()) {
                queue.fresh.push_back(Arc::downgrade(chunk));
            }
        }
        if queue.fresh.len() > before {
            self.0.offered.notify_one();
        }
    }

    /// The part that compresses what is offered.
    #[must_use]
    pub fn part(&self) -> impl Part + use<> {
        Deflater(self.clone())
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next piece of work and how well to do it: fresh chunks first, then hasty ones that have become quiet.
    fn next(&self, now: Instant) -> Option<(Weak<Chunk>, Effort)> {
        let mut queue = self.queue();
        if let Some(chunk) = queue.fresh.pop_front() {
            queue.known.remove(&chunk.as_ptr().addr());
            return Some((chunk, Effort::Fast));
        }
        let is_quiet = queue.hasty.front().is_some_and(|(since, _)| now.duration_since(*since) >= QUIET);
        if is_quiet {
            queue.hasty.pop_front().map(|(_, chunk)| (chunk, Effort::Small))
        } else {
            None
        }
    }

    /// When the first hasty chunk will have become quiet.
    fn next_quiet(&self) -> Option<Instant> {
        self.queue().hasty.front().map(|(since, _)| *since + QUIET)
    }

    /// Compresses a few chunks. False when there was nothing left to do.
    fn work(&self, compressor: &mut Compressor, now: Instant) -> bool {
        for _ in 0..BATCH {
            let Some((chunk, effort)) = self.next(now) else { return false };
            // A chunk that nobody holds any more has been replaced.
            let Some(chunk) = chunk.upgrade() else { continue };
            if chunk.effort() == Some(Effort::Small) {
                continue;
            }
            chunk.compress(effort, compressor);
            let mut queue = self.queue();
            if effort == Effort::Fast && queue.hasty.len() < MAX_WAITING {
                queue.hasty.push_back((now, Arc::downgrade(&chunk)));
            }
        }
        true
    }
}

struct Deflater(Deflating);

impl Part for Deflater {
    fn name(&self) -> &str {
        "compression"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            let mut compressor = Compressor::new();
            loop {
                let (deflating, now) = (self.0.clone(), Instant::now());
                let batch = blocking(move || {
                    let more = deflating.work(&mut compressor, now);
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
                let quiet = self.0.next_quiet();
                let wait = async {
                    match quiet {
                        Some(at) => tokio::time::sleep_until(at).await,
                        None => std::future::pending().await,
                    }
                };
                if quiet.is_none() {
                    // All is compressed as well as it will be.
                    compressor.rest();
                }
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
mod tests {
    use super::*;
    use bytes::Bytes;

    fn chunk(text: &'static str) -> Arc<Chunk> {
        Arc::new(Chunk::new(vec![Bytes::from_static(text.as_bytes())]))
    }

    #[tokio::test(start_paused = true)]
    async fn in_haste_first_and_well_once_it_is_quiet() {
        let (deflating, mut compressor) = (Deflating::default(), Compressor::new());
        let chunks = [chunk("a 1\n"), chunk("b 1\n")];
        deflating.offer(&chunks);
        deflating.offer(&chunks);
        assert_eq!(deflating.queue().fresh.len(), 2, "a chunk waits once");
        let start = Instant::now();
        assert!(!deflating.work(&mut compressor, start));
        assert!(chunks.iter().all(|chunk| chunk.effort() == Some(Effort::Fast)));
        assert!(!deflating.work(&mut compressor, start + QUIET / 2));
        assert_eq!(chunks[0].effort(), Some(Effort::Fast));
        assert_eq!(deflating.next_quiet(), Some(start + QUIET));
        deflating.work(&mut compressor, start + QUIET);
        assert!(chunks.iter().all(|chunk| chunk.effort() == Some(Effort::Small)));
        assert_eq!(deflating.next_quiet(), None);
    }

    #[test]
    fn what_was_replaced_is_passed_over() {
        let (deflating, mut compressor) = (Deflating::default(), Compressor::new());
        deflating.offer(&[chunk("gone 1\n")]);
        assert!(!deflating.work(&mut compressor, Instant::now()));
        assert!(deflating.queue().fresh.is_empty() && deflating.queue().known.is_empty());
    }
}
