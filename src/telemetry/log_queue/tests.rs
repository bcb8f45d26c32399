#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

/// Longer than any test takes that does not fail.
const LONG: Duration = Duration::from_secs(60);

/// A sink that the test controls: each write takes one permission, which says how many bytes it accepts before it fails.
struct Controlled {
    permissions: Receiver<usize>,
    written: Sender<Vec<u8>>,
    left: usize,
}

impl Write for Controlled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.left = self.permissions.recv().unwrap_or(usize::MAX);
        }
        if self.left == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let taken = bytes.len().min(self.left);
        // What is left of a permission ends with the line.
        self.left = if taken < bytes.len() { 0 } else { self.left - taken };
        if bytes.ends_with(b"\n") && taken == bytes.len() {
            self.left = 0;
        }
        self.written.send(bytes[..taken].to_vec()).unwrap();
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A queue of this size with a writer, permissions for its writes, and what was written.
fn controlled(limit: usize, retry: Duration) -> (Arc<LogQueue>, Sender<usize>, Receiver<Vec<u8>>) {
    let queue = Arc::new(LogQueue::new(limit));
    let (permit, permissions) = channel();
    let (written, out) = channel();
    let sink = Controlled {
        permissions,
        written,
        left: 0,
    };
    let writing = Arc::clone(&queue);
    thread::spawn(move || writing.write_to(sink, |n| format!("{n} dropped\n").into_bytes(), retry));
    (queue, permit, out)
}

fn text(out: &Receiver<Vec<u8>>) -> String {
    String::from_utf8(out.recv_timeout(LONG).unwrap()).unwrap()
}

/// Appends lines of equal cost, numbered.
fn push(queue: &LogQueue, numbers: std::ops::Range<u32>) {
    for n in numbers {
        queue.push(format!("line {n:03}\n").as_bytes());
    }
}

/// The cost of a line of [`push`].
const COST: usize = 9 + LINE_OVERHEAD;

/// Appends one line and waits until the writer holds it, so that the queue is empty again.
fn occupy(queue: &LogQueue) {
    queue.push(b"first\n");
    while !queue.state().lines.is_empty() {
        thread::yield_now();
    }
}

#[test]
fn a_sink_that_blocks_costs_lines_and_is_told_where_they_are_missing() {
    let (queue, permit, out) = controlled(4 * COST, LONG);
    occupy(&queue);
    push(&queue, 0..10);
    assert_eq!(queue.dropped_total(), 6);
    for expected in ["first\n", "line 000\n", "line 001\n"] {
        permit.send(usize::MAX).unwrap();
        assert_eq!(text(&out), expected);
    }
    // The queue is half empty once the writer has the third line, so this one is queued behind a gap.
    while queue.state().lines.len() > 1 {
        thread::yield_now();
    }
    push(&queue, 10..11);
    for expected in ["line 002\n", "line 003\n", "6 dropped\n", "line 010\n"] {
        permit.send(usize::MAX).unwrap();
        assert_eq!(text(&out), expected);
    }
    assert!(queue.flush(LONG));
    assert_eq!(queue.dropped_total(), 6);
}

#[test]
fn a_gap_at_the_end_is_reported_without_a_further_line() {
    let (queue, permit, out) = controlled(COST, LONG);
    occupy(&queue);
    push(&queue, 0..3);
    for expected in ["first\n", "line 000\n", "2 dropped\n"] {
        permit.send(usize::MAX).unwrap();
        assert_eq!(text(&out), expected);
    }
}

#[test]
fn a_sink_that_fails_costs_lines_and_gets_a_report_once_it_is_back() {
    let (queue, permit, out) = controlled(100 * COST, LONG);
    push(&queue, 0..3);
    // The first line fails; for the other two the report is tried, and fails.
    (0..3).for_each(|_| permit.send(0).unwrap());
    while queue.dropped_total() < 3 {
        thread::yield_now();
    }
    push(&queue, 3..4);
    permit.send(usize::MAX).unwrap();
    assert_eq!(text(&out), "3 dropped\n");
    permit.send(usize::MAX).unwrap();
    assert_eq!(text(&out), "line 003\n");
}

#[test]
fn a_report_is_tried_again_while_there_is_nothing_else_to_write() {
    let (queue, permit, out) = controlled(100 * COST, Duration::from_millis(1));
    push(&queue, 0..1);
    (0..3).for_each(|_| permit.send(0).unwrap());
    permit.send(usize::MAX).unwrap();
    assert_eq!(text(&out), "1 dropped\n");
}

#[test]
fn a_line_that_broke_off_is_ended_before_the_next_one() {
    let (queue, permit, out) = controlled(100 * COST, LONG);
    push(&queue, 0..1);
    permit.send(4).unwrap();
    permit.send(0).unwrap();
    assert_eq!(text(&out), "line");
    push(&queue, 1..2);
    for expected in ["\n", "1 dropped\n", "line 001\n"] {
        permit.send(usize::MAX).unwrap();
        assert_eq!(text(&out), expected);
    }
}

#[test]
fn flush_does_not_wait_longer_than_it_may() {
    let (queue, _permit, _out) = controlled(COST, LONG);
    assert!(queue.flush(LONG));
    occupy(&queue);
    assert!(!queue.flush(Duration::from_millis(1)));
}

#[test]
fn a_line_larger_than_the_queue_is_dropped_alone() {
    let mut state = LogQueue::new(COST).state.into_inner().unwrap();
    let line = |bytes: usize| QueuedLine {
        text: vec![0; bytes].into(),
        dropped_before: 0,
    };
    assert!(!state.append(line(COST), COST));
    assert!(state.append(line(1), COST));
    assert_eq!(state.lines[0].dropped_before, 1);
}
