#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::app_name::{AppName, LabelPair};
use crate::catalog::{Catalog, Duplicates, Rules, Selection, Update, render_single};
use crate::gzip::{self, Compressor};
use crate::index::{EarlyTimes, Exposition};
use crate::negotiate::{Escaping, Format};
use crate::protobuf::tests::{Message, contradicting, family_of, histogram_of, native};
use crate::protobuf::{self, MessageType, field};
use crate::render::OutputFormat;
use crate::syntax::Syntax;

fn protobuf() -> OutputFormat {
    Format::Protobuf(Some(Escaping::AllowUtf8)).into()
}

fn read(body: &[u8]) -> Exposition {
    let decoded = protobuf::decode(body, 1 << 24).unwrap();
    Exposition::parse(decoded.text, Syntax::OpenMetrics).with_records(decoded.records)
}

fn text(body: &str) -> Exposition {
    Exposition::parse(Bytes::copy_from_slice(body.as_bytes()), Syntax::Text)
}

fn push(catalog: &mut Catalog, app: &str, exposition: Exposition) {
    let labels: Arc<[LabelPair]> = Arc::new([]);
    let update = Update::new(catalog.rules(), &AppName::new(app).unwrap(), &labels, Arc::new(exposition));
    catalog.update(update);
    catalog.check_invariants();
}

fn shown(catalog: &mut Catalog, variant: OutputFormat) -> Vec<u8> {
    let exposed = catalog.plan(variant, Selection::Everything).render();
    let chunks = exposed.chunks().iter().cloned().chain(exposed.tail(None));
    chunks.flat_map(|chunk| chunk.text().concat()).collect()
}

fn labelled(label: &str, value: &str) -> Message {
    Message::new().label(label, value).bytes_of(&histogram_of(&native()))
}

const HISTOGRAM: MessageType = MessageType::Histogram;

#[test]
fn a_native_histogram_goes_out_as_it_came() {
    let mut catalog = Catalog::new(Rules::default());
    let body = family_of("latency", HISTOGRAM, &[labelled("path", "/"), histogram_of(&native())]);
    push(&mut catalog, "app", read(&body));
    assert_eq!(shown(&mut catalog, protobuf()), body);
    let one = render_single(catalog.exposition("app").unwrap(), protobuf());
    let bytes: Vec<u8> = one.chunks().iter().flat_map(|chunk| chunk.text().concat()).collect();
    assert_eq!(bytes, body, "of one app alone");
    let text = String::from_utf8(shown(&mut catalog, Format::Text004.into())).unwrap();
    assert!(
        text.starts_with("# TYPE latency histogram\nlatency_bucket{path=\"/\",le=\"+Inf\"} 3\n"),
        "{text}"
    );
}

#[test]
fn a_creation_time_stays_in_its_record() {
    let mut catalog = Catalog::new(Rules::default());
    let created = native().inside(field::histogram::CREATED, &protobuf::tests::time(1_700_000_000, 5));
    let body = family_of("latency", HISTOGRAM, &[histogram_of(&created)]);
    push(&mut catalog, "a", read(&body));
    assert_eq!(shown(&mut catalog, protobuf()), body);
    // And with a family of the same name in another app.
    let other = family_of("latency", HISTOGRAM, &[labelled("i", "1")]);
    push(&mut catalog, "b", read(&other));
    let both = family_of("latency", HISTOGRAM, &[histogram_of(&created), labelled("i", "1")]);
    assert_eq!(shown(&mut catalog, protobuf()), both);
}

#[test]
fn a_family_of_several_apps_is_one_message() {
    let mut catalog = Catalog::new(Rules::default());
    push(&mut catalog, "a", read(&family_of("latency", HISTOGRAM, &[labelled("i", "1")])));
    push(&mut catalog, "b", read(&family_of("latency", HISTOGRAM, &[labelled("i", "2")])));
    // A classic one from text.
    push(
        &mut catalog,
        "c",
        text(
            "# HELP latency Of c.\n# TYPE latency histogram\nlatency_bucket{i=\"3\",le=\"+Inf\"} 1\nlatency_sum{i=\"3\"} 2\nlatency_count{i=\"3\"} 1\n",
        ),
    );
    let both = shown(&mut catalog, protobuf());
    let classic = histogram_of(
        &Message::new()
            .number(field::histogram::COUNT, 1)
            .double(field::histogram::SUM, 2.0)
            .inside(
                field::histogram::BUCKET,
                &Message::new()
                    .number(field::bucket::COUNT, 1)
                    .double(field::bucket::BOUND, f64::INFINITY),
            ),
    );
    let classic = Message::new().label("i", "3").bytes_of(&classic);
    let head = Message::new()
        .bytes(field::family::NAME, "latency")
        .bytes(field::family::HELP, "Of c.")
        .number(field::family::TYPE, HISTOGRAM as u64);
    let metrics = [labelled("i", "1"), labelled("i", "2"), classic];
    let expected = metrics.iter().fold(head, |it, metric| it.inside(field::family::METRIC, metric));
    assert_eq!(both, expected.delimited());
}

