//! Backslashes that start no escape sequence, as in `path="C:\Users"`.
//!
//! Prometheus takes such a backslash literally, other parsers refuse the line. They are doubled before a text is parsed, because `\\` is
//! a backslash in every format: equal strings still have equal bytes, and the output is valid for every parser.

use crate::byte_scan::{is_whitespace, name_end, skip_whitespace};
use crate::syntax::Syntax;

/// A byte order mark, which may stand before the first line.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text with each lone backslash doubled; `None` if there is none, as in nearly all texts.
pub(crate) fn doubled(body: &[u8], syntax: Syntax) -> Option<Vec<u8>> {
    let count = LoneBackslashes::new(body, syntax).count();
    if count == 0 {
        return None;
    }
    let mut text = Vec::with_capacity(body.len() + count);
    let mut copied = 0;
    for at in LoneBackslashes::new(body, syntax) {
        text.extend_from_slice(&body[copied..=at]);
        text.push(b'\\');
        copied = at + 1;
    }
    text.extend_from_slice(&body[copied..]);
    Some(text)
}

/// Converts a column of a line with doubled backslashes to the column in the original `line`; both in characters, from 1.
pub(crate) fn original_column(line: &[u8], syntax: Syntax, column: u32) -> u32 {
    let (mut counted, mut characters, mut before) = (0, 1, 0);
    for at in LoneBackslashes::new(line, syntax) {
        characters += super::report::characters(&line[counted..at]);
        counted = at;
        if characters + before >= column {
            break;
        }
        before += 1;
    }
    column - before
}

/// The escape sequences in a part of a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// `\\`, `\"` and `\n`; a backslash at the end of the line is not doubled.
    Quoted,
    /// `\\` and `\n`: the help of the text format.
    Help,
    /// `\\`, `\"` and `\n`: the help of OpenMetrics.
    OpenHelp,
    /// A comment, without escape sequences.
    Nothing,
}

/// Offsets of the lone backslashes of a text, in order. A backslash at the end of a line is not one, because an unclosed string is a
/// fault; only in a help text it is.
struct LoneBackslashes<'a> {
    body: &'a [u8],
    syntax: Syntax,
    at: usize,
    /// The end of the last line that was examined, without its line break.
    line_end: usize,
    /// Offset at which the second of its rules begins; the first is [`Rule::Quoted`].
    turn: usize,
    second: Rule,
}

impl<'a> LoneBackslashes<'a> {
    const fn new(body: &'a [u8], syntax: Syntax) -> Self {
        Self {
            body,
            syntax,
            at: 0,
            line_end: 0,
            turn: 0,
            second: Rule::Quoted,
        }
    }

    /// Determines the rules of the line with the backslash at `at`.
    fn enter_line(&mut self, at: usize) {
        let before = &self.body[self.line_end..at];
        let mut start = memchr::memrchr(b'\n', before).map_or(self.line_end, |newline| self.line_end + newline + 1);
        if start == 0 && self.body.starts_with(MARK) {
            start = MARK.len();
        }
        let newline = memchr::memchr(b'\n', &self.body[at..]).map_or(self.body.len(), |len| at + len);
        self.line_end = newline - usize::from(self.body[newline - 1] == b'\r');
        (self.turn, self.second) = rules(&self.body[..self.line_end], start, self.syntax);
    }
}

impl Iterator for LoneBackslashes<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let at = self.at + memchr::memchr(b'\\', self.body.get(self.at..)?)?;
            if at >= self.line_end {
                self.enter_line(at);
            }
            let rule = if at < self.turn { Rule::Quoted } else { self.second };
            let next = self.body[..self.line_end].get(at + 1);
            match (rule, next) {
                (Rule::Nothing, _) => self.at = self.line_end,
                (_, Some(b'\\' | b'n')) | (Rule::Quoted | Rule::OpenHelp, Some(b'"')) => self.at = at + 2,
                (Rule::Quoted, None) => self.at = at + 1,
                _ => {
                    self.at = at + 1;
                    return Some(at);
                }
            }
        }
    }
}

/// Offset on the line `start..line.len()` at which the second rule begins, and that rule.
fn rules(line: &[u8], start: usize, syntax: Syntax) -> (usize, Rule) {
    let hash = skip_whitespace(line, start);
    if line.get(hash) != Some(&b'#') {
        return (start, Rule::Quoted);
    }
    let word = skip_whitespace(line, hash + 1);
    let word_end = line[word..]
        .iter()
        .position(|byte| is_whitespace(*byte))
        .map_or(line.len(), |len| word + len);
    match (&line[word..word_end], syntax) {
        (b"HELP", Syntax::Text) => (behind_name(line, skip_whitespace(line, word_end)), Rule::Help),
        (b"HELP", Syntax::OpenMetrics) => (behind_name(line, skip_whitespace(line, word_end)), Rule::OpenHelp),
        (b"UNIT", Syntax::OpenMetrics) | (b"TYPE", _) => (start, Rule::Quoted),
        _ => (start, Rule::Nothing),
    }
}

/// End of the metric name at `at`, its quotes included.
fn behind_name(line: &[u8], at: usize) -> usize {
    if line.get(at) != Some(&b'"') {
        return name_end(line, at, true);
    }
    let mut end = at + 1;
    loop {
        match line.get(end) {
            None => return line.len(),
            Some(b'"') => return end + 1,
            Some(b'\\') => end += 2,
            Some(_) => end += 1,
        }
    }
}

#[cfg(test)]
mod tests;
