#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use proptest::prelude::*;

use super::parse;
use crate::catalog::{render_single, unstated_types_of_single};
use crate::family::FamilyFlags;
use crate::index::Exposition;
use crate::negotiate::{Escaping, Format};
use crate::openmetrics2::{Writer, is_content_type};
use crate::protobuf;
use crate::protobuf::tests::any_family;
use crate::syntax::Syntax;

const MAX: usize = 1 << 20;

fn read(body: &str) -> Exposition {
    parse(format!("{body}# EOF\n").as_bytes(), MAX).unwrap()
}

fn valid(body: &str) -> Exposition {
    let read = read(body);
    assert!(read.faults().is_empty(), "{body}: {:?}", read.faults());
    read
}

/// The response that shows it alone.
fn shown(exposition: Exposition, format: Format) -> Vec<u8> {
    let app = Arc::new(exposition);
    let response = render_single(&app, format.into());
    let chunks = response.chunks().iter().cloned().chain(response.tail(None));
    let rows: Vec<_> = chunks.map(|chunk| chunk.text()).collect();
    if !matches!(format, Format::OpenMetrics200(_)) {
        return rows.iter().flat_map(|row| row.concat()).collect();
    }
    let mut out = Vec::new();
    let goes_on = Writer::new(rows, &unstated_types_of_single(&app, format.escaping())).write(&mut out, usize::MAX);
    assert!(!goes_on);
    out
}

fn text(exposition: Exposition, format: Format) -> String {
    String::from_utf8(shown(exposition, format)).unwrap()
}

const UTF8: Option<Escaping> = Some(Escaping::AllowUtf8);

fn faults(body: &str) -> Vec<String> {
    let read = parse(body.as_bytes(), MAX).unwrap();
    read.faults().iter().map(ToString::to_string).collect()
}

/// Lines of each kind, as the writer writes them.
const ALL: &str = "# TYPE age_seconds gauge\n# UNIT age_seconds seconds\n# HELP age_seconds Of \\\"it\\\".\nage_seconds 1.5 1700000001.5\n\
    # TYPE \"my.jobs\" counter\n{\"my.jobs\",\"a.b\"=\"c\\\\d\"} 7 st@1700000000.25 # {id=\"a\"} 1 1700000001\n\
    # TYPE jobs_total counter\njobs_total{queue=\"\u{fc}\"} 3\n\
    # TYPE latency histogram\n\
    latency{path=\"/\"} {count:59,sum:120,schema:3,zero_threshold:1e-4,zero_count:8,negative_spans:[1:2],negative_buckets:[5,7],\
    positive_spans:[-1:2,3:3],positive_buckets:[5,7,10,9,8],bucket:[0.5:20,+Inf:59]} st@1700000000 # {} 0.25 1700000002 # {id=\"b\"} 9 1700000003\n\
    latency{path=\"/float\"} {count:2.5,sum:4.5,schema:-4,zero_threshold:0,zero_count:0.5,positive_spans:[0:2],positive_buckets:[1.0,1.0]}\n\
    latency{path=\"/empty\"} {count:0,sum:0,schema:8,zero_threshold:0,zero_count:0}\n\
    # TYPE other unknown\nother NaN\n\
    # TYPE queue gaugehistogram\nqueue {gcount:42,gsum:-3.5,bucket:[0.01:20,+Inf:42]}\n\
    # TYPE took summary\ntook {count:5,sum:6.5,quantile:[0.5:4,0.99:NaN]} st@1700000000\ntook{a=\"b\"} {count:0,sum:0,quantile:[]}\n\
    # TYPE waits histogram\nwaits {count:17,sum:1,bucket:[-1.0:0,1.0:5,+Inf:17]} # {id=\"c\"} 0.5 1700000001 # {id=\"d\"} 0.25 1700000002\n\
    # TYPE build_info info\n# HELP build_info Of the build.\nbuild_info{version=\"1\"} 1\n\
    # TYPE mode stateset\nmode{mode=\"off\"} 0\nmode{mode=\"on\"} 1\n";

#[test]
fn what_the_writer_writes_is_read_without_loss() {
    let out = text(valid(ALL), Format::OpenMetrics200(UTF8));
    assert_eq!(out, format!("{}# EOF\n", ALL.replace("1e-4", "0.0001")));
}