#[test]
fn the_same_series_of_two_apps_get_the_label_and_an_app_label_goes_into_each_metric() {
    for rules in [Rules::default(), Rules::new(Some("app"), Duplicates::Label, &[])] {
        let mut catalog = Catalog::new(rules);
        for app in ["a", "b"] {
            push(&mut catalog, app, read(&family_of("latency", HISTOGRAM, &[labelled("i", "1")])));
        }
        let expected = ["a", "b"].map(|app| {
            let labels = Message::new().label("i", "1").label("app", app);
            labels.bytes_of(&histogram_of(&native()))
        });
        assert_eq!(shown(&mut catalog, protobuf()), family_of("latency", HISTOGRAM, &expected));
    }
}

#[test]
fn the_newest_of_the_same_series_stands_alone_where_it_is_to() {
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Latest, &[]));
    push(
        &mut catalog,
        "a",
        read(&family_of("latency", HISTOGRAM, &[labelled("i", "1"), labelled("i", "2")])),
    );
    push(&mut catalog, "b", read(&family_of("latency", HISTOGRAM, &[labelled("i", "1")])));
    let expected = family_of("latency", HISTOGRAM, &[labelled("i", "2"), labelled("i", "1")]);
    assert_eq!(shown(&mut catalog, protobuf()), expected);
}

#[test]
fn a_newer_sample_of_a_type_in_conflict_leaves_the_other_samples_of_the_group() {
    let cases = [
        // A sample without suffix does not belong to the histogram, though its labels are the same.
        (
            "# TYPE x histogram\nx_bucket{n=\"0\",le=\"+Inf\"} 3\nx_sum{n=\"0\"} 9\nx_count{n=\"0\"} 3\nx{n=\"0\"} 1\n",
            "# TYPE x gauge\nx{n=\"0\"} 2\n",
            &[
                "x_bucket{n=\"0\",le=\"+Inf\"} 3",
                "x_count{n=\"0\"} 3",
                "x_sum{n=\"0\"} 9",
                "x{n=\"0\"} 2",
            ][..],
        ),
        (
            "# TYPE x summary\nx{quantile=\"0.5\"} 1\nx{quantile=\"1\"} 4\n",
            "# TYPE x gauge\nx{quantile=\"0.5\"} 2\n",
            &["x{quantile=\"0.5\"} 2", "x{quantile=\"1\"} 4"][..],
        ),
    ];
    for (older, newer, expected) in cases {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Latest, &[]));
        push(&mut catalog, "a", text(older));
        push(&mut catalog, "b", text(newer));
        let body = shown(&mut catalog, protobuf());
        let decoded = protobuf::decode(&body, 1 << 20).unwrap().text;
        let shown = String::from_utf8(decoded.to_vec())
            .unwrap()
            .replace("1.0\"", "1\"")
            .replace(".0\n", "\n");
        let mut lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected, "{shown}");
    }
}

