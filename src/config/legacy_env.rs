//! Environment variables of the HyperDHT programs that a bridge replaces, under each of their prefixes.

use std::sync::Arc;

use super::address::HostPort;
use super::fault::{Fault, Location};
use super::raw::{Node, RawEntry, RawTable, Value};

/// Prefixes, newest first; the newest one that is set wins.
const PREFIXES: [&str; 3] = ["HYPERDHT_PROM_", "HYPER_DHT_PROM_", "DHT_PROM_"];

/// The section that these variables set.
const SECTION: &str = "bridge";

/// Variables with the value of a single key, that key, and the key of the file that they replace.
const KEYS: [(&str, &str, &str); 3] = [
    ("SHARED_SECRET", "secret", "secret_file"),
    ("KEY_PAIR_SEED", "key_seed", "key_file"),
    ("PROMETHEUS_TARGETS_LOC", "targets_file", ""),
];

/// The key that any of these variables enables, even against the file: those programs have no other transport.
const TRANSPORT: &str = "hyperdht";

/// Variables that set a part of a key, or no key.
const HOST: &str = "HTTP_HOST";
const PORT: &str = "HTTP_PORT";
const LEVEL: &str = "LOG_LEVEL";
const DHT_PORT: &str = "DHT_PORT";

/// The names of all variables, without their prefixes.
fn known() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|(known, ..)| *known).chain([HOST, PORT, DHT_PORT, LEVEL])
}

/// The variables that are set, without empty ones.
#[derive(Default)]
pub(super) struct LegacyEnvironment {
    /// Unknown variables with one of the prefixes.
    unknown: Vec<Arc<str>>,
    /// The variable, its name without the prefix, the rank of its prefix, and its value.
    set: Vec<(Arc<str>, &'static str, usize, String)>,
}

impl LegacyEnvironment {
    /// Keeps a variable if it has one of the prefixes.
    pub(super) fn take(&mut self, name: &str, value: &str) {
        let mut prefixes = PREFIXES.iter().enumerate();
        let Some((rank, rest)) = prefixes.find_map(|(rank, prefix)| Some((rank, name.strip_prefix(prefix)?))) else {
            return;
        };
        match known().find(|known| *known == rest) {
            None => self.unknown.push(name.into()),
            Some(_) if value.is_empty() => {}
            Some(known) => self.set.push((name.into(), known, rank, value.to_owned())),
        }
    }

    /// One warning for each unknown variable, sorted by name.
    pub(super) fn warnings(&self) -> Vec<String> {
        let names: Vec<&str> = known().collect();
        let mut unknown: Vec<&Arc<str>> = self.unknown.iter().collect();
        unknown.sort();
        let warning = |name: &Arc<str>| format!("unknown variable {name}; the variables with this prefix are {}", names.join(", "));
        unknown.into_iter().map(warning).collect()
    }

    fn get(&self, known: &str) -> Option<(&Arc<str>, &str)> {
        let candidates = self.set.iter().filter(|(_, name, ..)| *name == known);
        let (name, .., value) = candidates.min_by_key(|(.., rank, _)| *rank)?;
        Some((name, value))
    }

    /// The names of the variables in force.
    pub(super) fn names(&self) -> impl Iterator<Item = Arc<str>> {
        known()
            .filter(|known| *known != LEVEL)
            .filter_map(|known| self.get(known).map(|(name, _)| name.clone()))
    }

    /// The variable of the log level and its value.
    pub(super) fn log_level(&self) -> Option<(&str, &str)> {
        self.get(LEVEL).map(|(name, value)| (&**name, value))
    }

    /// Applies the variables to the table of the file.
    pub(super) fn apply(&self, root: &mut RawTable, faults: &mut Vec<Fault>) {
        for (known, key, instead) in KEYS {
            let Some((name, value)) = self.get(known) else { continue };
            let at = Location::Variable(name.clone());
            if let Some(table) = root.table_mut(SECTION, &at) {
                table.take(instead);
                table.set(text(key, value, at));
            }
        }
        self.apply_address(root, faults);
        self.apply_port(root, faults);
        self.apply_transport(root);
    }

    /// Enables HyperDHT if any of the variables is set. A port in the file stays.
    fn apply_transport(&self, root: &mut RawTable) {
        let Some((name, ..)) = self.set.iter().min_by_key(|(name, ..)| name) else {
            return;
        };
        let at = Location::Variable(name.clone());
        if let Some(table) = root.table_mut(SECTION, &at) {
            let is_port = |entry: &RawEntry| matches!(entry.node.value, Value::Integer { .. });
            if table.get_mut(TRANSPORT).is_some_and(|entry| is_port(entry)) {
                return;
            }
            table.set(RawEntry {
                key: TRANSPORT.to_owned(),
                at: at.clone(),
                node: Node::new(Value::Bool(true), at),
            });
        }
    }

    fn apply_port(&self, root: &mut RawTable, faults: &mut Vec<Fault>) {
        let Some((name, value)) = self.get(DHT_PORT) else { return };
        let at = Location::Variable(name.clone());
        let Ok(port) = value.parse::<u16>() else {
            let text = "not a valid port (0 to 65535)".to_owned();
            faults.push(Fault { place: at, text });
            return;
        };
        if let Some(table) = root.table_mut(SECTION, &at) {
            let value = Value::Integer {
                number: port.into(),
                octal: false,
            };
            table.set(RawEntry {
                key: TRANSPORT.to_owned(),
                at: at.clone(),
                node: Node::new(value, at),
            });
        }
    }

    /// Host and port are separate variables; the one that is not set stays as in the file.
    fn apply_address(&self, root: &mut RawTable, faults: &mut Vec<Fault>) {
        let (host, port) = (self.get(HOST), self.get(PORT));
        let Some(name) = port.or(host).map(|(name, _)| name.clone()) else {
            return;
        };
        let at = Location::Variable(name);
        let Some(table) = root.table_mut(SECTION, &at) else { return };
        let key = "http_listen";
        let before = table.take(key).and_then(|written| HostPort::parse(written.node.text()?).ok());
        let before = before.unwrap_or_else(|| HostPort::new("127.0.0.1", 30_000));
        let port = match port.map(|(_, text)| text.parse::<u16>()) {
            None => before.port(),
            Some(Ok(port)) => port,
            Some(Err(_)) => {
                let text = "not a valid port (0 to 65535)".to_owned();
                faults.push(Fault { place: at, text });
                return;
            }
        };
        let address = HostPort::new(host.map_or(before.host(), |(_, host)| host), port);
        table.set(text(key, &address.to_string(), at));
    }
}

fn text(key: &str, value: &str, at: Location) -> RawEntry {
    RawEntry {
        key: key.to_owned(),
        at: at.clone(),
        node: Node::new(Value::Text(value.to_owned()), at),
    }
}
