use proptest::prelude::*;

use super::*;

fn chosen(accept: &[&str]) -> Format {
    format(accept.iter().map(|a| a.as_bytes()))
}

/// The header of Prometheus 2.42 (Debian 12).
const PROMETHEUS_2_42: &str =
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Before OpenMetrics 1.0.0 (Prometheus 2.5 to 2.32).
const PROMETHEUS_2_5: &str = "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// Before OpenMetrics at all.
const PROMETHEUS_2_0: &str = "text/plain;version=0.0.4;q=1,*/*;q=0.1";
const PROMETHEUS_3_0: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
    application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
/// `metric_name_escaping_scheme: underscores` in its configuration.
const PROMETHEUS_3_UNDERSCORES: &str = "application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=underscores;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// With native histograms: protobuf first.
const PROMETHEUS_3_PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
/// The same of Prometheus 2.42 with `--enable-feature=native-histograms`.
const PROMETHEUS_2_42_PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited,\
    application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
/// `scrape_protocols` with protobuf last.
const PROMETHEUS_3_PROTOBUF_LAST: &str = "text/plain;version=0.0.4;q=0.4,application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.3,\
    application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.2,*/*;q=0.1";
/// With protobuf escaped by its own parameter, as newer ones write it, and OpenMetrics 2.0 before all others.
const PROMETHEUS_3_14: &str = "application/openmetrics-text;version=2.0.0;escaping=allow-utf-8;q=0.7,\
    application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.3";
/// Telegraf's `inputs.prometheus` with `metric_version = 2`.
const TELEGRAF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
    text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
/// Grafana Alloy's `prometheus.scrape` as it is: the protocols of Prometheus 3, and escaped names, because it takes legacy names only.
const ALLOY: &str = PROMETHEUS_3_UNDERSCORES;
/// The same with `metric_name_validation_scheme = "utf8"`.
const ALLOY_UTF8: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
    application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
/// The same with `scrape_native_histograms = true`, which puts protobuf first.
const ALLOY_NATIVE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,\
    application/openmetrics-text;version=1.0.0;escaping=underscores;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
    text/plain;version=1.0.0;escaping=underscores;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
/// Datadog's OpenMetrics check.
const DATADOG: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1";
/// Newer ones put the text format 1.0.0 first.
const PROMETHEUS_3_TEXT: &str = "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,text/plain;version=0.0.4;q=0.5,\
    application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.4,*/*;q=0.3";

#[test]
fn each_prometheus_gets_what_it_prefers() {
    use Escaping::{AllowUtf8, Underscores};
    assert_eq!(chosen(&[PROMETHEUS_2_42]), Format::OpenMetrics100(None));
    assert_eq!(chosen(&[PROMETHEUS_2_5]), Format::Text004);
    assert_eq!(chosen(&[PROMETHEUS_2_0]), Format::Text004);
    assert_eq!(chosen(&[PROMETHEUS_3_0]), Format::OpenMetrics100(Some(AllowUtf8)));
    assert_eq!(chosen(&[PROMETHEUS_3_UNDERSCORES]), Format::OpenMetrics100(Some(Underscores)));
    // It names the escaping with the other formats only, and means all.
    assert_eq!(chosen(&[PROMETHEUS_3_PROTOBUF]), Format::Protobuf(Some(AllowUtf8)));
    assert_eq!(chosen(&[PROMETHEUS_2_42_PROTOBUF]), Format::Protobuf(None));
    assert_eq!(chosen(&[PROMETHEUS_3_PROTOBUF_LAST]), Format::Text004);
    assert_eq!(chosen(&[PROMETHEUS_3_14]), Format::OpenMetrics200(Some(AllowUtf8)));
    assert_eq!(chosen(&[TELEGRAF]), Format::Protobuf(None));
    assert_eq!(chosen(&[ALLOY]), Format::OpenMetrics100(Some(Underscores)));
    assert_eq!(chosen(&[ALLOY_UTF8]), Format::OpenMetrics100(Some(AllowUtf8)));
    assert_eq!(chosen(&[ALLOY_NATIVE]), Format::Protobuf(Some(Underscores)));
    assert_eq!(chosen(&[DATADOG]), Format::OpenMetrics100(None));
    assert_eq!(chosen(&[PROMETHEUS_3_TEXT]), Format::Text100(AllowUtf8));
}