#[test]
fn composite_values_are_histograms_and_summaries_in_the_other_formats() {
    let body = "# TYPE h histogram\nh {count:2,sum:3,bucket:[1.0:1,+Inf:2]} 5 st@4 # {id=\"a\"} 0.5 6\n# TYPE c_total counter\nc_total 1 st@2\n\
        # TYPE s summary\ns {count:5,sum:6,quantile:[0.5:4]}\n# TYPE q gaugehistogram\nq {gcount:1,gsum:2,bucket:[+Inf:1]}\n";
    assert_eq!(
        text(valid(body), Format::OpenMetrics100(UTF8)),
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1 5 # {id=\"a\"} 0.5 6\nh_bucket{le=\"+Inf\"} 2 5\nh_count 2 5\nh_sum 3 5\nh_created 4 5\n\
         # TYPE c counter\nc_total 1\nc_created 2\n# TYPE s summary\ns{quantile=\"0.5\"} 4\ns_count 5\ns_sum 6\n\
         # TYPE q gaugehistogram\nq_bucket{le=\"+Inf\"} 1\nq_gcount 1\nq_gsum 2\n# EOF\n"
    );
    let native = valid(
        "# TYPE n histogram\nn {count:3,sum:4.5,schema:3,zero_threshold:1e-128,zero_count:1,positive_spans:[-2:2],positive_buckets:[1,1]}\n",
    );
    assert_eq!((native.native_histograms(), native.native_only()), (1, 1));
    assert_eq!(
        text(native, Format::Text004),
        "# TYPE n histogram\nn_bucket{le=\"+Inf\"} 3\nn_count 3\nn_sum 4.5\n"
    );
}

#[test]
fn examples_of_other_exposers_are_read() {
    valid("foo 42.23\nbar{} 0\n");
    valid("# TYPE foo gauge\nfoo 17.0 123\nfoo 18.0 456\n# TYPE nothing counter\n");
    valid(
        "# TYPE foo_total counter\n# UNIT foo_total seconds\nfoo_total 17.0 1520879607.789 st@1520430000.123 # {trace_id=\"K\"} 0.67 1520879606.1\n",
    );
    valid(
        "# HELP \"foodb.read.errors\" Of foodb.\n# TYPE \"foodb.read.errors\" counter\n{\"foodb.read.errors\",\"service.name\"=\"my\"} 3482\n",
    );
    valid("# TYPE e histogram\ne {count:0,sum:0,schema:3,zero_threshold:1e-4,zero_count:0} st@1520430000.123\n");
    let unordered = valid("# TYPE g gaugehistogram\ng {bucket:[+Inf:1],gsum:1,gcount:1}\n");
    assert_eq!(unordered.series(), 3);
}

