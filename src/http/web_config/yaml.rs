//! YAML as a tree of nodes with positions, as far as Go's `yaml.v2` reads it: the first document of a file, scalars by the rules of
//! YAML 1.1.

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::fault::{Finding, Place};

/// The prefix of the tags of YAML itself, which are written `!!str`.
const CORE_TAG: &str = "tag:yaml.org,2002:";

/// An index into [`Document`]. An alias is the index of its anchor's node, so that aliases cost nothing however they are nested.
pub(super) type NodeId = usize;

/// The first document of a file.
#[derive(Debug, Default)]
pub(super) struct Document {
    /// Bounded by the size of the file.
    nodes: Vec<Node>,
    /// None in an empty file.
    pub(super) root: Option<NodeId>,
    /// The place of a second document, which is not read.
    pub(super) ignored: Option<Place>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    /// The text, and true if it is plain: only then it can be another type than a string.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<NodeId>),
    /// Keys and values in the order of the file, duplicates included.
    Mapping(Vec<(NodeId, NodeId)>),
}

/// A scalar by its type.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'d> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'d str),
}

/// A list or mapping that has begun.
struct Open {
    id: NodeId,
    /// The key in a mapping that waits for its value.
    key: Option<NodeId>,
}

impl Document {
    /// Parses a text.
    ///
    /// # Errors
    ///
    /// The first fault of the syntax: nothing behind it is certain.
    pub(super) fn parse(text: &str) -> Result<Self, Finding> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        check_directives(text)?;
        let mut parser = Parser::new_from_str(text);
        let mut document = Self::default();
        let mut open: Vec<Open> = Vec::new();
        let mut anchors: HashMap<usize, NodeId> = HashMap::new();
        let mut ended = false;
        while let Some(event) = parser.next_event() {
            let (event, span) = match event {
                Ok(event) => event,
                // `yaml.v2` does not read what comes after the first document.
                Err(_) if ended => break,
                Err(error) => {
                    let place = Place::new(error.marker().line(), error.marker().col() + 1);
                    return Err(Finding::at(place, format!("invalid YAML: {}", error.info())));
                }
            };
            match event {
                Event::DocumentStart(_) if ended => {
                    document.ignored = Some(place_of(&span));
                    break;
                }
                Event::DocumentEnd => ended = true,
                Event::SequenceEnd | Event::MappingEnd => drop(open.pop()),
                Event::Alias(anchor) => {
                    let id = anchors.get(&anchor).copied();
                    let id = id.ok_or_else(|| Finding::at(place_of(&span), "unknown anchor".to_owned()))?;
                    document.attach(&mut open, id);
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let plain = is_plain(style, tag.as_ref());
                    let text = text.into_owned();
                    let id = document.add(&mut open, &span, Value::Scalar { text, plain });
                    anchors.insert(anchor, id);
                }
                Event::SequenceStart(anchor, _) => {
                    let id = document.add(&mut open, &span, Value::Sequence(Vec::new()));
                    anchors.insert(anchor, id);
                    open.push(Open { id, key: None });
                }
                Event::MappingStart(anchor, _) => {
                    let id = document.add(&mut open, &span, Value::Mapping(Vec::new()));
                    anchors.insert(anchor, id);
                    open.push(Open { id, key: None });
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => {}
            }
        }
        Ok(document)
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id]
    }

    fn add(&mut self, open: &mut [Open], span: &Span, value: Value) -> NodeId {
        let id = self.nodes.len();
        let place = place_of(span);
        self.nodes.push(Node { place, value });
        self.attach(open, id);
        id
    }

    /// Puts a node into the innermost list or mapping, or makes it the root.
    fn attach(&mut self, open: &mut [Open], id: NodeId) {
        let Some(inner) = open.last_mut() else {
            self.root.get_or_insert(id);
            return;
        };
        match &mut self.nodes[inner.id].value {
            Value::Sequence(items) => items.push(id),
            Value::Mapping(entries) => match inner.key.take() {
                None => inner.key = Some(id),
                Some(key) => entries.push((key, id)),
            },
            Value::Scalar { .. } => {}
        }
    }
}

impl Node {
    /// The node as a scalar; none for a list or a mapping.
    pub(super) fn scalar(&self) -> Option<Scalar<'_>> {
        match &self.value {
            Value::Scalar { text, plain: true } => Some(resolve(text)),
            Value::Scalar { text, plain: false } => Some(Scalar::Text(text)),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// The scalar's text as written, whatever its type is; empty for null, none for a list or a mapping.
    pub(super) fn text(&self) -> Option<&str> {
        match (&self.value, self.scalar()?) {
            (_, Scalar::Null) => Some(""),
            (Value::Scalar { text, .. }, _) => Some(text),
            _ => None,
        }
    }

    /// The type for faults; never the value, which may be a secret.
    pub(super) fn found(&self) -> &'static str {
        match self.scalar() {
            Some(Scalar::Null) => "nothing",
            Some(Scalar::Bool(_)) => "a boolean",
            Some(Scalar::Integer(_) | Scalar::Float(_)) => "a number",
            Some(Scalar::Text(_)) => "a string",
            None if matches!(self.value, Value::Sequence(_)) => "a list",
            None => "a mapping",
        }
    }
}

/// Refuses the versions of YAML that `yaml.v2` refuses.
fn check_directives(text: &str) -> Result<(), Finding> {
    let directives = text.lines().enumerate().take_while(|(_, line)| line.starts_with(['%', '#']));
    for (number, line) in directives {
        if let Some(version) = line.strip_prefix("%YAML")
            && version.split_whitespace().next() != Some("1.1")
        {
            let text = "only YAML 1.1 is supported; remove the %YAML directive".to_owned();
            return Err(Finding::at(Place::new(number + 1, 1), text));
        }
    }
    Ok(())
}

fn place_of(span: &Span) -> Place {
    Place::new(span.start.line(), span.start.col() + 1)
}

/// Returns true if a scalar can be another type than a string.
fn is_plain(style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> bool {
    let plain = style == ScalarStyle::Plain;
    tag.map_or(plain, |tag| match tag.suffix.as_str() {
        "str" | "binary" if tag.handle == CORE_TAG => false,
        _ if tag.handle == CORE_TAG => true,
        _ => plain,
    })
}

/// The type of a plain scalar in YAML 1.1.
fn resolve(text: &str) -> Scalar<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => return Scalar::Bool(false),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Scalar::Text(text);
    }
    let digits = text.replace('_', "");
    if let Some(number) = integer(&digits) {
        return Scalar::Integer(number);
    }
    let is_decimal = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    match digits.parse() {
        Ok(number) if is_decimal => Scalar::Float(number),
        _ => Scalar::Text(text),
    }
}

/// An integer with the prefixes of Go: 0x, 0o, 0b, and 0 for octal.
fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let prefixed = digits.strip_prefix('0').filter(|rest| !rest.is_empty());
    let (radix, digits) = match prefixed.map(|rest| (rest.as_bytes()[0].to_ascii_lowercase(), rest)) {
        None => (10, digits),
        Some((b'x', rest)) => (16, &rest[1..]),
        Some((b'o', rest)) => (8, &rest[1..]),
        Some((b'b', rest)) => (2, &rest[1..]),
        Some((_, rest)) => (8, rest),
    };
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -number } else { number }).ok()
}

#[cfg(test)]
mod tests;
