#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn basic(header: &[u8]) -> Option<(String, Vec<u8>)> {
    match Authorization::from_header(&HeaderValue::from_bytes(header).ok()?)? {
        Authorization::Basic(Credentials { user, password }) => Some((user, password)),
        Authorization::Bearer(_) => None,
    }
}

#[test]
fn a_scheme_is_read_by_its_name_in_any_case() {
    let read = |text: &'static str| Authorization::from_header(&HeaderValue::from_static(text));
    assert!(matches!(read("Bearer abc"), Some(Authorization::Bearer(_))));
    assert!(matches!(read("bEARER"), Some(Authorization::Bearer(_))));
    for header in [&b"Basic YWxpY2U6YTpi"[..], b"bAsIc  YWxpY2U6YTpi"] {
        assert_eq!(basic(header), Some(("alice".to_owned(), b"a:b".to_vec())));
    }
    for other in [
        "",
        "Basic",
        "Basic !",
        "Basic YWxpY2U=",
        "Basic gDp4",
        "Digest username=\"a\"",
        "Negotiate abc",
        "BearerYTpi",
    ] {
        assert_eq!(read(other), None, "{other}");
    }
    let shown = format!("{:?}", read("Basic YWxpY2U6c2VjcmV0"));
    assert_eq!(shown, "Some(Basic(Credentials(\"alice\", MASKED)))");
}

proptest! {
    /// Whatever bytes a header has, it is read without a panic, and only as what was encoded.
    #[test]
    fn foreign_headers_are_credentials_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..40), user in "[^:]{0,9}", password in any::<Vec<u8>>()) {
        for header in [bytes.clone(), [b"Basic ", &bytes[..]].concat(), [b"Bearer ", &bytes[..]].concat()] {
            if let Some((user, _)) = basic(&header) {
                prop_assert!(!user.contains(':'));
            }
        }
        let encoded = BASE64_STANDARD.encode([user.as_bytes(), b":", &password].concat());
        prop_assert_eq!(basic(format!("basic {encoded}").as_bytes()), Some((user, password)));
    }
}
