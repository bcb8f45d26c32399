//! Bounded queue of log lines, and the loop that writes them out.
//!
//! A write to standard error fails when its pipe is closed or its disk is full, and blocks while the reader of a full pipe reads
//! nothing. Only one thread writes to it, therefore. All others append to this queue and never wait for the sink; a line that does not
//! fit, or cannot be written, is dropped and counted.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that a queued line takes besides its text: its place in the queue and its allocation.
const LINE_OVERHEAD: usize = 64;

/// Pause before another try where the sink is a file descriptor that another process has made non-blocking, and its buffer is full.
const NONBLOCKING_PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct QueuedLine {
    text: Box<[u8]>,
    /// Lines dropped between the queued line before this one and this one.
    dropped_before: u64,
}

impl QueuedLine {
    fn cost(&self) -> usize {
        self.text.len() + LINE_OVERHEAD
    }
}

#[derive(Debug)]
struct QueueState {
    lines: VecDeque<QueuedLine>,
    /// The cost of `lines`.
    bytes: usize,
    /// Set when a line did not fit, until the queue is half empty: the lines that are dropped then are consecutive, and one report
    /// covers all of them.
    full: bool,
    /// Lines dropped since the last one that was queued.
    dropped: u64,
    /// True while the sink writes a line that was taken from the queue.
    writing: bool,
}

/// The queue. One thread runs [`LogQueue::write_to`], any number append.
#[derive(Debug)]
pub(super) struct LogQueue {
    /// Most bytes that may wait, each line with [`LINE_OVERHEAD`].
    limit: usize,
    state: Mutex<QueueState>,
    appended: Condvar,
    drained: Condvar,
    dropped_total: AtomicU64,
}

impl LogQueue {
    pub(super) const fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::new(QueueState {
                lines: VecDeque::new(),
                bytes: 0,
                full: false,
                dropped: 0,
                writing: false,
            }),
            appended: Condvar::new(),
            drained: Condvar::new(),
            dropped_total: AtomicU64::new(0),
        }
    }

    /// Appends a line with its final newline, or drops it where the queue is full.
    pub(super) fn push(&self, text: &[u8]) {
        let line = QueuedLine {
            text: text.into(),
            dropped_before: 0,
        };
        if !self.state().append(line, self.limit) {
            self.dropped_total.fetch_add(1, Ordering::Relaxed);
        }
        self.appended.notify_one();
    }

    /// Lines dropped so far, in the queue and at the sink.
    pub(super) fn dropped_total(&self) -> u64 {
        self.dropped_total.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most for `limit`. False if something is left.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let pending = |state: &mut QueueState| state.writing || !state.lines.is_empty();
        let waited = self.drained.wait_timeout_while(self.state(), limit, pending);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    /// Writes the lines to the sink as they come, forever. `report` renders the line that stands where lines were dropped; if the sink
    /// does not take that one, it is tried again with the next line, and every `retry` while there is none.
    pub(super) fn write_to(&self, out: impl Write, report: impl Fn(u64) -> Vec<u8>, retry: Duration) -> ! {
        let mut sink = Sink {
            out,
            torn: false,
            unreported: 0,
        };
        loop {
            let (line, dropped) = self.next(retry, sink.unreported > 0);
            sink.unreported += dropped;
            if sink.unreported > 0 && sink.put(&report(sink.unreported)) {
                sink.unreported = 0;
            }
            let Some(line) = line else { continue };
            // Behind a report that could not be written nothing else is: the order would be wrong.
            if sink.unreported > 0 || !sink.put(&line.text) {
                sink.unreported += 1;
                self.dropped_total.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// The next line, if there is one, and the lines dropped before it. Waits for either; with `unreported` drops only for `retry`.
    fn next(&self, retry: Duration, unreported: bool) -> (Option<QueuedLine>, u64) {
        let mut state = self.state();
        state.writing = false;
        if state.lines.is_empty() && state.dropped == 0 {
            self.drained.notify_all();
            let idle = |state: &mut QueueState| state.lines.is_empty() && state.dropped == 0;
            state = if unreported {
                self.appended
                    .wait_timeout_while(state, retry, idle)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            } else {
                self.appended.wait_while(state, idle).unwrap_or_else(PoisonError::into_inner)
            };
        }
        state.writing = true;
        match state.lines.pop_front() {
            Some(line) => {
                state.bytes -= line.cost();
                let dropped = line.dropped_before;
                (Some(line), dropped)
            }
            None => (None, std::mem::take(&mut state.dropped)),
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl QueueState {
    /// Queues a line, or counts it as dropped and returns false.
    fn append(&mut self, mut line: QueuedLine, limit: usize) -> bool {
        if self.full && self.bytes > limit / 2 {
            self.dropped += 1;
            return false;
        }
        self.full = self.bytes + line.cost() > limit;
        if self.full {
            self.dropped += 1;
            return false;
        }
        line.dropped_before = std::mem::take(&mut self.dropped);
        self.bytes += line.cost();
        self.lines.push_back(line);
        true
    }
}

/// The receiving end, with what it has not taken.
struct Sink<W> {
    out: W,
    /// True if the last write ended inside a line.
    torn: bool,
    /// Lines dropped that no written report has counted.
    unreported: u64,
}

impl<W: Write> Sink<W> {
    /// Writes a whole line; false if the sink does not take it.
    fn put(&mut self, line: &[u8]) -> bool {
        if self.torn && self.write(b"\n") < 1 {
            return false;
        }
        let written = self.write(line);
        self.torn = written > 0 && written < line.len();
        written == line.len()
    }

    /// Writes as much as the sink takes before it fails.
    fn write(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while written < bytes.len() {
            match self.out.write(&bytes[written..]) {
                Ok(0) => break,
                Ok(n) => written += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(NONBLOCKING_PAUSE),
                Err(_) => break,
            }
        }
        written
    }
}

#[cfg(test)]
mod tests;
