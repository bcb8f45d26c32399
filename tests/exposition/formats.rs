//! The table of docs/formats.md: each cell is tried, and a cell that nothing tries fails.

use std::sync::Arc;

use bytes::Bytes;
use exporter_proxy::exposition::catalog::{render_single, unstated_types_of_single};
use exporter_proxy::exposition::negotiate::{Escaping, Format};
use exporter_proxy::exposition::openmetrics2::{self, Writer};
use exporter_proxy::exposition::{Exposition, protobuf};
use exporter_proxy::model::Syntax;

/// The heading above the table.
const HEADING: &str = "## Features by format";

const TEXT_004: Format = Format::Text004;
const TEXT_100: Format = Format::Text100(Escaping::AllowUtf8);
const OPENMETRICS: Format = Format::OpenMetrics100(Some(Escaping::AllowUtf8));
const OPENMETRICS_2: Format = Format::OpenMetrics200(Some(Escaping::AllowUtf8));
const PROTOBUF: Format = Format::Protobuf(Some(Escaping::AllowUtf8));

/// The columns behind the feature: what arrives, and what goes out.
const COLUMNS: [&str; 9] = [
    "from text",
    "from OpenMetrics",
    "from OpenMetrics 2.0",
    "from protobuf",
    "to text 0.0.4",
    "to text 1.0.0",
    "to OpenMetrics",
    "to OpenMetrics 2.0",
    "to protobuf",
];

/// A body of an app.
#[derive(Clone)]
enum Body {
    Text(String),
    OpenMetrics(String),
    OpenMetrics2(String),
    Protobuf(Vec<u8>),
}

/// A body, a format that it goes out in, and what stands there and what does not.
struct Try {
    body: Body,
    to: Format,
    has: Vec<Vec<u8>>,
    lacks: Vec<Vec<u8>>,
    /// Lines of the body that are left out, and exemplars.
    faults: (u64, u64),
}

