#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::*;
use crate::exposition::Exposition;
use crate::model::{AppName, Format, Origin, Syntax};
use crate::store::{Limits, Mode, Text};

pub(in crate::outlets) fn app(name: &str, updated: Option<i64>) -> Arc<App> {
    Arc::new(App {
        name: AppName::new(name).unwrap(),
        order: 0,
        changed: 0,
        origin: Origin {
            source: "127.0.0.1:6554".into(),
            format: Format::Json,
        },
        text: Text::Read(Arc::new(Exposition::parse("a 1\nb\n".into(), Syntax::Text))),
        labels: [].into(),
        conflicts: Arc::default(),
        duplicates: 0,
        outdated: false,
        first_seen: Timestamp::from_millis(0),
        updated: updated.map(Timestamp::from_millis),
        refreshed: MonotonicTime::default(),
        fault: None,
        withdrawn: false,
        expires: true,
    })
}

pub(in crate::outlets) fn present(moment: MonotonicTime) -> Present {
    Present {
        moment,
        expire_after: None,
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_653_263_512_939);

/// The whole table.
fn draw(apps: &[Arc<App>], present: Present, notes: &[String]) -> String {
    let (row, width) = draw_rows(apps, present);
    let rows = String::from_utf8(row.concat()).unwrap();
    draw_head(width, NOW) + &rows + &draw_end(width, notes)
}

#[test]
fn the_table_stands_in_a_frame_with_the_time_above() {
    let drawn = draw(
        &[app("foo", Some(1_653_263_467_406)), app("bar", None)],
        present(MonotonicTime::default()),
        &["bridge b: not reached".to_owned()],
    );
    let lines: Vec<&str> = drawn.lines().collect();
    assert!(lines[1].starts_with("| Current time: 2022-05-22 23:51:52.939 UTC "), "{drawn}");
    assert!(lines[4].starts_with("| | App Name | Last Update Time (UTC)"), "{drawn}");
    assert!(
        lines[6].contains("| foo      | 2022-05-22 23:51:07.406 UTC | 127.0.0.1:6554 | 1      | 6     | 1 line skipped (line 2,"),
        "{drawn}"
    );
    assert_eq!((lines.len(), lines[11]), (12, "note: bridge b: not reached"), "{drawn}");
    assert!(lines[..11].iter().all(|line| line.len() == lines[0].len()));
}

proptest! {
    #[test]
    fn it_is_drawn_as_the_library_draws_it(names in prop::collection::vec("[a-zäöü漢字\u{1F600} ]{1,12}", 0..5)) {
        let present = present(MonotonicTime::default());
        let apps: Vec<_> = names.iter().map(|name| app(name, Some(1))).collect();
        let mut rows = Builder::default();
        rows.push_record(HEADINGS);
        apps.iter().for_each(|app| rows.push_record(cells(app, present)));
        let mut frame = Builder::default();
        frame.push_record([format!("Current time: {}", clock_time(NOW))]);
        frame.push_record([rows.build().with(Style::ascii()).to_string()]);
        let expected = frame.build().with(Style::ascii()).to_string() + "\n";
        prop_assert_eq!(draw(&apps, present, &[]), expected);
    }
}

#[test]
fn json_carries_the_same_facts() {
    let (_, view) = crate::store::open(Limits::default(), Mode::Raw, crate::store::EventOptions::default());
    let six_minutes = view.moment(Timestamp::from_millis(400_000));
    let row = list(&[app("foo", Some(1_000)), app("bar", None)], present(six_minutes));
    let apps: Value = serde_json::from_slice(&[&b"["[..], &row.concat(), b"]"].concat()).unwrap();
    assert_eq!(apps[0]["status"], "stale");
    assert_eq!(
        apps[0]["detail"],
        "stale 6m; 1 line skipped (line 2, column 2: the value is missing)"
    );
    assert_eq!((&apps[0]["series"], &apps[0]["families"]), (&json!(1), &json!(1)));
    assert_eq!(apps[0]["last_update"], "1970-01-01T00:00:01.000Z");
    assert_eq!(apps[1]["name"], "bar");
}

#[test]
fn a_name_cannot_change_how_a_terminal_shows_the_table() {
    let present = present(MonotonicTime::default());
    let apps = [app("a\u{202e}b", Some(1))];
    let drawn = draw(&apps, present, &["x\u{9b}2J".to_owned()]);
    assert!(drawn.contains("| a\\u{202e}b |") && drawn.contains("note: x\\u{9b}2J"), "{drawn}");
    let listed = String::from_utf8(list(&apps, present).concat()).unwrap();
    assert!(
        listed.contains("\"a\\u202eb\"") && !listed.contains(crate::model::is_hidden),
        "{listed}"
    );
}
