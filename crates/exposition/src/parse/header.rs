//! Lines that start with `#`: HELP, TYPE, UNIT, the end of an OpenMetrics text, comments.

use std::ops::Range;

use crate::byte_scan::{closing_quote, is_whitespace, name_end, skip_whitespace};
use crate::family::{MetricType, Suffix};
use crate::reason::Reason;
use crate::syntax::Syntax;

use super::escapes::MARK;
use super::{TextParser, span};

/// Note about the format of OpenMetrics header lines.
const ONE_SPACE: &str = "OpenMetrics requires exactly one space between the parts of a line, and none around them";

impl TextParser<'_, '_> {
    /// Reads the line `at..end`, which starts with `#`.
    pub(super) fn comment(&mut self, at: usize, end: usize) {
        let body = &self.body[..end];
        let word_at = skip_whitespace(body, at + 1);
        let word_end = body[word_at..]
            .iter()
            .position(|byte| is_whitespace(*byte))
            .map_or(end, |len| word_at + len);
        match (&body[word_at..word_end], self.syntax) {
            (b"EOF", Syntax::OpenMetrics) => return self.end_of_text(at, end),
            (b"HELP" | b"TYPE", _) | (b"UNIT", Syntax::OpenMetrics) => {}
            (_, Syntax::OpenMetrics) => return self.faults.note(at, Reason::Formatting("OpenMetrics has no comments")),
            (_, Syntax::Text) => return,
        }
        match self.syntax {
            Syntax::Text if word_at == at + 1 => self.faults.note(at, Reason::HashWithoutSpace),
            Syntax::OpenMetrics if !body[at..].starts_with(b"# ") || word_at != at + 2 || at > 0 && body[at - 1] != b'\n' => {
                self.faults.note(
                    at,
                    Reason::Formatting("OpenMetrics requires exactly one space between the parts of a line"),
                );
            }
            _ => {}
        }
        self.text_after_eof(at);
        if let Err((at, reason)) = self.header(&body[word_at..word_end], word_end, end) {
            self.faults.fault(at, reason);
        }
    }

    /// Examines the comments of a text without samples for signs that samples were intended: words after a `#`, as in a text that lost its
    /// line breaks, and headers inside other lines. Reports the first sign.
    #[cold]
    pub(super) fn check_text_without_samples(&mut self) {
        let body = self.body;
        let mut start = 0;
        while start < body.len() {
            let (end, newline) = self.line_end(start);
            let line = &body[..end];
            let hash = skip_whitespace(line, if start == 0 && body.starts_with(MARK) { MARK.len() } else { start });
            start = newline + 1;
            if line.get(hash) != Some(&b'#') {
                continue;
            }
            let word = skip_whitespace(line, hash + 1);
            let word_end = line[word..]
                .iter()
                .position(|byte| is_whitespace(*byte))
                .map_or(end, |len| word + len);
            match &line[word..word_end] {
                b"" => {}
                b"HELP" | b"TYPE" | b"UNIT" | b"EOF" => {
                    let headers = [&b"# TYPE "[..], b"# HELP "];
                    let inside = headers
                        .iter()
                        .filter_map(|header| memchr::memmem::find(&line[word..], header))
                        .min();
                    if let Some(len) = inside {
                        return self.faults.fault(word + len, Reason::Joined);
                    }
                }
                _ => return self.faults.fault(word, Reason::NoSample),
            }
        }
    }

    fn end_of_text(&mut self, at: usize, end: usize) {
        if &self.body[at..end] != b"# EOF" {
            self.faults
                .note(at, Reason::Formatting("the last line must be # EOF and nothing else"));
        }
        if self.eof.is_some() {
            self.text_after_eof(at);
        }
        self.eof.get_or_insert(at);
    }

    fn header(&mut self, word: &[u8], word_end: usize, end: usize) -> Result<(), (usize, Reason)> {
        let body = &self.body[..end];
        let at = skip_whitespace(body, word_end);
        if at == end {
            // Without the space it is a comment for every parser of the text format.
            if at > word_end || self.syntax == Syntax::OpenMetrics {
                self.faults.note(end, Reason::NoHeaderName);
            }
            return Ok(());
        }
        let (name, name_end) = self.header_name(at, end)?;
        let text = skip_whitespace(body, name_end);
        if self.syntax == Syntax::OpenMetrics {
            let is_empty_unit = word == b"UNIT" && end == name_end + 1;
            let extra = word != b"HELP" && !is_empty_unit && (text > name_end + 1 || is_whitespace(body[end - 1]));
            if at != word_end + 1 || body.get(name_end) != Some(&b' ') || extra {
                self.faults.note(at, Reason::Formatting(ONE_SPACE));
            }
        }
        match word {
            b"HELP" => self.help(name, text, end),
            b"TYPE" => self.kind(name, name_end, text, end),
            _ => self.unit(name, text, end),
        }
    }

    /// The metric name at `at`, without quotes, and where it ends with them.
    fn header_name(&self, at: usize, end: usize) -> Result<(Range<usize>, usize), (usize, Reason)> {
        let body = &self.body[..end];
        let (name, after) = if body[at] == b'"' {
            let quote = closing_quote(body, at + 1)?;
            if std::str::from_utf8(&body[at + 1..quote]).is_err() {
                return Err((at, Reason::Encoding));
            }
            if let Some(len) = memchr::memchr(0, &body[at + 1..quote]) {
                return Err((at + 1 + len, Reason::Nul));
            }
            (at + 1..quote, quote + 1)
        } else {
            let after = self.scanner.header_name_end(at).unwrap_or_else(|| name_end(body, at, true));
            (at..after, after)
        };
        if name.is_empty() || body.get(after).is_some_and(|byte| !is_whitespace(*byte)) {
            return Err((after.min(end), Reason::HeaderName));
        }
        Ok((name, after))
    }