/// A cell: its words in the table, and what tries it.
struct Cell(&'static str, Try);

/// A line of the table.
struct Row {
    feature: &'static str,
    cells: [Cell; 9],
}

impl Body {
    fn read(&self) -> Exposition {
        match self {
            Self::Text(text) => Exposition::parse(Bytes::from(text.clone()), Syntax::Text),
            Self::OpenMetrics(text) => Exposition::parse(Bytes::from(text.clone()), Syntax::OpenMetrics),
            Self::OpenMetrics2(text) => openmetrics2::parse(text.as_bytes(), usize::MAX).unwrap(),
            Self::Protobuf(body) => {
                let decoded = protobuf::decode(body, usize::MAX).unwrap();
                Exposition::parse(decoded.text, Syntax::OpenMetrics).with_records(decoded.records)
            }
        }
    }
}

impl Try {
    fn lacks(mut self, what: &[&[u8]]) -> Self {
        self.lacks = what.iter().map(|it| it.to_vec()).collect();
        self
    }

    fn faults(mut self, lines: u64, exemplars: u64) -> Self {
        self.faults = (lines, exemplars);
        self
    }

    fn run(&self, place: &str) {
        let read = self.body.read();
        let faults = (read.faults().total(), read.faults().exemplars());
        assert_eq!(faults, self.faults, "{place}: {:?}", read.faults());
        let out = rendered(&Arc::new(read), self.to);
        let shown = String::from_utf8_lossy(&out);
        let finds = |what: &[u8]| out.windows(what.len()).any(|window| window == what);
        for what in &self.has {
            assert!(finds(what), "{place}: {:?} is missing in\n{shown}", String::from_utf8_lossy(what));
        }
        for what in &self.lacks {
            assert!(
                !finds(what),
                "{place}: {:?} should not be in\n{shown}",
                String::from_utf8_lossy(what)
            );
        }
        assert!(self.has.len() + self.lacks.len() > 0, "{place}: a test of nothing");
    }
}

/// The response with this app alone.
fn rendered(app: &Arc<Exposition>, to: Format) -> Vec<u8> {
    let rendered = render_single(app, to.into());
    let tail = rendered.tail(None);
    let chunks: Vec<_> = rendered.chunks().iter().chain(&tail).map(|chunk| chunk.text()).collect();
    if to != OPENMETRICS_2 && to != Format::OpenMetrics200(None) {
        return chunks.iter().flat_map(|slices| slices.concat()).collect();
    }
    let mut out = Vec::new();
    let goes_on = Writer::new(chunks, &unstated_types_of_single(app, to.escaping())).write(&mut out, usize::MAX);
    assert!(!goes_on && out.ends_with(b"# EOF\n"));
    out
}

/// A body that goes out in a format with these parts.
fn shows(body: &Body, to: Format, has: &[&[u8]]) -> Try {
    Try {
        body: body.clone(),
        to,
        has: has.iter().map(|it| it.to_vec()).collect(),
        lacks: Vec::new(),
        faults: (0, 0),
    }
}

fn text(body: &str) -> Body {
    Body::Text(body.to_owned())
}

fn openmetrics(body: &str) -> Body {
    Body::OpenMetrics(format!("{body}# EOF\n"))
}

fn openmetrics_2(body: &str) -> Body {
    Body::OpenMetrics2(format!("{body}# EOF\n"))
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number >= 0x80 {
        out.push(0x80 | number.to_le_bytes()[0]);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
    out
}

/// A field of bytes.
fn bytes(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// A field of a message.
fn message(number: u64, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(number, &fields.concat())
}

fn number(field: u64, number: u64) -> Vec<u8> {
    [varint(field << 3), varint(number)].concat()
}

fn double(field: u64, value: f64) -> Vec<u8> {
    [varint(field << 3 | 1), value.to_le_bytes().to_vec()].concat()
}

/// A label of a metric, which is field 1 of an exemplar, too.
fn label(name: &str, value: &str) -> Vec<u8> {
    message(1, &[bytes(1, name.as_bytes()), bytes(2, value.as_bytes())])
}

/// A span of native buckets; the offset in its wire form.
fn span(field: u64, offset: u64, length: u64) -> Vec<u8> {
    message(field, &[number(1, offset), number(2, length)])
}

/// A family behind its length: name, type and what else there is.
fn family(name: &str, kind: u64, fields: &[Vec<u8>]) -> Body {
    let inside = [bytes(1, name.as_bytes()), number(3, kind), fields.concat()].concat();
    Body::Protobuf([varint(inside.len() as u64), inside].concat())
}

const COUNTER: u64 = 0;
const GAUGE: u64 = 1;
const SUMMARY: u64 = 2;
const HISTOGRAM: u64 = 4;
const GAUGE_HISTOGRAM: u64 = 5;

/// A metric of a family.
fn metric(fields: &[Vec<u8>]) -> Vec<u8> {
    message(4, fields)
}

fn histogram(fields: &[Vec<u8>]) -> Vec<u8> {
    message(7, fields)
}

/// A native histogram of three observations.
fn native() -> Vec<u8> {
    histogram(&native_fields())
}

fn native_fields() -> [Vec<u8>; 7] {
    [
        number(1, 3),
        double(2, 4.5),
        number(5, 6),
        double(6, 1e-128),
        number(7, 1),
        span(12, 3, 2),
        bytes(13, &[2, 0]),
    ]
}

fn exemplar(field: u64, id: &str) -> Vec<u8> {
    message(field, &[label("id", id), double(2, 0.5), message(3, &[number(1, 1_700_000_000)])])
}

/// A line of OpenMetrics 2.0, which alone states native histograms in text.
const COMPOSITE: &str = "# TYPE latency histogram\nlatency {count:3,sum:4.5,schema:3,zero_threshold:1e-128,zero_count:1,positive_spans:[-2:2],\
    positive_buckets:[1,1]}\n";

/// What a scraper of text sees of [`native`].
const COUNT_AND_SUM: [&[u8]; 3] = [b"latency_bucket{le=\"+Inf\"} 3\n", b"latency_count 3\n", b"latency_sum 4.5\n"];

fn values() -> Row {
    let body = text("jobs_total{kind=\"a\"} 1.5\n");
    let value = message(5, &[double(1, 1.5)]);
    let proto = family("jobs_total", 3, &[metric(&[label("kind", "a"), value.clone()])]);
    let line: &[u8] = b"jobs_total{kind=\"a\"} 1.5\n";
    let encoded = [label("kind", "a"), value].concat();
    Row {
        feature: "values and labels",
        cells: [
            Cell("yes", shows(&body, PROTOBUF, &[&encoded])),
            Cell("yes", shows(&openmetrics("jobs_total{kind=\"a\"} 1.5\n"), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&openmetrics_2("jobs_total{kind=\"a\"} 1.5\n"), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, TEXT_004, &[line])),
            Cell("yes", shows(&proto, TEXT_100, &[line])),
            Cell("yes", shows(&proto, OPENMETRICS, &[line])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[line])),
            Cell("yes", shows(&body, PROTOBUF, &[&encoded])),
        ],
    }
}

fn timestamps() -> Row {
    let proto = family(
        "up",
        GAUGE,
        &[metric(&[message(2, &[double(1, 1.0)]), number(6, 1_700_000_000_250)])],
    );
    let encoded = [message(2, &[double(1, 1.0)]), number(6, 1_700_000_000_250)].concat();
    let millis: &[u8] = b"up 1 1700000000250\n";
    let seconds: &[u8] = b"up 1 1700000000.25\n";
    let body = text("# TYPE up gauge\nup 1 1700000000250\n");
    Row {
        feature: "timestamps",
        cells: [
            Cell("yes", shows(&body, PROTOBUF, &[&encoded])),
            Cell(
                "yes",
                shows(&openmetrics("# TYPE up gauge\nup 1 1700000000.25\n"), PROTOBUF, &[&encoded]),
            ),
            Cell(
                "yes",
                shows(&openmetrics_2("# TYPE up gauge\nup 1 1700000000.25\n"), PROTOBUF, &[&encoded]),
            ),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, TEXT_004, &[millis])),
            Cell("yes", shows(&proto, TEXT_100, &[millis])),
            Cell("yes", shows(&proto, OPENMETRICS, &[seconds])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[seconds])),
            Cell("yes", shows(&body, PROTOBUF, &[&encoded])),
        ],
    }
}

