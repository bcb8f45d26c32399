//! Reading of one key: its type, its default, its faults.

use super::fault::Location;
use super::raw::Node;
use super::reader::{KeyEntry, ReaderOutput, Section};
use super::secret::Secret;

/// Type of a key's value: reads and displays it.
pub(super) trait ValueType {
    /// The value as used by the program.
    type Value;

    /// Converts the written value, or reports the reason to `faults`.
    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Self::Value>;

    /// The value for display.
    fn show(&self, value: &Self::Value) -> String;

    /// The value for comparison; differs from [`ValueType::show`] where that masks something.
    fn identity(&self, value: &Self::Value) -> String {
        self.show(value)
    }
}

/// Collector of the faults of one key.
pub(super) struct FaultSink<'n> {
    pub(super) notes: &'n mut ReaderOutput,
    /// The key and its table.
    what: String,
}

impl<'n> FaultSink<'n> {
    /// The faults of what this names.
    pub(super) fn new(notes: &'n mut ReaderOutput, what: String) -> Self {
        Self { notes, what }
    }

    /// A fault at a place; always `None`, so that it can end a reading.
    pub(super) fn at<T>(&mut self, place: &Location, text: impl AsRef<str>) -> Option<T> {
        let text = format!("{}: {}", self.what, text.as_ref());
        self.notes.fault(place, text);
        None
    }

    /// The fault of a value of the wrong type.
    pub(super) fn expected<T>(&mut self, node: &Node, expected: &str) -> Option<T> {
        self.at(&node.at, format!("expected {expected}, found {}", node.found()))
    }
}

/// A named key before its type is given.
pub(super) struct Key<'s, 'r> {
    section: &'s mut Section<'r>,
    node: Option<Node>,
    entry: KeyEntry,
}

impl<'s, 'r> Key<'s, 'r> {
    pub(super) fn new(section: &'s mut Section<'r>, node: Option<Node>, entry: KeyEntry) -> Self {
        Self { section, node, entry }
    }

    /// The key's value, or `default` where it is left out or faulty.
    pub(super) fn or<K: ValueType>(mut self, default: K::Value, kind: K) -> K::Value {
        let value = self.read(&kind).unwrap_or(default);
        let (shown, identity) = (kind.show(&value), kind.identity(&value));
        self.note(shown, &identity);
        value
    }

    /// The key's value, `None` where it is left out or faulty.
    pub(super) fn optional<K: ValueType>(mut self, kind: K) -> Option<K::Value> {
        let value = self.read(&kind);
        let shown = value.as_ref().map_or("(left out)".to_owned(), |value| kind.show(value));
        let identity = value.as_ref().map(|value| kind.identity(value)).unwrap_or_default();
        self.note(shown, &identity);
        value
    }

    /// The key's value; a fault of the table where it is left out.
    pub(super) fn required<K: ValueType>(self, kind: K) -> Option<K::Value> {
        if self.node.is_none() {
            let text = format!("{} needs \"{}\"", self.section.title, self.entry.key);
            let at = self.section.at.clone();
            self.section.notes.fault(&at, text);
        }
        self.optional(kind)
    }

    fn read<K: ValueType>(&mut self, kind: &K) -> Option<K::Value> {
        let node = self.node.take()?;
        let what = format!("\"{}\" in {}", self.entry.key, self.section.title);
        let notes = &mut *self.section.notes;
        let before = notes.faults.len();
        let value = kind.read(node, &mut FaultSink::new(notes, what));
        self.entry.faulty = self.section.notes.faults.len() > before;
        value
    }

    fn note(self, shown: String, identity: &str) {
        let identity = Secret::new(identity);
        self.section.entries.push(KeyEntry {
            shown,
            identity,
            ..self.entry
        });
    }
}
