#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

#[test]
fn targets_are_parsed_by_scheme() {
    assert_eq!("unix:/run/a.sock".parse(), Ok(Target::Unix("/run/a.sock".into())));
    assert_eq!("unix:///run/a.sock".parse(), Ok(Target::Unix("/run/a.sock".into())));
    assert_eq!("unix:".parse(), Ok(Target::UsualUnix));
    assert_eq!("tcp://[::1]:6554".parse(), Ok(Target::Tcp("[::1]:6554".into())));
    let server = HttpServer {
        authority: "h:6554".into(),
        https: true,
    };
    assert_eq!("tls://h:6554".parse(), Ok(Target::Tls(server)));
    for (url, https) in [("http://localhost:6555/", false), ("https://localhost:6555", true)] {
        let authority = "localhost:6555".into();
        assert_eq!(url.parse(), Ok(Target::Http(HttpServer { authority, https })));
    }
    for bad in ["", "localhost:1", "http://localhost", "http://:1", "tcp://a:99999", "ftp://a:1"] {
        assert!(bad.parse::<Target>().is_err(), "{bad}");
    }
}
