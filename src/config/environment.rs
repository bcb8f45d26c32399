//! Environment variables: the one that names the file, and those that override single keys.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::fault::{Fault, Location};
use super::legacy_env::LegacyEnvironment;
use super::raw::{Node, RawEntry, RawTable, Value};
use super::syntax;

/// Names the configuration file where the command line does not.
pub(super) const CONFIG_VARIABLE: &str = "EXPORTER_PROXY_CONFIG";

/// The prefix of every override. Two underscores, because container platforms set variables like `EXPORTER_PROXY_PORT` on their own.
pub(super) const OVERRIDE_PREFIX: &str = "EXPORTER_PROXY__";

/// The variable of the original one-shot metrics server, for `events.use_explicit_timestamps`.
pub(super) const EXPLICIT_TIMESTAMPS_VARIABLE: &str = "USE_EXPLICIT_TIMESTAMPS";

/// The variables that concern the configuration. Built from pairs, so that nothing here reads the environment of the process.
#[derive(Default)]
pub struct Environment {
    file: Option<PathBuf>,
    overrides: Vec<(Arc<str>, OsString)>,
    legacy_env: LegacyEnvironment,
}

impl Environment {
    /// Keeps the variables that concern the configuration; pass `std::env::vars_os()`.
    pub fn from_pairs<N: Into<OsString>, V: Into<OsString>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut out = Self::default();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            let name = name.to_string_lossy();
            if name == CONFIG_VARIABLE && !value.is_empty() {
                out.file = Some(PathBuf::from(value));
            } else if name.starts_with(OVERRIDE_PREFIX) || (name == EXPLICIT_TIMESTAMPS_VARIABLE && !value.is_empty()) {
                out.overrides.push((name.as_ref().into(), value));
            } else {
                out.legacy_env.take(&name, &value.to_string_lossy());
            }
        }
        out.overrides.sort();
        out
    }

    /// The file that the environment names; an empty variable names none.
    pub(super) fn file(&self) -> Option<&PathBuf> {
        self.file.as_ref()
    }

    /// The names of the variables that override keys, sorted.
    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.overrides
            .iter()
            .map(|(name, _)| name.clone())
            .chain(self.legacy_env.names())
            .collect()
    }

    /// Warnings about unknown variables with a prefix of the replaced HyperDHT programs.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.legacy_env.warnings()
    }

    /// The log level that `LOG_LEVEL` of the replaced HyperDHT programs names, as a filter.
    #[must_use]
    pub fn log_level(&self) -> Option<&'static str> {
        self.legacy_env.log_level()
    }

    /// Applies the overrides to the table of the file.
    pub(super) fn apply(&self, root: &mut RawTable, faults: &mut Vec<Fault>) {
        self.legacy_env.apply(root, faults);
        let mut seen: Vec<(String, String, &str)> = Vec::new();
        for (name, value) in &self.overrides {
            let at = Location::Variable(name.clone());
            match read(name, value, &at) {
                Ok((section, key, node)) => {
                    if let Some((.., first)) = seen.iter().find(|(s, k, _)| *s == section && *k == key) {
                        let text = format!("{first} sets the same key; remove one of them");
                        faults.push(Fault { place: at, text });
                        continue;
                    }
                    seen.push((section.clone(), key.clone(), name));
                    if let Some(table) = root.table_mut(&section, &at) {
                        table.set(RawEntry { key, at, node });
                    }
                }
                Err(text) => faults.push(Fault { place: at, text }),
            }
        }
    }
}

/// `true` or `false` in upper or lower case, as in the original.
fn explicit_timestamps(value: &OsString, at: &Location) -> Result<(String, String, Node), String> {
    let text = value.to_string_lossy();
    let flag = [true, false].into_iter().find(|flag| text.eq_ignore_ascii_case(&flag.to_string()));
    let flag = flag.ok_or_else(|| "expected true or false".to_owned())?;
    let node = Node::new(Value::Bool(flag), at.clone());
    Ok(("events".to_owned(), "use_explicit_timestamps".to_owned(), node))
}

/// Splits a variable into section, key and value (TOML if it parses as such, otherwise a string).
fn read(name: &str, value: &OsString, at: &Location) -> Result<(String, String, Node), String> {
    if name == EXPLICIT_TIMESTAMPS_VARIABLE {
        return explicit_timestamps(value, at);
    }
    let path = name.strip_prefix(OVERRIDE_PREFIX).unwrap_or_default().to_ascii_lowercase();
    let Some((section, key)) = path
        .split_once("__")
        .filter(|(section, key)| !section.is_empty() && !key.is_empty())
    else {
        return Err("expected EXPORTER_PROXY__SECTION__KEY, e.g. EXPORTER_PROXY__RECEIVER__FORMAT".to_owned());
    };
    let Some(text) = value.to_str() else {
        return Err("the value is not UTF-8".to_owned());
    };
    let mut node = syntax::parse_value(text, at).unwrap_or_else(|| Node::new(Value::Text(text.to_owned()), at.clone()));
    node.verbatim = Some(text.to_owned());
    Ok((section.to_owned(), key.to_owned(), node))
}
