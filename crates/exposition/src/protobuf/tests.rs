#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod claimed_names;
mod index;
mod several_types;

use bytes::Bytes;
use proptest::prelude::*;

use super::field::{bucket, exemplar, family, histogram, label, metric, quantile, scalar, span, summary, timestamp};
use super::wire::{put_bytes, put_double, put_number, put_varint, zigzag};
use super::{DecodeErrorKind, Decoded, MessageType, decode};
use crate::family::MetricType;
use crate::index::Exposition;
use crate::syntax::Syntax;

pub(crate) use self::index::any_family;
pub(crate) use self::several_types::contradicting;

const MAX: usize = 1 << 20;

/// A message under construction.
#[derive(Debug, Clone, Default)]
pub(crate) struct Message(pub(crate) Vec<u8>);

impl Message {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn bytes(mut self, field: u32, bytes: impl AsRef<[u8]>) -> Self {
        put_bytes(field, bytes.as_ref(), &mut self.0);
        self
    }

    pub(crate) fn inside(self, field: u32, inside: &Self) -> Self {
        self.bytes(field, &inside.0)
    }

    pub(crate) fn double(mut self, field: u32, value: f64) -> Self {
        put_double(field, value, &mut self.0);
        self
    }

    pub(crate) fn number(mut self, field: u32, value: u64) -> Self {
        put_number(field, value, &mut self.0);
        self
    }

    /// A signed number in its wire form.
    pub(crate) fn signed(self, field: u32, value: i64) -> Self {
        self.number(field, zigzag(value))
    }

    pub(crate) fn label(self, name: &str, value: &str) -> Self {
        self.inside(metric::LABEL, &Self::new().bytes(label::NAME, name).bytes(label::VALUE, value))
    }

    /// All fields of another message.
    pub(crate) fn bytes_of(mut self, other: &Self) -> Self {
        self.0.extend_from_slice(&other.0);
        self
    }

    pub(crate) fn span(self, field: u32, offset: i64, length: u64) -> Self {
        self.inside(field, &Self::new().signed(span::OFFSET, offset).number(span::LENGTH, length))
    }

    pub(crate) fn deltas(self, field: u32, deltas: &[i64]) -> Self {
        let mut packed = Vec::new();
        deltas.iter().for_each(|delta| put_varint(zigzag(*delta), &mut packed));
        self.bytes(field, packed)
    }

    /// The message behind its length.
    pub(crate) fn delimited(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(self.0.len() as u64, &mut out);
        out.extend_from_slice(&self.0);
        out
    }
}

pub(crate) fn family_of(name: &str, kind: MessageType, metrics: &[Message]) -> Vec<u8> {
    let head = Message::new().bytes(family::NAME, name).number(family::TYPE, kind as u64);
    metrics
        .iter()
        .fold(head, |it, metric| it.inside(family::METRIC, metric))
        .delimited()
}

pub(crate) fn scalar_of(kind: MessageType, value: f64) -> Message {
    let field = match kind {
        MessageType::Counter => metric::COUNTER,
        MessageType::Gauge => metric::GAUGE,
        _ => metric::UNTYPED,
    };
    Message::new().inside(field, &Message::new().double(scalar::VALUE, value))
}

pub(crate) fn time(seconds: u64, nanos: u64) -> Message {
    Message::new().number(timestamp::SECONDS, seconds).number(timestamp::NANOS, nanos)
}

/// A native histogram without classic buckets: three observations.
pub(crate) fn native() -> Message {
    Message::new()
        .number(histogram::COUNT, 3)
        .double(histogram::SUM, 4.5)
        .signed(histogram::SCHEMA, 3)
        .double(histogram::ZERO_THRESHOLD, 1e-128)
        .number(histogram::ZERO_COUNT, 1)
        .span(histogram::POSITIVE_SPAN, -2, 2)
        .deltas(histogram::POSITIVE_DELTA, &[1, 0])
}

pub(crate) fn histogram_of(inside: &Message) -> Message {
    Message::new().inside(metric::HISTOGRAM, inside)
}

fn read(body: &[u8]) -> Decoded {
    decode(body, MAX).unwrap()
}

fn text(body: &[u8]) -> String {
    String::from_utf8(read(body).text.to_vec()).unwrap()
}

