#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn targets_are_parsed_by_scheme() {
    assert_eq!("unix:/run/a.sock".parse(), Ok(Target::Unix("/run/a.sock".into())));
    assert_eq!("unix:///run/a.sock".parse(), Ok(Target::Unix("/run/a.sock".into())));
    assert_eq!("unix:".parse(), Ok(Target::UsualUnix));
    assert_eq!("tcp://[::1]:6554".parse(), Ok(Target::Tcp("[::1]:6554".into())));
    let server = HttpServer {
        place: "h:6554".into(),
        transport: Transport::Https,
    };
    assert_eq!("tls://h:6554".parse(), Ok(Target::Tls(server)));
    for (url, place, transport) in [
        ("http://localhost:6555/", "localhost:6555", Transport::Http),
        ("https://localhost:6555", "localhost:6555", Transport::Https),
        ("http+unix:/run/a.sock", "/run/a.sock", Transport::Unix),
        ("http+unix:///run/a.sock", "/run/a.sock", Transport::Unix),
    ] {
        let place = place.into();
        assert_eq!(url.parse(), Ok(Target::Http(HttpServer { place, transport })), "{url}");
    }
    let socket: Target = "unix:/run/a.sock".parse().unwrap();
    assert_eq!(socket.http_server(), Some(HttpServer::unix("/run/a.sock")));
    assert_eq!("tcp://a:1".parse::<Target>().unwrap().http_server(), None);
    for bad in [
        "",
        "localhost:1",
        "http://localhost",
        "http://:1",
        "tcp://a:99999",
        "ftp://a:1",
        "http+unix:",
    ] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
    // The scheme comes first: an address of another program may have no port.
    let refused = "ftp://x".parse::<Target>().unwrap_err();
    assert_eq!(refused, "\"ftp\" is not one of tcp, tls, http, https, unix, http+unix");
}

#[test]
fn a_user_is_found_in_the_authority_alone() {
    for url in ["http://me:pw@h:1", "https://me@h:1/", "tcp://a@b@c:1", "me:pw@h:1", "http://@h:1"] {
        assert!(has_user(url), "{url}");
    }
    for url in [
        "http://h:1",
        "http://h:1/a@b",
        "http://h:1?a=b@c",
        "unix:/run/a@b",
        "http+unix:/run/a@b",
        "unix:a://b@c",
        "",
    ] {
        assert!(!has_user(url), "{url}");
    }
}