#[test]
fn faults_name_line_column_and_reason() {
    for (body, fault) in [
        ("up 1\n", "line 2, column 1: the end mark # EOF is missing"),
        ("up 1\n# EOF\nup 2\n", "line 3, column 1: text after # EOF"),
        ("\nup 1\n# EOF\n", "line 1, column 1: an empty line"),
        ("up 1\r\n# EOF\n", "line 1, column 5: a carriage return"),
        ("#TYPE up gauge\n# EOF\n", "line 1, column 1: a line that begins with #"),
        ("# comment\n# EOF\n", "line 1, column 3: a line that begins with #"),
        ("# TYPE up guage\n# EOF\n", "line 1, column 11: unknown type: expected counter"),
        ("# TYPE build info\n# EOF\n", "line 1, column 14: the name of an info ends in _info"),
        (
            "# TYPE m stateset\n# UNIT m s\n# EOF\n",
            "line 2, column 10: an info or stateset has no unit",
        ),
        (
            "# TYPE up gauge\n# TYPE up gauge\n# EOF\n",
            "line 2, column 3: a second line of this metadata",
        ),
        ("up 1\n# TYPE up gauge\n# EOF\n", "line 2, column 3: metadata after samples"),
        (
            "a 1\nb 1\na{x=\"y\"} 2\n# EOF\n",
            "line 3, column 1: the metric stood before another one",
        ),
        ("1up 1\n# EOF\n", "line 1, column 1: expected a metric name"),
        ("up\n# EOF\n", "line 1, column 3: expected a space and a value"),
        ("up x\n# EOF\n", "line 1, column 4: expected a number"),
        ("up{\u{e4}=\"\"} 1\n# EOF\n", "line 1, column 4: expected a label name"),
        ("up{a=\"\u{e4}\",b=1} 1\n# EOF\n", "line 1, column 12: expected a quote"),
        ("up{a=\"b} 1\n# EOF\n", "line 1, column 6: a quote without its end"),
        ("up{a=\"1\",a=\"2\"} 1\n# EOF\n", "line 1, column 16: the label a stands twice"),
        ("{\"a\"=\"b\"} 1\n# EOF\n", "line 1, column 5: expected the metric name in quotes"),
        ("up 1 2 3\n# EOF\n", "line 1, column 7: expected the end of the line"),
        (
            "# TYPE up gauge\nup 1 st@2\n# EOF\n",
            "line 2, column 5: only counters, histograms and summaries have a start",
        ),
        (
            "# TYPE c counter\nc NaN\n# EOF\n",
            "line 2, column 3: a counter is a number from 0 on",
        ),
        (
            "# TYPE i_info info\ni_info 2\n# EOF\n",
            "line 2, column 8: the value of an info is 1",
        ),
        (
            "# TYPE m stateset\nm{m=\"a\"} 2\n# EOF\n",
            "line 2, column 10: the value of a state",
        ),
        (
            "# TYPE m stateset\nm{x=\"a\"} 1\n# EOF\n",
            "line 2, column 10: a sample of a stateset has its state",
        ),
        (
            "# TYPE c counter\nc 1 # {} 1\n# EOF\n",
            "line 2, column 11: expected a space and the time of the exemplar",
        ),
        (
            "# TYPE c counter\nc 1 st@1e300\n# EOF\n",
            "line 2, column 8: a time beyond the years",
        ),
        (
            "# TYPE c counter\nc 1 0.0009\n# EOF\n",
            "line 2, column 5: a time at the start of 1970",
        ),
        (
            "h {count:1,sum:1,bucket:[+Inf:1]}\n# EOF\n",
            "line 1, column 3: a composite value needs TYPE",
        ),
        (
            "# TYPE h histogram\nh 1\n# EOF\n",
            "line 2, column 3: expected a composite value in braces",
        ),
        (
            "# TYPE h histogram\nh {count:1,bucket:[+Inf:1]}\n# EOF\n",
            "line 2, column 3: the composite value lacks sum",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1}\n# EOF\n",
            "line 2, column 3: the composite value lacks bucket or schema",
        ),
        (
            "# TYPE h histogram\nh {gcount:1}\n# EOF\n",
            "line 2, column 4: unknown field: expected count, sum",
        ),
        (
            "# TYPE h histogram\nh {count:1,count:1}\n# EOF\n",
            "line 2, column 12: the field stands twice",
        ),
        (
            "# TYPE h histogram\nh {count:-1,sum:1,bucket:[+Inf:1]}\n# EOF\n",
            "line 2, column 10: a count is a finite number",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1,bucket:[+Inf:1,2:1]}\n# EOF\n",
            "line 2, column 26: the bounds of the buckets do not rise",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1,bucket:[2:1]}\n# EOF\n",
            "line 2, column 26: the last bucket is that of +Inf",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1,bucket:[]}\n# EOF\n",
            "line 2, column 26: the last bucket is that of +Inf",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1,bucket:[[1:1]]}\n# EOF\n",
            "line 2, column 26: expected the end of the list",
        ),
        (
            "# TYPE h histogram\nh{le=\"1\"} {count:1,sum:1,bucket:[+Inf:1]}\n# EOF\n",
            "line 2, column 1: the label le belongs to",
        ),
        (
            "# TYPE h histogram\nh{le=\"1\"} {count:0,sum:0,schema:3,zero_threshold:1e-4,zero_count:0}\n# EOF\n",
            "line 2, column 1: the label le belongs to",
        ),
        (
            "# TYPE s summary\ns{quantile=\"1\"} {count:1,sum:1,quantile:[0.5:1]}\n# EOF\n",
            "line 2, column 1: the label quantile belongs to",
        ),
        (
            "# TYPE s summary\ns{quantile=\"x\"} {count:1,sum:1,quantile:[]}\n# EOF\n",
            "line 2, column 1: the value of label quantile must be a number, not ",
        ),
        (
            "# TYPE h histogram\nh {count:1,sum:1,schema:9,zero_threshold:0,zero_count:0}\n# EOF\n",
            "line 2, column 25: the schema is a whole number from -4 to 8",
        ),
        (
            "# TYPE h histogram\nh {count:2,sum:1,schema:0,zero_threshold:0,zero_count:0,positive_spans:[0:2],positive_buckets:[2]}\n# EOF\n",
            "line 2, column 3: invalid native histogram: the spans cover another number of buckets than there are",
        ),
        (
            "# TYPE h histogram\nh {count:5,sum:1,schema:0,zero_threshold:0,zero_count:0,positive_spans:[0:1],positive_buckets:[2]}\n# EOF\n",
            "line 2, column 3: invalid native histogram: the count differs",
        ),
        (
            "# TYPE h histogram\nh {count:2,sum:1,schema:0,zero_threshold:0,zero_count:0,positive_spans:[0:1,-1:1],positive_buckets:[1,1]}\n# EOF\n",
            "line 2, column 77: only the offset of the first span",
        ),
        (
            "# TYPE s summary\ns {count:1.5,sum:1,quantile:[]}\n# EOF\n",
            "line 2, column 3: the count of a summary is a whole number",
        ),
        ("up 1\nup 1\n# EOF\n", "line 2, column 1: duplicate series: a line before it"),
        (
            "# TYPE build_info info\nbuild_info{a=\"b\"} 1\nbuild_info{a=\"b\"} 1\n# EOF\n",
            "line 3, column 1: duplicate series: a line before it",
        ),
        (
            "# TYPE jobs counter\njobs_total 1\n# EOF\n",
            "line 2, column 1: a sample as in OpenMetrics 1.0 in a body of 2.0: send it as application/openmetrics-text; version=1.0.0",
        ),
    ] {
        let found = faults(body);
        assert!(
            found.first().is_some_and(|it| it.starts_with(fault)),
            "{body:?}: {found:?}, not {fault:?}"
        );
    }
    let bad = [b"up{a=\"\xff\"} 1\n".as_slice(), b"# EOF\n"].concat();
    let read = parse(&bad, MAX).unwrap();
    assert_eq!(read.faults().first().unwrap().to_string(), "line 1, column 7: not UTF-8");
}

