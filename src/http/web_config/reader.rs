//! Values out of a tree of YAML, as strict as Go's `yaml.UnmarshalStrict`: unknown and duplicate keys are faults, and so are other types.

use std::collections::HashSet;

use super::fault::{Finding, Place, hint};
use super::go_duration;
use super::yaml::{Document, Node, NodeId, Scalar, Value};

/// Limit on nested merge keys (`<<`): an alias inside of its own anchor would nest for ever.
const MAX_MERGES: usize = 8;

/// Reads values and collects the faults.
pub(super) struct Reader<'d> {
    document: &'d Document,
    pub(super) faults: Vec<Finding>,
}

/// A text with its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Located<'d> {
    pub(super) text: &'d str,
    pub(super) place: Place,
}

impl<'d> Reader<'d> {
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            faults: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, place: Place, text: String) {
        self.faults.push(Finding::at(place, text));
    }

    fn expected(&mut self, node: &Node, key: &str, expected: &str) {
        self.fault(node.place, format!("{key}: expected {expected}, found {}", node.found()));
    }

    /// The values of a mapping with these keys, in their order. A missing or empty mapping has none.
    pub(super) fn fields<const N: usize>(&mut self, id: Option<NodeId>, title: &str, known: [&str; N]) -> [Option<NodeId>; N] {
        let mut values = [None; N];
        if let Some(id) = id {
            self.collect(id, title, &known, &mut values, 0);
        }
        values
    }

    fn collect(&mut self, id: NodeId, title: &str, known: &[&str], values: &mut [Option<NodeId>], depth: usize) {
        let document = self.document;
        let node = document.node(id);
        if depth > MAX_MERGES {
            return self.fault(node.place, format!("{title}: merge keys are nested more than {MAX_MERGES} deep"));
        }
        let Some(entries) = self.entries(node, title) else { return };
        let mut seen = HashSet::new();
        for &(key, value) in entries {
            let place = document.node(key).place;
            let Some(name) = self.key(key, title) else { continue };
            if name == "<<" {
                match &document.node(value).value {
                    Value::Sequence(items) => items.iter().for_each(|item| self.collect(*item, title, known, values, depth + 1)),
                    _ => self.collect(value, title, known, values, depth + 1),
                }
            } else if let Some(at) = known.iter().position(|known| *known == name) {
                if !seen.insert(at) {
                    self.fault(place, format!("{title}: {name} is set twice; remove one of them"));
                }
                values[at] = Some(value);
            } else {
                let hint = hint(name, known);
                self.fault(place, format!("{title}: unknown key {name:?}{hint}"));
            }
        }
    }

    /// All entries of a mapping of strings, such as the users.
    pub(super) fn pairs(&mut self, id: Option<NodeId>, title: &str) -> Vec<(Located<'d>, Located<'d>)> {
        let document = self.document;
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let entries = id.and_then(|id| self.entries(document.node(id), title));
        for &(key, value) in entries.unwrap_or_default() {
            let place = document.node(key).place;
            let Some(name) = self.key(key, title) else { continue };
            if !seen.insert(name) {
                self.fault(place, format!("{title}: {name:?} is set twice; remove one of them"));
            }
            if let Some(value) = self.text_of(value, &format!("{title}: {name}")) {
                found.push((Located { text: name, place }, value));
            }
        }
        found
    }

    fn entries(&mut self, node: &'d Node, title: &str) -> Option<&'d [(NodeId, NodeId)]> {
        match &node.value {
            Value::Mapping(entries) => Some(entries),
            _ if node.scalar() == Some(Scalar::Null) => None,
            _ => {
                self.expected(node, title, "a mapping");
                None
            }
        }
    }

    fn key(&mut self, id: NodeId, title: &str) -> Option<&'d str> {
        let node = self.document.node(id);
        let text = node.text();
        if text.is_none() {
            self.expected(node, title, "a string as the key");
        }
        text
    }

    fn text_of(&mut self, id: NodeId, key: &str) -> Option<Located<'d>> {
        let node = self.document.node(id);
        let Some(text) = node.text() else {
            self.expected(node, key, "a string");
            return None;
        };
        let place = node.place;
        Some(Located { text, place })
    }

    /// A string that is not empty: an empty one is as good as none.
    pub(super) fn text(&mut self, id: Option<NodeId>, key: &str) -> Option<Located<'d>> {
        self.text_of(id?, key).filter(|located| !located.text.is_empty())
    }

    /// A string that may be empty; none for null.
    pub(super) fn word(&mut self, id: Option<NodeId>, key: &str) -> Option<Located<'d>> {
        let id = id.filter(|id| !self.is_null(*id))?;
        self.text_of(id, key)
    }

    /// A list of strings; none if there is no list. Items that are null are left out.
    pub(super) fn texts(&mut self, id: Option<NodeId>, key: &str) -> Option<Vec<Located<'d>>> {
        let document = self.document;
        let node = document.node(id?);
        match &node.value {
            Value::Sequence(items) => {
                let items: Vec<NodeId> = items.iter().copied().filter(|id| !self.is_null(*id)).collect();
                Some(items.into_iter().filter_map(|id| self.text_of(id, key)).collect())
            }
            _ if node.scalar() == Some(Scalar::Null) => None,
            _ => {
                self.expected(node, key, "a list of strings");
                None
            }
        }
    }

    fn is_null(&self, id: NodeId) -> bool {
        self.document.node(id).scalar() == Some(Scalar::Null)
    }

    pub(super) fn boolean(&mut self, id: Option<NodeId>, key: &str) -> Option<bool> {
        let node = self.document.node(id?);
        match node.scalar() {
            Some(Scalar::Bool(flag)) => Some(flag),
            Some(Scalar::Null) => Some(false),
            _ => {
                self.expected(node, key, "true or false, without quotes");
                None
            }
        }
    }

    pub(super) fn integer(&mut self, id: Option<NodeId>, key: &str) -> Option<i64> {
        let node = self.document.node(id?);
        match node.scalar() {
            Some(Scalar::Integer(number)) => Some(number),
            Some(Scalar::Null) => Some(0),
            Some(Scalar::Float(number)) if number.abs() < MAX_FLOAT => Some(truncated(number)),
            _ => {
                self.expected(node, key, "a whole number, without quotes");
                None
            }
        }
    }

    /// A duration in nanoseconds: text as Go writes it, or a bare number of nanoseconds.
    pub(super) fn duration(&mut self, id: Option<NodeId>, key: &str) -> Option<i64> {
        let node = self.document.node(id?);
        let nanoseconds = match node.scalar() {
            Some(Scalar::Integer(number)) => Some(number),
            Some(Scalar::Null) => Some(0),
            Some(Scalar::Float(number)) if number.abs() < MAX_FLOAT => Some(truncated(number)),
            Some(Scalar::Text(text)) => go_duration::parse(text),
            _ => None,
        };
        if nanoseconds.is_none() {
            self.expected(node, key, "a duration such as 1s, 500ms or 1h30m");
        }
        nanoseconds
    }

    pub(super) fn place(&self, id: NodeId) -> Place {
        self.document.node(id).place
    }
}

/// Larger floats are no integers of 64 bits.
const MAX_FLOAT: f64 = 9.2e18;

/// A float as Go converts it.
#[expect(clippy::cast_possible_truncation, reason = "Go truncates it as well, and it is in range")]
fn truncated(number: f64) -> i64 {
    number as i64
}
