//! The declarative reader: a section names each key once, and defaults, unknown keys, types and ranges, reloading, and the output
//! of `check` follow from that.

use super::fault::{Fault, Location, nearest};
use super::key::{FaultSink, Key, ValueType};
use super::raw::{Node, RawEntry, RawTable, Value};
use super::secret::Secret;

/// One key after reading.
#[derive(Debug, Clone)]
pub(super) struct KeyEntry {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// True if a reload applies a change; otherwise it needs a restart.
    pub(super) reloadable: bool,
    /// The value for display.
    pub(super) shown: String,
    /// The value for comparison, secrets included.
    pub(super) identity: Secret,
    /// Location of the setting; `None` for the default.
    pub(super) place: Option<Location>,
    /// True if the written value is faulty.
    pub(super) faulty: bool,
}

impl KeyEntry {
    /// The key with its section, if it stands in one.
    pub(super) fn path(&self) -> String {
        match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }
}

/// An unknown key or section.
struct Unknown {
    title: String,
    key: String,
    at: Location,
    /// The keys that the section has.
    known: Vec<&'static str>,
}

/// Faults and keys that were found while reading.
#[derive(Default)]
pub(super) struct ReaderOutput {
    /// True if parts of the text could not be parsed, so that a key that seems missing may have been set.
    partial: bool,
    pub(super) faults: Vec<Fault>,
    unknown: Vec<Unknown>,
    pub(super) entries: Vec<KeyEntry>,
}

impl ReaderOutput {
    pub(super) fn fault(&mut self, at: &Location, text: String) {
        self.faults.push(Fault { place: at.clone(), text });
    }

    /// Checks a condition across sections: reports a fault at the last of `keys` that was set if it does not hold.
    /// Skipped if one of them is faulty already, since its value is unknown then.
    pub(super) fn require(&mut self, keys: &[(&str, &str)], holds: bool, text: impl FnOnce() -> String) {
        let concerned: Vec<&KeyEntry> = self.entries.iter().filter(|e| keys.contains(&(e.section, e.key))).collect();
        if let (false, Some(at)) = (holds, self.fault_location(&concerned, &Location::File)) {
            self.fault(&at, text());
        }
    }

    /// Location for a fault between keys: the last one that was set. `None` if the value of one of them is unknown.
    fn fault_location(&self, concerned: &[&KeyEntry], whole: &Location) -> Option<Location> {
        let set = concerned.iter().rev().find_map(|entry| entry.place.as_ref());
        let unknown = |entry: &&KeyEntry| entry.faulty || (self.partial && entry.place.is_none());
        (!concerned.iter().any(unknown)).then(|| set.unwrap_or(whole).clone())
    }

    fn report_unknown_keys(&mut self) {
        for Unknown { title, key, at, known } in std::mem::take(&mut self.unknown) {
            let elsewhere = self.entries.iter().find(|entry| entry.key == key);
            let hint = match (nearest(&key, &known), elsewhere) {
                (Some(near), _) => format!("; did you mean \"{near}\"?"),
                (None, Some(entry)) => format!("; did you mean the key of [{}]?", entry.section),
                (None, None) => String::new(),
            };
            self.fault(&at, format!("unknown key \"{key}\" in {title}{hint}"));
        }
    }
}

/// Reads sections out of the table of a whole file.
pub(super) struct ConfigReader {
    root: RawTable,
    notes: ReaderOutput,
    sections: Vec<&'static str>,
}

impl ConfigReader {
    /// Creates a reader of a parsed file, with its syntax faults.
    pub(super) fn new(root: RawTable, faults: Vec<Fault>) -> Self {
        let notes = ReaderOutput {
            partial: !faults.is_empty(),
            faults,
            ..ReaderOutput::default()
        };
        Self {
            root,
            notes,
            sections: Vec::new(),
        }
    }