fn help() -> Row {
    let proto = family(
        "up",
        GAUGE,
        &[bytes(2, b"of \\ two\nlines"), metric(&[message(2, &[double(1, 1.0)])])],
    );
    let encoded = bytes(2, b"of \\ two\nlines");
    let line: &[u8] = b"# HELP up of \\\\ two\\nlines\n";
    let body = "# HELP up of \\\\ two\\nlines\n# TYPE up gauge\nup 1\n";
    Row {
        feature: "HELP",
        cells: [
            Cell("yes", shows(&text(body), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&openmetrics(body), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&openmetrics_2(body), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, TEXT_004, &[line])),
            Cell("yes", shows(&proto, TEXT_100, &[line])),
            Cell("yes", shows(&proto, OPENMETRICS, &[line])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[line])),
            Cell("yes", shows(&text(body), PROTOBUF, &[&encoded])),
        ],
    }
}

/// One family of each type that all formats have.
fn types() -> Row {
    let samples = "# TYPE g gauge\ng 1\n# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n\
        # TYPE s summary\ns{quantile=\"0.5\"} 4\ns_count 5\ns_sum 6\n";
    let body = text(&format!("# TYPE c_total counter\nc_total 7\n{samples}"));
    let open = openmetrics(&format!("# TYPE c counter\nc_total 7\n{samples}"));
    let two = openmetrics_2(
        "# TYPE c_total counter\nc_total 7\n# TYPE g gauge\ng 1\n# TYPE h histogram\nh {count:2,sum:3,bucket:[1.0:1,+Inf:2]}\n\
        # TYPE s summary\ns {count:5,sum:6,quantile:[0.5:4]}\n",
    );
    let counter = [number(3, COUNTER), metric(&[message(3, &[double(1, 7.0)])])].concat();
    let gauge = [number(3, GAUGE), metric(&[message(2, &[double(1, 1.0)])])].concat();
    let bucket = |count, bound| message(3, &[number(1, count), double(2, bound)]);
    let buckets = [number(1, 2), double(2, 3.0), bucket(1, 1.0), bucket(2, f64::INFINITY)];
    let classic = [number(3, HISTOGRAM), metric(&[histogram(&buckets)])].concat();
    let quantile = message(3, &[double(1, 0.5), double(2, 4.0)]);
    let quantiles = message(4, &[number(1, 5), double(2, 6.0), quantile]);
    let summary = [number(3, SUMMARY), metric(&[quantiles])].concat();
    let all: [&[u8]; 4] = [&counter, &gauge, &classic, &summary];
    let Body::Protobuf(proto) = [("c_total", &counter), ("g", &gauge), ("h", &classic), ("s", &summary)]
        .into_iter()
        .map(|(name, fields)| {
            let inside = [bytes(1, name.as_bytes()), fields.clone()].concat();
            [varint(inside.len() as u64), inside].concat()
        })
        .fold(Body::Protobuf(Vec::new()), |body, family| match body {
            Body::Protobuf(before) => Body::Protobuf([before, family].concat()),
            other => other,
        })
    else {
        unreachable!("a body of messages")
    };
    let proto = Body::Protobuf(proto);
    let lines: [&[u8]; 4] = [
        b"# TYPE c_total counter\nc_total 7\n",
        b"# TYPE g gauge\ng 1\n",
        b"# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_count 2\nh_sum 3\n",
        b"# TYPE s summary\ns{quantile=\"0.5\"} 4\ns_count 5\ns_sum 6\n",
    ];
    let open_lines: [&[u8]; 4] = [b"# TYPE c counter\nc_total 7\n", lines[1], lines[2], lines[3]];
    let composite: [&[u8]; 4] = [
        lines[0],
        lines[1],
        b"# TYPE h histogram\nh {count:2,sum:3,bucket:[1.0:1,+Inf:2]}\n",
        b"# TYPE s summary\ns {count:5,sum:6,quantile:[0.5:4]}\n",
    ];
    Row {
        feature: "counters, gauges, classic histograms, summaries",
        cells: [
            Cell("yes", shows(&body, PROTOBUF, &all)),
            Cell("yes", shows(&open, PROTOBUF, &all)),
            Cell("yes", shows(&two, PROTOBUF, &all)),
            Cell("yes", shows(&proto, PROTOBUF, &all)),
            Cell("yes", shows(&proto, TEXT_004, &lines)),
            Cell("yes", shows(&proto, TEXT_100, &lines)),
            Cell("yes", shows(&proto, OPENMETRICS, &open_lines)),
            Cell("yes", shows(&proto, OPENMETRICS_2, &composite)),
            Cell("yes", shows(&body, PROTOBUF, &all)),
        ],
    }
}

