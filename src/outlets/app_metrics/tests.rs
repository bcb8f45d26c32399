#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::exposition::catalog::{Duplicates, Rules};
use crate::model::{AppName, Format, Origin, Timestamp, Update};
use crate::store::{EventOptions, Inlet, Limits, Mode, PutOptions, open};

fn put(inlet: &Inlet, app: &str, at: i64, body: &'static str) {
    inlet
        .put(
            Update {
                app: AppName::new(app).unwrap(),
                body: Bytes::from_static(body.as_bytes()),
                syntax: None,
                records: Bytes::new(),
                read: None,
                labels: [].into(),
                origin: Origin {
                    source: "s".into(),
                    format: Format::Push,
                },
                at: Timestamp::from_millis(at),
            },
            PutOptions::PUSHED,
        )
        .unwrap();
}

fn text(own: &AppMetrics, view: &View) -> String {
    String::from_utf8(own.text(view).to_vec()).unwrap()
}

#[test]
fn what_is_prepared_follows_the_updates() {
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    let own = AppMetrics::default();
    assert_eq!(text(&own, &view), "");
    for at in [1_500, 2_007] {
        put(&inlet, "a\"b", at, "");
        assert!(!own.is_ready(&view));
    }
    let said = text(&own, &view);
    assert!(
        said.ends_with("\nexporter_proxy_app_last_update_timestamp_seconds{app=\"a\\\"b\",source=\"s\"} 2.007\n"),
        "{said}"
    );
    assert!(own.is_ready(&view));
    inlet.remove(&AppName::new("a\"b").unwrap(), Timestamp::from_millis(3_000));
    assert_eq!(text(&own, &view), "");
}

#[test]
fn faults_have_families_of_their_own() {
    let (inlet, view) = open(
        Limits::default(),
        Mode::Merge(Rules::new(None, Duplicates::Label, &[])),
        EventOptions::default(),
    );
    let own = AppMetrics::default();
    put(&inlet, "good", 1, "m 1\n");
    put(&inlet, "bad", 2, "n 1\nn{\n");
    put(&inlet, "spoiled", 2, "o 1 # {x=\"y\"} 1\n");
    let said = text(&own, &view);
    assert_eq!(said.matches("# TYPE").count(), 3, "{said}");
    assert!(said.contains("exporter_proxy_invalid_exemplars{app=\"spoiled\"} 1\n"), "{said}");
    assert!(said.contains("exporter_proxy_invalid_lines{app=\"bad\"} 1\n"), "{said}");
}

#[test]
fn a_push_makes_one_block_anew_and_any_change_shows() {
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    let own = AppMetrics::default();
    let name = |n: u64| format!("app{n}");
    (0..3 * BLOCK).for_each(|n| put(&inlet, &name(n), 1, ""));
    let before = own.chunks(&view);
    put(&inlet, &name(BLOCK + 1), 2, "");
    let after = own.chunks(&view);
    let same: Vec<_> = before.iter().zip(&after).map(|(one, other)| Arc::ptr_eq(one, other)).collect();
    assert_eq!(same, [true, true, false, true], "the header, then three blocks");
    // Whatever happens, what is kept is what would be written from nothing.
    for n in [0, BLOCK, 2 * BLOCK, 2 * BLOCK + 1] {
        inlet.remove(&AppName::new(&name(n)).unwrap(), Timestamp::from_millis(3));
        put(&inlet, &format!("late{n}"), 3, "");
        assert_eq!(text(&own, &view), text(&AppMetrics::default(), &view));
    }
    for n in 0..BLOCK {
        inlet.remove(&AppName::new(&name(n)).unwrap(), Timestamp::from_millis(4));
    }
    assert_eq!(text(&own, &view), text(&AppMetrics::default(), &view));
}

/// The samples of the messages, as OpenMetrics text.
fn messages(own: &AppMetrics, view: &View) -> String {
    let slices: Vec<Bytes> = own.messages(view).iter().flat_map(|chunk| chunk.text().to_vec()).collect();
    let decoded = protobuf::decode(&slices.concat(), usize::MAX).unwrap();
    String::from_utf8(decoded.text.to_vec()).unwrap()
}

#[test]
fn the_messages_have_what_the_text_has() {
    let (inlet, view) = open(
        Limits::default(),
        Mode::Merge(Rules::new(None, Duplicates::Label, &[])),
        EventOptions::default(),
    );
    let own = AppMetrics::default();
    let same = |after: &str| {
        let expected = text(&own, &view) + "# EOF\n";
        assert_eq!(messages(&own, &view), expected, "after {after}");
    };
    same("nothing");
    (0..2 * BLOCK + 1).for_each(|n| put(&inlet, &format!("app{n}"), 1_700_000_000_007, "m 1\n"));
    same("pushes of many apps");
    let before = own.messages(&view);
    put(&inlet, "app1", 1_700_000_001_251, "n 1\nn{\n");
    same("a push with a fault");
    let after = own.messages(&view);
    let kept = before
        .iter()
        .skip(1)
        .filter(|chunk| after.iter().any(|other| Arc::ptr_eq(chunk, other)))
        .count();
    assert_eq!(kept, 2, "of three blocks one is encoded again");
    inlet.remove(&AppName::new("app1").unwrap(), Timestamp::from_millis(1_700_000_002_000));
    same("a removal");
}
