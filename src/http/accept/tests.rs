#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
    }
    headers
}

#[test]
fn a_media_type_is_accepted_where_a_header_names_it() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    assert!(accepts(&headers(&[browser]), "text/html"));
    assert!(accepts(&headers(&["text/plain", "Application/JSON ; q=0.5"]), "application/json"));
    for others in [
        &[][..],
        &["*/*"],
        &["application/*"],
        &["application/jsonl"],
        &["text/plain;x=application/json"],
    ] {
        assert!(!accepts(&headers(others), "application/json"), "{others:?}");
    }
}

#[test]
fn a_weight_of_zero_refuses_a_media_type() {
    for refused in ["text/html;q=0", "text/html ; Q = 0.000", "text/html;level=1;q=0.0"] {
        assert!(!accepts(&headers(&[refused]), "text/html"), "{refused}");
    }
    assert!(accepts(&headers(&["text/html;q=0", "text/html;q=0.1"]), "text/html"));
}

#[test]
fn a_segment_has_no_character_with_a_meaning_in_a_url() {
    assert_eq!(path_segment("a-b_c.d~e"), "a-b_c.d~e");
    assert_eq!(path_segment("a/b?c#d%e f\u{e9}"), "a%2Fb%3Fc%23d%25e%20f%C3%A9");
}

proptest! {
    #[test]
    fn a_named_type_is_found_in_any_list(before in "[ -~]{0,40}", after in "[ -~]{0,40}") {
        let list = format!("{before},text/html,{after}");
        prop_assert!(accepts(&headers(&[&list]), "text/html"));
        prop_assert!(!accepts(&headers(&[&list.replace("html", "css")]), "text/html"));
    }
}