fn utf8_names() -> Row {
    let line = "{\"my.gauge\",\"a.b\"=\"c\"} 5\n";
    let body = format!("# TYPE \"my.gauge\" gauge\n{line}");
    let proto = family("my.gauge", GAUGE, &[metric(&[label("a.b", "c"), message(2, &[double(1, 5.0)])])]);
    let encoded = [bytes(1, b"my.gauge"), number(3, GAUGE)].concat();
    let with_label = label("a.b", "c");
    let quoted: &[u8] = line.as_bytes();
    let escaped: &[u8] = b"my_gauge{a_b=\"c\"} 5\n";
    let plain = |to| shows(&proto, to, &[escaped]);
    // Both, as asked for and as not asked for.
    let asked = |to, other: Format| {
        plain(other).run("without a request for UTF-8");
        shows(&proto, to, &[quoted])
    };
    shows(&proto, Format::Protobuf(None), &[&bytes(1, b"my_gauge"), &label("a_b", "c")]).run("protobuf without a request for UTF-8");
    Row {
        feature: "names in UTF-8",
        cells: [
            Cell("yes", shows(&text(&body), PROTOBUF, &[&encoded, &with_label])),
            Cell("yes", shows(&openmetrics(&body), PROTOBUF, &[&encoded, &with_label])),
            Cell("yes", shows(&openmetrics_2(&body), PROTOBUF, &[&encoded, &with_label])),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded, &with_label])),
            Cell("with underscores", plain(TEXT_004)),
            Cell("if asked for", asked(TEXT_100, Format::Text100(Escaping::Underscores))),
            Cell("if asked for", asked(OPENMETRICS, Format::OpenMetrics100(None))),
            Cell("if asked for", asked(OPENMETRICS_2, Format::OpenMetrics200(None))),
            Cell("if asked for", shows(&proto, PROTOBUF, &[&encoded, &with_label])),
        ],
    }
}

fn units() -> Row {
    let body = "# TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 1\n";
    let encoded = bytes(5, b"seconds");
    let proto = family("age_seconds", GAUGE, &[encoded.clone(), metric(&[message(2, &[double(1, 1.0)])])]);
    let sample: &[u8] = b"age_seconds 1\n";
    Row {
        feature: "units",
        cells: [
            Cell("no", shows(&text(body), OPENMETRICS, &[sample]).lacks(&[b"# UNIT"])),
            Cell("yes", shows(&openmetrics(body), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&openmetrics_2(body), PROTOBUF, &[&encoded])),
            Cell("yes", shows(&proto, OPENMETRICS, &[b"# UNIT age_seconds seconds\n"])),
            Cell("no", shows(&proto, TEXT_004, &[sample]).lacks(&[b"# UNIT"])),
            Cell("no", shows(&proto, TEXT_100, &[sample]).lacks(&[b"# UNIT"])),
            Cell("yes", shows(&proto, OPENMETRICS, &[b"# UNIT age_seconds seconds\n"])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[b"# UNIT age_seconds seconds\n"])),
            Cell("yes", shows(&openmetrics(body), PROTOBUF, &[&encoded])),
        ],
    }
}

