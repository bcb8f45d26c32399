//! The declarative reader: a section's keys are named once, where they are read, and everything else follows from that:
//! defaults, unknown keys, types and ranges, what a reload takes up, and what `check` shows.

use super::fault::{Fault, Place, nearest};
use super::key::Key;
use super::raw::{Node, Table, Value, Written};
use super::secret::Secret;

/// What is known of one key after reading.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// Whether a reload takes up a change; otherwise it needs a restart.
    pub(super) live: bool,
    /// The value as it may be shown.
    pub(super) shown: String,
    /// The value whole, secrets included: equal where the settings are equal.
    pub(super) identity: Secret,
    /// Where it was set; `None` where the default holds.
    pub(super) place: Option<Place>,
    /// Whether what was written could not be used.
    pub(super) faulty: bool,
}

impl Entry {
    /// The key with its section, if it stands in one.
    pub(super) fn path(&self) -> String {
        match self.section {
            "" => self.key.to_owned(),
            section => format!("{section}.{}", self.key),
        }
    }
}

/// A key or section that nobody asked for.
struct Unknown {
    title: String,
    key: String,
    at: Place,
    /// The keys that the section has.
    known: Vec<&'static str>,
}

/// What reading brings to light, beside the settings.
#[derive(Default)]
pub(super) struct Notes {
    /// Whether parts of the text could not be read, so that a key that seems left out may have been set.
    partial: bool,
    pub(super) faults: Vec<Fault>,
    unknown: Vec<Unknown>,
    pub(super) entries: Vec<Entry>,
}

impl Notes {
    pub(super) fn fault(&mut self, at: &Place, text: String) {
        self.faults.push(Fault { place: at.clone(), text });
    }

    /// A check across sections: a fault where it does not hold, at the last of `keys` that was set.
    /// Skipped where one of them is faulty already, for then its value means nothing.
    pub(super) fn require(&mut self, keys: &[(&str, &str)], holds: bool, text: impl FnOnce() -> String) {
        let concerned: Vec<&Entry> = self.entries.iter().filter(|e| keys.contains(&(e.section, e.key))).collect();
        if let (false, Some(at)) = (holds, self.blame(&concerned, &Place::File)) {
            self.fault(&at, text());
        }
    }

    /// Where a fault between keys is shown: at the last one that was set. `None` where the value of one of them is not known.
    fn blame(&self, concerned: &[&Entry], whole: &Place) -> Option<Place> {
        let set = concerned.iter().rev().find_map(|entry| entry.place.as_ref());
        let unknown = |entry: &&Entry| entry.faulty || (self.partial && entry.place.is_none());
        (!concerned.iter().any(unknown)).then(|| set.unwrap_or(whole).clone())
    }

    fn name_unknown(&mut self) {
        for Unknown { title, key, at, known } in std::mem::take(&mut self.unknown) {
            let elsewhere = self.entries.iter().find(|entry| entry.key == key);
            let hint = match (nearest(&key, &known), elsewhere) {
                (Some(near), _) => format!("; did you mean \"{near}\"?"),
                (None, Some(entry)) => format!("; did you mean the one in [{}]?", entry.section),
                (None, None) => String::new(),
            };
            self.fault(&at, format!("unknown key \"{key}\" in {title}{hint}"));
        }
    }
}

/// Reads sections out of the table of a whole file.
pub(super) struct Reader {
    root: Table,
    notes: Notes,
    sections: Vec<&'static str>,
}

impl Reader {
    /// Over what was written, with the faults that were found in its syntax.
    pub(super) fn new(root: Table, faults: Vec<Fault>) -> Self {
        let notes = Notes {
            partial: !faults.is_empty(),
            faults,
            ..Notes::default()
        };
        Self {
            root,
            notes,
            sections: Vec::new(),
        }
    }

