//! The first frame of either side: the version it speaks.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};

/// The version spoken here.
const VERSION: u16 = 3;

/// The whole first frame, length included.
pub const HELLO: &[u8] = b"\x00\x00\x00\x0d{\"version\":3}";

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

/// Reads the payload of a first frame.
///
/// # Errors
/// When it does not say version 3. The connection then ends without an answer.
pub fn check_hello(payload: &[u8]) -> Result<(), HandshakeError> {
    let mut json = serde_json::Deserializer::from_slice(payload);
    let version = json.deserialize_map(Versions)?;
    json.end()?;
    if version == VERSION {
        Ok(())
    } else {
        Err(HandshakeError::Version(version))
    }
}

/// Finds the version among the keys. Derived code cannot: the original compares keys without case.
struct Versions;

impl<'de> Visitor<'de> for Versions {
    type Value = u16;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a version")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<u16, A::Error> {
        let mut version = None;
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("version") {
                version = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        version.ok_or_else(|| A::Error::missing_field("version"))
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
        assert!(check_hello(payload).is_ok());
    }

    #[test]
    fn what_is_taken() {
        for good in [
            r#"{"VERSION":3}"#,
            r#" {"x":[1,{}],"Version":3,"y":null} "#,
            r#"{"version":2,"version":3}"#,
        ] {
            assert!(check_hello(good.as_bytes()).is_ok(), "{good}");
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
        ] {
            assert!(matches!(check_hello(bad.as_bytes()), Err(HandshakeError::NoVersion(_))), "{bad}");
        }
        assert!(matches!(check_hello(br#"{"version":2}"#), Err(HandshakeError::Version(2))));
        assert!(matches!(check_hello(br#"{"version":4}"#), Err(HandshakeError::Version(4))));
    }
}
