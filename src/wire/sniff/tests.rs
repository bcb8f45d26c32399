use super::*;

#[test]
fn a_nul_among_the_first_four_bytes_is_capnp() {
    for (start, end, expected) in [
        (&b""[..], false, None),
        (b"{}\n", false, None),
        (b"{}\n", true, Some(Format::Json)),
        (b"", true, Some(Format::Json)),
        (b"{\"a\"", false, Some(Format::Json)),
        (b"{\"a\"\0", false, Some(Format::Json)),
        (b"\0", false, None),
        (b"\0", true, Some(Format::Capnp)),
        (b"\x01\x02\0", false, None),
        (b"\x01\x02\0", true, Some(Format::Capnp)),
        (b"\x01\x02\x03\0", false, Some(Format::Capnp)),
        (b"\x01\x02\x03\x04", false, Some(Format::Json)),
    ] {
        assert_eq!(sniff(start, end), expected, "{start:?} {end}");
    }
}

#[test]
fn an_http_request_is_recognized_by_its_method() {
    for start in ["GET /", "PUT /", "POST /", "HEAD /", "DELETE /", "OPTIONS *", "PATCH /"] {
        assert!(is_http(&start.as_bytes()[..PREFIX]), "{start}");
    }
    for start in ["", "GET", "get ", "{\"a\"", "\0\0\0\0", "PRI *"] {
        assert!(!is_http(start.as_bytes()), "{start}");
    }
}
