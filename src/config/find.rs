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
    /// The reason why the file must exist, in errors; `None` if others are tried where it does not.
    needed: Option<String>,
}

/// The files to try, in order: a named one stands alone.
fn candidates(named: Option<&Path>, environment: &Environment) -> Vec<Candidate> {
    let by = |path: &Path, who| Candidate {
        path: path.to_owned(),
        needed: Some(format!("named by {who}")),
    };
    match (named, environment.file()) {
        (Some(path), _) => vec![by(path, "--config")],
        (None, Some(path)) => vec![by(path, CONFIG_VARIABLE)],
        (None, None) => USUAL_PLACES
            .iter()
            .map(|path| Candidate {
                path: PathBuf::from(path),
                needed: None,
            })
            .collect(),
    }
}

/// Finds and reads the file: its path and text, `None` where there is none and none was asked for.
pub(super) fn read(named: Option<&Path>, environment: &Environment) -> Result<Option<(PathBuf, String)>, Faults> {
    for candidate in candidates(named, environment) {
        if let Some(text) = read_candidate(&candidate)? {
            return Ok(Some((candidate.path, text)));
        }
    }
    Ok(None)
}

/// Reads the file of the configuration in force again. It must exist: without it other settings would come into force unseen.
pub(super) fn read_again(path: &Path) -> Result<Option<(PathBuf, String)>, Faults> {
    let candidate = Candidate {
        path: path.to_owned(),
        needed: Some("the configuration in force was read from it".to_owned()),
    };
    Ok(read_candidate(&candidate)?.map(|text| (candidate.path, text)))
}

/// The text of the file. `None` if it does not exist and need not.
fn read_candidate(Candidate { path, needed }: &Candidate) -> Result<Option<String>, Faults> {
    match read_bounded(path) {
        Ok(bytes) => text(path, bytes).map(Some),
        Err(e) if e.kind() == io::ErrorKind::NotFound && needed.is_none() => Ok(None),
        Err(e) => {
            let why = needed.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
            Err(fault(path, Location::File, format!("cannot read it{why}: {e}")))
        }
    }
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
mod tests;
