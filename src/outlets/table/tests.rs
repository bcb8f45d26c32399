#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use proptest::prelude::*;
use tabled::builder::Builder;
use tabled::settings::Style;

use super::super::app_filter::with_states;
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
        rate: crate::store::UpdateRate::default(),
        fault: None,
        withdrawn: false,
        expires: true,
        expire_after: None,
    })
}

pub(in crate::outlets) fn present(moment: MonotonicTime) -> Present {
    Present {
        moment,
        expire_after: None,
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_653_263_512_939);

fn listed(apps: &[Arc<App>], present: Present) -> Vec<Listed> {
    with_states(apps.to_vec(), present)
}

/// The whole table.
fn draw(apps: &[Arc<App>], present: Present, notes: &[String]) -> String {
    draw_within(None, apps, present, notes)
}

fn draw_within(terminal: Option<usize>, apps: &[Arc<App>], present: Present, notes: &[String]) -> String {
    let listed = listed(apps, present);
    let (row, width) = draw_rows(&listed, terminal);
    let rows = String::from_utf8(row.concat()).unwrap();
    draw_head(width, NOW, AppCounts::of(&listed)) + &rows + &draw_end(width, notes)
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
    assert!(lines[2].starts_with("| 2 apps, 2 with faults, 2 series, 12 bytes "), "{drawn}");
    assert!(lines[5].starts_with("| | App Name | Last Update Time (UTC)"), "{drawn}");
    assert!(
        lines[7].contains("| foo      | 2022-05-22 23:51:07.406 UTC | 127.0.0.1:6554 | 1      | 6     | 1 line skipped (line 2,"),
        "{drawn}"
    );
    assert_eq!((lines.len(), lines[12]), (13, "note: bridge b: not reached"), "{drawn}");
    assert!(lines[..12].iter().all(|line| line.len() == lines[0].len()));
}

proptest! {
    #[test]
    fn it_is_drawn_as_the_library_draws_it(names in prop::collection::vec("[a-zäöü漢字\u{1F600} ]{1,12}", 0..5)) {
        let present = present(MonotonicTime::default());
        let apps: Vec<_> = names.iter().map(|name| app(name, Some(1))).collect();
        let mut rows = Builder::default();
        rows.push_record(HEADINGS);
        let listed = listed(&apps, present);
        listed.iter().for_each(|app| rows.push_record(cells(app)));
        let mut frame = Builder::default();
        frame.push_record([format!("Current time: {}\n{}", clock_time(NOW), summary(AppCounts::of(&listed)))]);
        frame.push_record([rows.build().with(Style::ascii()).to_string()]);
        let expected = frame.build().with(Style::ascii()).to_string() + "\n";
        prop_assert_eq!(draw(&apps, present, &[]), expected);
    }

    #[test]
    fn it_fits_a_terminal(name in "[a-z漢\u{1F600}\u{2764}\u{FE0F} ]{1,60}", source in "[a-z0-9:./]{1,100}", fault in "[a-z漢 ]{0,400}") {
        let mut wide = (*app(&name, Some(1))).clone();
        wide.origin.source = source.into();
        wide.fault = Some(fault.as_str().into());
        let drawn = draw_within(Some(TERMINAL), &[app("b", Some(1)), Arc::new(wide)], present(MonotonicTime::default()), &[]);
        let width = get_line_width(drawn.lines().next().unwrap());
        prop_assert!(width <= TERMINAL, "{}", drawn);
        for line in drawn.lines() {
            prop_assert_eq!(get_line_width(line), width, "{}", drawn);
        }
    }

    #[test]
    fn a_wrapped_text_loses_nothing_but_spaces(text in "[a-z漢 ]{0,100}", width in 1_usize..30) {
        let lines = wrapped(&text, width);
        let kept: String = lines.concat().split_whitespace().collect();
        prop_assert_eq!(kept, text.split_whitespace().collect::<String>());
        prop_assert!(lines.iter().all(|line| get_line_width(line) <= width.max(2)), "{:?}", lines);
    }
}

#[test]
fn json_carries_the_same_facts() {
    let (_, view) = crate::store::open(Limits::default(), Mode::Raw, crate::store::EventOptions::default());
    let six_minutes = view.moment(Timestamp::from_millis(400_000));
    let row = list(&listed(&[app("foo", Some(1_000)), app("bar", None)], present(six_minutes)));
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
    let json = String::from_utf8(list(&listed(&apps, present)).concat()).unwrap();
    assert!(json.contains("\"a\\u202eb\"") && !json.contains(crate::model::is_hidden), "{json}");
}

#[test]
fn a_long_name_uses_the_room_that_a_short_state_leaves() {
    let mut sound = (*app(&"n".repeat(50), Some(1))).clone();
    sound.text = Text::Read(Arc::new(Exposition::parse("a 1\n".into(), Syntax::Text)));
    let drawn = draw_within(Some(TERMINAL), &[Arc::new(sound)], present(MonotonicTime::default()), &[]);
    assert_eq!(get_line_width(drawn.lines().next().unwrap()), TERMINAL, "{drawn}");
}

#[test]
fn long_names_are_shortened_in_the_middle_and_faults_are_wrapped() {
    assert_eq!(shortened("payments-api-production-eu-west-1", 20), "payments-...u-west-1");
    assert_eq!(
        wrapped("poll failed: cannot connect to 10.0.0.1:9100", 20),
        ["poll failed: cannot", "connect to", "10.0.0.1:9100"]
    );
    assert_eq!(wrapped("漢字漢字", 3), ["漢", "字", "漢", "字"]);
    assert_eq!(wrapped("", 5), [""]);
}

#[test]
fn csv_quotes_texts_and_guards_formulas() {
    let rows = csv(
        &listed(&[app("=1+\"a\",b", Some(1))], present(MonotonicTime::default())),
        present(MonotonicTime::default()),
    );
    let text = String::from_utf8(rows.concat()).unwrap();
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("\"'=1+\"\"a\"\",b\",fault,\"1 line skipped (line 2, column 2: the value is missing)\",0,1,6,\"127.0.0.1:6554\",json,1970-01-01T"), "{line}");
}