/// A counter with this exemplar, in three formats.
fn counter_with_exemplar(id: &str, exemplar: &[u8], time: &str) -> (Body, Body, Body) {
    let line = format!("c_total 1 # {{id=\"{id}\"}} 0.5{time}\n");
    let counter = message(3, &[double(1, 1.0), exemplar.to_vec()]);
    (
        text(&format!("# TYPE c_total counter\n{line}")),
        openmetrics(&format!("# TYPE c counter\n{line}")),
        family("c_total", COUNTER, &[metric(&[counter])]),
    )
}

fn exemplars() -> Row {
    let encoded = exemplar(2, "a");
    let (body, open, proto) = counter_with_exemplar("a", &encoded, " 1700000000");
    let line: &[u8] = b"c_total 1 # {id=\"a\"} 0.5 1700000000\n";
    let plain: &[u8] = b"c_total 1\n";
    Row {
        feature: "exemplars of counters and classic buckets",
        cells: [
            Cell("no", shows(&body, OPENMETRICS, &[plain]).faults(0, 1)),
            Cell("yes", shows(&open, PROTOBUF, &[&encoded])),
            Cell("yes", {
                let two = "# TYPE c_total counter\nc_total 1 # {id=\"a\"} 0.5 1700000000\n";
                shows(&openmetrics_2(two), PROTOBUF, &[&encoded])
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded])),
            Cell("no", shows(&proto, TEXT_004, &[plain])),
            Cell("no", shows(&proto, TEXT_100, &[plain])),
            Cell("yes", shows(&proto, OPENMETRICS, &[line])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[line])),
            Cell("yes", shows(&open, PROTOBUF, &[&encoded])),
        ],
    }
}

fn exemplars_without_time() -> Row {
    let encoded = message(2, &[label("id", "a"), double(2, 0.5)]);
    let (body, open, proto) = counter_with_exemplar("a", &encoded, "");
    let line: &[u8] = b"c_total 1 # {id=\"a\"} 0.5\n";
    let plain: &[u8] = b"c_total 1\n";
    Row {
        feature: "exemplars without a timestamp",
        cells: [
            Cell("no", shows(&body, OPENMETRICS, &[plain]).faults(0, 1)),
            Cell("yes", shows(&open, PROTOBUF, &[&encoded])),
            Cell("no", {
                let two = "# TYPE c_total counter\nc_total 1 # {id=\"a\"} 0.5\n";
                shows(&openmetrics_2(two), PROTOBUF, &[]).lacks(&[b"c_total"]).faults(1, 0)
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded])),
            Cell("no", shows(&proto, TEXT_004, &[plain])),
            Cell("no", shows(&proto, TEXT_100, &[plain])),
            Cell("yes", shows(&proto, OPENMETRICS, &[line])),
            Cell("no", shows(&proto, OPENMETRICS_2, &[plain])),
            Cell("yes", shows(&open, PROTOBUF, &[&encoded])),
        ],
    }
}

fn long_exemplars() -> Row {
    let id = "x".repeat(127);
    let encoded = exemplar(2, &id);
    let (body, open, proto) = counter_with_exemplar(&id, &encoded, " 1700000000");
    let plain: &[u8] = b"c_total 1\n";
    let line = format!("c_total 1 # {{id=\"{id}\"}} 0.5 1700000000\n");
    Row {
        feature: "exemplars of more than 128 characters",
        cells: [
            Cell("no", shows(&body, OPENMETRICS, &[plain]).faults(0, 1)),
            Cell("no", shows(&open, PROTOBUF, &[b"c_total"]).lacks(&[id.as_bytes()]).faults(0, 1)),
            Cell("yes", {
                let two = format!("# TYPE c_total counter\n{line}");
                shows(&openmetrics_2(&two), PROTOBUF, &[&encoded]).faults(0, 1)
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded]).faults(0, 1)),
            Cell("no", shows(&proto, TEXT_004, &[plain]).faults(0, 1)),
            Cell("no", shows(&proto, TEXT_100, &[plain]).faults(0, 1)),
            Cell("no", shows(&proto, OPENMETRICS, &[plain]).faults(0, 1)),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[line.as_bytes()]).faults(0, 1)),
            Cell("yes", shows(&proto, PROTOBUF, &[&encoded]).faults(0, 1)),
        ],
    }
}

