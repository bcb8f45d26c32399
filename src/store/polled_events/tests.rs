#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;
use crate::model::{AppName, Format, Origin};
use proptest::prelude::*;

fn update(body: &str, syntax: Option<Syntax>, labels: &[(&str, &str)]) -> Update {
    Update {
        app: AppName::new("a").unwrap(),
        body: Bytes::copy_from_slice(body.as_bytes()),
        syntax,
        records: Bytes::new(),
        read: None,
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        origin: Origin {
            source: "s".into(),
            format: Format::Poll,
        },
        at: Timestamp::default(),
    }
}

fn usual() -> EventFamilies {
    EventFamilies::Usual { own: "own".into() }
}

fn named(names: &[&str]) -> EventFamilies {
    EventFamilies::Named(names.iter().map(|name| (*name).into()).collect())
}

/// The rest of a text, the events as `LABELS VALUE STAMP`, and the number of refused samples.
fn taken(update: &mut Update, families: &EventFamilies) -> (String, Vec<String>, u64) {
    let found = take_events(update, families);
    let show = |event: &PolledEvent| {
        let stamp = event.stamp.map(|stamp| format!(" {}", stamp.as_millis())).unwrap_or_default();
        format!("{} {}{stamp}", event.event.labels.as_str(), event.event.value)
    };
    let rest = String::from_utf8(update.body.to_vec()).unwrap();
    (
        rest,
        found.events.iter().map(show).collect(),
        found.refused.map_or(0, |(count, _)| count),
    )
}

#[test]
fn events_leave_the_text_and_everything_else_stays() {
    let text = "# HELP a x\na 1\n# HELP events_to_metrics One-shot.\n# TYPE events_to_metrics gauge\n\
                events_to_metrics{b=\"x\\\"y\\\\z\\n\",a=\"C:\\\\Users\"} 1.5\nevents_to_metrics -Inf\n\
                # TYPE events_to_metrics_event_count counter\nevents_to_metrics_event_count 2\n";
    let (rest, events, refused) = taken(&mut update(text, None, &[]), &usual());
    assert_eq!(
        rest,
        "# HELP a x\na 1\n# TYPE events_to_metrics_event_count counter\nevents_to_metrics_event_count 2\n"
    );
    assert_eq!(events, ["a=\"C:\\\\Users\",b=\"x\\\"y\\\\z\\n\" 1.5", " -inf"]);
    assert_eq!(refused, 0);
    let read = |text: &str| unescaped(text.as_bytes()).unwrap();
    assert_eq!(read(r#"\\\"\n"#), "\\\"\n");
    assert_eq!(read(r"C:\Users\"), r"C:\Users\", "other escapes stand for themselves");
}

#[test]
fn a_text_without_events_is_not_touched() {
    for text in [
        "",
        "a 1",
        "events_to_metrics_event_count 2\n",
        "x{a=\"events_to_metrics 1\"} 1\nown 1\n",
    ] {
        let mut unchanged = update(text, None, &[]);
        let before = unchanged.body.clone();
        assert_eq!(take_events(&mut unchanged, &usual()), PolledEvents::default());
        assert_eq!(unchanged.body.as_ptr(), before.as_ptr(), "{text}");
    }
}

#[test]
fn several_points_of_a_series_are_several_events_in_the_order_of_their_times() {
    let text = "events_to_metrics{k=\"b\"} 3 30\nevents_to_metrics{k=\"a\"} 1 10\nevents_to_metrics{k=\"a\"} 2 20\n";
    let (rest, events, _) = taken(&mut update(text, Some(Syntax::Text), &[]), &usual());
    assert_eq!((rest.as_str(), events.len()), ("", 3));
    assert_eq!(events, ["k=\"a\" 1 10", "k=\"a\" 2 20", "k=\"b\" 3 30"]);
    let text = "# TYPE events_to_metrics gauge\nevents_to_metrics{k=\"a\"} 1.0 1700000000.123\n# EOF\n";
    for syntax in [None, Some(Syntax::OpenMetrics)] {
        let mut polled = update(text, syntax, &[]);
        let (rest, events, _) = taken(&mut polled, &usual());
        assert_eq!((rest.as_str(), polled.syntax), ("# EOF\n", Some(Syntax::OpenMetrics)));
        assert_eq!(events, ["k=\"a\" 1 1700000000123"]);
    }
}

#[test]
fn which_families_are_events() {
    let text = "events_to_metrics_event_count 1\nown{a=\"1\"} 1\nother{a=\"1\"} 1\n";
    assert_eq!(taken(&mut update(text, None, &[]), &usual()).1, ["a=\"1\" 1"]);
    let all = named(&["own", "other"]);
    let expected = ["a=\"1\",family=\"own\" 1", "a=\"1\",family=\"other\" 1"];
    assert_eq!(taken(&mut update(text, None, &[]), &all).1, expected);
    assert_eq!(taken(&mut update(text, None, &[]), &named(&["other"])).1, ["a=\"1\" 1"]);
    let text = "events_to_metrics 1\n";
    assert_eq!(
        taken(&mut update(text, None, &[]), &named(&[])).0,
        text,
        "an empty list: none are events"
    );
    let (rest, events, _) = taken(&mut update("# TYPE \"e\" gauge\n { \"e\",a=\"1\"} 1\n", None, &[]), &named(&["e"]));
    assert_eq!((rest.as_str(), &*events[0]), ("", "a=\"1\" 1"));
}

#[test]
fn an_endpoints_labels_are_added_and_empty_ones_are_none() {
    let text = "events_to_metrics{site=\"own\",gone=\"\"} 1\n";
    let labels = [("site", "north"), ("zone", "z")];
    assert_eq!(taken(&mut update(text, None, &labels), &usual()).1, ["site=\"own\",zone=\"z\" 1"]);
}

#[test]
fn what_cannot_be_an_event_is_counted_and_does_not_stand_either() {
    let text = "events_to_metrics{__x=\"1\"} 1\nevents_to_metrics{\"a b\"=\"1\"} 1\nevents_to_metrics x\nevents_to_metrics 0x1p3\n\
                events_to_metrics{a=\"1\"} 1";
    let mut polled = update(text, None, &[]);
    let found = take_events(&mut polled, &usual());
    assert_eq!((polled.body.len(), found.events.len()), (0, 1));
    let (count, first) = found.refused.unwrap();
    assert_eq!(count, 4);
    assert!(first.contains("\"__x\""), "{first}");
}

proptest! {
    #[test]
    fn lines_of_other_families_stay_in_their_order(lines in prop::collection::vec("a 1|events_to_metrics 1|# TYPE events_to_metrics gauge||\t#x| b 2", 0..20), newline: bool) {
        let mut text = lines.join("\n");
        if newline {
            text.push('\n');
        }
        let others: Vec<&str> = text.split_inclusive('\n').filter(|line| !line.contains("events_to_metrics")).collect();
        let (rest, events, refused) = taken(&mut update(&text, None, &[]), &usual());
        prop_assert_eq!(rest, others.concat());
        prop_assert_eq!((events.len(), refused), (lines.iter().filter(|line| *line == "events_to_metrics 1").count(), 0));
    }

    #[test]
    fn no_text_panics(text in "\\PC{0,80}", tail in "[{}\"a=, \\\\#\n0-9]{0,40}") {
        let _ = take_events(&mut update(&format!("{text}\nevents_to_metrics{tail}"), None, &[("l", "v")]), &usual());
    }
}
