#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::Writer;
use crate::app_name::{AppName, LabelPair};
use crate::catalog::{Catalog, Rules, Selection, Update};
use crate::index::Exposition;
use crate::negotiate::{Escaping, Format};
use crate::openmetrics2::UnstatedTypes;
use crate::protobuf::MessageType;
use crate::protobuf::field::{bucket, exemplar, family, histogram, metric, quantile, scalar, summary};
use crate::protobuf::tests::{Message, any_family, contradicting, family_of, histogram_of, native, scalar_of, time};
use crate::syntax::Syntax;

/// The text of messages, written a metric at a time.
fn written(body: &[u8]) -> String {
    written_in(vec![Arc::new(vec![Bytes::copy_from_slice(body)])], &UnstatedTypes::new(), 1)
}

fn written_in(rows: Vec<Arc<Vec<Bytes>>>, types: &UnstatedTypes, enough: usize) -> String {
    let mut writer = Writer::new(rows, types);
    let mut text = Vec::new();
    loop {
        let mut part = Vec::new();
        let goes_on = writer.write(&mut part, enough);
        text.append(&mut part);
        if !goes_on {
            return String::from_utf8(text).unwrap();
        }
    }
}

fn decoded(body: &[u8]) -> Exposition {
    Exposition::decode(body, 1 << 20).unwrap()
}

fn openmetrics(body: &str) -> Exposition {
    Exposition::parse(format!("{body}# EOF\n").into(), Syntax::OpenMetrics)
}

/// The response that shows these apps.
fn merged(apps: Vec<(&str, Exposition)>, escaping: Escaping) -> String {
    let mut catalog = Catalog::new(Rules::default());
    for (name, exposition) in apps {
        assert!(exposition.faults().is_empty(), "{:?}", exposition.faults());
        let labels: Arc<[LabelPair]> = Arc::new([]);
        let update = Update::new(catalog.rules(), &AppName::new(name).unwrap(), &labels, Arc::new(exposition));
        catalog.update(update);
    }
    let format = Format::OpenMetrics200(Some(escaping));
    let types = catalog.unstated_types(escaping);
    let response = catalog.plan(format.into(), Selection::Everything).render();
    let chunks = response.chunks().iter().cloned().chain(response.tail(None));
    written_in(chunks.map(|chunk| chunk.text()).collect(), &types, 100)
}

fn shown(exposition: Exposition) -> String {
    merged(vec![("app", exposition)], Escaping::AllowUtf8)
}

fn an_exemplar(id: &str, value: f64, at: u64) -> Message {
    let exemplar = Message::new().label("id", id).double(exemplar::VALUE, value);
    if at == 0 {
        exemplar
    } else {
        exemplar.inside(exemplar::TIMESTAMP, &time(at, 500_000_000))
    }
}

fn a_bucket(count: u64, bound: f64) -> Message {
    Message::new().number(bucket::COUNT, count).double(bucket::BOUND, bound)
}

#[test]
fn each_type_of_openmetrics_keeps_its_type_and_name() {
    let text = "# TYPE jobs counter\n# HELP jobs Jobs of a \\\"queue\\\".\njobs_total{queue=\"a\"} 3\njobs_created{queue=\"a\"} 1700000000.25\n\
        # TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 1.5 1700000001.5\n\
        # TYPE build info\nbuild_info{version=\"1\"} 1\n\
        # TYPE mode stateset\nmode{mode=\"off\"} 0\nmode{mode=\"on\"} 1\n\
        # TYPE waits histogram\nwaits_bucket{le=\"1.0\"} 1 # {id=\"a\"} 0.5 1700000000\nwaits_bucket{le=\"+Inf\"} 2\nwaits_count 2\nwaits_sum 3\n\
        waits_created 1700000000\n\
        # TYPE took summary\ntook{quantile=\"0.5\"} 4\ntook_count 5\ntook_sum 6.5\n\
        # TYPE sizes gaugehistogram\nsizes_bucket{le=\"1.0\"} 1\nsizes_bucket{le=\"+Inf\"} 2\nsizes_gcount 2\nsizes_gsum 3\n\
        # TYPE other unknown\nother 7\n";
    let out = shown(openmetrics(text));
    for lines in [
        "# TYPE jobs_total counter\n# HELP jobs_total Jobs of a \\\"queue\\\".\njobs_total{queue=\"a\"} 3 st@1700000000.25\n",
        "# TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 1.5 1700000001.5\n",
        "# TYPE build_info info\nbuild_info{version=\"1\"} 1\n",
        "# TYPE mode stateset\nmode{mode=\"off\"} 0\nmode{mode=\"on\"} 1\n",
        "# TYPE waits histogram\nwaits {count:2,sum:3,bucket:[1.0:1,+Inf:2]} st@1700000000 # {id=\"a\"} 0.5 1700000000\n",
        "# TYPE took summary\ntook {count:5,sum:6.5,quantile:[0.5:4]}\n",
        "# TYPE sizes gaugehistogram\nsizes {gcount:2,gsum:3,bucket:[1.0:1,+Inf:2]}\n",
        "# TYPE other unknown\nother 7\n",
    ] {
        assert!(out.contains(lines), "{lines}is missing in\n{out}");
    }
    assert!(out.ends_with("# EOF\n"), "{out}");
    assert_eq!(out.matches("# EOF").count(), 1);
}