fn start_timestamps() -> Row {
    let series = "# TYPE c_total counter\nc_total 1\n# TYPE c_created gauge\nc_created 1700000000.5\n";
    let open = openmetrics("# TYPE c counter\nc_total 1\nc_created 1700000000.5\n");
    let created = message(3, &[number(1, 1_700_000_000), number(2, 500_000_000)]);
    let proto = family("c_total", COUNTER, &[metric(&[message(3, &[double(1, 1.0), created.clone()])])]);
    let gauge: &[u8] = b"# TYPE c_created gauge\nc_created 1700000000.5\n";
    Row {
        feature: "start timestamps",
        cells: [
            Cell("as gauges", shows(&text(series), TEXT_004, &[gauge])),
            Cell("yes", shows(&open, PROTOBUF, &[&created])),
            Cell("yes", {
                let two = "# TYPE c_total counter\nc_total 1 st@1700000000.5\n";
                shows(&openmetrics_2(two), PROTOBUF, &[&created])
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&created])),
            Cell("as gauges", shows(&proto, TEXT_004, &[gauge])),
            Cell("as gauges", shows(&proto, TEXT_100, &[gauge])),
            Cell("yes", shows(&proto, OPENMETRICS, &[b"c_total 1\nc_created 1700000000.5\n"])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[b"c_total 1 st@1700000000.5\n"])),
            Cell("yes", shows(&open, PROTOBUF, &[&created])),
        ],
    }
}

fn infos_and_states() -> Row {
    let body = "# TYPE build info\nbuild_info{version=\"1\"} 1\n# TYPE mode stateset\nmode{mode=\"on\"} 1\nmode{mode=\"off\"} 0\n";
    let open = openmetrics(body);
    let gauges: [&[u8]; 2] = [
        b"# TYPE build_info gauge\nbuild_info{version=\"1\"} 1\n",
        b"# TYPE mode gauge\nmode{mode=\"on\"} 1\nmode{mode=\"off\"} 0\n",
    ];
    let typed: [&[u8]; 2] = [b"# TYPE build info\nbuild_info{", b"# TYPE mode stateset\nmode{"];
    let typed_2: [&[u8]; 2] = [b"# TYPE build_info info\nbuild_info{", typed[1]];
    let messages = [
        [bytes(1, b"build_info"), number(3, GAUGE)].concat(),
        [bytes(1, b"mode"), number(3, GAUGE)].concat(),
    ];
    // The format has six types, up to that of gauge histograms.
    let Body::Protobuf(unknown) = family("build_info", GAUGE_HISTOGRAM + 1, &[metric(&[message(2, &[double(1, 1.0)])])]) else {
        unreachable!("a body of messages")
    };
    let error = protobuf::decode(&unknown, usize::MAX).unwrap_err().to_string();
    assert!(error.ends_with("unknown metric type 6"), "{error}");
    let proto = family(
        "build_info",
        GAUGE,
        &[metric(&[label("version", "1"), message(2, &[double(1, 1.0)])])],
    );
    Row {
        feature: "info, stateset",
        cells: [
            Cell(
                "untyped",
                shows(&text(body), TEXT_004, &[b"build_info{version=\"1\"} 1\n"])
                    .lacks(&[b"# TYPE"])
                    .faults(2, 0),
            ),
            Cell("yes", shows(&open, OPENMETRICS, &typed)),
            Cell(
                "yes",
                shows(&openmetrics_2(&body.replace("build info", "build_info info")), OPENMETRICS, &typed),
            ),
            Cell("as gauges", shows(&proto, OPENMETRICS, &[b"# TYPE build_info gauge\n"])),
            Cell("as gauges", shows(&open, TEXT_004, &gauges)),
            Cell("as gauges", shows(&open, TEXT_100, &gauges)),
            Cell("yes", shows(&open, OPENMETRICS, &typed)),
            Cell("yes", shows(&open, OPENMETRICS_2, &typed_2)),
            Cell("as gauges", shows(&open, PROTOBUF, &[&messages[0], &messages[1]])),
        ],
    }
}

