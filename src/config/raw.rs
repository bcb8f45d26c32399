//! Settings as written: values with their locations, before they are interpreted.
//!
//! Nothing here implements `Debug`: a value may be a secret.

use super::fault::Location;

/// A value of TOML 1.0, less what no setting is made of.
pub(super) enum Value {
    Text(String),
    /// `octal` where it was written as `0o...`, which matters for file modes.
    Integer {
        number: i64,
        octal: bool,
    },
    /// Also an integer of more than 64 bits, which no setting takes.
    Float(f64),
    Bool(bool),
    /// No setting is a date; it is kept so that the fault can say what was found.
    Date,
    List(Vec<Node>),
    Table(RawTable),
}

/// A value and its location.
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) at: Location,
    /// The value of an environment variable as given: if text is expected, `42` is text.
    pub(super) verbatim: Option<String>,
}

/// A key, its location and its value.
pub(super) struct RawEntry {
    pub(super) key: String,
    pub(super) at: Location,
    pub(super) node: Node,
}

/// Keys and values in no particular order, without duplicates.
#[derive(Default)]
pub(super) struct RawTable {
    entries: Vec<RawEntry>,
}

impl RawTable {
    /// Builds a table of entries with distinct keys.
    pub(super) fn of(entries: Vec<RawEntry>) -> Self {
        Self { entries }
    }

    /// Sets a key, replacing what it had.
    pub(super) fn set(&mut self, written: RawEntry) {
        self.entries.retain(|entry| entry.key != written.key);
        self.entries.push(written);
    }

    /// Takes a key out.
    pub(super) fn take(&mut self, key: &str) -> Option<RawEntry> {
        let at = self.entries.iter().position(|entry| entry.key == key)?;
        Some(self.entries.swap_remove(at))
    }

    /// The entry of a key.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut RawEntry> {
        self.entries.iter_mut().find(|entry| entry.key == key)
    }

    /// The keys that were not taken.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// The entries that were not taken.
    pub(super) fn into_remaining(self) -> Vec<RawEntry> {
        self.entries
    }

    /// The table under `key`, created if missing; `None` if the value is not a table.
    pub(super) fn table_mut(&mut self, key: &str, at: &Location) -> Option<&mut Self> {
        if !self.entries.iter().any(|entry| entry.key == key) {
            let node = Node::new(Value::Table(Self::default()), at.clone());
            self.set(RawEntry {
                key: key.to_owned(),
                at: at.clone(),
                node,
            });
        }
        match &mut self.entries.iter_mut().find(|entry| entry.key == key)?.node.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

impl Node {
    /// A value from the file.
    pub(super) fn new(value: Value, at: Location) -> Self {
        Self { value, at, verbatim: None }
    }

    /// The value as text: a string, or any scalar of an environment variable.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::List(_) | Value::Table(_) => None,
            _ => self.verbatim.as_deref(),
        }
    }

    /// Description of the value for faults: its type, or a scalar cut to a readable length.
    pub(super) fn found(&self) -> String {
        match &self.value {
            Value::Text(text) => quoted(text),
            Value::Integer { number, .. } => number.to_string(),
            Value::Float(number) => format!("{number:?}"),
            Value::Bool(flag) => flag.to_string(),
            Value::Date => "a date".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// The longest part of a wrong value that a fault repeats, in characters: enough to recognise it by.
const MAX_SHOWN_CHARS: usize = 80;

/// A text in quotes, controls escaped, cut to a readable length.
pub(super) fn quoted(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN_CHARS {
        return format!("{text:?}");
    }
    let head: String = text.chars().take(MAX_SHOWN_CHARS).collect();
    format!("{head:?}...")
}
