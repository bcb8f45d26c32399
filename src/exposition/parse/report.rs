//! What is wrong with a text, gathered while it is read: offsets and reasons first, lines, columns and sentences for the kept ones last.

use std::borrow::Cow;

use super::super::reason::{Reason, Severity};
use super::narrow;

/// Gathers faults, and in strict reading notes: what costs nothing here but would elsewhere.
pub(in crate::exposition) struct Report {
    strict: bool,
    limit: usize,
    faults: u64,
    warnings: u64,
    errors: u64,
    kept: Vec<(u32, Reason)>,
    said: Vec<Reason>,
}

/// A place in a text as people count.
pub(in crate::exposition) struct Told {
    pub(in crate::exposition) offset: u32,
    pub(in crate::exposition) line: u32,
    pub(in crate::exposition) column: u32,
    pub(in crate::exposition) reason: Reason,
    pub(in crate::exposition) sentence: Cow<'static, str>,
}

impl Report {
    /// For faults alone, of which the first `limit` are kept.
    pub(in crate::exposition) const fn of_faults(limit: usize) -> Self {
        Self {
            strict: false,
            limit,
            faults: 0,
            warnings: 0,
            errors: 0,
            kept: Vec::new(),
            said: Vec::new(),
        }
    }

    /// For faults and notes, of which the first `limit` are kept.
    pub(in crate::exposition) const fn strict(limit: usize) -> Self {
        Self {
            strict: true,
            limit,
            faults: 0,
            warnings: 0,
            errors: 0,
            kept: Vec::new(),
            said: Vec::new(),
        }
    }

    /// How many faults there were.
    pub(in crate::exposition) const fn faults(&self) -> u64 {
        self.faults
    }

    /// How many errors and warnings there were: faults are errors, notes what their reasons say.
    pub(in crate::exposition) const fn counts(&self) -> (u64, u64) {
        (self.faults + self.errors, self.warnings)
    }

    /// Something that costs a line.
    #[cold]
    pub(super) fn fault(&mut self, at: usize, reason: Reason) {
        self.faults += 1;
        self.keep(at, reason);
    }

    /// A fault that is worth saying once for a text.
    pub(super) fn fault_once(&mut self, at: usize, reason: Reason) {
        if self.first_time(reason) {
            self.fault(at, reason);
        }
    }

    /// Something that costs nothing here.
    #[cold]
    pub(in crate::exposition) fn note(&mut self, at: usize, reason: Reason) {
        if self.strict {
            match reason.severity() {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
            }
            self.keep(at, reason);
        }
    }

    /// A note that is worth saying once for a text.
    #[cold]
    pub(super) fn note_once(&mut self, at: usize, reason: Reason) {
        if self.strict && self.first_time(reason) {
            self.note(at, reason);
        }
    }

    fn first_time(&mut self, reason: Reason) -> bool {
        let first = !self.said.contains(&reason);
        if first {
            self.said.push(reason);
        }
        first
    }

    fn keep(&mut self, at: usize, reason: Reason) {
        if self.kept.len() < self.limit {
            self.kept.push((narrow(at), reason));
        }
    }

    /// What was kept, in the order of the text, with lines and columns.
    pub(in crate::exposition) fn tell(mut self, body: &[u8]) -> Vec<Told> {
        self.kept.sort_by_key(|(at, _)| *at);
        let (mut line, mut counted) = (1, 0);
        let tell = |(offset, reason): (u32, Reason)| {
            let at = (offset as usize).min(body.len());
            line += newlines(&body[counted..at]);
            counted = at;
            let start = memchr::memrchr(b'\n', &body[..at]).map_or(0, |newline| newline + 1);
            let sentence = reason.tell(body, |at| 1 + newlines(&body[..at as usize]));
            Told {
                offset,
                line,
                column: 1 + characters(&body[start..at]),
                reason,
                sentence,
            }
        };
        self.kept.into_iter().map(tell).collect()
    }
}

fn newlines(text: &[u8]) -> u32 {
    narrow(memchr::memchr_iter(b'\n', text).count())
}

/// Characters of UTF-8; of other bytes, those that could start one.
fn characters(text: &[u8]) -> u32 {
    narrow(text.iter().filter(|byte| *byte & 0xc0 != 0x80).count())
}
