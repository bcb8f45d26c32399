//! The first frame of either side: the version it speaks, and the kinds of events that a client asks for.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

use super::length_of;
use crate::model::{Topic, Topics};

/// The version spoken here.
const VERSION: u16 = 3;

/// The whole first frame of a server, length included.
pub const HELLO: &[u8] = b"\x00\x00\x00\x0d{\"version\":3}";

/// The key by which a client asks for kinds of events; the original's server ignores it.
const EVENTS: &str = "events";

/// The longest first frame that is read. Unknown keys are allowed in it, and a stranger's bytes are kept until it is whole.
pub const MAX_HANDSHAKE_BYTES: usize = 64 << 10;

/// Why a first frame ends the connection.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It is not an object with a version number.
    #[error("no version: {0}")]
    NoVersion(#[from] serde_json::Error),
    /// The other side speaks another version.
    #[error("it speaks version {0}, not {VERSION}")]
    Version(u16),
}

/// What a first frame says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The topics that a client asks for; `None` if its frame has no key `events`.
    asked: Option<Topics>,
}

impl Hello {
    /// The topics that the client gets. One that does not ask gets what the original's client can read: it drops the
    /// connection at an event of any other kind.
    #[must_use]
    pub fn topics(self) -> Topics {
        self.asked.unwrap_or(Topics::only(Topic::Bitswap))
    }
}

/// The whole first frame of a client that asks for these topics, length included.
#[must_use]
pub fn client_hello(topics: Topics) -> Vec<u8> {
    let words: Vec<&str> = topics.iter().map(Topic::as_str).collect();
    let payload = format!("{{\"version\":{VERSION},\"{EVENTS}\":{}}}", serde_json::json!(words));
    let length = length_of(payload.len()).expect("a handful of words is shorter than any frame may be");
    [&length[..], payload.as_bytes()].concat()
}

/// Reads the payload of a first frame.
///
/// # Errors
/// When it does not say version 3, or its `events` is no list of strings. The connection then ends without an answer.
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

/// Finds the known ones among the keys. Derived code cannot: the original compares keys without case.
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
                // A kind of a later version of this program is left out: this server does not have it.
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