/// The samples of a protobuf response in alphabetical order, as text.
fn decoded_samples(body: &[u8]) -> Vec<String> {
    let decoded = protobuf::decode(body, 1 << 20).unwrap().text;
    let text = String::from_utf8(decoded.to_vec()).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn a_newer_sample_of_a_native_histogram_in_conflict_leaves_its_other_samples() {
    for (name, others) in [
        ("x_count", ["x_bucket{i=\"1\",le=\"+Inf\"} 3", "x_sum{i=\"1\"} 4.5"]),
        ("x_sum", ["x_bucket{i=\"1\",le=\"+Inf\"} 3", "x_count{i=\"1\"} 3"]),
    ] {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Latest, &[]));
        let two = [labelled("i", "1"), labelled("i", "2")];
        push(&mut catalog, "a", read(&family_of("x", HISTOGRAM, &two)));
        push(&mut catalog, "b", text(&format!("# TYPE {name} gauge\n{name}{{i=\"1\"}} 9\n")));
        let body = shown(&mut catalog, protobuf());
        let whole = family_of("x", HISTOGRAM, &two[1..]);
        assert!(memchr::memmem::find(&body, &whole).is_some(), "the other one stays whole");
        let newer = format!("{name}{{i=\"1\"}} 9");
        let mut expected: Vec<&str> = vec![
            "x_bucket{i=\"2\",le=\"+Inf\"} 3",
            "x_count{i=\"2\"} 3",
            "x_sum{i=\"2\"} 4.5",
            &newer,
        ];
        expected.extend(others);
        expected.sort_unstable();
        assert_eq!(decoded_samples(&body), expected);
        let text = String::from_utf8(shown(&mut catalog, Format::Text004.into())).unwrap();
        let mut lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        lines.sort_unstable();
        assert_eq!(lines, expected, "as in text");
        // Without the newer one all of it comes back.
        catalog.remove("b");
        assert_eq!(shown(&mut catalog, protobuf()), family_of("x", HISTOGRAM, &two));
    }
}

#[test]
fn bodies_that_give_a_name_several_types_go_out_once_beside_each_other() {
    let kinds = [
        MessageType::Gauge,
        MessageType::Untyped,
        MessageType::Summary,
        MessageType::Histogram,
    ];
    let series = |lines: &[String]| -> Vec<String> {
        let all = lines
            .iter()
            .map(|line| line.rsplit_once(' ').unwrap().0.replace("app=\"a\"", "").replace("app=\"b\"", ""));
        let mut all: Vec<String> = all
            .map(|series| {
                series
                    .replace(",,", ",")
                    .replace(",}", "}")
                    .replace("{}", "")
                    .replace("1.0\"", "1\"")
            })
            .collect();
        all.sort_unstable();
        all
    };
    let samples = |text: Vec<u8>| -> Vec<String> {
        let text = String::from_utf8(text).unwrap();
        text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    for (first, second) in kinds
        .into_iter()
        .flat_map(|first| kinds.map(|second| (first, second)))
        .filter(|(one, other)| one != other)
    {
        let body = || read(&contradicting(first, second));
        let others = [
            body(),
            read(&contradicting(second, first)),
            text("# TYPE x gauge\nx{a=\"1\"} 7\n"),
            text("# TYPE x gauge\nx{a=\"2\"} 7\n"),
            text("# TYPE x_count gauge\nx_count{a=\"1\"} 7\n"),
            text("# TYPE x_sum gauge\nx_sum{a=\"2\"} 7\n"),
            text("# TYPE x_bucket gauge\nx_bucket{a=\"1\",le=\"+Inf\"} 7\nx_bucket{a=\"2\",le=\"+Inf\"} 7\n"),
        ];
        for (other, duplicates) in others
            .into_iter()
            .flat_map(|other| [Duplicates::Latest, Duplicates::Label].map(|it| (other.clone(), it)))
        {
            let mut catalog = Catalog::new(Rules::new(None, duplicates, &[]));
            let what = format!("{first:?}, {second:?} {duplicates:?} {}", String::from_utf8_lossy(other.body()));
            push(&mut catalog, "a", body());
            shown(&mut catalog, protobuf());
            push(&mut catalog, "b", other);
            let lines = decoded_samples(&shown(&mut catalog, protobuf()));
            let in_text = samples(shown(&mut catalog, Format::Text100(Escaping::AllowUtf8).into()));
            assert_eq!(series(&lines), series(&in_text), "{what}");
            let mut unique: Vec<&str> = lines.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
            unique.dedup();
            assert_eq!(unique.len(), lines.len(), "{what}: {lines:#?}");
            // As if it had been rendered now.
            drop(catalog.evict(protobuf()));
            assert_eq!(decoded_samples(&shown(&mut catalog, protobuf())), lines, "{what}");
        }
    }
}

#[test]
fn a_creation_time_out_of_a_group_in_conflict_is_compared_with_creation_times() {
    let group = "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 1\nx_count 1\nx_sum 1\nx_created 1700000000\nx 5\n# EOF\n";
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Latest, &[]));
    push(
        &mut catalog,
        "a",
        Exposition::parse(Bytes::from_static(group.as_bytes()), Syntax::OpenMetrics),
    );
    push(&mut catalog, "b", text("# TYPE x gauge\nx 2\n"));
    let mut expected = ["x 2", "x_bucket{le=\"+Inf\"} 1", "x_count 1", "x_created 1700000000", "x_sum 1"];
    assert_eq!(decoded_samples(&shown(&mut catalog, protobuf())), expected);
    push(&mut catalog, "c", text("# TYPE x_created gauge\nx_created 1800000000\n"));
    expected[3] = "x_created 1800000000";
    assert_eq!(decoded_samples(&shown(&mut catalog, protobuf())), expected);
}