fn parsed(body: &[u8]) -> Exposition {
    let Decoded { text, records } = read(body);
    let parsed = Exposition::parse(text, Syntax::OpenMetrics).with_records(records);
    same_as_parsed(body, &parsed);
    parsed
}

/// Checks that [`Exposition::decode`] returns what parsing the text does.
fn same_as_parsed(body: &[u8], parsed: &Exposition) {
    let mut decoded = Exposition::decode(body, MAX).unwrap();
    assert_eq!(decoded.faults().total(), parsed.faults().total());
    assert!(decoded.faults().iter().all(|fault| fault.place.is_some()), "{:?}", decoded.faults());
    decoded.faults = parsed.faults().clone();
    assert_eq!(&decoded, parsed, "{}", String::from_utf8_lossy(parsed.body()));
}

fn failure(body: &[u8]) -> String {
    decode(body, MAX).unwrap_err().to_string()
}

#[test]
fn every_type_becomes_text() {
    let exemplar = Message::new()
        .label("trace", "a\"b")
        .double(exemplar::VALUE, 0.5)
        .inside(exemplar::TIMESTAMP, &time(1_700_000_000, 5_000_000));
    let counter = Message::new().label("code", "200").inside(
        metric::COUNTER,
        &Message::new()
            .double(scalar::VALUE, 3.0)
            .inside(scalar::EXEMPLAR, &exemplar)
            .inside(scalar::CREATED, &time(1_600_000_000, 120_000_000)),
    );
    let summary = Message::new()
        .inside(
            metric::SUMMARY,
            &Message::new()
                .number(summary::COUNT, 4)
                .double(summary::SUM, 0.25)
                .inside(
                    summary::QUANTILE,
                    &Message::new().double(quantile::QUANTILE, 0.5).double(quantile::VALUE, 0.1),
                )
                .inside(
                    summary::QUANTILE,
                    &Message::new().double(quantile::QUANTILE, 1.0).double(quantile::VALUE, f64::NAN),
                ),
        )
        .number(metric::TIMESTAMP_MS, 1_700_000_000_250);
    let classic = histogram_of(
        &Message::new().number(histogram::COUNT, 2).double(histogram::SUM, 1.5e-9).inside(
            histogram::BUCKET,
            &Message::new()
                .number(bucket::COUNT, 1)
                .double(bucket::BOUND, 1.0)
                .inside(bucket::EXEMPLAR, &exemplar),
        ),
    );
    let mut body = Message::new()
        .bytes(family::NAME, "requests_seconds_total")
        .bytes(family::HELP, "Some \\ \"help\"\nof two lines")
        .bytes(family::UNIT, "seconds")
        .inside(family::METRIC, &counter)
        .delimited();
    body.extend(family_of("up", MessageType::Gauge, &[scalar_of(MessageType::Gauge, -0.0)]));
    body.extend(family_of("free", MessageType::Untyped, &[scalar_of(MessageType::Untyped, 1e300)]));
    body.extend(family_of("s", MessageType::Summary, &[summary]));
    body.extend(family_of("h", MessageType::Histogram, &[classic]));
    let expected = "# HELP requests_seconds Some \\\\ \\\"help\\\"\\nof two lines\n# TYPE requests_seconds counter\n# UNIT requests_seconds seconds\n\
        requests_seconds_total{code=\"200\"} 3 # {trace=\"a\\\"b\"} 0.5 1700000000.005\n\
        requests_seconds_created{code=\"200\"} 1600000000.12\n\
        # TYPE up gauge\nup -0\n\
        # TYPE free unknown\nfree 1e300\n\
        # TYPE s summary\ns{quantile=\"0.5\"} 0.1 1700000000.25\ns{quantile=\"1.0\"} NaN 1700000000.25\ns_count 4 1700000000.25\n\
        s_sum 0.25 1700000000.25\n\
        # TYPE h histogram\nh_bucket{le=\"1.0\"} 1 # {trace=\"a\\\"b\"} 0.5 1700000000.005\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 1.5e-9\n# EOF\n";
    assert_eq!(text(&body), expected);
    assert!(read(&body).records.is_empty(), "text has all of it");
    let parsed = parsed(&body);
    assert!(parsed.faults().is_empty(), "{:?}", parsed.faults());
    assert_eq!(parsed.faults().exemplars(), 0);
    assert_eq!(parsed.series(), 12);
}

