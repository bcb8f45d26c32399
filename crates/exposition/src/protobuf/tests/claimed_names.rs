//! Families with names that the samples of other families of the body have.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::catalog::render_single;
use crate::negotiate::{Escaping, Format};

/// A series, its time in milliseconds and its value.
type Seen = (String, Vec<(String, String)>, Option<i64>, String);

/// All samples but for creation times, which text has as samples and messages inside of others.
fn samples(read: &Exposition) -> Vec<Seen> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut seen = Vec::new();
    for family in read.families() {
        for sample in read.samples(family).filter(|sample| !sample.name.ends_with(b"_created")) {
            let mut labels: Vec<(String, String)> = sample
                .labels
                .clone()
                .filter(|label| !label.value.is_empty())
                .map(|label| {
                    let value = match label.name {
                        b"le" | b"quantile" => text(label.value)
                            .parse::<f64>()
                            .map_or_else(|_| text(label.value), |bound| bound.to_string()),
                        _ => text(label.value),
                    };
                    (text(label.name), value)
                })
                .collect();
            labels.sort();
            let value: f64 = text(sample.value).parse().unwrap();
            seen.push((text(sample.name), labels, sample.millis(read.syntax()), value.to_string()));
        }
    }
    seen.sort();
    seen
}

/// The body that shows it alone.
fn rendered(read: &Exposition, format: Format) -> Vec<u8> {
    let rendered = render_single(&Arc::new(read.clone()), format.into());
    let chunks = rendered.chunks().iter().cloned().chain(rendered.tail(None));
    chunks.flat_map(|chunk| chunk.text().concat()).collect()
}

const PROTOBUF: Format = Format::Protobuf(Some(Escaping::AllowUtf8));

