//! The `Authorization` header.

use exporter_proxy::http::Authorization;
use http::HeaderValue;

/// Checks that an input is read the same way each time and by its scheme alone, that a token is equal to itself and to no longer one, and
/// that a user is what was encoded before the first colon.
pub fn check(input: &[u8]) {
    if let Ok(header) = HeaderValue::from_bytes(input) {
        check_header(&header);
    }
    let encoded = format!("bAsIc {}", base64(input));
    let header = HeaderValue::from_str(&encoded).expect("base64 is a valid value");
    let user = input.split(|byte| *byte == b':').next().unwrap_or_default();
    match (Authorization::from_header(&header), std::str::from_utf8(user)) {
        (Some(Authorization::Basic(credentials)), Ok(user)) if input.contains(&b':') => assert_eq!(credentials.user(), user),
        (None, user) => assert!(!input.contains(&b':') || user.is_err(), "credentials are not read"),
        (found, _) => panic!("{found:?} is read"),
    }
}

fn check_header(header: &HeaderValue) {
    let found = Authorization::from_header(header);
    assert_eq!(Authorization::from_header(header), found);
    let bytes = header.as_bytes();
    let is_scheme = |name: &str| {
        bytes
            .get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
    };
    match &found {
        None => {}
        Some(Authorization::Basic(credentials)) => {
            assert!(is_scheme("basic ") && !credentials.user().contains(':'));
        }
        Some(Authorization::Bearer(_)) => {
            assert!(is_scheme("bearer"));
            let token = bytes["bearer".len()..].trim_ascii();
            let with = |token: &[u8]| {
                let header = HeaderValue::from_bytes(&[b"Bearer ", token].concat()).expect("a part of a valid value is valid");
                Authorization::from_header(&header)
            };
            assert_eq!(with(token), found);
            let is_valid = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
            if !token.is_empty() && token.len() < 8_000 && token.iter().all(is_valid) {
                assert_ne!(with(&[token, b"x"].concat()), found);
                assert_ne!(with(b""), found);
            } else if !token.iter().all(is_valid) {
                assert_eq!(with(b""), found, "an invalid token counts as empty");
            }
        }
    }
}

/// RFC 4648, 4, by hand: an oracle apart from the program's.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = (0..3).fold(0_u32, |group, at| group << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let value = (group >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() {
                char::from(DIGITS[value as usize])
            } else {
                '='
            });
        }
    }
    text
}