#[test]
fn a_native_histogram_has_count_sum_and_last_bucket_as_text_and_stays_whole_as_a_record() {
    let metric = histogram_of(&native()).label("path", "/");
    let body = family_of("latency", MessageType::Histogram, std::slice::from_ref(&metric));
    assert_eq!(
        text(&body),
        "# TYPE latency histogram\nlatency_bucket{path=\"/\",le=\"+Inf\"} 3\nlatency_count{path=\"/\"} 3\nlatency_sum{path=\"/\"} 4.5\n# EOF\n"
    );
    assert_eq!(read(&body).records, body, "the message has nothing but name, type and metrics");
    let parsed = parsed(&body);
    assert!(parsed.faults().is_empty());
    let records = parsed.records().unwrap().of(0);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].kind, records[0].native_only), (MessageType::Histogram, 1));
    let mut field = Vec::new();
    put_bytes(family::METRIC, &metric.0, &mut field);
    assert_eq!(records[0].metrics.of(&parsed.record_bytes()), field);
    assert_eq!(parsed.native_only(), 1);
}

#[test]
fn the_no_op_span_and_classic_buckets_beside_stay_in_the_record() {
    let both = Message::new()
        .number(histogram::COUNT, 0)
        .inside(histogram::BUCKET, &Message::new().double(bucket::BOUND, 1.0))
        .span(histogram::POSITIVE_SPAN, 0, 0);
    let body = family_of("h", MessageType::Histogram, &[histogram_of(&both)]);
    assert_eq!(read(&body).records, body);
    assert_eq!(parsed(&body).native_only(), 0, "its buckets are visible as text");
    assert!(text(&body).contains("h_bucket{le=\"1.0\"} 0\nh_bucket{le=\"+Inf\"} 0\n"));
}

#[test]
fn float_histograms_and_gauge_histograms_become_text() {
    let float = Message::new()
        .double(histogram::COUNT_FLOAT, 2.5)
        .double(histogram::ZERO_COUNT_FLOAT, 0.5)
        .double(histogram::ZERO_THRESHOLD, 0.1)
        .span(histogram::NEGATIVE_SPAN, 0, 2)
        .bytes(histogram::NEGATIVE_COUNT, [1.5_f64.to_le_bytes(), 0.5_f64.to_le_bytes()].concat());
    let body = family_of("g", MessageType::GaugeHistogram, &[histogram_of(&float)]);
    assert_eq!(
        text(&body),
        "# TYPE g gaugehistogram\ng_bucket{le=\"+Inf\"} 2.5\ng_gcount 2.5\ng_gsum 0\n# EOF\n"
    );
    let parsed = parsed(&body);
    assert_eq!(parsed.records().unwrap().of(0)[0].kind, MessageType::GaugeHistogram);
}

#[test]
fn names_of_go_programs_do_not_collide() {
    let mut body = family_of("go_memstats_alloc_bytes", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 1.0)]);
    body.extend(family_of(
        "go_memstats_alloc_bytes_total",
        MessageType::Counter,
        &[scalar_of(MessageType::Counter, 2.0)],
    ));
    body.extend(family_of("plain", MessageType::Counter, &[scalar_of(MessageType::Counter, 3.0)]));
    body.extend(family_of("c_total", MessageType::Counter, &[scalar_of(MessageType::Counter, 4.0)]));
    body.extend(family_of("c_created", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 5.0)]));
    let parsed = parsed(&body);
    assert!(parsed.faults().is_empty(), "{:?}", parsed.faults());
    let kinds: Vec<_> = parsed.families().iter().map(|it| (parsed.text(it.name), it.kind)).collect();
    let expected: [(&[u8], _); 5] = [
        (b"go_memstats_alloc_bytes", MetricType::Gauge),
        (b"go_memstats_alloc_bytes_total", MetricType::Counter),
        (b"plain", MetricType::Counter),
        (b"c", MetricType::Counter),
        (b"c_created", MetricType::Gauge),
    ];
    assert_eq!(kinds, expected);
}

