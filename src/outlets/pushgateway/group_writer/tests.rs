#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::exposition::catalog::Rules;
use crate::model::{AppName, Format, Origin, Timestamp, Update};
use crate::store::{EventOptions, Limits, Mode, PutOptions, open};
use crate::wire::pushgateway::SOURCE;

/// The JSON of a group as a tree of objects.
fn tree(app: &App) -> Value {
    let text = parsed_as_text(app);
    let time = |name: &str| gauge(&text, name).and_then(|sample| number(&sample)).unwrap_or(0.0);
    let mut value = Map::new();
    value.insert("labels".to_owned(), json!(group_labels(app, &text)));
    let succeeded = time(PUSH_FAILURE_TIME.0) <= time(PUSH_TIME.0);
    value.insert("last_push_successful".to_owned(), succeeded.into());
    // As at Pushgateway, a push that failed moves the time of its own gauge alone.
    let failed = push_time(&text, PUSH_FAILURE_TIME.0);
    let (pushed, failed) = (app.updated.and_then(rfc3339), app.updated.max(failed).and_then(rfc3339));
    for family in text.families().iter().filter(|family| family.samples > 0) {
        let mut facts = json!({
            "time_stamp": if text.text(family.name) == PUSH_FAILURE_TIME.0.as_bytes() { &failed } else { &pushed },
            "type": type_word(family.kind),
            "metrics": family_metrics(&text, family),
        });
        if let Some(help) = family.help() {
            facts["help"] = unescape(text.text(help)).into();
        }
        value.insert(unescape(text.text(family.name)), facts);
    }
    Value::Object(value)
}

/// The metrics of a family: one for each sample, and of a histogram or summary one for all samples with the same labels.
fn family_metrics(text: &Exposition, family: &Family) -> Vec<Value> {
    let (bound, values) = match family.kind {
        MetricType::Histogram => ("le", "buckets"),
        MetricType::Summary => ("quantile", "quantiles"),
        _ => {
            let metric = |sample: Sample<'_>| {
                let value = number(&sample).map_or_else(String::new, go_float);
                json!({ "labels": labels(&sample, None), "value": value })
            };
            return text.samples(family).map(metric).collect();
        }
    };
    let (mut metrics, mut places) = (Vec::<Value>::new(), HashMap::<BTreeMap<String, String>, usize>::new());
    let name = text.text(family.name);
    for sample in text.samples(family) {
        let labels = labels(&sample, Some(bound));
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            metrics.push(json!({ "labels": labels, "count": "0", "sum": "0", values: {} }));
            metrics.len() - 1
        });
        let Some(value) = number(&sample) else { continue };
        let metric = &mut metrics[place];
        match Suffix::between(name, sample.name) {
            Some(Suffix::Sum) => metric["sum"] = go_float(value).into(),
            Some(Suffix::Count) => metric["count"] = count(value).into(),
            _ => {
                let at = sample.labels.clone().find(|label| label.name == bound.as_bytes());
                let Some(at) = at.and_then(|label| float(label.value)) else {
                    continue;
                };
                let value = if bound == "le" { count(value) } else { go_float(value) };
                metric[values][go_float(at)] = value.into();
            }
        }
    }
    metrics
}

/// The group that a text makes.
fn app(text: String, syntax: Option<Syntax>, mode: Mode) -> Arc<App> {
    let (inlet, view) = open(Limits::default(), mode, EventOptions::default());
    let update = Update {
        app: AppName::new("pushgateway: job=\"x\"").unwrap(),
        body: text.into(),
        syntax,
        records: bytes::Bytes::new(),
        read: None,
        labels: [].into(),
        origin: Origin {
            source: SOURCE.into(),
            format: Format::Push,
        },
        at: Timestamp::from_millis(1_764_437_212_123),
    };
    inlet.put(update, PutOptions::WHOLE).unwrap();
    Arc::clone(&view.apps()[0])
}