#[test]
fn in_a_conflict_each_type_has_a_message_and_a_native_histogram_stays_whole() {
    let mut catalog = Catalog::new(Rules::default());
    push(&mut catalog, "a", read(&family_of("x", HISTOGRAM, &[labelled("i", "1")])));
    push(
        &mut catalog,
        "b",
        text("# TYPE x summary\nx{i=\"2\",quantile=\"0.5\"} 1\nx_sum{i=\"2\"} 2\nx_count{i=\"2\"} 3\n"),
    );
    push(&mut catalog, "c", text("# TYPE x gauge\nx{i=\"3\"} 1\n"));
    let body = shown(&mut catalog, protobuf());
    let native = family_of("x", HISTOGRAM, &[labelled("i", "1")]);
    assert!(memchr::memmem::find(&body, &native).is_some(), "whole");
    let kinds = message_heads(&body);
    assert_eq!(
        kinds,
        [
            ("x".to_owned(), MessageType::Gauge),
            ("x".to_owned(), HISTOGRAM),
            ("x".to_owned(), MessageType::Summary)
        ]
    );
    // And back: with the conflict over, nothing of it stays.
    catalog.remove("b");
    catalog.remove("c");
    catalog.check_invariants();
    assert_eq!(shown(&mut catalog, protobuf()), native);
}

/// The names and types of a body's messages.
fn message_heads(body: &[u8]) -> Vec<(String, MessageType)> {
    let mut messages = protobuf::wire::Fields::new(body, 0..body.len());
    let mut heads = Vec::new();
    while !messages.is_empty() {
        let mut fields = protobuf::wire::Fields::new(body, messages.delimited().unwrap());
        let (mut name, mut kind) = (String::new(), None);
        while let Some(field) = fields.next().unwrap() {
            match field.number {
                field::family::NAME => name = String::from_utf8(body[field.bytes().unwrap()].to_vec()).unwrap(),
                field::family::TYPE => kind = MessageType::from_number(field.varint().unwrap()),
                _ => {}
            }
        }
        heads.push((name, kind.unwrap()));
    }
    heads
}

#[test]
fn gauge_histograms_and_messages_of_one_name_and_several_types_go_out_as_they_came() {
    let mut catalog = Catalog::new(Rules::default());
    let gauge = family_of("g", MessageType::GaugeHistogram, &[labelled("i", "1")]);
    let mut twice = family_of("x", HISTOGRAM, &[labelled("i", "2")]);
    twice.extend(family_of(
        "x",
        MessageType::Gauge,
        &[Message::new()
            .label("i", "3")
            .inside(field::metric::GAUGE, &Message::new().double(1, 7.0))],
    ));
    push(&mut catalog, "a", read(&[gauge.clone(), twice.clone()].concat()));
    let body = shown(&mut catalog, protobuf());
    let heads = message_heads(&body);
    assert_eq!(heads.len(), 3, "{heads:?}");
    for message in [&gauge, &twice[..family_of("x", HISTOGRAM, &[labelled("i", "2")]).len()].to_vec()] {
        assert!(memchr::memmem::find(&body, message).is_some(), "{heads:?}");
    }
    // Shared with another app they stay what they are.
    push(&mut catalog, "b", read(&[gauge, twice].concat()));
    let mut heads = message_heads(&shown(&mut catalog, protobuf()));
    heads.sort();
    let x = || "x".to_owned();
    assert_eq!(
        heads,
        [
            ("g".to_owned(), MessageType::GaugeHistogram),
            (x(), MessageType::Gauge),
            (x(), HISTOGRAM)
        ]
    );
}

