//! Other names of keys: short ones for those that were inherited from the original exporter proxy, and older ones.

use super::fault::{Fault, Location};
use super::raw::{RawTable, Value};

/// The section and name of an alias, then those of its key.
pub(super) const ALIASES: [(&str, &str, &str, &str); 8] = [
    ("http", "listen", "exporter", "scrape_expose_endpoint"),
    ("receiver", "tcp", "receiver", "receiver_tcp_socket"),
    ("receiver", "unix", "receiver", "receiver_unix_socket"),
    ("poll", "enabled", "poll_external", "poll_other_scrape_endpoints"),
    ("poll", "endpoints", "poll_external", "other_scrape_endpoints"),
    ("poll", "interval", "poll_external", "poll_interval"),
    ("poll", "timeout", "poll_external", "client_timeout"),
    ("store", "max_bytes", "store", "max_memory"),
];

/// The section that only aliases have.
const ONLY_ALIASES: &str = "poll";

/// Moves the values of aliases to their keys. An alias and its key that are both in the file, or both in the environment, are a fault;
/// otherwise the environment has precedence.
pub(super) fn apply(root: &mut RawTable, faults: &mut Vec<Fault>) {
    for (section, alias, of, key) in ALIASES {
        let Some(mut entry) = inner(root, section).and_then(|table| table.take(alias)) else {
            continue;
        };
        // A section that is not a table is reported by its reader.
        let Some(table) = root.table_mut(of, &entry.at) else {
            continue;
        };
        let is_variable = |at: &Location| matches!(at, Location::Variable(_));
        match table.take(key) {
            Some(given) if is_variable(&given.at) == is_variable(&entry.at) => {
                faults.push(Fault {
                    place: entry.at.clone(),
                    text: format!("{section}.{alias} is another name of {of}.{key}, and both are set; remove one of them"),
                });
                table.set(given);
            }
            Some(given) if is_variable(&given.at) => table.set(given),
            _ => {
                key.clone_into(&mut entry.key);
                table.set(entry);
            }
        }
    }
    report_unknown(root, faults);
}

/// Reports what is left in the section that has nothing but aliases.
fn report_unknown(root: &mut RawTable, faults: &mut Vec<Fault>) {
    if inner(root, ONLY_ALIASES).is_none() {
        return;
    }
    let Some(Value::Table(table)) = root.take(ONLY_ALIASES).map(|entry| entry.node.value) else {
        return;
    };
    let known: Vec<&str> = ALIASES
        .iter()
        .filter(|(section, ..)| *section == ONLY_ALIASES)
        .map(|(_, alias, ..)| *alias)
        .collect();
    for entry in table.into_remaining() {
        faults.push(Fault {
            place: entry.at,
            text: format!(
                "unknown key \"{}\" in [{ONLY_ALIASES}]; it has {}, and [poll_external] the other keys of polls",
                entry.key,
                known.join(", ")
            ),
        });
    }
}

/// The table of a section, if it is one.
fn inner<'t>(root: &'t mut RawTable, section: &str) -> Option<&'t mut RawTable> {
    match &mut root.get_mut(section)?.node.value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
