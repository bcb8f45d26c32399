//! The environment of the programs that a bridge replaces, under each of their prefixes.

use std::sync::Arc;

use super::address::HostPort;
use super::fault::{Fault, Place};
use super::raw::{Node, Table, Value, Written};

/// The prefixes, the newest first: where two are set the newer one counts.
const PREFIXES: [&str; 3] = ["HYPERDHT_PROM_", "HYPER_DHT_PROM_", "DHT_PROM_"];

/// The section that these variables are about.
const SECTION: &str = "bridge";

/// Variables that are a key of ours as they stand, and the key whose place they take where the file has set that.
const KEYS: [(&str, &str, &str); 3] = [
    ("SHARED_SECRET", "secret", "secret_file"),
    ("KEY_PAIR_SEED", "key_seed", "key_file"),
    ("PROMETHEUS_TARGETS_LOC", "targets_file", ""),
];

/// Variables that are a part of a key, or none.
const HOST: &str = "HTTP_HOST";
const PORT: &str = "HTTP_PORT";
const LEVEL: &str = "LOG_LEVEL";

/// What is set, without empty values.
#[derive(Default)]
pub(super) struct Originals {
    /// The variable, its name without the prefix, the rank of its prefix, and its value.
    set: Vec<(Arc<str>, &'static str, usize, String)>,
}

impl Originals {
    /// Keeps a variable if it is one of these.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        let known = KEYS.iter().map(|(known, ..)| *known).chain([HOST, PORT, LEVEL]);
        for known in known {
            let rank = PREFIXES.iter().position(|prefix| name.strip_prefix(prefix) == Some(known));
            if let (Some(rank), false) = (rank, value.is_empty()) {
                self.set.push((name.into(), known, rank, value.to_owned()));
            }
        }
    }

    fn get(&self, known: &str) -> Option<(&Arc<str>, &str)> {
        let candidates = self.set.iter().filter(|(_, name, ..)| *name == known);
        let (name, .., value) = candidates.min_by_key(|(.., rank, _)| *rank)?;
        Some((name, value))
    }

    /// The names of the variables that count, for whoever wants to know where settings come from.
    pub(super) fn names(&self) -> impl Iterator<Item = Arc<str>> {
        let known = KEYS.iter().map(|(known, ..)| *known).chain([HOST, PORT]);
        known.filter_map(|known| self.get(known).map(|(name, _)| name.clone()))
    }

    /// `LOG_LEVEL` in our words; theirs are those of the pino library.
    pub(super) fn log_level(&self) -> Option<&'static str> {
        Some(match self.get(LEVEL)?.1.to_ascii_lowercase().as_str() {
            "trace" => "trace",
            "debug" => "debug",
            "warn" => "warn",
            "error" | "fatal" => "error",
            "silent" => "off",
            _ => "info",
        })
    }

    /// Lays what is set over what the file says.
    pub(super) fn apply(&self, root: &mut Table, faults: &mut Vec<Fault>) {
        for (known, key, instead) in KEYS {
            let Some((name, value)) = self.get(known) else { continue };
            let at = Place::Variable(name.clone());
            if let Some(table) = root.table_mut(SECTION, &at) {
                table.take(instead);
                table.set(text(key, value, at));
            }
        }
        self.apply_address(root, faults);
    }

    /// Host and port are set apart; what is not set stays as the file has it.
    fn apply_address(&self, root: &mut Table, faults: &mut Vec<Fault>) {
        let (host, port) = (self.get(HOST), self.get(PORT));
        let Some(name) = port.or(host).map(|(name, _)| name.clone()) else {
            return;
        };
        let at = Place::Variable(name);
        let Some(table) = root.table_mut(SECTION, &at) else { return };
        let key = "http_listen";
        let before = table.take(key).and_then(|written| HostPort::parse(written.node.text()?).ok());
        let before = before.unwrap_or_else(|| HostPort::new("127.0.0.1", 30_000));
        let port = match port.map(|(_, text)| text.parse::<u16>()) {
            None => before.port(),
            Some(Ok(port)) => port,
            Some(Err(_)) => {
                let text = "is no port".to_owned();
                faults.push(Fault { place: at, text });
                return;
            }
        };
        let address = HostPort::new(host.map_or(before.host(), |(_, host)| host), port);
        table.set(text(key, &address.to_string(), at));
    }
}

fn text(key: &str, value: &str, at: Place) -> Written {
    Written {
        key: key.to_owned(),
        at: at.clone(),
        node: Node::new(Value::Text(value.to_owned()), at),
    }
}