fn gauge_histograms() -> Row {
    let body = "# TYPE q gaugehistogram\nq_bucket{le=\"1.0\"} 1\nq_bucket{le=\"+Inf\"} 2\nq_gcount 2\nq_gsum 3\n";
    let bucket = |count, bound| message(3, &[number(1, count), double(2, bound)]);
    let inside = [number(1, 2), double(2, 3.0), bucket(1, 1.0), bucket(2, f64::INFINITY)];
    let proto = family("q", GAUGE_HISTOGRAM, &[metric(&[histogram(&inside)])]);
    let gauges: [&[u8]; 3] = [
        b"# TYPE q_bucket gauge\nq_bucket{le=\"1.0\"} 1\n",
        b"# TYPE q_gcount gauge\nq_gcount 2\n",
        b"# TYPE q_gsum gauge\nq_gsum 3\n",
    ];
    let encoded = histogram(&inside);
    let typed = [bytes(1, b"q"), number(3, GAUGE_HISTOGRAM)].concat();
    Row {
        feature: "classic gauge histograms",
        cells: [
            Cell("untyped", shows(&text(body), TEXT_004, &[b"q_gcount 2\n"]).faults(1, 0)),
            Cell(
                "yes",
                shows(
                    &openmetrics(body),
                    OPENMETRICS,
                    &[b"# TYPE q gaugehistogram\nq_bucket{le=\"1.0\"} 1\n"],
                ),
            ),
            Cell("yes", {
                let two = "# TYPE q gaugehistogram\nq {gcount:2,gsum:3,bucket:[1.0:1,+Inf:2]}\n";
                shows(&openmetrics_2(two), PROTOBUF, &[&typed, &encoded])
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&typed, &encoded])),
            Cell("as gauges", shows(&proto, TEXT_004, &gauges)),
            Cell("as gauges", shows(&proto, TEXT_100, &gauges)),
            Cell(
                "yes",
                shows(&proto, OPENMETRICS, &[b"# TYPE q gaugehistogram\nq_bucket{le=\"1.0\"} 1\n"]),
            ),
            Cell("yes", {
                let composite: &[u8] = b"# TYPE q gaugehistogram\nq {gcount:2,gsum:3,bucket:[1.0:1,+Inf:2]}\n";
                shows(&openmetrics(body), OPENMETRICS_2, &[composite]).run("a gauge histogram of text");
                shows(&proto, OPENMETRICS_2, &[composite])
            }),
            Cell("yes", shows(&proto, PROTOBUF, &[&typed, &encoded])),
        ],
    }
}

