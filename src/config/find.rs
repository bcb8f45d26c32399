//! Search for the configuration file, and its text.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::environment::{CONFIG_VARIABLE, Environment};
use super::fault::{Fault, Faults, Location};
use crate::supervise::files::open_regular;

/// Places that are searched when no file is named, in this order.
const USUAL_PLACES: [&str; 2] = ["./config.toml", "/etc/exporter-proxy/config.toml"];

/// The largest file that is read: the most endpoints that can be polled need about a mebibyte, and what is larger is no configuration.
const MAX_CONFIG_BYTES: u64 = 2 << 20;

/// Origin of a configuration: the file and the variables. Prints as a phrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigOrigin {
    /// The file, or `None` for the built-in defaults.
    pub file: Option<PathBuf>,
    /// The environment variables that override keys of it.
    pub variables: Vec<Arc<str>>,
}

impl fmt::Display for ConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("built-in defaults")?,
        }
        if !self.variables.is_empty() {
            write!(f, ", with {} from the environment", self.variables.join(", "))?;
        }
        Ok(())
    }
}

/// A candidate for the configuration file.
#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    /// The option or variable that names it; the file must exist then.
    named_by: Option<&'static str>,
}

/// The files to try, in order: a named one stands alone.
fn candidates(named: Option<&Path>, environment: &Environment) -> Vec<Candidate> {
    let by = |path: &Path, who| Candidate {
        path: path.to_owned(),
        named_by: Some(who),
    };
    match (named, environment.file()) {
        (Some(path), _) => vec![by(path, "--config")],
        (None, Some(path)) => vec![by(path, CONFIG_VARIABLE)],
        (None, None) => USUAL_PLACES
            .iter()
            .map(|path| Candidate {
                path: PathBuf::from(path),
                named_by: None,
            })
            .collect(),
    }
}

/// Finds and reads the file: its path and text, `None` where there is none and none was asked for.
pub(super) fn read(named: Option<&Path>, environment: &Environment) -> Result<Option<(PathBuf, String)>, Faults> {
    for Candidate { path, named_by } in candidates(named, environment) {
        match read_bounded(&path) {
            Ok(bytes) => return text(&path, bytes).map(|text| Some((path, text))),
            Err(e) if e.kind() == io::ErrorKind::NotFound && named_by.is_none() => {}
            Err(e) => {
                let who = named_by.map(|who| format!(" (named by {who})")).unwrap_or_default();
                return Err(fault(&path, Location::File, format!("cannot read it{who}: {e}")));
            }
        }
    }
    Ok(None)
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // A FIFO would block all of the program when it reads its configuration again.
    open_regular(path)?.take(MAX_CONFIG_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Faults> {
    if bytes.len() as u64 > MAX_CONFIG_BYTES {
        return Err(fault(
            path,
            Location::File,
            format!("larger than the maximum of {MAX_CONFIG_BYTES} bytes"),
        ));
    }
    String::from_utf8(bytes).map_err(|e| {
        let good = String::from_utf8_lossy(&e.as_bytes()[..e.utf8_error().valid_up_to()]);
        let line = good.matches('\n').count() + 1;
        let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        fault(path, Location::Line(line, column), "not valid UTF-8 from here on".to_owned())
    })
}

fn fault(path: &Path, place: Location, text: String) -> Faults {
    Faults::new(path.display().to_string(), vec![Fault { place, text }])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn paths(named: Option<&str>, pairs: &[(&str, &str)]) -> Vec<String> {
        let environment = Environment::from_pairs(pairs.iter().copied());
        let found = candidates(named.map(Path::new), &environment);
        found.iter().map(|c| c.path.display().to_string()).collect()
    }

    #[test]
    fn the_command_line_beats_the_environment_beats_the_usual_places() {
        let pairs = [(CONFIG_VARIABLE, "/env.toml")];
        assert_eq!(paths(Some("/a.toml"), &pairs), ["/a.toml"]);
        assert_eq!(paths(None, &pairs), ["/env.toml"]);
        assert_eq!(paths(None, &[(CONFIG_VARIABLE, "")]), USUAL_PLACES);
        assert_eq!(paths(None, &[]), USUAL_PLACES);
    }

    #[test]
    fn a_named_file_must_be_there_and_readable() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.toml");
        let message = read(Some(&missing), &Environment::default()).unwrap_err().to_string();
        assert!(
            message.starts_with(&format!("{}: cannot read it (named by --config): No such file", missing.display())),
            "{message}"
        );
        let named = Environment::from_pairs([(CONFIG_VARIABLE, folder.path())]);
        let message = read(None, &named).unwrap_err().to_string();
        assert!(message.contains("cannot read it (named by EXPORTER_PROXY_CONFIG)"), "{message}");
    }

    #[test]
    fn a_fifo_is_no_configuration_and_blocks_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
        assert!(
            message.ends_with("cannot read it (named by --config): it is a FIFO and no regular file"),
            "{message}"
        );
    }

    #[test]
    fn a_file_that_is_no_text_is_told_where() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, b"[http]\n# \xc3\xb6 \xff\n").unwrap();
        let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
        assert!(message.ends_with("c.toml:2:5: not valid UTF-8 from here on"), "{message}");
        std::fs::write(&path, vec![b'#'; usize::try_from(MAX_CONFIG_BYTES).unwrap() + 1]).unwrap();
        let message = read(Some(&path), &Environment::default()).unwrap_err().to_string();
        assert!(message.ends_with("c.toml: larger than the maximum of 2097152 bytes"), "{message}");
    }
}
