//! The handshake: the first frame of each side, with its version and the topics that a client requests.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::length_of;
use crate::model::{Topic, Topics};

/// The supported version.
const VERSION: u16 = 3;

/// The complete first frame of a server, length included.
pub const HELLO: &[u8] = b"\x00\x00\x00\x0d{\"version\":3}";

/// The key by which a client requests topics; the original server ignores it.
const EVENTS: &str = "events";

/// Limit of the first frame in bytes. It may contain unknown keys, and is buffered until it is complete.
pub const MAX_HANDSHAKE_BYTES: usize = 64 << 10;

/// Error of the handshake.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It is not an object with a version number.
    #[error("no version: {0}")]
    NoVersion(#[from] serde_json::Error),
    /// The peer has another version.
    #[error("its version is {0}, not {VERSION}")]
    Version(u16),
}

/// Content of a first frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The topics that a client requests; `None` if its frame has no key `events`.
    asked: Option<Topics>,
}

impl Hello {
    /// The topics for the client. Without a request these are the ones that the original client supports: it closes the connection at
    /// any other event.
    #[must_use]
    pub fn topics(self) -> Topics {
        self.asked.unwrap_or(Topics::only(Topic::Bitswap))
    }
}

/// The complete first frame of a client that requests these topics, length included.
#[must_use]
pub fn client_hello(topics: Topics) -> Vec<u8> {
    let words: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    let payload = format!("{{\"version\":{VERSION},\"{EVENTS}\":{}}}", serde_json::json!(words));
    let length = length_of(payload.len()).expect("a handful of words is shorter than any frame may be");
    [&length[..], payload.as_bytes()].concat()
}

/// Parses the payload of a first frame.
///
/// # Errors
/// If its version is not 3, or its `events` is not a list of strings. The connection is then closed without a response.
pub fn read_hello(payload: &[u8]) -> Result<Hello, HandshakeError> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let (version, asked) = json.deserialize_map(Keys)?;
    json.end()?;
    if version == VERSION {
        Ok(Hello { asked })
    } else {
        Err(HandshakeError::Version(version))
    }
}

/// Visitor for the known keys. Derived code cannot be used, because the original compares keys case-insensitively.
struct Keys;

impl<'de> Visitor<'de> for Keys {
    type Value = (u16, Option<Topics>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a version")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut version, mut asked) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("version") {
                version = Some(map.next_value()?);
            } else if key.eq_ignore_ascii_case(EVENTS) {
                // Topics of later versions are ignored: this server does not have them.
                let words: Option<Vec<String>> = map.next_value()?;
                asked = words.map(|words| words.iter().filter_map(|word| Topic::named(word)).collect());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok((version.ok_or_else(|| A::Error::missing_field("version"))?, asked))
    }
}

#[cfg(test)]
mod tests;