#[test]
fn names_are_escaped_for_scrapers_that_take_no_utf8() {
    let mut catalog = Catalog::new(Rules::default());
    push(
        &mut catalog,
        "a",
        read(&family_of("my.latency", HISTOGRAM, &[labelled("a.b", "\u{e4}")])),
    );
    let escaped = Message::new().label("a_b", "\u{e4}").bytes_of(&histogram_of(&native()));
    assert_eq!(
        shown(&mut catalog, Format::Protobuf(None).into()),
        family_of("my_latency", HISTOGRAM, &[escaped])
    );
}

#[test]
fn a_label_that_becomes_the_name_of_the_metric_takes_its_record_along() {
    let mut catalog = Catalog::new(Rules::default());
    let body = family_of("latency", HISTOGRAM, &[labelled("..name..", "x"), labelled("path", "/")]);
    let exposition = Exposition::decode(&body, 1 << 20).unwrap();
    assert!(exposition.faults().total() > 0);
    push(&mut catalog, "a", exposition);
    for format in [Format::Protobuf(None), Format::Protobuf(Some(Escaping::AllowUtf8))] {
        let expected = family_of("latency", HISTOGRAM, &[labelled("path", "/")]);
        assert_eq!(shown(&mut catalog, format.into()), expected);
    }
}

#[test]
fn labels_of_an_exemplar_that_have_one_name_once_escaped_are_written_once() {
    let body = "# TYPE c counter\nc_total 1 # {\"a.b\"=\"1\",a_b=\"2\",k=\"\"} 1 1700000000\n# EOF\n";
    let mut catalog = Catalog::new(Rules::default());
    push(
        &mut catalog,
        "a",
        Exposition::parse(Bytes::from_static(body.as_bytes()), Syntax::OpenMetrics),
    );
    let in_openmetrics = |catalog: &mut Catalog, escaping| {
        let format = Format::OpenMetrics100(Some(escaping));
        String::from_utf8(shown(catalog, format.into())).unwrap()
    };
    let legacy = in_openmetrics(&mut catalog, Escaping::Underscores);
    assert!(legacy.contains("c_total 1 # {a_b=\"1\"} 1 1700000000\n"), "{legacy}");
    assert!(in_openmetrics(&mut catalog, Escaping::AllowUtf8).contains("# {\"a.b\"=\"1\",a_b=\"2\",k=\"\"} 1"));
    let decoded = protobuf::decode(&shown(&mut catalog, Format::Protobuf(None).into()), 1 << 20).unwrap();
    let text = String::from_utf8(decoded.text.to_vec()).unwrap();
    assert!(text.contains("# {a_b=\"1\"} 1 1700000000\n"), "{text}");
}

#[test]
fn a_large_family_is_one_message_over_all_its_segments() {
    let mut catalog = Catalog::new(Rules::default());
    let apps = 40;
    for app in 0..apps {
        let metrics: Vec<Message> = (0..200)
            .map(|n| labelled("path", &format!("/{app}/{n}/{}", "x".repeat(40))))
            .collect();
        push(&mut catalog, &format!("app{app}"), read(&family_of("latency", HISTOGRAM, &metrics)));
    }
    let all = || (0..apps).flat_map(|app| (0..200).map(move |n| labelled("path", &format!("/{app}/{n}/{}", "x".repeat(40)))));
    let expected = family_of("latency", HISTOGRAM, &all().collect::<Vec<_>>());
    assert!(expected.len() > 600_000);
    let body = shown(&mut catalog, protobuf());
    // The large family moves into segments of its own with the first plan.
    assert!(body == expected && shown(&mut catalog, protobuf()) == expected);
    // And compressed.
    let exposed = catalog.plan(protobuf(), Selection::Everything).render();
    let mut compressor = Compressor::new();
    exposed.chunks().iter().for_each(|chunk| chunk.compress_once(&mut compressor));
    let pieces: Vec<_> = exposed.chunks().iter().flat_map(|chunk| chunk.pieces()).collect();
    let packed: Vec<u8> = gzip::join(&pieces).iter().flat_map(|row| row.concat()).collect();
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut unpacked).unwrap();
    assert!(unpacked == expected);
    // Another value of one app changes its part alone, and the length stays right.
    push(
        &mut catalog,
        "app7",
        read(&family_of("latency", HISTOGRAM, &[histogram_of(&native())])),
    );
    let body = shown(&mut catalog, protobuf());
    assert_eq!(message_heads(&body).len(), 1);
    assert_eq!(read(&body).families().len(), 1);
}