    /// Reads one section; a missing one is empty.
    pub(super) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.sections.push(name);
        let (table, at) = match self.root.take(name) {
            None => (RawTable::default(), Location::File),
            Some(RawEntry { at, node, .. }) => match node.value {
                Value::Table(table) => (table, at),
                _ => {
                    let text = format!("expected a section [{name}], found {}", node.found());
                    self.notes.fault(&at, text);
                    (RawTable::default(), at)
                }
            },
        };
        let mut section = Section::new(&mut self.notes, name, format!("[{name}]"), table, at);
        let out = read(&mut section);
        let entries = section.finish();
        self.notes.entries.extend(entries);
        out
    }

    /// Reads a list of tables at the root, `[[name]]`.
    pub(super) fn tables<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.sections.push(name);
        let table = RawTable::of(self.root.take(name).into_iter().collect());
        let mut section = Section::new(&mut self.notes, "", format!("[[{name}]]"), table, Location::File);
        let out = read(&mut section);
        let entries = section.finish();
        self.notes.entries.extend(entries);
        out
    }

    /// Finishes reading and reports unknown keys and sections.
    pub(super) fn finish(mut self) -> ReaderOutput {
        for RawEntry { key, at, node } in self.root.into_remaining() {
            let text = if matches!(node.value, Value::Table(_) | Value::List(_)) {
                let hint = nearest(&key, &self.sections).map(|near| format!("; did you mean [{near}]?"));
                format!("unknown section [{key}]{}", hint.unwrap_or_default())
            } else {
                let home = self.notes.entries.iter().find(|entry| entry.key == key);
                let hint = home.map(|entry| format!("; it belongs under [{}]", entry.section));
                format!("key \"{key}\" is outside of any section{}", hint.unwrap_or_default())
            };
            self.notes.fault(&at, text);
        }
        self.notes.report_unknown_keys();
        self.notes
    }
}

/// A table that is being read: a section of the file, or one table in a list of tables.
pub(super) struct Section<'r> {
    pub(super) notes: &'r mut ReaderOutput,
    name: &'static str,
    pub(super) title: String,
    table: RawTable,
    /// Location of the table itself.
    pub(super) at: Location,
    pub(super) entries: Vec<KeyEntry>,
}

impl<'r> Section<'r> {
    fn new(notes: &'r mut ReaderOutput, name: &'static str, title: String, table: RawTable, at: Location) -> Self {
        Self {
            notes,
            name,
            title,
            table,
            at,
            entries: Vec::new(),
        }
    }

    /// Reads a table that is a value, such as an item of a list; `title` names it in faults.
    pub(super) fn inner<T>(
        notes: &mut ReaderOutput,
        title: &str,
        table: RawTable,
        at: Location,
        read: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section = Section::new(notes, "", title.to_owned(), table, at);
        let out = read(&mut section);
        section.finish();
        out
    }

    /// A key that a reload applies.
    pub(super) fn reloadable(&mut self, name: &'static str) -> Key<'_, 'r> {
        self.key(name, true)
    }

    /// A key that needs a restart.
    pub(super) fn restart_only(&mut self, name: &'static str) -> Key<'_, 'r> {
        self.key(name, false)
    }

    /// A value that only environment variables set, never the file, which has `instead` for it. It is none of the keys.
    pub(super) fn variable<K: ValueType>(&mut self, name: &'static str, instead: &str, kind: K) -> Option<K::Value> {
        let node = self.table.take(name)?.node;
        let mut faults = FaultSink::new(self.notes, format!("\"{name}\" in {}", self.title));
        match node.at {
            Location::Variable(_) => kind.read(node, &mut faults),
            _ => faults.at(
                &node.at,
                format!("it is read from the environment only; the file has \"{instead}\""),
            ),
        }
    }

    fn key(&mut self, name: &'static str, reloadable: bool) -> Key<'_, 'r> {
        let node: Option<Node> = self.table.take(name).map(|written| written.node);
        let entry = KeyEntry {
            section: self.name,
            key: name,
            reloadable,
            shown: String::new(),
            identity: Secret::new(""),
            place: node.as_ref().map(|node| node.at.clone()),
            faulty: false,
        };
        Key::new(self, node, entry)
    }

    /// A check across keys of this table, as [`ReaderOutput::require`].
    pub(super) fn require(&mut self, keys: &[&str], holds: bool, text: impl FnOnce() -> String) {
        let concerned: Vec<&KeyEntry> = self.entries.iter().filter(|entry| keys.contains(&entry.key)).collect();
        if let (false, Some(at)) = (holds, self.notes.fault_location(&concerned, &self.at)) {
            self.notes.fault(&at, text());
        }
    }

    fn finish(self) -> Vec<KeyEntry> {
        let known: Vec<&'static str> = self.entries.iter().map(|entry| entry.key).collect();
        for RawEntry { key, at, .. } in self.table.into_remaining() {
            self.notes.unknown.push(Unknown {
                title: self.title.clone(),
                key,
                at,
                known: known.clone(),
            });
        }
        self.entries
    }
}
