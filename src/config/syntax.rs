//! Text to raw tables, with every syntax fault of the text.
//!
//! After a fault the parser reports consequential faults. So only the first one is used: its statement is replaced by spaces, which
//! keep every later position, and the rest is parsed again.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::fault::{Fault, Location};
use super::raw::{Node, RawEntry, RawTable, Value};

/// Maximum of broken statements that are reported. A file with more is not TOML, and each costs one more parse.
const MAX_SYNTAX_FAULTS: usize = 50;

/// Message of the parser for a duplicate key or table, the only fault after which its result is still usable.
const DUPLICATE: &str = "duplicate key";

/// Parses a file: the readable statements, and the faults of the rest.
pub(super) fn parse(text: &str) -> (RawTable, Vec<Fault>) {
    let mut rest = text.to_owned();
    let mut faults = Vec::new();
    for _ in 0..MAX_SYNTAX_FAULTS {
        let (table, errors) = DeTable::parse_recoverable(&rest);
        let lines = Lines::new(text);
        let errors: Vec<(Range<usize>, &str)> = errors.iter().map(|e| (e.span().unwrap_or(0..0), e.message())).collect();
        let broken = errors.iter().filter(|(_, message)| *message != DUPLICATE);
        let Some((span, message)) = broken.min_by_key(|(span, _)| span.start) else {
            let twice = errors.iter().map(|(span, _)| duplicate(text, span, &lines));
            faults.extend(twice);
            return (convert(table.get_ref(), &|at| lines.place(at)), faults);
        };
        let (at, message, region) = statement(&rest, table.get_ref(), span.start, message, &errors);
        faults.push(Fault {
            place: lines.place(at),
            text: format!("syntax: {message}"),
        });
        if rest[region.clone()].bytes().all(|b| b == b' ' || b == b'\n') {
            break;
        }
        blank(&mut rest, region);
    }
    faults.push(Fault {
        place: Location::File,
        text: "there may be further syntax faults".to_owned(),
    });
    (RawTable::default(), faults)
}

/// Parses the value of an environment variable as TOML; `None` if it is not.
pub(super) fn parse_value(text: &str, at: &Location) -> Option<Node> {
    let parsed = DeValue::parse(text).ok()?;
    Some(node(parsed.get_ref(), 0, &|_| at.clone()))
}

fn duplicate(text: &str, span: &Range<usize>, lines: &Lines<'_>) -> Fault {
    let key = text.get(span.clone()).unwrap_or_default();
    let header = lines.text_at(span.start).trim_start().starts_with('[');
    let text = if header {
        format!("duplicate section [{key}]; merge the two")
    } else {
        format!("duplicate key \"{key}\" in its section")
    };
    Fault {
        place: lines.place(span.start),
        text,
    }
}

/// The statement with the fault at `at`: its position, its message, and the bytes to skip.
fn statement(text: &str, table: &DeTable<'_>, at: usize, message: &str, errors: &[(Range<usize>, &str)]) -> (usize, String, Range<usize>) {
    let lines = Lines::new(text);
    if let Some((key, value)) = multi_line_value(table, at, &lines) {
        // What is nested is reported first, so the last one is the value itself.
        let unclosed = errors
            .iter()
            .rfind(|(span, what)| what.starts_with("unclosed") && span.start >= value.end);
        return match unclosed {
            Some((_, what)) => (value.start, (*what).to_owned(), key..next_statement(text, value.start)),
            None if at >= value.end => (value.start, message.to_owned(), key..next_statement(text, value.start)),
            None => (at, message.to_owned(), lines.of(key).start..lines.of(value.end).end),
        };
    }
    let line = lines.of(at);
    let header = text[line.clone()].trim_start().starts_with('[');
    let end = if header { next_header(text, line.end) } else { line.end };
    (at, message.to_owned(), line.start..end)
}

/// The key's start and the value's span of a value that began on an earlier line than `at` and reaches it.
fn multi_line_value(table: &DeTable<'_>, at: usize, lines: &Lines<'_>) -> Option<(usize, Range<usize>)> {
    table.iter().find_map(|(key, value)| {
        let (key, span) = (key.span().start, value.span());
        // A value stands behind its key; the span of a section is its header, which holds the key.
        if span.start > key {
            let reaches = span.start <= at && at <= span.end && lines.of(key).end < at;
            return reaches.then_some((key, span));
        }
        match value.get_ref() {
            DeValue::Table(inner) => multi_line_value(inner, at, lines),
            DeValue::Array(items) => items
                .iter()
                .filter_map(|item| item.get_ref().as_table())
                .find_map(|item| multi_line_value(item, at, lines)),
            _ => None,
        }
    })
}

/// Start of the next line after `from` that looks like a header or, not indented, like `key = value`: an indented line continues
/// the unclosed list or table.
fn next_statement(text: &str, from: usize) -> usize {
    next_line(text, from, |line| {
        let key = line.split_once('=').map(|(key, _)| key.trim_end());
        let header = line.trim_start().starts_with('[') && line.contains(']') && !line.contains(['"', '{', ',']);
        header || key.is_some_and(is_bare_key)
    })
}

fn next_header(text: &str, from: usize) -> usize {
    next_line(text, from, |line| line.trim_start().starts_with('['))
}

fn next_line(text: &str, from: usize, wanted: impl Fn(&str) -> bool) -> usize {
    let mut at = from;
    while let Some(newline) = text[at..].find('\n') {
        at += newline + 1;
        let line = text[at..].lines().next().unwrap_or_default();
        if wanted(line) {
            return at;
        }
    }
    text.len()
}

fn is_bare_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
}

/// Replaces all but line ends by spaces, byte by byte, so that every position behind it stays.
fn blank(text: &mut String, region: Range<usize>) {
    let blanked: String = text[region.clone()].bytes().map(|b| if b == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(region, &blanked);
}

fn convert(table: &DeTable<'_>, place: &impl Fn(usize) -> Location) -> RawTable {
    let entries = table.iter().map(|(key, entry)| RawEntry {
        key: key.get_ref().to_string(),
        at: place(key.span().start),
        node: node(entry.get_ref(), entry.span().start, place),
    });
    RawTable::of(entries.collect())
}

fn node(from: &DeValue<'_>, at: usize, place: &impl Fn(usize) -> Location) -> Node {
    let value = match from {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(_) => Value::Date,
        DeValue::Table(inner) => Value::Table(convert(inner, place)),
        DeValue::Array(items) => Value::List(items.iter().map(|item| node(item.get_ref(), item.span().start, place)).collect()),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Integer(number) => integer(number.as_str(), number.radix()),
    };
    Node::new(value, place(at))
}

fn integer(digits: &str, radix: u32) -> Value {
    match i64::from_str_radix(digits, radix) {
        Ok(number) => Value::Integer { number, octal: radix == 8 },
        Err(_) => Value::Float(digits.parse().unwrap_or(f64::INFINITY)),
    }
}

/// Start positions of the lines of a text.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, b)| *b == b'\n');
        let starts = std::iter::once(0).chain(newlines.map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The bytes of the line that `at` stands on, without its end.
    fn of(&self, at: usize) -> Range<usize> {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let end = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        self.starts[line - 1]..end
    }

    fn text_at(&self, at: usize) -> &'t str {
        &self.text[self.of(at)]
    }

    fn place(&self, at: usize) -> Location {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let before = &self.text.as_bytes()[self.starts[line - 1]..at.clamp(self.starts[line - 1], self.text.len())];
        Location::Line(line, String::from_utf8_lossy(before).chars().count() + 1)
    }
}
