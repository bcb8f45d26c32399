#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::wire::monitoring::UpstreamMessage;

fn written(event: ProxyEvent<'_>) -> String {
    let own = ProxyMessage {
        at: Timestamp::from_millis(1_795_265_602_482),
        proxy: "host",
        seq: 17,
        event,
    };
    let mut out = Vec::new();
    own.write(&mut out);
    assert!(UpstreamMessage::read(&out).unwrap().topic.is_some());
    String::from_utf8(out).unwrap()
}

const HEAD: &str = r#"{"event":{"timestamp":"2026-11-21T12:53:22.482000000Z","peer":"host","seq":17,"monitor":"host","#;

#[test]
fn golden_bytes() {
    let labels: [LabelPair; 2] = [("b".into(), "1\"".into()), ("a".into(), "ö".into())];
    let update = |families, series| ProxyEvent::AppUpdate {
        app: "foo",
        source: "127.0.0.1:6554",
        families,
        series,
        bytes: 1024,
    };
    let one_shot = |value| ProxyEvent::OneShot {
        metric: "events_to_metrics",
        labels: &labels,
        value,
    };
    for (event, tail) in [
        (
            update(Some(3), Some(12)),
            r#""app_update":{"app":"foo","source":"127.0.0.1:6554","families":3,"series":12,"bytes":1024}"#,
        ),
        (
            update(None, None),
            r#""app_update":{"app":"foo","source":"127.0.0.1:6554","bytes":1024}"#,
        ),
        (ProxyEvent::AppExpired { app: "a\"b" }, r#""app_expired":{"app":"a\"b"}"#),
        (
            one_shot(1.0),
            r#""one_shot":{"metric":"events_to_metrics","labels":{"b":"1\"","a":"ö"},"value":1.0}"#,
        ),
        (
            one_shot(f64::INFINITY),
            r#""one_shot":{"metric":"events_to_metrics","labels":{"b":"1\"","a":"ö"},"value":"+Inf"}"#,
        ),
        (
            ProxyEvent::Poll {
                endpoint: "e",
                up: true,
                seconds: 0.012,
            },
            r#""poll":{"endpoint":"e","up":true,"seconds":0.012}"#,
        ),
    ] {
        assert_eq!(written(event), format!("{HEAD}{tail}}}}}\n"));
    }
}

#[test]
fn what_was_heard_gets_its_number() {
    let mut out = Vec::new();
    ProxyMessage::write_relayed(3, br#"{"peer":"p"}"#, &mut out);
    assert_eq!(out, b"{\"event\":{\"seq\":3,\"peer\":\"p\"}}\n");
}