/// The JSON of a group, in pieces of at least this many bytes.
fn pieces(app: &App, bytes: usize) -> Vec<u8> {
    let (mut writer, mut whole) = (GroupWriter::new(app), Vec::new());
    loop {
        let mut piece = Vec::new();
        let has_more = writer.write(&mut piece, bytes);
        assert!(!piece.is_empty(), "each piece has something");
        whole.extend_from_slice(&piece);
        if !has_more {
            return whole;
        }
    }
}

fn assert_same(app: &App) {
    let expected = tree(app).to_string();
    for bytes in [1, 7, 100, usize::MAX] {
        assert_eq!(
            String::from_utf8(pieces(app, bytes)).unwrap(),
            expected,
            "in pieces of {bytes} bytes"
        );
    }
}

#[test]
fn the_pieces_of_a_group_are_what_a_tree_gives() {
    let text = "# HELP a Some \\\\ \\n\"help\".\n# TYPE a counter\na{job=\"x\",instance=\"\",b=\"\\\"\\n\u{1}\u{202e}\"} 1500000\na{job=\"y\"} NaN\n\
        # TYPE h histogram\nh_bucket{l=\"1\",le=\"10\"} 1\nh_bucket{le=\"2\",l=\"2\"} 7\nh_bucket{l=\"1\",le=\"+Inf\"} 2\nh_sum{l=\"1\"} 3.5\nh_count{l=\"1\"} 2\n\
        h_bucket{l=\"2\",le=\"2.0\"} 8\nh_bucket{l=\"2\",le=\"-0\"} 1\nh_bucket{l=\"2\",le=\"0\"} 2.5\nh_count{l=\"3\"} 1e300\nother 1\nh_sum{l=\"2\"} -Inf\n\
        # TYPE s summary\ns{quantile=\"0.99\"} 1e-7\ns_sum 1000000\ns_count 3000000\ns{quantile=\"0.5\",l=\"2\"} 1\n\
        # TYPE last_push_successful gauge\nlast_push_successful 4\n# TYPE labels untyped\nlabels{a=\"b\"} 5\n{\"a name\",job=\"x\"} 1\n\
        # TYPE push_failure_time_seconds gauge\npush_failure_time_seconds{job=\"x\",instance=\"\"} 5\n\
        # TYPE push_time_seconds gauge\npush_time_seconds{job=\"x\",instance=\"\"} 4\n";
    for mode in [Mode::Merge(Rules::default()), Mode::Raw] {
        assert_same(&app(text.to_owned(), Some(Syntax::Text), mode));
    }
    let empty = app(String::new(), Some(Syntax::Text), Mode::Merge(Rules::default()));
    assert_same(&empty);
    let open_metrics =
        "# TYPE a counter\na_total{job=\"x\"} 1\n# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 1\ng_gcount 1\ng_gsum 2\n# EOF\n";
    assert_same(&app(
        open_metrics.to_owned(),
        Some(Syntax::OpenMetrics),
        Mode::Merge(Rules::default()),
    ));
}

/// A line of a family of one of three types.
fn line() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("NaN".to_owned()),
        Just("+Inf".to_owned()),
        Just("1e21".to_owned()),
        (-3_i32..40).prop_map(|n| n.to_string()),
        (0_i32..9).prop_map(|n| format!("{n}.50")),
    ];
    let family = prop_oneof![
        Just(("h_bucket", "le")),
        Just(("h_sum", "")),
        Just(("h_count", "")),
        Just(("s", "quantile")),
        Just(("s_sum", "")),
        Just(("labels", "")),
        Just(("c", "z")),
    ];
    (family, number.clone(), number, 0..3, 0..3).prop_map(|((name, label), at, value, one, two)| {
        let at = if label.is_empty() {
            String::new()
        } else {
            format!("{label}=\"{at}\",")
        };
        format!("{name}{{b=\"{one}\",{at}a=\"{two}\"}} {value}\n")
    })
}

proptest! {
    #[test]
    fn any_group_is_written_as_a_tree_of_it_is(lines in proptest::collection::vec(line(), 0..40)) {
        let text = format!("# TYPE h histogram\n# TYPE s summary\n# TYPE c gauge\n{}", lines.concat());
        assert_same(&app(text, Some(Syntax::Text), Mode::Raw));
    }
}
