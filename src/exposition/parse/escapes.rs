//! Backslashes that start no escape sequence, as in `path="C:\Users"`.
//!
//! Prometheus takes such a backslash literally, other parsers refuse the line. They are doubled before a text is parsed, because `\\` is
//! a backslash in every format: equal strings still have equal bytes, and the output is valid for every parser.

use crate::model::Syntax;

use super::bytes::{is_whitespace, name_end, skip_whitespace};

/// A byte order mark, which may stand before the first line.
pub(super) const MARK: &[u8] = b"\xef\xbb\xbf";

/// The text with each lone backslash doubled; `None` if there is none, as in nearly all texts.
pub(in crate::exposition) fn doubled(body: &[u8], syntax: Syntax) -> Option<Vec<u8>> {
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
pub(in crate::exposition) fn original_column(line: &[u8], syntax: Syntax, column: u32) -> u32 {
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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Option<String> {
        doubled(text.as_bytes(), Syntax::Text).map(|text| String::from_utf8(text).unwrap())
    }

    fn open(text: &str) -> Option<String> {
        doubled(text.as_bytes(), Syntax::OpenMetrics).map(|text| String::from_utf8(text).unwrap())
    }

    /// The string that Prometheus makes of the inside of quotes: `strings.NewReplacer` of its `lvalReplacer`.
    fn unreplace(inside: &str) -> String {
        let mut out = String::new();
        let mut rest = inside;
        while let Some(c) = rest.chars().next() {
            let (with, len) = match rest.get(..2) {
                Some("\\\"") => ('"', 2),
                Some("\\\\") => ('\\', 2),
                Some("\\n") => ('\n', 2),
                _ => (c, c.len_utf8()),
            };
            out.push(with);
            rest = &rest[len..];
        }
        out
    }

    #[test]
    fn only_lone_backslashes_are_doubled() {
        assert_eq!(text("a{p=\"C:\\Users\\x\"} 1\n").unwrap(), "a{p=\"C:\\\\Users\\\\x\"} 1\n");
        assert_eq!(text("a{p=\"\\\\U\\n\\\"\"} 1\nb 1\n"), None);
        assert_eq!(text("a{p=\"\\\\\\d\"} 1\n").unwrap(), "a{p=\"\\\\\\\\d\"} 1\n");
        assert_eq!(text("{\"n\\m\",\"l\\m\"=\"\"} 1").unwrap(), "{\"n\\\\m\",\"l\\\\m\"=\"\"} 1");
        assert_eq!(text("a{p=\"\\ö\"} 1\r\n").unwrap(), "a{p=\"\\\\ö\"} 1\r\n");
    }

    #[test]
    fn a_string_that_ends_in_a_backslash_stays_open() {
        for line in ["a{p=\"C:\\\"} 1\n", "a{p=\"\\\nb 1\n", "a{p=\"\\\r\nb 1\n", "a{p=\"\\"] {
            assert_eq!(text(line), None, "{line:?}");
        }
    }

    #[test]
    fn help_has_the_escapes_of_its_format() {
        assert_eq!(text("# HELP a C:\\temp\\").unwrap(), "# HELP a C:\\\\temp\\\\");
        assert_eq!(text(" #\tHELP a \\\"x\\\"\r\n").unwrap(), " #\tHELP a \\\\\"x\\\\\"\r\n");
        assert_eq!(text("# HELP \"n\\\"m\" \\n \\\\\n"), None);
        assert_eq!(text("\u{feff}# HELP a \\d\n").unwrap(), "\u{feff}# HELP a \\\\d\n");
        assert_eq!(open("# HELP a \\\"x\\\"\n"), None);
        assert_eq!(open("# HELP a \\d\\\n# EOF\n").unwrap(), "# HELP a \\\\d\\\\\n# EOF\n");
        assert_eq!(text("# TYPE \"n\\m\" gauge\n").unwrap(), "# TYPE \"n\\\\m\" gauge\n");
    }

    #[test]
    fn comments_are_left_alone() {
        assert_eq!(text("# see C:\\temp\n# UNIT \\d\n#\\\na 1\n"), None);
        assert_eq!(text("# C:\\temp\na{p=\"\\d\"} 1\n").unwrap(), "# C:\\temp\na{p=\"\\\\d\"} 1\n");
    }

    #[test]
    fn columns_lead_back() {
        let line = b"a{p=\"\\d\xc3\xb6\\e\",q=\"x\"} y";
        let doubled = doubled(line, Syntax::Text).unwrap();
        for (byte, column) in [(b'd', 7), (b'e', 10), (b'q', 13), (b'y', 20)] {
            let at = doubled.iter().rposition(|it| *it == byte).unwrap();
            let there = 1 + super::super::report::characters(&doubled[..at]);
            assert_eq!(original_column(line, Syntax::Text, there), column, "{}", char::from(byte));
        }
        assert_eq!(original_column(b"\\\\\\\\ x", Syntax::Text, 6), 6);
    }

    proptest! {
        #[test]
        fn a_label_value_means_what_prometheus_takes_it_for(inside in "([a-nU:ö ]|\\\\[a-nU:\\\\\"ö ]){0,12}") {
            let line = format!("a{{p=\"{inside}\"}} 1\n");
            let out = text(&line).unwrap_or(line);
            let spelled = out.strip_prefix("a{p=\"").unwrap().strip_suffix("\"} 1\n").unwrap();
            prop_assert_eq!(unreplace(spelled), unreplace(&inside));
            prop_assert_eq!(text(&out), None, "no lone backslash is left");
        }
    }
}