#[test]
fn native_histograms_are_composite_values_with_absolute_counts() {
    let sides = native()
        .span(histogram::NEGATIVE_SPAN, 1, 1)
        .span(histogram::NEGATIVE_SPAN, 3, 2)
        .deltas(histogram::NEGATIVE_DELTA, &[5, 2, -3])
        .inside(histogram::BUCKET, &a_bucket(2, 0.5))
        .inside(histogram::CREATED, &time(1_700_000_000, 0));
    let labelled = Message::new().label("path", "/a\"b").bytes_of(&histogram_of(&sides));
    let timed = labelled.number(metric::TIMESTAMP_MS, 1_700_000_001_250);
    let body = family_of("latency", MessageType::Histogram, &[timed, histogram_of(&native())]);
    assert_eq!(
        written(&body),
        "# TYPE latency histogram\n\
         latency{path=\"/a\\\"b\"} {count:3,sum:4.5,schema:3,zero_threshold:1e-128,zero_count:1,negative_spans:[1:1,3:2],\
         negative_buckets:[5,7,4],positive_spans:[-2:2],positive_buckets:[1,1],bucket:[0.5:2,+Inf:3]} 1700000001.25 st@1700000000\n\
         latency {count:3,sum:4.5,schema:3,zero_threshold:1e-128,zero_count:1,positive_spans:[-2:2],positive_buckets:[1,1]}\n# EOF\n"
    );
    let gauge = family_of("queue", MessageType::GaugeHistogram, &[histogram_of(&native())]);
    assert_eq!(
        written(&gauge),
        "# TYPE queue gaugehistogram\n\
         queue {gcount:3,gsum:4.5,schema:3,zero_threshold:1e-128,zero_count:1,positive_spans:[-2:2],positive_buckets:[1,1]}\n# EOF\n"
    );
}

