//! Collection of problems while a text is parsed: offsets and reasons at first; lines, columns and messages only for the kept ones.

use std::borrow::Cow;

use super::narrow;
use crate::reason::{Reason, Severity};

/// Collects faults, and in strict mode also notes: problems that this program accepts but other parsers do not.
pub(crate) struct Report {
    strict: bool,
    limit: usize,
    faults: u64,
    exemplars: u64,
    first_exemplar: Option<(u32, Reason)>,
    warnings: u64,
    errors: u64,
    kept: Vec<(u32, Reason)>,
    reported_once: Vec<Reason>,
}

/// A problem with its line, column and message.
pub(crate) struct Diagnostic {
    pub(crate) offset: u32,
    pub(crate) line: u32,
    pub(crate) column: u32,
    pub(crate) reason: Reason,
    pub(crate) message: Cow<'static, str>,
}

impl Report {
    /// A report of faults only, of which the first `limit` are kept.
    pub(crate) const fn of_faults(limit: usize) -> Self {
        Self {
            strict: false,
            limit,
            faults: 0,
            exemplars: 0,
            first_exemplar: None,
            warnings: 0,
            errors: 0,
            kept: Vec::new(),
            reported_once: Vec::new(),
        }
    }

    /// A report of faults and notes, of which the first `limit` are kept.
    pub(crate) const fn strict(limit: usize) -> Self {
        Self {
            strict: true,
            limit,
            faults: 0,
            exemplars: 0,
            first_exemplar: None,
            warnings: 0,
            errors: 0,
            kept: Vec::new(),
            reported_once: Vec::new(),
        }
    }

    /// True if notes are collected as well.
    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Number of skipped exemplars.
    pub(crate) const fn exemplars(&self) -> u64 {
        self.exemplars
    }

    /// The first skipped exemplar.
    pub(crate) fn first_exemplar(&self, body: &[u8]) -> Option<Diagnostic> {
        self.first_exemplar.map(|(at, reason)| Locator::new(body).locate(at, reason))
    }

    /// Number of faults.
    pub(crate) const fn faults(&self) -> u64 {
        self.faults
    }

    /// Number of errors and warnings: faults are errors; the severity of a note depends on its reason.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.faults + self.errors, self.warnings)
    }

    /// Reports a fault: a line is skipped.
    #[cold]
    pub(super) fn fault(&mut self, at: usize, reason: Reason) {
        self.faults += 1;
        self.keep(at, reason);
    }

    /// Reports a fault once per text.
    pub(super) fn fault_once(&mut self, at: usize, reason: Reason) {
        if self.first_time(reason) {
            self.fault(at, reason);
        }
    }

    /// Reports a skipped exemplar.
    #[cold]
    pub(super) fn exemplar(&mut self, at: usize, reason: Reason) {
        self.exemplars += 1;
        self.first_exemplar.get_or_insert((narrow(at), reason));
        self.note(at, reason);
    }

    /// Reports a problem that this program accepts.
    #[cold]
    pub(crate) fn note(&mut self, at: usize, reason: Reason) {
        if self.strict {
            match reason.severity() {
                Severity::Error => self.errors += 1,
                Severity::Warning => self.warnings += 1,
            }
            self.keep(at, reason);
        }
    }

    /// Reports a note once per text.
    #[cold]
    pub(super) fn note_once(&mut self, at: usize, reason: Reason) {
        if self.strict && self.first_time(reason) {
            self.note(at, reason);
        }
    }

    fn first_time(&mut self, reason: Reason) -> bool {
        let first = !self.reported_once.contains(&reason);
        if first {
            self.reported_once.push(reason);
        }
        first
    }

    fn keep(&mut self, at: usize, reason: Reason) {
        if self.kept.len() < self.limit {
            self.kept.push((narrow(at), reason));
        }
    }

    /// The kept problems, in the order of the text, with lines and columns.
    pub(crate) fn into_diagnostics(mut self, body: &[u8]) -> Vec<Diagnostic> {
        self.kept.sort_by_key(|(at, _)| *at);
        let mut locator = Locator::new(body);
        self.kept.into_iter().map(|(at, reason)| locator.locate(at, reason)).collect()
    }
}

/// Finds the lines and columns of ascending offsets.
struct Locator<'a> {
    body: &'a [u8],
    line: u32,
    counted: usize,
}

impl<'a> Locator<'a> {
    const fn new(body: &'a [u8]) -> Self {
        Self { body, line: 1, counted: 0 }
    }

    fn locate(&mut self, offset: u32, reason: Reason) -> Diagnostic {
        let body = self.body;
        let at = (offset as usize).min(body.len());
        self.line += newlines(&body[self.counted..at]);
        self.counted = at;
        let start = memchr::memrchr(b'\n', &body[..at]).map_or(0, |newline| newline + 1);
        let message = reason.message(body, |at| 1 + newlines(&body[..at as usize]));
        Diagnostic {
            offset,
            line: self.line,
            column: 1 + characters(&body[start..at]),
            reason,
            message,
        }
    }
}

fn newlines(text: &[u8]) -> u32 {
    narrow(memchr::memchr_iter(b'\n', text).count())
}

/// Number of UTF-8 characters; in other text, the bytes that could start one.
pub(super) fn characters(text: &[u8]) -> u32 {
    narrow(text.iter().filter(|byte| *byte & 0xc0 != 0x80).count())
}