#[test]
fn openmetrics_2_is_given_to_exact_requests_alone() {
    let two = "application/openmetrics-text;version=2.0.0";
    let one = "application/openmetrics-text;version=1.0.0";
    let openmetrics_2 = Format::OpenMetrics200(None);
    assert_eq!(chosen(&[two]), openmetrics_2);
    assert_eq!(chosen(&[&format!("{two};q=0.4,{one};q=0.5")]), Format::OpenMetrics100(None));
    assert_eq!(chosen(&[&format!("{two};q=0.5,{one};q=0.4,*/*;q=0.1")]), openmetrics_2);
    assert_eq!(chosen(&[one, two]), openmetrics_2, "the richer of equals");
    assert_eq!(chosen(&[&format!("{two};q=0,{one};q=0.1")]), Format::OpenMetrics100(None));
    assert_eq!(
        chosen(&["application/openmetrics-text", &format!("{two};q=0.5")]),
        Format::OpenMetrics100(None)
    );
    assert_eq!(
        chosen(&[&format!("{two};escaping=underscores,{one};escaping=allow-utf-8;q=0.5")]),
        Format::OpenMetrics200(Some(Escaping::Underscores)),
        "each with its own escaping"
    );
}

#[test]
fn people_and_odd_headers_get_text() {
    for accept in [
        "*/*",
        "",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "image/png",
        ";;,,q=",
        "text/*",
    ] {
        assert_eq!(chosen(&[accept]), Format::Text004, "{accept}");
    }
    assert_eq!(chosen(&[]), Format::Text004);
    assert_eq!(chosen(&["application/openmetrics-text;version=2.0.0-rc0"]), Format::Text004);
    assert_eq!(chosen(&["application/openmetrics-text;version=2.0"]), Format::Text004);
    assert_eq!(chosen(&["application/vnd.google.protobuf"]), Format::Text004);
    let compact = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=compact-text";
    assert_eq!(chosen(&[compact]), Format::Text004);
    let other = "application/vnd.google.protobuf;proto=prometheus.WriteRequest;encoding=delimited";
    assert_eq!(chosen(&[other]), Format::Text004);
}

#[test]
fn weights_specificity_and_order_decide() {
    let openmetrics = Format::OpenMetrics100(None);
    assert_eq!(chosen(&["text/plain", "application/openmetrics-text"]), openmetrics);
    assert_eq!(chosen(&["application/openmetrics-text;q=0.5, text/plain;q=0.6"]), Format::Text004);
    assert_eq!(chosen(&["application/openmetrics-text;q=0.5, */*;q=0.8"]), Format::Text004);
    assert_eq!(chosen(&["application/openmetrics-text;q=0, text/plain;q=0.1"]), Format::Text004);
    assert_eq!(chosen(&["text/plain;q=0, application/openmetrics-text;q=0.001"]), openmetrics);
    for malformed in ["", ".", "x", "0.0000"] {
        assert_eq!(
            chosen(&[&format!("text/plain;q=0.5, application/openmetrics-text;q={malformed}")]),
            openmetrics,
            "a malformed weight is 1: {malformed:?}"
        );
    }
    assert_eq!(chosen(&["text/plain;q=.5, application/openmetrics-text;q=.6"]), openmetrics);
    assert_eq!(chosen(&["text/plain;q=0.1, application/openmetrics-text;q=0."]), Format::Text004);
    // The weight of the closest range counts, not the greatest.
    assert_eq!(
        chosen(&["*/*;q=1, text/plain;version=0.0.4;q=0.1, application/openmetrics-text;q=0.2"]),
        openmetrics
    );
    assert_eq!(chosen(&["Application/OpenMetrics-Text; Version=\"1.0.0\"; Q=1.0"]), openmetrics);
    assert_eq!(chosen(&["text/plain;version=1.0.0"]), Format::Text100(Escaping::Underscores));
    assert_eq!(
        chosen(&["text/plain;version=1.0.0;escaping=dots"]),
        Format::Text100(Escaping::Underscores)
    );
    assert_eq!(
        chosen(&["application/openmetrics-text;escaping=values"]),
        Format::OpenMetrics100(Some(Escaping::Underscores))
    );
    assert_eq!(
        chosen(&["text/plain;x=\"a,application/openmetrics-text;q=1\";q=0.5"]),
        Format::Text004
    );
}