#[test]
fn float_counts_have_points_and_empty_spans_none() {
    let floats = Message::new()
        .double(histogram::COUNT_FLOAT, 4.0)
        .double(histogram::SUM, f64::NAN)
        .signed(histogram::SCHEMA, -1)
        .double(histogram::ZERO_COUNT_FLOAT, 0.5)
        .span(histogram::POSITIVE_SPAN, 2, 1)
        .span(histogram::POSITIVE_SPAN, 3, 0)
        .span(histogram::POSITIVE_SPAN, 4, 1)
        .bytes(histogram::POSITIVE_COUNT, [1.5_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat());
    let body = family_of("f", MessageType::Histogram, &[histogram_of(&floats)]);
    assert_eq!(
        written(&body),
        "# TYPE f histogram\nf {count:4.0,sum:NaN,schema:-1,zero_threshold:0,zero_count:0.5,positive_spans:[2:1,7:1],\
         positive_buckets:[1.5,2.0]}\n# EOF\n"
    );
    let empty = Message::new().signed(histogram::SCHEMA, 3).span(histogram::POSITIVE_SPAN, 0, 0);
    let body = family_of("e", MessageType::Histogram, &[histogram_of(&empty)]);
    assert_eq!(
        written(&body),
        "# TYPE e histogram\ne {count:0,sum:0,schema:3,zero_threshold:0,zero_count:0}\n# EOF\n"
    );
}

#[test]
fn a_zero_threshold_that_readers_refuse_costs_the_native_buckets_alone() {
    let endless = native().double(histogram::ZERO_THRESHOLD, f64::INFINITY);
    let body = family_of("h", MessageType::Histogram, &[histogram_of(&endless)]);
    assert_eq!(written(&body), "# TYPE h histogram\nh {count:3,sum:4.5,bucket:[+Inf:3]}\n# EOF\n");
}

#[test]
fn all_exemplars_with_a_time_go_out_once() {
    let inside = native()
        .inside(
            histogram::BUCKET,
            &a_bucket(2, 0.5).inside(bucket::EXEMPLAR, &an_exemplar("one", 0.25, 7)),
        )
        .inside(histogram::EXEMPLARS, &an_exemplar("one", 0.25, 7))
        .inside(histogram::EXEMPLARS, &an_exemplar("two", 3.0, 8))
        .inside(histogram::EXEMPLARS, &an_exemplar("timeless", 3.0, 0));
    let out = written(&family_of("h", MessageType::Histogram, &[histogram_of(&inside)]));
    assert!(
        out.ends_with("bucket:[0.5:2,+Inf:3]} # {id=\"one\"} 0.25 7.5 # {id=\"two\"} 3 8.5\n# EOF\n"),
        "{out}"
    );
    let long = "x".repeat(500);
    let counter = Message::new()
        .double(scalar::VALUE, 1.0)
        .inside(scalar::EXEMPLAR, &an_exemplar(&long, 1.0, 7));
    let out = written(&family_of(
        "c_total",
        MessageType::Counter,
        &[Message::new().inside(metric::COUNTER, &counter)],
    ));
    assert_eq!(out, format!("# TYPE c_total counter\nc_total 1 # {{id=\"{long}\"}} 1 7.5\n# EOF\n"));
}

#[test]
fn what_no_counter_can_be_is_unknown() {
    for value in [f64::NAN, -1.0] {
        let body = family_of("c_total", MessageType::Counter, &[scalar_of(MessageType::Counter, value)]);
        assert!(written(&body).starts_with("# TYPE c_total unknown\nc_total "), "{value}");
    }
    let body = family_of("c", MessageType::Counter, &[scalar_of(MessageType::Counter, 0.0)]);
    assert_eq!(written(&body), "# TYPE c counter\nc 0\n# EOF\n");
}

#[test]
fn bounds_out_of_order_are_sorted_and_the_last_one_is_added() {
    let inside = Message::new()
        .number(histogram::COUNT, 9)
        .inside(histogram::BUCKET, &a_bucket(5, 2.0))
        .inside(histogram::BUCKET, &a_bucket(1, -1.0))
        .inside(histogram::BUCKET, &a_bucket(5, f64::NAN))
        .inside(histogram::BUCKET, &a_bucket(5, 2.0));
    let body = family_of("h", MessageType::Histogram, &[histogram_of(&inside)]);
    assert_eq!(
        written(&body),
        "# TYPE h histogram\nh {count:9,sum:0,bucket:[-1.0:1,2.0:5,+Inf:9]}\n# EOF\n"
    );
    let at = |at: f64| Message::new().double(quantile::QUANTILE, at).double(quantile::VALUE, f64::NAN);
    let inside = Message::new()
        .number(summary::COUNT, 2)
        .inside(summary::QUANTILE, &at(0.9))
        .inside(summary::QUANTILE, &at(0.5))
        .inside(summary::QUANTILE, &at(f64::NAN));
    let body = family_of("s", MessageType::Summary, &[Message::new().inside(metric::SUMMARY, &inside)]);
    assert_eq!(
        written(&body),
        "# TYPE s summary\ns {count:2,sum:0,quantile:[0.5:NaN,0.9:NaN]}\n# EOF\n"
    );
}

#[test]
fn names_outside_the_legacy_characters_are_quoted_or_escaped() {
    let body = || {
        decoded(&family_of(
            "my.latency",
            MessageType::Histogram,
            &[Message::new().label("a.b", "c").bytes_of(&histogram_of(&native()))],
        ))
    };
    let utf8 = merged(vec![("app", body())], Escaping::AllowUtf8);
    assert!(
        utf8.starts_with("# TYPE \"my.latency\" histogram\n{\"my.latency\",\"a.b\"=\"c\"} {count:3,"),
        "{utf8}"
    );
    let legacy = merged(vec![("app", body())], Escaping::Underscores);
    assert!(
        legacy.starts_with("# TYPE my_latency histogram\nmy_latency{a_b=\"c\"} {count:3,"),
        "{legacy}"
    );
}

#[test]
fn a_body_that_gives_a_name_two_types_has_each_series_once() {
    for (first, second) in MessageType::ALL
        .into_iter()
        .flat_map(|first| MessageType::ALL.map(|second| (first, second)))
    {
        let out = shown(decoded(&contradicting(first, second)));
        let mut families: Vec<&str> = out.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let mut series: Vec<&str> = out.lines().filter_map(|line| Some(line.rsplit_once("} ")?.0)).collect();
        for lines in [&mut families, &mut series] {
            lines.sort_unstable();
            let count = lines.len();
            lines.dedup();
            assert_eq!(lines.len(), count, "{first:?} and {second:?}: {out}");
        }
        assert!(
            out.contains("a=\"1\"") && out.contains("a=\"2\""),
            "{first:?} and {second:?}: {out}"
        );
    }
}

#[test]
fn apps_that_contradict_each_other_have_their_samples_untyped_each_name_once() {
    let counter = openmetrics("# TYPE jobs counter\njobs_total 1\n");
    let native = decoded(&family_of("latency", MessageType::Histogram, &[histogram_of(&native())]));
    let gauge = openmetrics("# TYPE latency gauge\nlatency 5\n# TYPE jobs_total gauge\njobs_total 2\n");
    let summary = openmetrics("# TYPE latency summary\nlatency{quantile=\"0.5\"} 1\nlatency_count 2\nlatency_sum 3\n");
    let out = merged(
        vec![("a", counter), ("b", native), ("c", gauge), ("d", summary)],
        Escaping::Underscores,
    );
    let families: Vec<&str> = out.lines().filter(|line| line.starts_with("# TYPE ")).collect();
    let mut expected = vec![
        // A gauge of this name is taken for a counter, too.
        "# TYPE jobs_total counter",
        "# TYPE latency unknown",
        "# TYPE latency_bucket unknown",
        "# TYPE latency_count unknown",
        "# TYPE latency_sum unknown",
    ];
    expected.sort_unstable();
    let mut sorted = families.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected, "{out}");
    for sample in [
        "jobs_total{app=\"a\"} 1",
        "jobs_total{app=\"c\"} 2",
        "latency 5",
        "latency{app=\"d\",quantile=\"0.5\"} 1",
        "latency_bucket{app=\"b\",le=\"+Inf\"} 3",
        "latency_count{app=\"b\"} 3",
        "latency_count{app=\"d\"} 2",
        "latency_sum{app=\"b\"} 4.5",
    ] {
        assert!(out.lines().any(|line| line == sample), "{sample} is missing in\n{out}");
    }
}