#[test]
fn names_outside_the_legacy_characters_are_quoted() {
    let metric = scalar_of(MessageType::Gauge, 1.0).label("a.b", "\u{e4}\n").label("c", "d");
    let body = family_of("my.\"metric\"", MessageType::Gauge, &[metric]);
    assert_eq!(
        text(&body),
        "# TYPE \"my.\\\"metric\\\"\" gauge\n{\"my.\\\"metric\\\"\",\"a.b\"=\"\u{e4}\\n\",c=\"d\"} 1\n# EOF\n"
    );
    assert!(parsed(&body).faults().is_empty());
}

#[test]
fn an_exemplar_that_text_cannot_carry_stays_in_the_record() {
    let exemplar = Message::new().label("trace", &"x".repeat(200)).double(exemplar::VALUE, 1.0);
    let counter = Message::new().inside(
        metric::COUNTER,
        &Message::new().double(scalar::VALUE, 1.0).inside(scalar::EXEMPLAR, &exemplar),
    );
    let body = family_of("c_total", MessageType::Counter, std::slice::from_ref(&counter));
    let long = parsed(&body);
    assert_eq!((long.series(), long.faults().exemplars()), (1, 1), "left out of text, and counted");
    assert_eq!(long.record_bytes(), body);
}

#[test]
fn of_metrics_with_the_same_series_the_first_stays_in_the_records() {
    let second = histogram_of(&native().number(histogram::ZERO_COUNT, 1)).label("a", "b");
    let body = family_of(
        "h",
        MessageType::Histogram,
        &[histogram_of(&native()).label("a", "b"), second, histogram_of(&native())],
    );
    let parsed = parsed(&body);
    assert_eq!(parsed.faults().total(), 3, "each line of the second");
    let expected = family_of(
        "h",
        MessageType::Histogram,
        &[histogram_of(&native()).label("a", "b"), histogram_of(&native())],
    );
    assert_eq!(parsed.record_bytes(), expected);
}

#[test]
fn a_family_that_occurs_twice_is_one_and_all_of_it_stays_in_the_records() {
    let mut body = family_of(
        "x",
        MessageType::Summary,
        &[Message::new().label("a", "1").inside(metric::SUMMARY, &Message::new())],
    );
    body.extend(family_of("x", MessageType::Histogram, &[histogram_of(&native()).label("a", "2")]));
    let parsed = parsed(&body);
    assert_eq!(parsed.record_bytes(), body);
    assert!(parsed.faults().is_empty(), "{:?}", parsed.faults());
    assert_eq!(parsed.families().len(), 2, "the buckets have no family that owns them");
    let kinds: Vec<_> = parsed.records().unwrap().of(0).iter().map(|it| it.kind).collect();
    assert_eq!(kinds, [MessageType::Summary, MessageType::Histogram]);
}

#[test]
fn errors_name_the_family_and_the_byte() {
    let good = family_of("up", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 1.0)]);
    let cut = [&good[..], &good[..good.len() - 3]].concat();
    assert_eq!(
        failure(&cut),
        format!(
            "protobuf metric family 2, byte {}: a length of 19 bytes where 16 are left: truncated, or not length-delimited MetricFamily messages",
            good.len()
        )
    );
    let bad_type = Message::new()
        .bytes(family::NAME, "odd\n")
        .number(family::TYPE, 9)
        .inside(family::METRIC, &scalar_of(MessageType::Gauge, 1.0))
        .delimited();
    assert_eq!(
        failure(&[&good[..], &bad_type].concat()),
        format!(
            "protobuf metric family 2 \"odd\\n\", byte {}: unknown metric type 9",
            good.len() + 1 + 6
        )
    );
    let bad_label = family_of(
        "x",
        MessageType::Gauge,
        &[Message::new().bytes(metric::LABEL, Message::new().bytes(label::NAME, [0xff]).0)],
    );
    assert!(
        failure(&bad_label).ends_with(": a label name is not UTF-8"),
        "{}",
        failure(&bad_label)
    );
    let no_name = Message::new().inside(family::METRIC, &Message::new()).delimited();
    assert!(failure(&no_name).ends_with(": the family has no name"));
    assert!(failure(b"# TYPE up gauge\nup 1\n").starts_with("protobuf metric family 1, byte 0: a length of 35 bytes where 20 are left"));
    let group = [&[4][..], b"\x0a\x00\x0b\x00"].concat();
    assert!(
        failure(&group).ends_with("byte 3: wire type 3 of field 1 is not supported"),
        "{}",
        failure(&group)
    );
    let wrong = [3, 0x08, 0x01, 0x00];
    assert!(
        failure(&wrong).ends_with("byte 1: field 1 has the wrong wire type"),
        "{}",
        failure(&wrong)
    );
}

