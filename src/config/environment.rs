//! Environment variables: the one that names the file, and those that override single keys.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::fault::{Fault, Location};
use super::legacy_env::LegacyEnvironment;
use super::raw::{Node, RawEntry, RawTable, Value, quoted};
use super::syntax;

/// Names the configuration file where the command line does not.
pub(super) const CONFIG_VARIABLE: &str = "EXPORTER_PROXY_CONFIG";

/// The prefix of every override. Two underscores, because container platforms set variables like `EXPORTER_PROXY_PORT` on their own.
pub(super) const OVERRIDE_PREFIX: &str = "EXPORTER_PROXY__";

/// The beginning of [`OVERRIDE_PREFIX`], and of variables with other meanings: Kubernetes sets `EXPORTER_PROXY_PORT` and
/// `EXPORTER_PROXY_SERVICE_HOST` for a service of this name.
const LOOK_ALIKE_PREFIX: &str = "EXPORTER_PROXY_";

/// The section of keys that are in none.
const ROOT: &str = "";

/// Sets the log level of `run` and `bridge`; `RUST_LOG` has precedence.
const LOG_LEVEL_VARIABLE: &str = "LOG_LEVEL";

/// The variable of the original one-shot metrics server, for `events.use_explicit_timestamps`.
pub(super) const EXPLICIT_TIMESTAMPS_VARIABLE: &str = "USE_EXPLICIT_TIMESTAMPS";

/// The variables that concern the configuration. Built from pairs, so that nothing here reads the environment of the process.
#[derive(Default)]
pub struct Environment {
    file: Option<PathBuf>,
    overrides: Vec<(Arc<str>, OsString)>,
    legacy_env: LegacyEnvironment,
    log_level: Option<String>,
    /// Variables that begin as an override does, but with one underscore.
    look_alikes: Vec<Arc<str>>,
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
            } else if name == LOG_LEVEL_VARIABLE && !value.is_empty() {
                out.log_level = Some(value.to_string_lossy().into_owned());
            } else if name.starts_with(LOOK_ALIKE_PREFIX) {
                out.look_alikes.push(name.as_ref().into());
            } else {
                out.legacy_env.take(&name, &value.to_string_lossy());
            }
        }
        out.overrides.sort();
        out.look_alikes.sort();
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

    /// Warnings about variables without effect: unknown ones with a prefix of the replaced HyperDHT programs, and those that name a section
    /// and a key with one underscore between.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.legacy_env.warnings();
        if !self.look_alikes.is_empty() {
            let keys = super::known_keys();
            let wanted = |name: &Arc<str>| {
                let rest = name.strip_prefix(LOOK_ALIKE_PREFIX)?;
                let joined = |(section, key): &(&str, &str), by: &str| match *section {
                    ROOT => (*key).to_owned(),
                    section => format!("{section}{by}{key}"),
                };
                let found = keys.iter().find(|key| rest.eq_ignore_ascii_case(&joined(key, "_")))?;
                let right = format!("{OVERRIDE_PREFIX}{}", joined(found, "__")).to_ascii_uppercase();
                let key = joined(found, ".");
                Some(format!(
                    "the variable {name} has no effect; {right}, with two underscores, sets {key}"
                ))
            };
            warnings.extend(self.look_alikes.iter().filter_map(wanted));
        }
        warnings
    }

    /// The level that `LOG_LEVEL` names, with or without a prefix of the replaced HyperDHT programs, as a filter.
    #[must_use]
    pub fn log_level(&self) -> Option<&'static str> {
        parse_log_level(self.log_level_variable()?.1)
    }

    /// A warning about an unknown level in `LOG_LEVEL`.
    #[must_use]
    pub fn log_level_warning(&self) -> Option<String> {
        let (name, value) = self.log_level_variable()?;
        parse_log_level(value).is_none().then(|| {
            format!(
                "{name}: unknown level {}, info is used; the levels are trace, debug, info, warn, error, fatal, silent",
                quoted(value)
            )
        })
    }

    fn log_level_variable(&self) -> Option<(&str, &str)> {
        let plain = self.log_level.as_deref().map(|value| (LOG_LEVEL_VARIABLE, value));
        self.legacy_env.log_level().or(plain)
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
                    let table = match section.as_str() {
                        ROOT => Some(&mut *root),
                        section => root.table_mut(section, &at),
                    };
                    if let Some(table) = table {
                        table.set(RawEntry { key, at, node });
                    }
                }
                Err(text) => faults.push(Fault { place: at, text }),
            }
        }
    }
}

/// A log level as a filter; the words are those of tracing and of the pino library, which the replaced programs use.
fn parse_log_level(level: &str) -> Option<&'static str> {
    Some(match level.to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" => "warn",
        "error" | "fatal" => "error",
        "silent" | "off" => "off",
        _ => return None,
    })
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
    let (section, key) = match path.split_once("__") {
        Some((section, key)) if !section.is_empty() && !key.is_empty() => (section, key),
        None if super::known_keys().contains(&(ROOT, path.as_str())) => (ROOT, path.as_str()),
        _ => return Err("expected EXPORTER_PROXY__SECTION__KEY, e.g. EXPORTER_PROXY__RECEIVER__FORMAT".to_owned()),
    };
    let Some(text) = value.to_str() else {
        return Err("the value is not UTF-8".to_owned());
    };
    let mut node = syntax::parse_value(text, at).unwrap_or_else(|| Node::new(Value::Text(text.to_owned()), at.clone()));
    node.verbatim = Some(text.to_owned());
    Ok((section.to_owned(), key.to_owned(), node))
}