    /// The family of a name, unless another family claims the name.
    fn header_family(&mut self, what: &'static str, name: Range<usize>) -> Result<usize, (usize, Reason)> {
        let known = self.header_owner.filter(|_| self.scanner.is_header(name.clone()));
        let hash = self.scanner.enter_header(name.clone());
        let owner = known.filter(|known| known.suffix == Suffix::Bare).unwrap_or_else(|| {
            if what == "TYPE" {
                let is_last = self.body[self.scanner.name()] == self.body[name.clone()];
                self.families.typed_owner(self.body, name.clone(), hash, self.syntax, is_last)
            } else {
                self.families.owner(self.body, name.clone(), hash, self.syntax)
            }
        });
        self.header_owner = Some(owner);
        if owner.suffix != Suffix::Bare {
            let family = self.families.builders()[owner.family].name.clone();
            return Err((name.start, Reason::Claimed(what, owner.suffix, span(family))));
        }
        if self.syntax == Syntax::OpenMetrics {
            self.enter(owner.family, name.start);
            if self.families.builders()[owner.family].samples > 0 {
                self.faults.note(name.start, Reason::LateHeader(what));
            }
        }
        Ok(owner.family)
    }

    fn help(&mut self, name: Range<usize>, text: usize, end: usize) -> Result<(), (usize, Reason)> {
        let body = &self.body[..end];
        if let (false, Err(error)) = (self.utf8, std::str::from_utf8(&body[text..])) {
            return Err((text + error.valid_up_to(), Reason::Encoding));
        }
        check_escapes(body, text, self.syntax)?;
        let family = self.header_family("HELP", name.clone())?;
        let builder = self.families.builder(family);
        if text < end {
            if builder.help.is_some() {
                return Err((name.start, Reason::Second("HELP")));
            }
            builder.help = Some(span(text..end));
        }
        Ok(())
    }

    fn kind(&mut self, name: Range<usize>, name_end: usize, text: usize, end: usize) -> Result<(), (usize, Reason)> {
        let body = &self.body[..end];
        let word_len = body[text..]
            .iter()
            .rposition(|byte| !is_whitespace(*byte))
            .map_or(0, |last| last + 1);
        let word = text..text + word_len;
        if word.is_empty() {
            return Err((name_end, Reason::NoType));
        }
        if self.syntax == Syntax::Text && (text > name_end + 1 || word.end < end) {
            self.faults.note(name_end, Reason::TypeWhitespace);
        }
        let Some(kind) = MetricType::from_word(&body[word.clone()], self.syntax) else {
            return Err((word.start, Reason::UnknownType(span(word))));
        };
        let family = self.header_family("TYPE", name.clone())?;
        let builder = self.families.builder(family);
        if builder.typed {
            return Err((name.start, Reason::Second("TYPE")));
        }
        if builder.samples > 0 {
            return Err((name.start, Reason::LateType));
        }
        if builder.unit_len > 0 && matches!(kind, MetricType::Info | MetricType::StateSet) {
            return Err((word.start, Reason::NoUnit));
        }
        if let Some((suffix, claimant)) = self.families.claim_beside(self.body, &self.body[name.clone()], self.syntax) {
            self.faults.note(name.start, Reason::Claimed("TYPE", suffix, claimant));
        }
        let claims = self
            .families
            .set_kind(self.body, family, kind, self.syntax)
            .map_err(|reason| (name.start, reason))?;
        for (help, reason) in claims.lost {
            self.faults.fault(help.start as usize, reason);
        }
        for reason in claims.beside {
            self.faults.note(name.start, reason);
        }
        Ok(())
    }

    fn unit(&mut self, name: Range<usize>, text: usize, end: usize) -> Result<(), (usize, Reason)> {
        let body = &self.body[..end];
        let unit = &body[text..];
        let base = body[name.clone()].strip_suffix(unit);
        if !unit.is_empty() && !base.is_some_and(|base| base.ends_with(b"_")) {
            return Err((text, Reason::Unit));
        }
        let length = u16::try_from(unit.len()).map_err(|_| (text, Reason::LongUnit))?;
        let family = self.header_family("UNIT", name.clone())?;
        let builder = self.families.builder(family);
        if unit.is_empty() {
            return Ok(());
        }
        if builder.unit_len > 0 {
            return Err((name.start, Reason::Second("UNIT")));
        }
        if matches!(builder.kind, MetricType::Info | MetricType::StateSet) {
            return Err((text, Reason::NoUnit));
        }
        builder.unit_len = length;
        Ok(())
    }
}

/// Checks the escapes of a HELP line: `\\` and `\n`; in OpenMetrics `\"` as well.
fn check_escapes(body: &[u8], mut at: usize, syntax: Syntax) -> Result<(), (usize, Reason)> {
    while let Some(len) = memchr::memchr(b'\\', &body[at..]) {
        at += len;
        match (body.get(at + 1), syntax) {
            (Some(b'\\' | b'n'), _) | (Some(b'"'), Syntax::OpenMetrics) => at += 2,
            (byte, _) => return Err((at, Reason::Escape(byte.copied().unwrap_or(b'\n')))),
        }
    }
    Ok(())
}