/// A family of 150 kB.
fn large(name: &str, kind: &str, instance: &str) -> Exposition {
    let padding = "x".repeat(200);
    let mut body = format!("# TYPE {name} {kind}\n");
    for n in 0..250 {
        let labels = format!("instance=\"{instance}\",n=\"{n}\",padding=\"{padding}\"");
        if kind == "histogram" {
            let _ = writeln!(body, "{name}_bucket{{{labels},le=\"+Inf\"}} 1");
        } else {
            let _ = writeln!(body, "{name}{{{labels},quantile=\"0.5\"}} 1");
        }
        let _ = writeln!(body, "{name}_sum{{{labels}}} 2\n{name}_count{{{labels}}} 1");
    }
    text(&body)
}

#[test]
fn segments_of_a_large_family_keep_their_types_while_those_of_other_apps_change() {
    let gauge = || text("# TYPE x gauge\nx 1\n");
    let mut catalog = Catalog::new(Rules::default());
    for (app, kind) in [("a", "histogram"), ("b", "histogram"), ("z", "summary")] {
        push(&mut catalog, app, large("x", kind, app));
    }
    for _ in 0..2 {
        assert_eq!(message_heads(&shown(&mut catalog, protobuf())).len(), 2);
    }
    // As many types as before, and other ones.
    push(&mut catalog, "z", gauge());
    let body = shown(&mut catalog, protobuf());
    let heads = message_heads(&body).into_iter().map(|(_, kind)| kind);
    assert_eq!(heads.collect::<Vec<_>>(), [MessageType::Gauge, HISTOGRAM]);
    let mut other = Catalog::new(Rules::default());
    for app in ["a", "b"] {
        push(&mut other, app, large("x", "histogram", app));
    }
    push(&mut other, "z", gauge());
    assert!(
        body == shown(&mut other, protobuf()),
        "as in a catalog made of the last texts alone"
    );
}

#[test]
fn a_histogram_that_a_message_cannot_carry_goes_out_untyped() {
    let mut catalog = Catalog::new(Rules::default());
    push(
        &mut catalog,
        "a",
        text("# TYPE h histogram\nh_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1\n"),
    );
    let heads = message_heads(&shown(&mut catalog, protobuf()));
    let untyped = |name: &str| (name.to_owned(), MessageType::Untyped);
    assert_eq!(
        heads,
        [untyped("h_bucket"), untyped("h_sum"), untyped("h_count")],
        "a reader would add the bucket +Inf"
    );
}

#[test]
fn the_proxys_own_families_are_messages_at_the_end() {
    let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &["exporter_proxy_"]));
    push(
        &mut catalog,
        "chained",
        text("# TYPE exporter_proxy_apps gauge\nexporter_proxy_apps 3\n"),
    );
    push(&mut catalog, "app", text("up 1\n"));
    let exposed = catalog.plan(protobuf(), Selection::Everything).render();
    let own = vec![Bytes::from_static(
        b"# TYPE exporter_proxy_apps gauge\nexporter_proxy_apps 2\n# TYPE e gauge\ne 1 5\ne 2 6\n",
    )];
    let tail = exposed.tail_with(own);
    let body: Vec<u8> = exposed
        .chunks()
        .iter()
        .chain(&tail)
        .flat_map(|chunk| chunk.text().concat())
        .collect();
    let heads: Vec<String> = message_heads(&body).into_iter().map(|(name, _)| name).collect();
    assert_eq!(heads, ["up", "e", "exporter_proxy_apps"]);
    let decoded = protobuf::decode(&body, 1 << 20).unwrap();
    let text = String::from_utf8(decoded.text.to_vec()).unwrap();
    assert!(
        text.contains("exporter_proxy_apps 2\nexporter_proxy_apps{exporter_app=\"chained\"} 3\n"),
        "{text}"
    );
    assert!(text.contains("e 1 0.005\ne 2 0.006\n"), "{text}");
}

