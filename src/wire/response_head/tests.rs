use proptest::prelude::*;

use super::*;

fn spelled(head: &str) -> String {
    String::from_utf8_lossy(&normalized(head.as_bytes())).into_owned()
}

#[test]
fn what_go_takes_is_made_strict() {
    for (head, expected) in [
        ("HTTP/1.1 200 OK\r\nA: b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        ("HTTP/1.1 200 OK\nA: b\n\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\nX-Info : a\r\nB\t: c\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-Info: a\r\nB: c\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nX-Long: b \r\n c\r\n\td\r\nY: e\r\n\r\n",
            "HTTP/1.1 200 OK\r\nX-Long: b c d\r\nY: e\r\n\r\n",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length :  \r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length:\r\n 4\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n",
        ),
        ("HTTP/1.1 200 OK\r\nMy Own Header: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        ),
        (
            "HTTP/1.1 200 OK\r\nno colon\r\nb@d: x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\nb@d: x\r\n\r\n",
        ),
        ("\r\n\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "SSH-2.0-OpenSSH\r\n\r\n"),
    ] {
        assert_eq!(spelled(head), expected, "{head:?}");
        assert_eq!(end_of_head(head.as_bytes()), Some(head.len()), "{head:?}");
    }
}

#[test]
fn interim_responses_are_followed_by_another() {
    for (head, interim) in [
        ("HTTP/1.1 100 Continue\r\n\r\n", true),
        ("\r\nHTTP/1.1 103 Early Hints\r\n\r\n", true),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n\r\n", false),
        ("HTTP/1.1", false),
        ("", false),
    ] {
        assert_eq!(is_interim(head.as_bytes()), interim, "{head:?}");
    }
}

proptest! {
    #[test]
    fn a_normalized_head_stays_as_it_is(head in "HTTP/1.[01] 200( OK)?\r\n([A-Za-z -]{0,14}[ \t]?:[ \ta-z0-9]{0,6}\r?\n([ \t][a-z ]{0,4}\r\n)?){0,5}\r\n") {
        let once = normalized(head.as_bytes());
        prop_assert_eq!(normalized(&once), once.clone());
        prop_assert_eq!(end_of_head(&once), Some(once.len()));
    }

    #[test]
    fn nothing_breaks_it(head in prop::collection::vec(prop::sample::select(&b"HT/1.0 :\r\n\tAab\0\xff"[..]), 0..80)) {
        let once = normalized(&head);
        prop_assert!(once.ends_with(b"\r\n"));
        prop_assert_eq!(normalized(&once), once);
    }
}