#[test]
fn gauge_histograms_of_text_are_gathered_by_labels_and_time() {
    let text = "# TYPE q_s gaugehistogram\n# HELP q_s Of a queue.\nq_s_bucket{of=\"a\",le=\"0.5\"} 2 5\nq_s_bucket{of=\"a\",le=\"+Inf\"} 3 5\n\
        q_s_gcount{of=\"a\"} 3 5\nq_s_gsum{of=\"a\"} 3 5\nq_s_bucket{of=\"b\",le=\"+Inf\"} 0\nq_s_gcount{of=\"b\"} 0\nq_s_gsum{of=\"b\"} 0\n";
    let out = shown(openmetrics(text));
    assert!(
        out.ends_with("q_s{of=\"a\"} {gcount:3,gsum:3,bucket:[0.5:2,+Inf:3]} 5\nq_s{of=\"b\"} {gcount:0,gsum:0,bucket:[+Inf:0]}\n# EOF\n"),
        "{out}"
    );
    assert!(out.starts_with("# TYPE q_s gaugehistogram\n"), "{out}");
    assert!(out.contains("# HELP q_s Of a queue.\n"), "{out}");
}

#[test]
fn a_family_of_several_apps_is_one() {
    let of = |path: &str| {
        decoded(&family_of(
            "latency",
            MessageType::Histogram,
            &[Message::new().label("path", path).bytes_of(&histogram_of(&native()))],
        ))
    };
    let out = merged(vec![("one", of("/")), ("two", of("/"))], Escaping::AllowUtf8);
    assert_eq!(out.matches("# TYPE latency").count(), 1, "{out}");
    assert_eq!(out.matches("{count:3,").count(), 2, "{out}");
    assert!(out.contains("latency{path=\"/\",app=\"two\"} {count:3"), "{out}");
}