#[test]
fn content_types_are_exact() {
    use Escaping::{AllowUtf8, Underscores};
    let all = [
        (Format::Text004, "text/plain; version=0.0.4; charset=utf-8"),
        (
            Format::Text100(Underscores),
            "text/plain; version=1.0.0; charset=utf-8; escaping=underscores",
        ),
        (
            Format::Text100(AllowUtf8),
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
        (
            Format::OpenMetrics100(None),
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        (
            Format::OpenMetrics100(Some(AllowUtf8)),
            "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
        ),
    ];
    let openmetrics_2 = "application/openmetrics-text; version=2.0.0; charset=utf-8";
    assert_eq!(Format::OpenMetrics200(None).content_type(), openmetrics_2);
    for (escaping, word) in [(Underscores, "underscores"), (AllowUtf8, "allow-utf-8")] {
        let format = Format::OpenMetrics200(Some(escaping));
        assert_eq!(format.content_type(), format!("{openmetrics_2}; escaping={word}"));
        assert_eq!(format.escaping(), escaping);
    }
    let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    assert_eq!(Format::Protobuf(None).content_type(), protobuf);
    assert_eq!(
        Format::Protobuf(Some(AllowUtf8)).content_type(),
        format!("{protobuf}; escaping=allow-utf-8")
    );
    for (format, content_type) in all {
        assert_eq!(format.content_type(), content_type);
        assert_eq!(Syntax::from_content_type(content_type), Some(format.syntax()));
    }
}

#[test]
fn gzip_goes_to_whoever_wants_it() {
    let chosen = |value: &str| content_encoding([value.as_bytes()]);
    for wants in [
        "gzip",
        "gzip, deflate, br",
        "x-gzip",
        "*",
        "deflate, GZIP;q=0.5",
        "gzip;q=1.0, identity;q=0.5",
        "identity;q=0, *",
    ] {
        assert_eq!(chosen(wants), ContentEncoding::Gzip, "{wants}");
    }
    for not in [
        "",
        "identity",
        "deflate, br",
        "gzip;q=0",
        "gzip;q=0, *",
        "*;q=0",
        "gzip;q=0.2, identity;q=0.9",
        "gzip;q=0.000",
    ] {
        assert_eq!(chosen(not), ContentEncoding::Identity, "{not}");
    }
    assert_eq!(content_encoding([]), ContentEncoding::Identity);
    assert_eq!(content_encoding([&b"br"[..], b"gzip"]), ContentEncoding::Gzip);
}

/// A range of an `Accept` header.
#[derive(Debug, Clone)]
struct Range {
    media: &'static str,
    version: Option<&'static str>,
    /// The weight in thousandths.
    weight: u16,
}

impl Range {
    fn text(&self) -> String {
        let version = self.version.map_or_else(String::new, |version| format!("; version={version}"));
        format!("{}{version}; q={}.{:03}", self.media, self.weight / 1000, self.weight % 1000)
    }

    /// The specificity for a format, if it matches.
    fn specificity(&self, format: Format) -> Option<u8> {
        let (media, version, default) = match format {
            Format::Text004 => ("text/plain", "0.0.4", true),
            Format::Text100(_) => ("text/plain", "1.0.0", false),
            Format::OpenMetrics100(_) => ("application/openmetrics-text", "1.0.0", true),
            Format::OpenMetrics200(_) => ("application/openmetrics-text", "2.0.0", false),
            Format::Protobuf(_) => ("application/vnd.google.protobuf", "", false),
        };
        match (self.media, self.version) {
            ("*/*", _) => (format == Format::Text004).then_some(0),
            ("text/*", _) => (format == Format::Text004).then_some(1),
            (range, None) => (range == media && default).then_some(2),
            (range, Some(given)) => (range == media && given == version).then_some(3),
        }
    }
}

fn range() -> impl Strategy<Value = Range> {
    let media = prop::sample::select(vec!["*/*", "text/*", "text/plain", "application/openmetrics-text", "text/html"]);
    let version = prop::sample::select(vec![None, Some("0.0.1"), Some("0.0.4"), Some("1.0.0"), Some("2.0.0")]);
    (media, version, prop_oneof![Just(0), Just(1000), 0_u16..=1000]).prop_map(|(media, version, weight)| Range { media, version, weight })
}

/// The format by the definition: the weight of the most specific range counts, and the highest weight wins.
fn by_definition(ranges: &[Range]) -> Format {
    let formats = [
        Format::Text004,
        Format::Text100(Escaping::Underscores),
        Format::OpenMetrics100(None),
        Format::OpenMetrics200(None),
    ];
    let weighted = formats.into_iter().enumerate().filter_map(|(rank, format)| {
        let matching = ranges.iter().filter_map(|range| Some((range.specificity(format)?, range.weight)));
        let (specificity, weight) = matching.max()?;
        (weight > 0).then_some((weight, specificity, rank, format))
    });
    weighted
        .max_by_key(|(weight, specificity, rank, _)| (*weight, *specificity, *rank))
        .map_or(Format::Text004, |(.., format)| format)
}

proptest! {
    #[test]
    fn the_most_specific_range_gives_the_weight_and_the_highest_weight_wins(ranges in prop::collection::vec(range(), 0..6), cut in 0_usize..6) {
        let items: Vec<String> = ranges.iter().map(Range::text).collect();
        let expected = by_definition(&ranges);
        prop_assert_eq!(chosen(&[&items.join(", ")]), expected);
        let (first, second) = items.split_at(cut.min(items.len()));
        prop_assert_eq!(chosen(&[&second.join(","), &first.join(",").to_uppercase()]), expected, "in two headers, in another order and case");
    }

    #[test]
    fn gzip_is_chosen_by_its_weight(gzip in 0_u16..=1000, identity in prop::option::of(0_u16..=1000), any in prop::option::of(0_u16..=1000)) {
        let item = |name: &str, weight: u16| format!("{name};q={}.{:03}", weight / 1000, weight % 1000);
        let optional = [("identity", identity), ("*", any)];
        let others: Vec<String> = optional.into_iter().filter_map(|(name, weight)| Some(item(name, weight?))).collect();
        let header = [vec![item("GZip", gzip)], others.clone()].concat().join(" , ");
        let wins = gzip > 0 && gzip >= identity.unwrap_or(0);
        prop_assert_eq!(content_encoding([header.as_bytes()]) == ContentEncoding::Gzip, wins, "{}", header);
        let wins = any.unwrap_or(0) > 0 && any >= identity;
        prop_assert_eq!(content_encoding([others.join(",").as_bytes()]) == ContentEncoding::Gzip, wins, "without gzip: {:?}", others);
    }

    #[test]
    fn no_header_panics(accept in prop::collection::vec(any::<u8>(), 0..100), odd in "[a-z/*;,=\"\\\\ q01.]{0,60}") {
        for value in [&accept[..], odd.as_bytes()] {
            let format = format([value]);
            prop_assert!(format.content_type().contains("; "));
            let _ = content_encoding([value]);
        }
    }
}