/// The samples of a body in each format that it goes out in.
fn in_each_format(read: &Exposition) -> [(&'static str, Vec<Seen>); 3] {
    let parsed = |format, syntax| samples(&Exposition::parse(rendered(read, format).into(), syntax));
    let open = Format::OpenMetrics100(Some(Escaping::AllowUtf8));
    let text = Format::Text100(Escaping::AllowUtf8);
    let again = Exposition::decode(&rendered(read, PROTOBUF), MAX).unwrap();
    let is_twice =
        |fault: &crate::fault::Fault| fault.is_duplicate && fault.place.as_ref().is_some_and(|place| !place.contains("_created"));
    assert!(!again.faults().iter().any(is_twice), "{:?}", again.faults());
    [
        ("protobuf", samples(&again)),
        ("OpenMetrics", parsed(open, Syntax::OpenMetrics)),
        ("text", parsed(text, Syntax::Text)),
    ]
}

fn same_in_each_format(read: &Exposition, what: &str) {
    let expected = samples(read);
    for (format, seen) in in_each_format(read) {
        assert_eq!(seen, expected, "{what} in {format}\n{}", String::from_utf8_lossy(read.body()));
    }
}

fn gauge(name: &str, instance: &str) -> Vec<u8> {
    family_of(
        name,
        MessageType::Gauge,
        &[scalar_of(MessageType::Gauge, 7.0).label("of", instance)],
    )
}

fn classic() -> Message {
    let bucket = Message::new().number(bucket::COUNT, 1).double(bucket::BOUND, 1.0);
    let histogram = Message::new().number(histogram::COUNT, 2).double(histogram::SUM, 3.0);
    histogram_of(&histogram.inside(histogram::BUCKET, &bucket))
}

#[test]
fn families_with_names_of_samples_lose_none_and_double_none() {
    let summary = || {
        let quantile = Message::new().double(quantile::QUANTILE, 0.5).double(quantile::VALUE, 4.0);
        let summary = Message::new().number(summary::COUNT, 5).double(summary::SUM, 6.0);
        Message::new().inside(metric::SUMMARY, &summary.inside(summary::QUANTILE, &quantile))
    };
    let of_x = [
        (MessageType::Histogram, classic(), false),
        (MessageType::Histogram, histogram_of(&native()), true),
        (MessageType::GaugeHistogram, classic(), false),
        (MessageType::GaugeHistogram, histogram_of(&native()), true),
        (MessageType::Summary, summary(), false),
    ];
    for (kind, metric, is_native) in &of_x {
        for suffix in ["_bucket", "_count", "_sum", "_gcount", "_gsum", "_created", "_total"] {
            let name = format!("x{suffix}");
            let x = || family_of("x", *kind, std::slice::from_ref(metric));
            let others = [
                gauge(&name, ""),
                gauge(&name, "other"),
                family_of(&name, MessageType::Histogram, &[histogram_of(&native()).label("of", "other")]),
                family_of(&name, MessageType::Summary, &[summary().label("of", "other")]),
            ];
            for other in others {
                let bodies = [[x(), other.clone()], [other.clone(), x()]].map(|body| Exposition::decode(&body.concat(), MAX).unwrap());
                let what = format!("{kind:?} beside {name}");
                // A gauge x_count without labels is the very series of a histogram without labels.
                let total = bodies[0].faults().total();
                assert!(total == 0 || other == gauge(&name, ""), "{what}: {:?}", bodies[0].faults());
                assert_eq!(samples(&bodies[0]), samples(&bodies[1]), "{what}: whichever comes first");
                for read in &bodies {
                    same_in_each_format(read, &what);
                    assert!(
                        !is_native || read.native_histograms() > 0,
                        "{what}: the native histogram x stays whole"
                    );
                }
            }
        }
    }
}

#[test]
fn the_bucket_of_infinity_that_is_added_stands_once() {
    let last = scalar_of(MessageType::Untyped, 2.0).label("le", "+Inf");
    let body = [
        family_of("x_bucket", MessageType::Untyped, &[last]),
        family_of("x", MessageType::Histogram, &[classic()]),
    ]
    .concat();
    let read = Exposition::decode(&body, MAX).unwrap();
    assert_eq!(read.faults().total(), 1, "{:?}", read.faults());
    assert_eq!(samples(&read).len(), 4);
    same_in_each_format(&read, "a bucket that the reader adds");
}

#[test]
fn a_type_keeps_its_name_beside_a_total_of_one_of_its_samples() {
    let total = || family_of("x_count_total", MessageType::Counter, &[scalar_of(MessageType::Counter, 1.0)]);
    let x = || family_of("x", MessageType::Histogram, &[histogram_of(&native())]);
    for body in [[x(), total()].concat(), [total(), x()].concat()] {
        let read = Exposition::decode(&body, MAX).unwrap();
        assert!(read.faults().is_empty(), "{:?}", read.faults());
        let kinds: BTreeMap<_, _> = read.families().iter().map(|family| (read.text(family.name), family.kind)).collect();
        assert_eq!(kinds[&b"x"[..]], MetricType::Histogram);
        assert_eq!(kinds[&b"x_count_total"[..]], MetricType::Counter);
        let out = rendered(&read, PROTOBUF);
        assert!(memchr::memmem::find(&out, &x()).is_some() && memchr::memmem::find(&out, &total()).is_some());
    }
}

#[test]
fn what_the_proxy_writes_of_broken_groups_is_read_whole_by_another_one() {
    // A group that a message cannot carry goes out as x_bucket, x_count and x_sum, beside the histogram x.
    let text = "# TYPE x histogram\nx_bucket{n=\"0\",le=\"+Inf\"} 1\nx_sum{n=\"0\"} 2\nx_count{n=\"0\"} 1\n\
        x_bucket{n=\"1\",le=\"1\"} 1\nx_sum{n=\"1\"} 2\nx_count{n=\"1\"} 1\n";
    let original = Exposition::parse(Bytes::from_static(text.as_bytes()), Syntax::Text);
    let body = rendered(&original, PROTOBUF);
    let read = Exposition::decode(&body, MAX).unwrap();
    assert!(read.faults().is_empty(), "{:?}", read.faults());
    assert_eq!(samples(&read), samples(&original));
    assert_eq!(read.families().len(), 1);
    assert_eq!(rendered(&read, PROTOBUF), body, "and written as before");
}

#[test]
fn a_family_that_has_a_name_twice_shares_it_with_a_third_one() {
    for kind in [MessageType::Gauge, MessageType::Summary] {
        let twice = contradicting(kind, MessageType::Histogram);
        for body in [
            [gauge("x_bucket", "b"), twice.clone()].concat(),
            [twice, gauge("x_bucket", "b")].concat(),
        ] {
            let read = Exposition::decode(&body, MAX).unwrap();
            assert!(read.faults().is_empty(), "{:?}", read.faults());
            same_in_each_format(&read, "a name of two types and one of samples");
        }
    }
}

#[test]
fn a_label_that_buckets_and_quantiles_have_costs_these_alone() {
    let classic = classic().label("le", "1");
    let both = native().inside(
        histogram::BUCKET,
        &Message::new().number(bucket::COUNT, 1).double(bucket::BOUND, 1.0),
    );
    let quantile = Message::new().double(quantile::QUANTILE, 0.5).double(quantile::VALUE, 4.0);
    let summary = Message::new().number(summary::COUNT, 5).double(summary::SUM, 6.0);
    let summary = Message::new().inside(metric::SUMMARY, &summary.inside(summary::QUANTILE, &quantile));
    for (kind, metric) in [
        (MessageType::Histogram, classic),
        (MessageType::Histogram, histogram_of(&both).label("le", "1")),
        (MessageType::Summary, summary.label("quantile", "0.9")),
    ] {
        let body = family_of("x", kind, &[metric, histogram_of(&native()).label("of", "other")]);
        let read = Exposition::decode(&body, MAX).unwrap();
        let has = |fault: &str| read.faults().iter().any(|it| it.reason.contains(fault));
        assert!(has("twice"), "{kind:?}: {:?}", read.faults());
        let kept: Vec<String> = samples(&read).into_iter().map(|(name, ..)| name).collect();
        assert!(
            kept.contains(&"x_count".to_owned()) && kept.contains(&"x_sum".to_owned()),
            "{kept:?}"
        );
        same_in_each_format(&read, "a label of buckets or quantiles");
    }
}
