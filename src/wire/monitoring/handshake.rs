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
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn our_own_hello_is_the_documented_one() {
        let (length, payload) = HELLO.split_first_chunk::<4>().unwrap();
        assert_eq!(u32::from_be_bytes(*length), 13);
        assert_eq!(payload, br#"{"version":3}"#);
        assert_eq!(read_hello(payload).unwrap(), Hello { asked: None });
    }

    #[test]
    fn a_client_asks_by_a_list_of_kinds() {
        let asked = |text: &str| read_hello(text.as_bytes()).unwrap().topics();
        let original = Topics::only(Topic::Bitswap);
        assert_eq!(asked(r#"{"version":3}"#), original);
        assert_eq!(asked(r#"{"version":3,"events":null}"#), original);
        let two: Topics = [Topic::AppUpdate, Topic::OneShot].into_iter().collect();
        assert_eq!(asked(r#"{"version":3,"events":["app_update","one_shot"]}"#), two);
        assert_eq!(
            asked(r#"{"Events":["one_shot","app_update","of a later version"],"version":3}"#),
            two
        );
        assert_eq!(asked(r#"{"version":3,"events":[]}"#), Topics::default());
        assert_eq!(asked(r#"{"version":3,"events":["connection_event"]}"#), Topics::default());
        for topics in [Topics::ALL, two, Topics::default()] {
            let hello = client_hello(topics);
            let (length, payload) = hello.split_first_chunk::<4>().unwrap();
            assert_eq!(u32::from_be_bytes(*length) as usize, payload.len());
            assert_eq!(read_hello(payload).unwrap().topics(), topics);
        }
        assert_eq!(&client_hello(two)[4..], br#"{"version":3,"events":["app_update","one_shot"]}"#);
    }

    #[test]
    fn what_is_taken() {
        for good in [
            r#"{"VERSION":3}"#,
            r#" {"x":[1,{}],"Version":3,"y":null} "#,
            r#"{"version":2,"version":3}"#,
        ] {
            assert!(read_hello(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn what_ends_the_connection() {
        for bad in [
            "",
            "{}",
            "3",
            "null",
            r#""3""#,
            r#"{"version":"3"}"#,
            r#"{"version":65536}"#,
            r#"{"version":-3}"#,
            r#"{"version":3.0}"#,
            r#"{"version":null}"#,
            r#"{"version":3"#,
            r#"{"version":3}{}"#,
            r#"[{"version":3}]"#,
            "\u{feff}{\"version\":3}",
            r#"{"version":3,"events":"app_update"}"#,
            r#"{"version":3,"events":[1]}"#,
            r#"{"version":3,"events":{"app_update":true}}"#,
        ] {
            assert!(matches!(read_hello(bad.as_bytes()), Err(HandshakeError::NoVersion(_))), "{bad}");
        }
        assert!(matches!(read_hello(br#"{"version":2}"#), Err(HandshakeError::Version(2))));
        assert!(matches!(read_hello(br#"{"version":4}"#), Err(HandshakeError::Version(4))));
    }
}