    /// Reads one section; one that is left out is empty.
    pub(super) fn section<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.sections.push(name);
        let (table, at) = match self.root.take(name) {
            None => (Table::default(), Place::File),
            Some(Written { at, node, .. }) => match node.value {
                Value::Table(table) => (table, at),
                _ => {
                    let text = format!("expected a section [{name}], found {}", node.found());
                    self.notes.fault(&at, text);
                    (Table::default(), at)
                }
            },
        };
        let mut section = Section::new(&mut self.notes, name, format!("[{name}]"), table, at);
        let out = read(&mut section);
        let entries = section.finish();
        self.notes.entries.extend(entries);
        out
    }

    /// Reads what stands at the root itself as a list of tables, `[[name]]`.
    pub(super) fn tables<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        self.sections.push(name);
        let table = Table::of(self.root.take(name).into_iter().collect());
        let mut section = Section::new(&mut self.notes, "", format!("[[{name}]]"), table, Place::File);
        let out = read(&mut section);
        let entries = section.finish();
        self.notes.entries.extend(entries);
        out
    }

    /// Ends the reading: what was not asked for is a fault.
    pub(super) fn finish(mut self) -> Notes {
        for Written { key, at, node } in self.root.into_rest() {
            let text = if matches!(node.value, Value::Table(_) | Value::List(_)) {
                let hint = nearest(&key, &self.sections).map(|near| format!("; did you mean [{near}]?"));
                format!("unknown section [{key}]{}", hint.unwrap_or_default())
            } else {
                let home = self.notes.entries.iter().find(|entry| entry.key == key);
                let hint = home.map(|entry| format!("; it belongs under [{}]", entry.section));
                format!("key \"{key}\" stands outside of every section{}", hint.unwrap_or_default())
            };
            self.notes.fault(&at, text);
        }
        self.notes.name_unknown();
        self.notes
    }
}

/// A table that is being read: a section of the file, or one table in a list of tables.
pub(super) struct Section<'r> {
    pub(super) notes: &'r mut Notes,
    name: &'static str,
    pub(super) title: String,
    table: Table,
    /// Where the table itself stands.
    pub(super) at: Place,
    pub(super) entries: Vec<Entry>,
}

impl<'r> Section<'r> {
    fn new(notes: &'r mut Notes, name: &'static str, title: String, table: Table, at: Place) -> Self {
        Self {
            notes,
            name,
            title,
            table,
            at,
            entries: Vec::new(),
        }
    }

    /// Reads a table that is a value, such as one of a list; `title` says in faults what it is.
    pub(super) fn inner<T>(notes: &mut Notes, title: &str, table: Table, at: Place, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
        let mut section = Section::new(notes, "", title.to_owned(), table, at);
        let out = read(&mut section);
        section.finish();
        out
    }

    /// A key whose change a reload takes up.
    pub(super) fn live(&mut self, name: &'static str) -> Key<'_, 'r> {
        self.key(name, true)
    }

    /// A key whose change needs a restart.
    pub(super) fn fixed(&mut self, name: &'static str) -> Key<'_, 'r> {
        self.key(name, false)
    }

    fn key(&mut self, name: &'static str, live: bool) -> Key<'_, 'r> {
        let node: Option<Node> = self.table.take(name).map(|written| written.node);
        let entry = Entry {
            section: self.name,
            key: name,
            live,
            shown: String::new(),
            identity: Secret::new(""),
            place: node.as_ref().map(|node| node.at.clone()),
            faulty: false,
        };
        Key::new(self, node, entry)
    }

    /// A check across keys of this table, as [`Notes::require`].
    pub(super) fn require(&mut self, keys: &[&str], holds: bool, text: impl FnOnce() -> String) {
        let concerned: Vec<&Entry> = self.entries.iter().filter(|entry| keys.contains(&entry.key)).collect();
        if let (false, Some(at)) = (holds, self.notes.blame(&concerned, &self.at)) {
            self.notes.fault(&at, text());
        }
    }

    fn finish(self) -> Vec<Entry> {
        let known: Vec<&'static str> = self.entries.iter().map(|entry| entry.key).collect();
        for Written { key, at, .. } in self.table.into_rest() {
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
