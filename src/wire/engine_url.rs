//! URLs of engines with the protocol of Redis: `redis://HOST`, `rediss://HOST` with TLS, `redis-sentinel://HOST,HOST/NAME` and
//! `rediss-sentinel://` for the primary that sentinels name.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The usual port of a server.
const SERVER_PORT: u16 = 6379;
/// The usual port of a sentinel.
const SENTINEL_PORT: u16 = 26379;
/// Sentinels in one URL: a deployment has three or five.
const MAX_SENTINELS: usize = 32;
/// The longest host name of the DNS.
const MAX_NAME_BYTES: usize = 253;
/// The longest name of a user or of a primary: far longer than any in use.
const MAX_WORD_BYTES: usize = 255;
/// The largest number of a database that a server can be configured to have.
const MAX_DATABASE: u32 = 1_000_000;

/// The characters that are escaped in the names of users and primaries.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineHost {
    /// A name or an IP address, without brackets.
    pub name: String,
    /// The port.
    pub port: u16,
}

/// The way to the server that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineHosts {
    /// This server.
    Server(EngineHost),
    /// The primary that one of the sentinels names.
    Sentinels {
        /// The sentinels, at least one.
        sentinels: Vec<EngineHost>,
        /// The name of the primary among those that they watch.
        primary: String,
    },
}

/// The URL of an engine. It has no password, so it may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineUrl {
    /// True if connections are encrypted.
    pub tls: bool,
    /// The user; `None` for the default one.
    pub user: Option<String>,
    /// The server, or the sentinels that name it.
    pub hosts: EngineHosts,
    /// The number of the database.
    pub database: u32,
}

/// Error of [`EngineUrl::from_str`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EngineUrlError {
    /// It is not of one of the supported forms.
    #[error("expected redis://HOST:PORT, rediss://HOST:PORT (TLS), or redis-sentinel://HOST:PORT,HOST:PORT/NAME")]
    Form,
    /// It has a password.
    #[error("the password belongs in a file (cluster.password_file)")]
    Password,
    /// A host is empty or too long, or has characters that none has.
    #[error("an invalid host name")]
    Host,
    /// The port is invalid.
    #[error("an invalid port")]
    Port,
    /// The user name is invalid.
    #[error("an invalid user name")]
    User,
    /// The number of the database is invalid.
    #[error("the path is the number of a database, such as /0")]
    Database,
    /// The sentinels are too many.
    #[error("at most {MAX_SENTINELS} sentinels")]
    Sentinels,
    /// The name of the primary is not there.
    #[error("the path names the primary that the sentinels watch, such as /mymaster")]
    Primary,
}

impl FromStr for EngineUrl {
    type Err = EngineUrlError;

    fn from_str(text: &str) -> Result<Self, EngineUrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(EngineUrlError::Form)?;
        let (tls, sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis-sentinel" => (false, true),
            "rediss-sentinel" => (true, true),
            _ => return Err(EngineUrlError::Form),
        };
        if rest.contains(['?', '#']) {
            return Err(EngineUrlError::Form);
        }
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(EngineUrlError::Password),
            Some((user, hosts)) => (Some(word(user).ok_or(EngineUrlError::User)?), hosts),
            None => (None, authority),
        };
        let (hosts, database) = if sentinel {
            let (primary, database) = path.split_once('/').unwrap_or((path, ""));
            let primary = word(primary).ok_or(EngineUrlError::Primary)?;
            let sentinels: Vec<_> = hosts.split(',').map(|one| host(one, SENTINEL_PORT)).collect::<Result<_, _>>()?;
            if sentinels.len() > MAX_SENTINELS {
                return Err(EngineUrlError::Sentinels);
            }
            (EngineHosts::Sentinels { sentinels, primary }, database)
        } else {
            (EngineHosts::Server(host(hosts, SERVER_PORT)?), path)
        };
        let database = match database {
            "" => 0,
            number => number.parse().map_err(|_| EngineUrlError::Database)?,
        };
        if database > MAX_DATABASE {
            return Err(EngineUrlError::Database);
        }
        Ok(Self {
            tls,
            user,
            hosts,
            database,
        })
    }
}

/// The unescaped name of a user or a primary.
fn word(text: &str) -> Option<String> {
    let word = percent_decode_str(text).decode_utf8().ok()?;
    let valid = !word.is_empty() && word.len() <= MAX_WORD_BYTES && !word.chars().any(|c| c.is_control() || c.is_whitespace());
    valid.then(|| word.into_owned())
}

/// A host with a port, or without one for the usual port.
fn host(text: &str, usual: u16) -> Result<EngineHost, EngineUrlError> {
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (name, port) = rest.split_once(']').ok_or(EngineUrlError::Host)?;
            if name.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(EngineUrlError::Host);
            }
            (name, port)
        }
        None => {
            let at = text.find(':').unwrap_or(text.len());
            text.split_at(at)
        }
    };
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | ':');
    if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.chars().all(is_part) {
        return Err(EngineUrlError::Host);
    }
    let port = match port.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(EngineUrlError::Port)?,
        None if port.is_empty() => usual,
        None => return Err(EngineUrlError::Port),
    };
    Ok(EngineHost {
        name: name.to_owned(),
        port,
    })
}

impl fmt::Display for EngineHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.contains(':') {
            true => write!(f, "[{}]:{}", self.name, self.port),
            false => write!(f, "{}:{}", self.name, self.port),
        }
    }
}

impl fmt::Display for EngineUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |text: &str| utf8_percent_encode(text, ESCAPED).to_string();
        f.write_str(if self.tls { "rediss" } else { "redis" })?;
        let user = self.user.as_deref().map(|user| format!("{}@", escaped(user))).unwrap_or_default();
        match &self.hosts {
            EngineHosts::Server(server) => write!(f, "://{user}{server}")?,
            EngineHosts::Sentinels { sentinels, primary } => {
                let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
                write!(f, "-sentinel://{user}{}/{}", sentinels.join(","), escaped(primary))?;
            }
        }
        match self.database {
            0 => Ok(()),
            database => write!(f, "/{database}"),
        }
    }
}