#[test]
fn native_histograms_that_prometheus_refuses_are_errors() {
    let refused = |native: Message| failure(&family_of("h", MessageType::Histogram, &[histogram_of(&native)]));
    assert!(refused(native().number(histogram::COUNT, 4)).ends_with("the count differs from the sum of all buckets"));
    assert!(refused(native().span(histogram::POSITIVE_SPAN, 1, 7)).ends_with("the spans cover another number of buckets than there are"));
    let back = native().span(histogram::POSITIVE_SPAN, -1, 0);
    assert!(refused(back).ends_with("a span begins before the end of the one before it"));
    assert!(refused(native().signed(histogram::SCHEMA, 9)).ends_with("the schema must be from -4 to 8"));
    let negative = native()
        .span(histogram::NEGATIVE_SPAN, 0, 1)
        .deltas(histogram::NEGATIVE_DELTA, &[-1]);
    assert!(refused(negative).ends_with("a bucket has a negative count"));
}

#[test]
fn a_long_name_cannot_multiply_a_body() {
    // Two bytes a metric make as many bytes of text as the name is long.
    let body = family_of(&"n".repeat(1_000), MessageType::Gauge, &vec![Message::new(); 10_000]);
    assert_eq!(decode(&body, 50_000).unwrap_err().kind, DecodeErrorKind::TooLong(50_000));
}

#[test]
fn the_content_type_decides_with_its_parameters() {
    use super::is_content_type;
    assert_eq!(is_content_type("text/plain; version=0.0.4"), Ok(false));
    assert_eq!(is_content_type("application/vnd.google.protobuf"), Ok(true));
    let full = "Application/Vnd.Google.Protobuf; proto=\"io.prometheus.client.MetricFamily\"; encoding=delimited; escaping=values";
    assert_eq!(is_content_type(full), Ok(true));
    let error = is_content_type("application/vnd.google.protobuf; encoding=compact-text").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("protobuf with encoding=compact-text is not supported, only application/vnd")
    );
    assert!(is_content_type("application/vnd.google.protobuf;proto=prometheus.WriteRequest").is_err());
}

#[test]
fn a_body_of_nothing_has_no_families() {
    assert_eq!(text(b""), "# EOF\n");
    assert_eq!(text(&[0, 0]), "# EOF\n", "empty messages");
    assert_eq!(text(&family_of("none", MessageType::Counter, &[])), "# EOF\n");
}

fn a_value() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), (-1e6..1e6_f64), any::<u32>().prop_map(f64::from)]
}

proptest! {
    #[test]
    fn doubles_read_back_as_they_were(value in a_value()) {
        let mut out = Vec::new();
        super::number::put_double(value, &mut out);
        let read: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
        prop_assert!(read.to_bits() == value.to_bits() || value.is_nan() && read.is_nan(), "{value:?} as {}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn times_are_written_exactly(seconds in -1_000_000_000_000_i64..1_000_000_000_000, nanos in 0_i64..1_000_000_000) {
        let mut out = Vec::new();
        super::number::put_seconds(seconds, nanos, &mut out);
        let text = String::from_utf8(out).unwrap();
        let (sign, digits) = text.strip_prefix('-').map_or((1, &*text), |digits| (-1, digits));
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let total = whole.parse::<i128>().unwrap() * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>().unwrap();
        prop_assert_eq!(sign * total, i128::from(seconds) * 1_000_000_000 + i128::from(nanos));
    }

    /// Whatever the bytes are: no panic, no text beyond the limit, and what is decoded parses.
    #[test]
    fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(Decoded { text, records }) = decode(&body, 4_096) {
            prop_assert!(text.len() <= 4_096 + "# EOF\n".len());
            prop_assert!(std::str::from_utf8(&text).is_ok());
            let _ = Exposition::parse(text, Syntax::OpenMetrics).with_records(records);
        }
    }

    /// A body with one byte changed.
    #[test]
    fn a_damaged_body_is_decoded_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = family_of("h", MessageType::Histogram, &[histogram_of(&native()).label("a", "b"), histogram_of(&native())]);
        body.extend(family_of("c_total", MessageType::Counter, &[scalar_of(MessageType::Counter, 2.0).label("a", "b")]));
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(Decoded { text, records }) = decode(&body, MAX) {
            let read = Exposition::parse(text, Syntax::OpenMetrics).with_records(records.clone());
            let kept = read.record_bytes();
            prop_assert!(kept.len() <= records.len());
            // Records are messages that decode again.
            prop_assert!(decode(&kept, MAX).is_ok());
        }
    }
}

