//! The index that is made with a text is the one of parsing it.

use proptest::prelude::*;

use super::*;
use crate::protobuf::decode_indexed;

/// A family as programs have them, with now and then something odd.
pub(crate) fn any_family() -> impl Strategy<Value = Vec<u8>> {
    use prop::sample::select;
    let name = select(
        &[
            "a",
            "b_total",
            "b",
            "c_seconds",
            "c_seconds_created",
            "c_seconds_count",
            "d_total",
            "d_created",
            "e_bucket",
            "e",
            "f.g",
            "h_info",
        ][..],
    );
    let label = || {
        (
            select(&["x", "y", "z", "le", "quantile", "__n", "k.l"][..]),
            select(&["", "1", "2", "a\"b\\", "\u{e4}\n"][..]),
        )
    };
    let usual = || select(&[0.0, 1.0, 2.5, 1e-7, 1e300][..]);
    let odd = || select(&[-1.0, -0.0, f64::NAN, f64::INFINITY, 0.1 + 0.2][..]);
    let value = || prop_oneof![6 => usual(), 1 => odd()];
    let exemplar = || (label(), value(), 0..3_u64, 1..140_usize);
    let bound = prop_oneof![8 => select(&[0.5, 1.0, 2.5, f64::INFINITY][..]), 1 => value()];
    let buckets = prop::collection::btree_map(
        bound.prop_map(f64::to_bits),
        (0..9_u64, prop::option::weighted(0.1, exemplar())),
        0..5,
    );
    let flags = (0..16_u8, any::<u8>(), any::<u8>());
    let metric = (
        prop::collection::vec(label(), 0..3),
        value(),
        buckets,
        0..9_u64,
        prop::option::weighted(0.1, exemplar()),
        flags,
    );
    let help = select(&["", "", "plain", " \\ of \"two\"\nlines\r", "  ", "x\r"][..]);
    let unit = select(&["", "", "", "seconds", "bytes", "s s"][..]);
    let family = (name, 0..6_u64, help, unit, prop::collection::vec(metric, 0..5));
    family.prop_map(|(name, kind, help, unit, metrics)| {
        let mut family = Message::new().bytes(family::NAME, name).number(family::TYPE, kind);
        if !help.is_empty() {
            family = family.bytes(family::HELP, help);
        }
        if !unit.is_empty() {
            family = family.bytes(family::UNIT, unit);
        }
        let exemplar_of = |((name, value), number, seconds, len): ((&str, &str), f64, u64, usize)| {
            let value = if len > 100 { "x".repeat(len) } else { value.to_owned() };
            let exemplar = Message::new().label(name, &value).double(exemplar::VALUE, number);
            if seconds > 0 {
                exemplar.inside(exemplar::TIMESTAMP, &time(seconds << (seconds * 20), 5))
            } else {
                exemplar
            }
        };
        for (labels, value, buckets, more, exemplar, (shift, flags, timestamp)) in metrics {
            let mut metric = Message::new();
            let mut names = std::collections::BTreeSet::new();
            for (name, value) in labels {
                // A label twice in one metric is a rare fault.
                if names.insert(name) || flags & 0xe0 == 0 {
                    metric = metric.label(name, value);
                }
            }
            let mut inside = Message::new();
            match kind {
                2 => {
                    inside = inside.number(summary::COUNT, more).double(summary::SUM, value);
                    for bits in buckets.keys() {
                        let at = f64::from_bits(*bits) / if flags & 1 == 0 { 4.0 } else { 1.0 };
                        inside = inside.inside(
                            summary::QUANTILE,
                            &Message::new().double(quantile::QUANTILE, at).double(quantile::VALUE, value),
                        );
                    }
                    if flags & 2 > 0 {
                        inside = inside.inside(summary::CREATED, &time(1_700_000_000, 0));
                    }
                    metric = metric.inside(metric::SUMMARY, &inside);
                }
                4 | 5 => {
                    let mut so_far = 0;
                    for (bits, (count, exemplar)) in buckets {
                        so_far = if flags & 1 == 0 || flags & 0x70 > 0 {
                            so_far + count
                        } else {
                            count
                        };
                        let mut bucket = Message::new()
                            .number(bucket::COUNT, so_far)
                            .double(bucket::BOUND, f64::from_bits(bits));
                        if let Some(exemplar) = exemplar {
                            bucket = bucket.inside(bucket::EXEMPLAR, &exemplar_of(exemplar));
                        }
                        inside = inside.inside(histogram::BUCKET, &bucket);
                    }
                    let count = if flags & 0x18 > 0 {
                        so_far
                    } else {
                        so_far + (more << (shift * 5 % 64))
                    };
                    inside = inside.number(histogram::COUNT, count).double(histogram::SUM, value);
                    if flags & 0x0f == 3 {
                        inside = inside.double(histogram::COUNT_FLOAT, 2.5);
                    }
                    if flags & 2 > 0 {
                        inside = inside.inside(histogram::CREATED, &time(1_700_000_000, 5_000_000));
                    }
                    if flags & 4 > 0 {
                        inside = inside.signed(histogram::SCHEMA, 3).number(histogram::ZERO_COUNT, count);
                    }
                    metric = metric.inside(metric::HISTOGRAM, &inside);
                }
                _ => {
                    inside = inside.double(scalar::VALUE, value);
                    if let (0, Some(exemplar)) = (kind, exemplar) {
                        inside = inside.inside(scalar::EXEMPLAR, &exemplar_of(exemplar));
                    }
                    if kind == 0 && flags & 2 > 0 {
                        inside = inside.inside(scalar::CREATED, &time(1_700_000_000, 0));
                    }
                    let field = [metric::COUNTER, metric::GAUGE, 0, metric::UNTYPED][usize::try_from(kind).unwrap()];
                    metric = metric.inside(field, &inside);
                }
            }
            if timestamp < 20 {
                metric = metric.number(metric::TIMESTAMP_MS, u64::from(timestamp) << (u64::from(shift) * 4));
            }
            family = family.inside(family::METRIC, &metric);
        }
        family.delimited()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("CI").is_some() { 4_000 } else { 1_000 }))]
    #[test]
    fn the_index_of_a_body_is_the_one_of_its_text(families in prop::collection::vec(any_family(), 1..4)) {
        let body = families.concat();
        if let Ok(Decoded { text, records }) = decode(&body, MAX) {
            same_as_parsed(&body, &Exposition::parse(text, Syntax::OpenMetrics).with_records(records));
        }
    }
}