#[test]
fn a_summary_without_quantiles_may_have_a_label_of_their_name() {
    let samples = "# TYPE s summary\ns_count{quantile=\"0.5\"} 3\ns_sum{quantile=\"0.5\"} 9\n";
    let original = Exposition::parse(samples.as_bytes().into(), Syntax::Text);
    let first = text(original, Format::OpenMetrics200(UTF8));
    assert_eq!(first, "# TYPE s summary\ns{quantile=\"0.5\"} {count:3,sum:9,quantile:[]}\n# EOF\n");
    let back = parse(first.as_bytes(), MAX).unwrap();
    assert!(back.faults().is_empty(), "{:?}", back.faults());
    assert_eq!(text(back.clone(), Format::OpenMetrics200(UTF8)), first);
    assert_eq!(text(back, Format::Text004), samples);
}

#[test]
fn exemplars_without_a_place_are_counted() {
    let read = read("# TYPE c_total counter\nc_total 1 # {id=\"old\"} 1 5 # {id=\"new\"} 2 6\n# TYPE g gauge\ng 1 # {} 1 2\n");
    assert_eq!((read.faults().total(), read.faults().exemplars()), (0, 2));
    let first = read.faults().first_exemplar().unwrap();
    assert_eq!(first.to_string(), "line 2, column 13: a counter keeps its newest exemplar alone");
    let out = text(read, Format::OpenMetrics200(UTF8));
    assert!(out.starts_with("# TYPE c_total counter\nc_total 1 # {id=\"new\"} 2 6\n"), "{out}");
}

#[test]
fn the_text_that_is_kept_has_a_limit() {
    let buckets: Vec<String> = (0..200).map(|bound| format!("{bound}:0")).collect();
    let body = format!(
        "up 1\n# TYPE {0} histogram\n{0} {{count:0,sum:0,bucket:[{1},+Inf:0]}}\n# EOF\n",
        "long".repeat(100),
        buckets.join(",")
    );
    let error = parse(body.as_bytes(), 10_000).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 3, column 1: as text of OpenMetrics 1.0 the metrics are longer than 10000 bytes, the limit for a body"
    );
    parse(body.as_bytes(), 100_000).unwrap();
}

#[test]
fn the_content_type_has_exactly_this_version() {
    for (content_type, is_2) in [
        ("application/openmetrics-text; version=2.0.0; charset=utf-8", true),
        ("Application/OpenMetrics-Text;Version=\"2.0.0\"", true),
        ("application/openmetrics-text; version=1.0.0", false),
        ("application/openmetrics-text", false),
        ("application/openmetrics-text; version=2.0.0-rc0", false),
        ("text/plain; version=2.0.0", false),
    ] {
        assert_eq!(is_content_type(content_type), is_2, "{content_type}");
    }
}

/// Families of a text, sorted, each line with its exemplars sorted: those of buckets come first, wherever they were.
fn sorted(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let mut parts: Vec<&str> = line.split(" # {").collect();
        parts[1..].sort_unstable();
        parts.join(" # {")
    };
    let mut families: Vec<String> = text
        .trim_end_matches("# EOF\n")
        .split("# TYPE ")
        .map(|family| family.lines().map(line).collect::<Vec<_>>().join("\n"))
        .collect();
    families.sort();
    families
}