/// A feature of native histograms, which protobuf and OpenMetrics 2.0 carry. Other text shows `seen` of `metrics`.
/// `composite` is the line of OpenMetrics 2.0.
fn native_row(
    feature: &'static str,
    kind: u64,
    metrics: &[Vec<u8>],
    words: [&'static str; 2],
    seen: [&[&[u8]]; 2],
    composite: &str,
) -> Row {
    let proto = family("latency", kind, metrics);
    let whole = [number(3, kind), metrics.concat()].concat();
    // The line is not taken for something else.
    let refused = |body: Body| shows(&body, TEXT_004, &[]).lacks(&[b"latency"]).faults(1, 0);
    Row {
        feature,
        cells: [
            Cell("no", refused(text(COMPOSITE))),
            Cell("no", refused(openmetrics(COMPOSITE))),
            Cell("yes", shows(&openmetrics_2(composite), OPENMETRICS_2, &[composite.as_bytes()])),
            Cell("yes", shows(&proto, PROTOBUF, &[&whole])),
            Cell(words[0], shows(&proto, TEXT_004, seen[0])),
            Cell(words[0], shows(&proto, TEXT_100, seen[0])),
            Cell(words[1], shows(&proto, OPENMETRICS, seen[1])),
            Cell("yes", shows(&proto, OPENMETRICS_2, &[composite.as_bytes()])),
            Cell("yes", shows(&proto, PROTOBUF, &[&whole])),
        ],
    }
}

const COUNT_SUM_INF: &str = "count, sum and `+Inf`";

fn native_histograms() -> Row {
    let metrics = [metric(&[native()])];
    native_row(
        "native histograms",
        HISTOGRAM,
        &metrics,
        [COUNT_SUM_INF; 2],
        [&COUNT_AND_SUM, &COUNT_AND_SUM],
        COMPOSITE,
    )
}

fn native_with_classic_buckets() -> Row {
    let bucket = message(3, &[number(1, 2), double(2, 1.0)]);
    let inside = [native_fields().concat(), bucket].concat();
    let metrics = [metric(&[bytes(7, &inside)])];
    let seen: [&[u8]; 4] = [
        b"latency_bucket{le=\"1.0\"} 2\n",
        COUNT_AND_SUM[0],
        COUNT_AND_SUM[1],
        COUNT_AND_SUM[2],
    ];
    native_row(
        "native histograms with classic buckets beside",
        HISTOGRAM,
        &metrics,
        ["classic buckets"; 2],
        [&seen, &seen],
        &COMPOSITE.replace("}\n", ",bucket:[1.0:2,+Inf:3]}\n"),
    )
}

fn native_float_counts() -> Row {
    let inside = [
        double(2, 4.5),
        double(4, 2.5),
        number(5, 6),
        double(6, 1e-128),
        double(8, 0.5),
        span(12, 3, 2),
        bytes(14, &[1.5_f64.to_le_bytes(), 0.5_f64.to_le_bytes()].concat()),
    ];
    let metrics = [metric(&[histogram(&inside)])];
    let seen: [&[u8]; 3] = [b"latency_bucket{le=\"+Inf\"} 2.5\n", b"latency_count 2.5\n", b"latency_sum 4.5\n"];
    native_row(
        "native histograms with float counts",
        HISTOGRAM,
        &metrics,
        [COUNT_SUM_INF; 2],
        [&seen, &seen],
        "# TYPE latency histogram\nlatency {count:2.5,sum:4.5,schema:3,zero_threshold:1e-128,zero_count:0.5,positive_spans:[-2:2],positive_buckets:[1.5,0.5]}\n",
    )
}

fn native_empty() -> Row {
    let inside = [number(1, 0), double(2, 0.0), number(5, 6), span(12, 0, 0)];
    let metrics = [metric(&[histogram(&inside)])];
    let seen: [&[u8]; 3] = [b"latency_bucket{le=\"+Inf\"} 0\n", b"latency_count 0\n", b"latency_sum 0\n"];
    native_row(
        "empty native histograms (the span of length 0)",
        HISTOGRAM,
        &metrics,
        [COUNT_SUM_INF; 2],
        [&seen, &seen],
        "# TYPE latency histogram\nlatency {count:0,sum:0,schema:3,zero_threshold:0,zero_count:0}\n",
    )
}

fn native_exemplars() -> Row {
    let inside = [native_fields().concat(), exemplar(16, "one"), exemplar(16, "two")].concat();
    let metrics = [metric(&[bytes(7, &inside)])];
    let mut row = native_row(
        "several exemplars of a native histogram",
        HISTOGRAM,
        &metrics,
        ["no"; 2],
        [&COUNT_AND_SUM, &COUNT_AND_SUM],
        &COMPOSITE.replace("}\n", "} # {id=\"one\"} 0.5 1700000000 # {id=\"two\"} 0.5 1700000000\n"),
    );
    for Cell(_, tried) in &mut row.cells[4..7] {
        tried.lacks = vec![b"one".to_vec(), b"two".to_vec()];
    }
    row
}

fn native_gauge_histograms() -> Row {
    let metrics = [metric(&[native()])];
    let gauges: [&[u8]; 2] = [
        b"# TYPE latency_gcount gauge\nlatency_gcount 3\n",
        b"# TYPE latency_gsum gauge\nlatency_gsum 4.5\n",
    ];
    let typed: [&[u8]; 1] = [b"# TYPE latency gaugehistogram\nlatency_bucket{le=\"+Inf\"} 3\nlatency_gcount 3\nlatency_gsum 4.5\n"];
    native_row(
        "native gauge histograms",
        GAUGE_HISTOGRAM,
        &metrics,
        ["count and sum as gauges", COUNT_SUM_INF],
        [&gauges, &typed],
        &COMPOSITE
            .replace(" histogram", " gaugehistogram")
            .replace("{count:", "{gcount:")
            .replace(",sum:", ",gsum:"),
    )
}

fn rows() -> Vec<Row> {
    vec![
        values(),
        timestamps(),
        help(),
        types(),
        utf8_names(),
        units(),
        exemplars(),
        exemplars_without_time(),
        long_exemplars(),
        start_timestamps(),
        infos_and_states(),
        gauge_histograms(),
        native_histograms(),
        native_with_classic_buckets(),
        native_float_counts(),
        native_empty(),
        native_exemplars(),
        native_gauge_histograms(),
    ]
}

/// The cells of the table's lines, the first of which has the columns.
fn table(page: &str) -> Vec<Vec<String>> {
    let section = page.split_once(HEADING).expect("the page has the section").1;
    let lines = section
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    lines
        .filter(|line| !line.chars().all(|c| matches!(c, '|' | '-' | ' ')))
        .map(cells)
        .collect()
}

#[test]
fn each_cell_of_the_table_of_formats_is_as_it_says() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/formats.md")).unwrap();
    let table = table(&page);
    let (head, lines) = table.split_first().expect("a table");
    assert_eq!(head[1..], COLUMNS);
    let rows = rows();
    for line in lines {
        let row = rows.iter().find(|row| row.feature == line[0]);
        let row = row.unwrap_or_else(|| panic!("nothing tries the feature {:?}", line[0]));
        assert_eq!(line.len(), 1 + COLUMNS.len(), "the cells of {:?}", line[0]);
        for ((said, column), Cell(words, tried)) in line[1..].iter().zip(COLUMNS).zip(&row.cells) {
            let place = format!("{}, {column}", row.feature);
            assert_eq!(said, words, "{place}");
            tried.run(&place);
        }
    }
    for row in &rows {
        assert!(
            lines.iter().any(|line| line[0] == row.feature),
            "{:?} is missing in the table",
            row.feature
        );
    }
}