/// True if the text of a body was not parsed.
fn is_indexed(body: &[u8]) -> bool {
    decode_indexed(body, MAX).unwrap().1.is_some()
}

#[test]
fn the_text_of_a_plain_body_is_not_parsed() {
    let prometheus = include_bytes!("../../../../../fuzz/corpus/protobuf/prometheus_3_5");
    assert!(is_indexed(prometheus), "that of a Prometheus");
    let gauges = [
        scalar_of(MessageType::Gauge, 1.0).label("a", "1"),
        scalar_of(MessageType::Gauge, 1.0).label("a", "2"),
    ];
    assert!(is_indexed(&family_of("up", MessageType::Gauge, &gauges)));
    let twice = [gauges[0].clone(), gauges[1].clone(), gauges[0].clone()];
    assert!(
        !is_indexed(&family_of("up", MessageType::Gauge, &twice)),
        "a series twice is for the parser"
    );
}

#[test]
fn labels_like_those_of_the_family_before_are_judged_by_the_own_type() {
    let gauge = scalar_of(MessageType::Gauge, 1.0).label("a", "1").label("le", "1");
    let gauges = family_of("up", MessageType::Gauge, std::slice::from_ref(&gauge));
    assert!(is_indexed(&gauges), "le is a label of gauges as any other");
    let summary = Message::new()
        .label("a", "1")
        .label("le", "1")
        .inside(metric::SUMMARY, &Message::new().number(summary::COUNT, 1).double(summary::SUM, 2.0));
    let body = [gauges, family_of("s", MessageType::Summary, &[summary])].concat();
    assert!(!is_indexed(&body), "but not of a family with bounds");
    same_as_parsed(&body, &Exposition::parse(read(&body).text, Syntax::OpenMetrics));
}

#[test]
fn labels_that_metrics_share_are_written_in_each() {
    let gauge = |labels: &[(&str, &str)]| {
        let labels = labels
            .iter()
            .fold(Message::new(), |metric, (name, value)| metric.label(name, value));
        labels.inside(metric::GAUGE, &Message::new().double(scalar::VALUE, 1.0))
    };
    let late = Message::new()
        .label("a", "1")
        .inside(metric::GAUGE, &Message::new().double(scalar::VALUE, 1.0))
        .label("z", "late");
    let metrics = [
        gauge(&[("a", "1"), ("b", "2")]),
        gauge(&[("a", "1"), ("b", "23")]),
        gauge(&[("a", "1")]),
        late,
        gauge(&[("a", "1"), ("b", "\"")]),
        gauge(&[]),
        gauge(&[("b", "2"), ("a", "1")]),
        gauge(&[("a_name_of_more_than_thirty_two_bytes", "a value of more than thirty-two bytes")]),
        gauge(&[("a_name_of_more_than_thirty_two_bytes", "a value of more than thirty-two \"bytes\"")]),
    ];
    let other = [gauge(&[("a", "1"), ("b", "2")])];
    let body = [
        family_of("up", MessageType::Gauge, &metrics),
        family_of("v", MessageType::Gauge, &other),
    ]
    .concat();
    assert_eq!(
        text(&body),
        concat!(
            "# TYPE up gauge\n",
            "up{a=\"1\",b=\"2\"} 1\n",
            "up{a=\"1\",b=\"23\"} 1\n",
            "up{a=\"1\"} 1\n",
            "up{a=\"1\",z=\"late\"} 1\n",
            "up{a=\"1\",b=\"\\\"\"} 1\n",
            "up 1\n",
            "up{b=\"2\",a=\"1\"} 1\n",
            "up{a_name_of_more_than_thirty_two_bytes=\"a value of more than thirty-two bytes\"} 1\n",
            "up{a_name_of_more_than_thirty_two_bytes=\"a value of more than thirty-two \\\"bytes\\\"\"} 1\n",
            "# TYPE v gauge\n",
            "v{a=\"1\",b=\"2\"} 1\n",
            "# EOF\n",
        )
    );
    // Two of these series are one.
    assert!(!is_indexed(&body));
}