#[test]
fn a_family_without_samples_has_no_headers() {
    let empty = Message::new().bytes(family::NAME, "x").number(family::TYPE, 1).delimited();
    let body = [empty, family_of("up", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 1.0)])].concat();
    assert_eq!(written(&body), "# TYPE up gauge\nup 1\n# EOF\n");
    assert_eq!(written(b""), "# EOF\n");
    // What is no message ends the response, but not the program.
    assert_eq!(written(b"\xff\xff"), "# EOF\n");
}

proptest! {
    #[test]
    fn slices_and_pieces_change_nothing(
        families in prop::collection::vec(any_family(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        enough in 1_usize..500,
    ) {
        let body = families.concat();
        let whole = written_in(vec![Arc::new(vec![Bytes::from(body.clone())])], &UnstatedTypes::new(), usize::MAX);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.index(body.len() + 1)).collect();
        cuts.extend([0, body.len()]);
        cuts.sort_unstable();
        let slices: Vec<Bytes> = cuts.windows(2).map(|pair| Bytes::copy_from_slice(&body[pair[0]..pair[1]])).collect();
        let rows = slices.chunks(2).map(|row| Arc::new(row.to_vec())).collect();
        prop_assert_eq!(written_in(rows, &UnstatedTypes::new(), enough), whole);
    }

    #[test]
    fn each_name_is_one_family(families in prop::collection::vec(any_family(), 1..5)) {
        let text = written(&families.concat());
        let mut types: Vec<&str> = text.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        let count = types.len();
        types.sort_unstable();
        types.dedup_by_key(|line| line.rsplit_once(' ').unwrap().0);
        prop_assert_eq!(types.len(), count, "{}", text);
    }

    #[test]
    fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(written(&body).ends_with("# EOF\n"));
    }
}

#[test]
fn a_metric_that_is_too_large_is_left_out_and_others_are_not() {
    let large = "x".repeat(usize::try_from(super::MAX_METRIC).unwrap());
    let metric = |value: &str| scalar_of(MessageType::Gauge, 1.0).label("l", value);
    let body = family_of("a", MessageType::Gauge, &[metric(&large), metric("small")]);
    assert_eq!(written(&body), "# TYPE a gauge\na{l=\"small\"} 1\n# EOF\n");
}

#[test]
fn a_large_gauge_histogram_of_text_goes_out_as_gauges() {
    let label = "x".repeat(1_000);
    for (buckets, word) in [(10, "gaugehistogram"), (300, "gauge")] {
        let mut text = "# TYPE sizes gaugehistogram\n".to_owned();
        for bound in 0..buckets {
            text += &format!("sizes_bucket{{l=\"{label}\",le=\"{bound}.0\"}} 1\n");
        }
        text += &format!("sizes_bucket{{l=\"{label}\",le=\"+Inf\"}} 1\nsizes_gcount{{l=\"{label}\"}} 1\nsizes_gsum{{l=\"{label}\"}} 1\n");
        let out = shown(openmetrics(&text));
        assert!(
            out.lines().next().unwrap().ends_with(&format!(" {word}")),
            "{}",
            out.lines().next().unwrap()
        );
    }
}

#[test]
fn names_that_contradict_each_other_in_many_rounds_end() {
    let summary = Message::new().number(summary::COUNT, 1).double(summary::SUM, 1.0);
    let summary = Message::new().inside(metric::SUMMARY, &summary);
    let gauge = scalar_of(MessageType::Gauge, 1.0);
    let mut body = family_of("a", MessageType::Gauge, &[gauge]);
    let mut name = "a".to_owned();
    for _ in 0..40 {
        body.extend(family_of(&name, MessageType::Summary, std::slice::from_ref(&summary)));
        name += "_count";
    }
    body.extend(family_of("z", MessageType::Summary, &[summary]));
    let text = written(&body);
    let mut types: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next())
        .collect();
    assert!(types.contains(&"a_count_count") && types.contains(&"z"), "{text}");
    types.sort_unstable();
    assert!(types.windows(2).all(|pair| pair[0] != pair[1]), "{types:?}");
}
