#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;

#[test]
fn a_url_is_a_scheme_a_host_and_a_plain_path() {
    for (text, expected) in [
        ("http://a", "http://a"),
        ("HTTPS://a.example:8443/", "https://a.example:8443"),
        ("https://[::1]:1/p/q-1_2~3.4//", "https://[::1]:1/p/q-1_2~3.4"),
    ] {
        assert_eq!(PublicUrl::parse(text).map(|url| url.to_string()), Ok(expected.to_owned()), "{text}");
    }
    let long = format!("http://a/{}", "p".repeat(MAX_PREFIX_BYTES));
    for text in [
        "",
        "a/p",
        "ftp://a",
        "http://",
        "http:///p",
        "http://me@a",
        "http://a b",
        "http://a:x",
        "http://a/p//q",
        "http://a/../p",
        "http://a/p?q",
        "http://a/p#q",
        "http://a/%70",
        "http://a/\"",
        &long,
    ] {
        assert!(PublicUrl::parse(text).is_err(), "{text}");
    }
}

#[test]
fn headers_of_trusted_proxies_beat_the_external_url_and_that_the_host() {
    let external = Some("https://outside.example/p");
    let all = [
        ("x-forwarded-host", "x.example:1, front.example"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-prefix", "/a/b/"),
    ];
    let trusted = "10.0.0.1";
    let bad = [
        ("x-forwarded-host", "a b"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-prefix", "//evil.example"),
    ];
    type Case<'a> = (&'a str, &'a [(&'static str, &'a str)], Option<&'a str>, &'a str);
    let table: &[Case<'_>] = &[
        ("192.0.2.1", &[], None, "//here:6555"),
        ("192.0.2.1", &[], external, "https://outside.example/p"),
        ("192.0.2.1", &all, None, "//here:6555"),
        (trusted, &all, None, "https://front.example/a/b"),
        (trusted, &all, external, "https://front.example/a/b"),
        (trusted, &all[2..], None, "//here:6555/a/b"),
        (trusted, &all[2..], external, "https://outside.example/a/b"),
        (trusted, &[("x-forwarded-prefix", "/")], external, "https://outside.example"),
        (trusted, &bad, None, "//here:6555"),
        (trusted, &bad, external, "https://outside.example/p"),
    ];
    for (peer, headers, external, expected) in table {
        let mut map = HeaderMap::new();
        map.insert(HOST, "here:6555".parse().unwrap());
        for (name, value) in *headers {
            map.append(*name, value.parse().unwrap());
        }
        let access = Access {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
            external_url: external.map(|url| PublicUrl::parse(url).unwrap()),
            ..Access::default()
        };
        let peer_addr = PeerAddr::Tcp(format!("{peer}:5").parse().unwrap());
        let url = PublicUrl::of_request(&peer_addr, &Uri::from_static("/sd"), &map, &access).unwrap();
        assert_eq!(url.to_string(), *expected, "{peer} {headers:?}");
    }
}

#[test]
fn without_a_host_there_is_no_url() {
    let (peer, access) = (PeerAddr::Unix { uid: None }, Access::default());
    let of =
        |uri: &str, headers: &HeaderMap| PublicUrl::of_request(&peer, &uri.parse().unwrap(), headers, &access).map(|url| url.to_string());
    let mut headers = HeaderMap::new();
    assert_eq!(of("/sd", &headers), None);
    assert_eq!(of("http://named:1/sd", &headers), Some("//named:1".to_owned()));
    headers.insert(HOST, "".parse().unwrap());
    assert_eq!(of("/sd", &headers), None);
}