/// True if two messages have one name: the text has the samples of the later one without its type.
fn has_a_name_twice(families: &[Vec<u8>]) -> bool {
    let name = |family: &Vec<u8>| {
        let length = family.iter().take_while(|byte| **byte >= 0x80).count() + 1;
        let bytes = usize::from(family[length + 1]);
        family[length + 2..length + 2 + bytes].to_vec()
    };
    let mut names: Vec<_> = families.iter().map(name).collect();
    names.sort_unstable();
    names.windows(2).any(|pair| pair[0] == pair[1])
}

/// False for what is not the same in all formats: families with names that collide, labels without a value, and series of histograms and summaries
/// with the labels of buckets and quantiles.
fn is_plain(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| {
            line.strip_prefix("# TYPE ")?
                .rsplit_once(' ')
                .map(|(name, _)| name.trim_matches('"'))
        })
        .collect();
    let collides = |(at, name): (usize, &&str)| {
        let others = names.iter().enumerate().filter(|(other, _)| *other != at);
        others.into_iter().any(|(_, other)| {
            other
                .strip_prefix(*name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
    };
    let is_reserved = |line: &str| {
        let (le, quantile) = (line.matches("le=\"").count(), line.matches("quantile=\"").count());
        le + quantile > 0 && (le + quantile > 1 || line.contains("_count{") || line.contains("_sum{") || line.contains("_created{"))
    };
    !names.iter().enumerate().any(collides) && !text.contains("=\"\"") && !text.lines().any(is_reserved)
}

/// The lines of families that OpenMetrics 1.0 has and protobuf has not.
const STATES: &str = "# TYPE zz_build info\nzz_build_info{version=\"1\"} 1\n# TYPE zz_mode stateset\nzz_mode{zz_mode=\"on\"} 1\n";

proptest! {
    #[test]
    fn formats_round_trip(families in prop::collection::vec(any_family(), 1..4)) {
        let Ok(decoded) = protobuf::decode(&families.concat(), MAX) else { return Ok(()) };
        let before = decoded.text.strip_suffix(b"# EOF\n").unwrap();
        let with_states = [before, STATES.as_bytes(), b"# EOF\n"].concat();
        let original = Exposition::parse(with_states.into(), Syntax::OpenMetrics).with_records(decoded.records);
        let is_invalid = original.families().iter().any(|family| family.flags.contains(FamilyFlags::INVALID_OPENMETRICS));
        if !original.faults().is_empty() || is_invalid || !is_plain(&decoded.text) || has_a_name_twice(&families) {
            return Ok(());
        }
        // Protobuf and OpenMetrics 1.0 to 2.0, and back again.
        let first = text(original, Format::OpenMetrics200(UTF8));
        let back = parse(first.as_bytes(), MAX).unwrap();
        prop_assert!(back.faults().is_empty(), "{:?}\n{}", back.faults(), first);
        prop_assert_eq!(sorted(&text(back.clone(), Format::OpenMetrics200(UTF8))), sorted(&first));
        // By way of protobuf, but for the types that it lacks.
        let messages = shown(back.clone(), Format::Protobuf(UTF8));
        let others = |text: &str| -> Vec<String> {
            sorted(text).into_iter().filter(|family| !family.starts_with("zz_")).collect()
        };
        let again = Exposition::decode(&messages, MAX).unwrap();
        prop_assert_eq!(others(&text(again, Format::OpenMetrics200(UTF8))), others(&first));
        // By way of OpenMetrics 1.0, which has all but native histograms and their exemplars.
        let open = text(back, Format::OpenMetrics100(UTF8));
        for line in STATES.lines() {
            prop_assert!(open.lines().any(|it| it == line), "{}", open);
        }
        let reread = Exposition::parse(open.clone().into(), Syntax::OpenMetrics);
        let by_2 = parse(&shown(reread, Format::OpenMetrics200(UTF8)), MAX).unwrap();
        prop_assert!(by_2.faults().is_empty(), "{:?}\n{}", by_2.faults(), open);
    }

    #[test]
    fn any_text_is_read_or_has_faults(body in "(# (TYPE|HELP|UNIT) |up|h|\\{|\\}|count:|sum:|bucket:|schema:|\\[|\\]|,|:|1|\\+Inf| |st@| # \\{|=|\"|\n|# EOF\n){0,60}") {
        let _ = parse(body.as_bytes(), MAX);
    }

    #[test]
    fn a_damaged_body_is_read_or_has_faults(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = format!("{ALL}# EOF\n").into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        let read = parse(&body, MAX).unwrap();
        prop_assert!(read.faults().total() <= 200);
    }
}