#[test]
fn a_family_of_the_name_of_creation_times_costs_no_type_and_no_record() {
    let created = native().inside(histogram::CREATED, &time(1_700_000_000, 0));
    let counter = Message::new().inside(
        metric::COUNTER,
        &Message::new()
            .double(scalar::VALUE, 2.0)
            .inside(scalar::CREATED, &time(1_700_000_000, 0)),
    );
    let families = [
        family_of("h", MessageType::Histogram, &[histogram_of(&created)]),
        family_of("c_total", MessageType::Counter, std::slice::from_ref(&counter)),
        family_of("h_created", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 5.0)]),
        family_of("c_created", MessageType::Gauge, &[scalar_of(MessageType::Gauge, 6.0)]),
    ];
    let backwards: Vec<Vec<u8>> = families.iter().rev().cloned().collect();
    for body in [families.concat(), backwards.concat()] {
        let parsed = parsed(&body);
        assert!(parsed.faults().is_empty(), "{:?}\n{}", parsed.faults(), text(&body));
        let mut kinds: Vec<_> = parsed
            .families()
            .iter()
            .map(|it| (String::from_utf8_lossy(parsed.text(it.name)).into_owned(), it.kind))
            .collect();
        kinds.sort_by(|one, other| one.0.cmp(&other.0));
        let expected = [
            ("c", MetricType::Counter),
            ("c_created", MetricType::Gauge),
            ("h", MetricType::Histogram),
            ("h_created", MetricType::Gauge),
        ];
        assert_eq!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind)));
        assert_eq!(parsed.native_histograms(), 1);
        let records = parsed.record_bytes();
        assert!(
            records.windows(created.0.len()).any(|part| part == created.0),
            "with its creation time"
        );
        assert!(
            records.windows(counter.0.len()).any(|part| part == counter.0),
            "which the text cannot have"
        );
    }
}

#[test]
fn faults_name_the_metric_of_the_body() {
    let gauge = |value: &str| scalar_of(MessageType::Gauge, 1.0).label("a", value);
    let mut body = family_of("first", MessageType::Gauge, &[gauge("1")]);
    let start = body.len();
    body.extend(family_of(
        "up",
        MessageType::Gauge,
        &[gauge("1"), gauge("2"), gauge("1"), gauge("2")],
    ));
    let decoded = Exposition::decode(&body, MAX).unwrap();
    assert_eq!(decoded.series(), 3);
    let metric = start + (body.len() - start - 10) / 4;
    let told: Vec<String> = decoded.faults().iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].starts_with("protobuf metric family 2 \"up\", metric 3, byte "), "{told:?}");
    assert!(told[1].starts_with("protobuf metric family 2 \"up\", metric 4, byte "), "{told:?}");
    assert!(
        told[0].ends_with(": duplicate series: a metric before it has the same name and labels"),
        "{told:?}"
    );
    let byte = |told: &str| {
        told.split("byte ")
            .nth(1)
            .and_then(|rest| rest.split(':').next())
            .unwrap()
            .parse::<usize>()
            .unwrap()
    };
    assert!(byte(&told[0]) > metric && byte(&told[1]) > byte(&told[0]), "{told:?}");
    assert_eq!(body[byte(&told[1])], 0x22, "the tag of a metric");
}

#[test]
fn records_without_a_family_in_the_text_are_left_out() {
    let records = Bytes::from(family_of("h", MessageType::Histogram, &[histogram_of(&native())]));
    let text = Exposition::parse(Bytes::from_static(b"# TYPE other gauge\nother 1\n# EOF\n"), Syntax::OpenMetrics);
    assert!(text.with_records(records).records().is_none());
}