#[test]
fn other_records_are_another_update_although_the_text_is_the_same() {
    let mut catalog = Catalog::new(Rules::default());
    push(&mut catalog, "a", read(&family_of("h", HISTOGRAM, &[histogram_of(&native())])));
    let version = catalog.version("a");
    let other = native().signed(field::histogram::SCHEMA, 2);
    let body = family_of("h", HISTOGRAM, &[histogram_of(&other)]);
    push(&mut catalog, "a", read(&body));
    assert!(catalog.version("a") > version);
    assert_eq!(shown(&mut catalog, protobuf()), body);
}

#[test]
fn samples_with_times_that_a_format_lacks_are_left_out_of_it() {
    let mut catalog = Catalog::new(Rules::default());
    let body = "# TYPE x gauge\nx{n=\"1\"} 1 -1.5\nx{n=\"2\"} 2 0\nx{n=\"3\"} 3 -0.0004\nx{n=\"4\"} 4 1700000000\n\
        # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1 0.0\nh_count 1 0.0\nh_sum 1 0.0\n# EOF\n";
    let exposition = Exposition::parse(Bytes::from_static(body.as_bytes()), Syntax::OpenMetrics);
    assert_eq!(exposition.early_times(), EarlyTimes { before: 1, at: 5 });
    push(&mut catalog, "a", exposition);
    push(&mut catalog, "b", text("y 1 0\ny{n=\"1\"} 1 1\n"));
    let shown_in = |catalog: &mut Catalog, format: Format| String::from_utf8(shown(catalog, format.into())).unwrap();
    assert_eq!(
        shown_in(&mut catalog, Format::Text004),
        "# TYPE x gauge\nx{n=\"2\"} 2 0\nx{n=\"3\"} 3 0\nx{n=\"4\"} 4 1700000000000\n\
         # TYPE h histogram\nh_bucket{le=\"+Inf\"} 1 0\nh_count 1 0\nh_sum 1 0\ny 1 0\ny{n=\"1\"} 1 1\n"
    );
    let openmetrics = shown_in(&mut catalog, Format::OpenMetrics100(None));
    assert!(
        openmetrics.contains("x{n=\"1\"} 1 -1.5\n") && openmetrics.contains("y 1 0\n"),
        "{openmetrics}"
    );
    let decoded = protobuf::decode(&shown(&mut catalog, protobuf()), 1 << 20).unwrap();
    let messages = String::from_utf8(decoded.text.to_vec()).unwrap();
    let samples: Vec<&str> = messages.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(samples, ["x{n=\"1\"} 1 -1.5", "x{n=\"4\"} 4 1700000000", "y{n=\"1\"} 1 0.001"]);
}

#[test]
fn a_message_with_a_time_before_1970_is_left_out_of_text() {
    let timed = |time: i64| {
        let metric = Message::new().label("n", &time.to_string());
        let metric = metric.inside(field::metric::GAUGE, &Message::new().double(field::scalar::VALUE, 1.0));
        metric.number(field::metric::TIMESTAMP_MS, time.cast_unsigned())
    };
    let body = family_of("x", MessageType::Gauge, &[timed(-1_500), timed(1)]);
    let exposition = Exposition::decode(&body, 1 << 20).unwrap();
    assert_eq!(exposition, read(&body), "the index made with the text is that of the text");
    assert_eq!(exposition.early_times(), EarlyTimes { before: 1, at: 0 });
    let mut catalog = Catalog::new(Rules::default());
    push(&mut catalog, "a", exposition);
    let text = String::from_utf8(shown(&mut catalog, Format::Text004.into())).unwrap();
    assert_eq!(text, "# TYPE x gauge\nx{n=\"1\"} 1 1\n");
    assert_eq!(shown(&mut catalog, protobuf()), body);
}

#[test]
fn empty_labels_go_out_as_in_text() {
    // Without it Prometheus would add the address of the proxy to the groups of Pushgateway.
    let mut catalog = Catalog::new(Rules::default());
    push(&mut catalog, "group", text("backup{job=\"x\",instance=\"\"} 1\n"));
    let metric = Message::new()
        .label("job", "x")
        .label("instance", "")
        .inside(field::metric::UNTYPED, &Message::new().double(field::scalar::VALUE, 1.0));
    let body = shown(&mut catalog, protobuf());
    assert_eq!(body, family_of("backup", MessageType::Untyped, &[metric]));
    assert!(
        String::from_utf8(read(&body).body().to_vec())
            .unwrap()
            .contains("backup{job=\"x\",instance=\"\"} 1\n")
    );
}
