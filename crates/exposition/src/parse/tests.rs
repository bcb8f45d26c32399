#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;

use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::index::Exposition;
use crate::syntax::Syntax;

fn text(text: &str) -> Exposition {
    Exposition::parse(Bytes::copy_from_slice(text.as_bytes()), Syntax::Text)
}

fn open(text: &str) -> Exposition {
    Exposition::parse(Bytes::copy_from_slice(text.as_bytes()), Syntax::OpenMetrics)
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn names(of: &Exposition) -> Vec<(String, MetricType, u32)> {
    of.families()
        .iter()
        .map(|it| (string(of.text(it.name)), it.kind, it.samples))
        .collect()
}

fn faults(of: &Exposition) -> Vec<String> {
    of.faults().iter().map(ToString::to_string).collect()
}

fn runs(of: &Exposition, family: &Family) -> Vec<String> {
    of.runs(family).map(string).collect()
}

fn only_named<'a>(of: &'a Exposition, name: &str) -> &'a Family {
    of.families().iter().find(|it| of.text(it.name) == name.as_bytes()).unwrap()
}

fn only(of: &Exposition) -> &Family {
    assert_eq!(of.families().len(), 1);
    &of.families()[0]
}

#[test]
fn a_family_is_one_run() {
    let it = text("# HELP foo Some \\\\ help.\n# TYPE foo gauge\nfoo{a=\"b\"} 1\nfoo{a=\"c\"} 2\n");
    let family = only(&it);
    assert_eq!(runs(&it, family), ["foo{a=\"b\"} 1\nfoo{a=\"c\"} 2"]);
    assert_eq!(
        (string(it.text(family.help().unwrap())), family.kind),
        ("Some \\\\ help.".into(), MetricType::Gauge)
    );
    assert_eq!((family.flags, it.series()), (FamilyFlags::BARE, 2));
    assert!(it.faults().is_empty());
}

#[test]
fn families_are_made_whole() {
    let it = text("foo 1\nbar 1\nfoo{a=\"b\"} 1\n\nfoo{a=\"c\"} 1\n# comment\nbar{x=\"y\"} 2");
    assert_eq!(
        names(&it),
        [("foo".into(), MetricType::Unknown, 3), ("bar".into(), MetricType::Unknown, 2)]
    );
    assert_eq!(runs(&it, &it.families()[0]), ["foo 1", "foo{a=\"b\"} 1", "foo{a=\"c\"} 1"]);
    assert_eq!(runs(&it, &it.families()[1]), ["bar 1", "bar{x=\"y\"} 2"]);
    assert!(it.faults().is_empty());
}

#[test]
fn a_histogram_owns_its_samples() {
    let it = text(concat!(
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 3\nh_count 2\n",
        "# TYPE h_count gauge\nh_bucket 5\n# HELP h_sum x\nh_sum_total 1\n"
    ));
    assert_eq!(
        names(&it),
        [
            ("h".into(), MetricType::Histogram, 5),
            ("h_sum_total".into(), MetricType::Unknown, 1)
        ]
    );
    assert_eq!(
        faults(&it),
        [
            "line 6, column 8: TYPE line for \"h_count\", which belongs to the metric \"h\"",
            "line 8, column 8: HELP line for \"h_sum\", which belongs to the metric \"h\""
        ]
    );
}

#[test]
fn a_type_cannot_take_names_of_others() {
    let it = text("h_count 1\n# TYPE h histogram\nh_bucket{le=\"x\"} 1\n");
    assert_eq!(
        faults(&it),
        ["line 2, column 8: \"h\" cannot have this type, because \"h_count\" is already a metric of its own"]
    );
    assert_eq!(it.families().iter().map(|it| it.kind).collect::<Vec<_>>(), [MetricType::Unknown; 3]);
    let it = text("# HELP h_count x\n# TYPE h histogram\nh_count 1\n");
    assert_eq!(names(&it), [("h".into(), MetricType::Histogram, 1)]);
    assert_eq!(
        faults(&it),
        ["line 1, column 16: HELP line for \"h_count\", which belongs to the metric \"h\""]
    );
}

#[test]
fn a_type_line_makes_an_optional_name_of_another_family_its_own() {
    let histogram = "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 1\n";
    let gauge = "# TYPE h_created gauge\nh_created 5\n";
    let expected = [("h".into(), MetricType::Histogram, 3), ("h_created".into(), MetricType::Gauge, 1)];
    for body in [format!("{histogram}{gauge}# EOF\n"), format!("{gauge}{histogram}# EOF\n")] {
        let it = open(&body);
        assert_eq!(faults(&it), [""; 0], "{body}");
        let mut names = names(&it);
        names.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(names, expected, "{body}");
    }
    let it = open("# TYPE c counter\nc 1\n# TYPE c_total counter\nc_total 2\n# EOF\n");
    assert_eq!(
        names(&it),
        [("c".into(), MetricType::Counter, 1), ("c_total".into(), MetricType::Counter, 1)]
    );
    assert_eq!(faults(&it), [""; 0]);
    // Not without a TYPE line, and not a name that the other family has samples of.
    let it = open("# TYPE c counter\n# HELP c_created x\nc_created 1\n# TYPE c_created gauge\n# EOF\n");
    assert_eq!(names(&it), [("c".into(), MetricType::Counter, 1)]);
    assert_eq!(
        faults(&it),
        [
            "line 2, column 8: HELP line for \"c_created\", which belongs to the metric \"c\"",
            "line 4, column 8: TYPE line for \"c_created\", which belongs to the metric \"c\""
        ]
    );
    let it = open("# TYPE h histogram\n# TYPE h_count gauge\nh_count 1\n# EOF\n");
    assert_eq!(it.faults().total(), 1, "a histogram has to have its count");
}

#[test]
fn first_headers_stand() {
    let it = text("# HELP a x\n# HELP a y\n# TYPE a gauge\n# TYPE a counter\na 1\nb 1\n# TYPE b gauge\n# HELP b late is fine\n");
    assert_eq!(
        faults(&it),
        [
            "line 2, column 8: second HELP line for the same metric",
            "line 4, column 8: second TYPE line for the same metric",
            "line 7, column 8: TYPE line after samples of the same metric"
        ]
    );
    assert_eq!(
        names(&it),
        [("a".into(), MetricType::Gauge, 1), ("b".into(), MetricType::Unknown, 1)]
    );
    assert_eq!(string(it.text(it.families()[1].help().unwrap())), "late is fine");
}

#[test]
fn faults_tell_where_and_why() {
    for (line, column, reason) in [
        ("9foo 1", 1, "\"9\" cannot start a metric name"),
        ("f-o 1", 2, "unexpected \"-\" after the metric name"),
        ("foo", 4, "the value is missing"),
        ("foo ", 5, "the value is missing"),
        ("foo{a=\"b\"}", 11, "the value is missing"),
        ("foo{a=\"b} 1", 12, "missing closing quote"),
        ("foo{a=\"b\"", 10, "missing closing brace"),
        ("foo{a=b} 1", 7, "expected a quote before the label value, found \"b\""),
        ("foo{a} 1", 6, "expected = after the label name, found \"}\""),
        ("foo{,} 1", 5, "\",\" cannot start a label name"),
        ("foo{ä=\"\"} 1", 5, "a non-ASCII character cannot start a label name"),
        ("foo{a=\"b\" c=\"d\"} 1", 11, "expected , or } after the label value, found \"c\""),
        ("foo{a=\"b\",a=\"c\"} 1", 11, "label \"a\" occurs twice"),
        ("foo{__name__=\"b\"} 1", 5, "the label name __name__ is reserved"),
        (
            "foo{a=\"b\",\"__name..\"=\"c\"} 1",
            11,
            "the label name becomes __name__ for scrapers that take no UTF-8, and that is reserved",
        ),
        (
            "foo{\"\u{e4}.name--\"=\"c\"} 1",
            5,
            "the label name becomes __name__ for scrapers that take no UTF-8, and that is reserved",
        ),
        (
            "foo{a=\"b\",\"bar\"} 1",
            16,
            "quoted text without a value; the metric name must be before the braces or first in them",
        ),
        ("{\"\"} 1", 2, "the name in the quotes is empty"),
        ("{} 1", 2, "\"}\" cannot start a metric name"),
        ("foo one", 5, "\"one\" is not a number"),
        ("foo 1x", 5, "\"1x\" is not a number"),
        ("foo 0x10", 5, "\"0x10\" is not a number"),
        ("foo 1 -5", 7, "\"-5\" is not a timestamp"),
        ("foo 1 5 6", 9, "unexpected text after the timestamp"),
        (
            "foo 1 # HELP bar x",
            7,
            "unexpected text after the value (comments need their own line)",
        ),
        ("foo 1 5 #", 9, "unexpected text after the value (comments need their own line)"),
        ("{\"fo\0o\"} 1", 5, "a NUL is not allowed in names and exemplars"),
        ("foo{\"\0\"=\"\"} 1", 6, "a NUL is not allowed in names and exemplars"),
        ("# TYPE \"fo\0o\" gauge", 11, "a NUL is not allowed in names and exemplars"),
        ("# TYPE foo info", 12, "type \"info\" needs OpenMetrics"),
        ("# TYPE foo COUNTER", 12, "type \"COUNTER\" must be written in lower case"),
        ("# TYPE foo", 11, "the type is missing"),
        ("# HELP 9 x", 8, "expected a metric name"),
    ] {
        let it = text(&format!("good 1\n{line}\ngood{{a=\"b\"}} 1\n"));
        assert_eq!(faults(&it), [format!("line 2, column {column}: {reason}")], "{line}");
        assert_eq!(it.series(), 2, "{line}");
    }
}

#[test]
fn one_line_is_much_like_the_last_but_read_as_itself() {
    let it = text(concat!(
        "foo{a=\"1\",b=\"2\",c=\"3\"} 1\n",
        "foo{a=\"1\",b=\"22\",c=\"3\"} 1\n",
        "foo{a=\"1\",b=\"2\"} 1\n",
        "foo{a=\"1\",b=\"2\",c=\"3\",d=\"4\"} 1\n",
        "foo{b=\"2\",a=\"1\",c=\"4\"} 1\n",
        "foo{b=\"2\",c=\"3\",a=\"1\"} 1\n",
        "foo{b=\"2\",b=\"3\",a=\"1\"} 1\n",
        "foo{b=\"2\", c=\"5\",a=\"1\"} 1\n",
        "fop{b=\"2\", c=\"5\",a=\"1\"} 1\n",
        "foo{b=\"2\", c=\"5\",c=\"1\"} 1\n",
    ));
    assert_eq!(
        faults(&it),
        [
            "line 6, column 1: duplicate series, first on line 1",
            "line 7, column 11: label \"b\" occurs twice",
            "line 10, column 18: label \"c\" occurs twice"
        ]
    );
    let hashes: Vec<u64> = it.families().iter().flat_map(|family| it.series_hashes(family)).collect();
    assert_eq!(hashes.len(), 7);
    assert!(it.families()[0].flags.contains(FamilyFlags::REFORMAT_OPENMETRICS));
}

#[test]
fn the_same_series_twice_is_a_fault_whatever_its_spelling() {
    for second in [
        "foo{b=\"2\",a=\"1\"} 9",
        "foo { a = \"1\" , b=\"2\", } 1",
        "{\"foo\",\"a\"=\"1\",b=\"2\"} 1",
        "foo{a=\"1\",b=\"2\",c=\"\"} 1",
    ] {
        let it = text(&format!("foo{{a=\"1\",b=\"2\"}} 1\n{second}\n"));
        assert_eq!(faults(&it), ["line 2, column 1: duplicate series, first on line 1"], "{second}");
        assert_eq!(only(&it).samples, 1);
    }
}

#[test]
fn line_ends_cost_nothing() {
    let it = text("\u{feff}# TYPE foo gauge\r\nfoo 1\r\nfoo{a=\"b\"} 2 5 \t\r\n\r\n \t\n  foo{a=\"c\"} 3\r");
    assert_eq!(runs(&it, only(&it)), ["foo 1", "foo{a=\"b\"} 2 5", "foo{a=\"c\"} 3"]);
    assert_eq!(only(&it).kind, MetricType::Gauge);
    assert!(it.faults().is_empty());
    assert!(text("").faults().is_empty() && text("\n").families().is_empty());
}

#[test]
fn odd_spelling_is_legal_text_but_marked() {
    let reformat = FamilyFlags::REFORMAT_OPENMETRICS;
    for line in [
        "foo  1",
        "foo\t1",
        "foo{a=\"b\"}1",
        "foo{a=\"b\"}  1",
        "foo{a=\"b\",} 1",
        "foo{ a=\"b\"} 1",
        "foo {a=\"b\"} 1",
        "foo{a =\"b\"} 1",
        "foo{a= \"b\"} 1",
        "foo{a=\"b\" } 1",
        "foo{a=\"b\", c=\"d\"} 1",
        "foo{a=\"b\" ,c=\"d\"} 1",
        "foo 1 5",
        "{\"foo\", a=\"b\"} 1",
        "{\"foo\",} 1",
        "{\"foo\" ,a=\"b\"} 1",
        "{ \"foo\"} 1",
    ] {
        let it = text(&format!("{line}\n"));
        assert!(
            it.faults().is_empty() && only(&it).flags.contains(reformat),
            "{line} {:?}",
            only(&it).flags
        );
        assert_eq!(runs(&it, only(&it)), [line]);
        // The next line agrees with this one but for the gap, which must be seen all the same.
        let plain = "foo{a=\"b\",c=\"d\"} 1\n";
        let it = text(&format!("{plain}{}\n", line.replace('b', "x")));
        assert!(only(&it).flags.contains(reformat), "{line}");
    }
    for line in ["foo 1", "foo{} 1", "foo{a=\"b\"} 1", "{\"foo\"} 1", "{\"foo\",a=\"b\"} 1"] {
        assert!(!only(&text(line)).flags.intersects(reformat), "{line}");
    }
    assert!(only(&text("# TYPE h histogram\nh_bucket{le=\"1\"} 1")).flags.contains(reformat));
    assert!(only(&text("# TYPE h histogram\nh_bucket{le=\"Inf\"} 1")).flags.contains(reformat));
    assert!(!only(&text("# TYPE h histogram\nh_bucket{le=\"1.0\"} 1")).flags.contains(reformat));
    assert!(only(&text("foo{__a=\"b\"} 1")).flags.contains(FamilyFlags::RESERVED_LABELS));
    assert!(only(&text("foo{\"a\"=\"b\"} 1")).flags.contains(FamilyFlags::QUOTED));
}

#[test]
fn open_metrics_is_read_whole() {
    let it = open(concat!(
        "# TYPE a_seconds counter\n# UNIT a_seconds seconds\n# HELP a_seconds \\\"x\\\"\n",
        "a_seconds_total{x=\"y\"} 1 12.5 # {id=\"z\"} 0.5 12.25\na_seconds_created{x=\"y\"} 1e9 12.5\n",
        "# TYPE b info\nb_info{v=\"1\"} 1\n# TYPE c stateset\nc{c=\"on\"} 1\nc{c=\"off\"} 0\n",
        "# TYPE d gaugehistogram\nd_bucket{le=\"1.0\"} 1\nd_bucket{le=\"+Inf\"} 2\nd_gcount 2\nd_gsum 5\n",
        "# TYPE e unknown\ne 1\n# EOF\n"
    ));
    assert_eq!(faults(&it), [""; 0]);
    assert_eq!(
        names(&it),
        [
            ("a_seconds".into(), MetricType::Counter, 2),
            ("b".into(), MetricType::Info, 1),
            ("c".into(), MetricType::StateSet, 2),
            ("d".into(), MetricType::GaugeHistogram, 4),
            ("e".into(), MetricType::Unknown, 1)
        ]
    );
    let counter = &it.families()[0];
    assert_eq!(
        counter.flags,
        FamilyFlags::TIMESTAMPS | FamilyFlags::EXEMPLARS | FamilyFlags::REFORMAT_TEXT | FamilyFlags::TOTAL | FamilyFlags::CREATED
    );
    assert_eq!(string(it.text(counter.unit().unwrap())), "seconds");
    let sample = it.samples(counter).next().unwrap();
    assert_eq!(sample.exemplar.unwrap().value, b"0.5");
    assert_eq!(counter.flags.suffixes().collect::<Vec<_>>(), [Suffix::Total, Suffix::Created]);
}

#[test]
fn open_metrics_needs_its_end() {
    assert_eq!(
        faults(&open("a 1\n")),
        ["line 2, column 1: no # EOF at the end: the text may be truncated"]
    );
    let it = open("a 1\n# EOF\nb 1\n# TYPE c gauge\n");
    assert_eq!(faults(&it), ["line 3, column 1: text after # EOF"]);
    assert_eq!(it.series(), 2);
    assert!(open("# EOF\n\n").faults().is_empty());
}

#[test]
fn exemplars_are_handed_out_where_they_may_be() {
    let it = open("# TYPE a gauge\na 1 # {x=\"y\"} 1\n# TYPE b counter\nb_total 1 # {} 1\n# EOF\n");
    assert!(it.faults().is_empty());
    assert!(it.samples(&it.families()[0]).all(|it| it.exemplar.is_none()));
    assert!(
        it.families()[0]
            .flags
            .contains(FamilyFlags::EXEMPLARS | FamilyFlags::REFORMAT_OPENMETRICS)
    );
    assert!(it.samples(&it.families()[1]).all(|it| it.exemplar.is_some()));
    assert_eq!((it.faults().exemplars(), it.faults().first_exemplar().unwrap().line), (1, 2));
}

#[test]
fn a_bad_exemplar_costs_the_exemplar() {
    for (line, column) in [
        ("a_total 1 # x", 13),
        ("a_total 1 # {x=\"y\"}", 20),
        ("a_total 1 # {x=\"y\",x=\"z\"} 1", 20),
        ("a_total 1 # {x=\"y\"} 1 nan", 23),
        ("a_total 1 # {} 1 2 3", 20),
        ("a_total 1 # {x=\"y} 1", 21),
        ("a_total 1 # {x=\"\0\"} 1", 17),
        ("a_total 1 # {x=\"y\"} one", 21),
        ("a_total 1 5 # {\"x\"} 1 \t\r", 19),
    ] {
        let it = open(&format!(
            "# TYPE a counter\na_total{{b=\"1\"}} 7\n{line}\na_total{{b=\"2\"}} 9\n# EOF\n"
        ));
        assert_eq!((faults(&it), it.series(), it.faults().exemplars()), (vec![], 3, 1), "{line}");
        let first = it.faults().first_exemplar().unwrap();
        assert_eq!((first.line, first.column), (3, column), "{line}: {first}");
        let timestamp = if line.contains(" 5 ") {
            FamilyFlags::TIMESTAMPS | FamilyFlags::REFORMAT_TEXT
        } else {
            FamilyFlags::NONE
        };
        assert_eq!(
            only(&it).flags,
            FamilyFlags::TOTAL | FamilyFlags::INVALID_OPENMETRICS.intersection(only(&it).flags) | timestamp,
            "{line}"
        );
        let kept: Vec<String> = it.samples(only(&it)).map(|it| string(it.line)).collect();
        assert_eq!(kept[1], line.split(" #").next().unwrap(), "{line}");
        assert_eq!(kept.len(), 3, "{line}");
    }
    let many = open(&format!("# TYPE a counter\n{}# EOF\n", "a_total 1 # {} x\n".repeat(3)));
    assert_eq!((many.series(), many.faults().exemplars(), many.faults().total()), (1, 1, 2));
}

#[test]
fn exemplars_in_text_cost_themselves() {
    let it = text("# TYPE a_total counter\na_total{x=\"1\"} 1 # {id=\"7\"} 0.5\na_total{x=\"2\"} 1 1000 #{} 1\nb 2\n");
    assert_eq!((faults(&it), it.faults().exemplars(), it.series()), (vec![], 2, 3));
    assert_eq!(runs(&it, &it.families()[0]), ["a_total{x=\"1\"} 1", "a_total{x=\"2\"} 1 1000"]);
    let first = it.faults().first_exemplar().unwrap();
    assert_eq!(
        first.to_string(),
        "line 2, column 18: the text format has no exemplars (use OpenMetrics)"
    );
}

#[test]
fn lone_backslashes_stand_for_themselves() {
    let it = text("# HELP q See C:\\temp \\\n# TYPE q gauge\nq{path=\"C:\\Users\\x\"} 1\nr{s=\"it\\'s\"} 1\nok 1\n");
    assert_eq!((faults(&it), it.series()), (vec![], 3));
    assert_eq!(string(it.text(only_named(&it, "q").help().unwrap())), "See C:\\\\temp \\\\");
    assert_eq!(runs(&it, only_named(&it, "q")), ["q{path=\"C:\\\\Users\\\\x\"} 1"]);
    let it = text("a{p=\"C:\\U\"} 1\na{p=\"C:\\\\U\"} 2 x\na{p=\"C:\\\\U\"} 2\na{p=\"\\d\\e\",q=1} 1\n");
    assert_eq!(
        faults(&it),
        [
            "line 2, column 16: \"x\" is not a timestamp",
            "line 3, column 1: duplicate series, first on line 1",
            "line 4, column 14: expected a quote before the label value, found \"1\""
        ],
        "columns are those of the text as it was handed in"
    );
}

#[test]
fn a_nul_may_stand_in_a_value_and_in_a_help() {
    let it = text("# HELP a x\0y\na{b=\"sw1^@\0\0\"} 1\nother 1\n");
    assert_eq!((faults(&it), it.series()), (vec![], 2));
    assert_eq!(text("a\0 1\n").faults().total(), 1);
}

#[test]
fn a_text_of_headers_alone_is_an_update_to_nothing() {
    for empty in [
        "",
        "\n \n",
        "# HELP a x\n# TYPE a counter\n",
        "# UNIT a_b b\n",
        "# EOF\n",
        "#\n#  \n# HELP a # of things\n",
        "\u{feff}# HELP a x\r\n",
    ] {
        let it = text(empty);
        assert_eq!((faults(&it), it.series()), (vec![], 0), "{empty:?}");
    }
    assert!(open("# TYPE a counter\n# UNIT a_b b\n# EOF\n").faults().is_empty());
}

#[test]
fn comments_that_hide_samples_are_faults_where_there_is_none() {
    const WORDS: &str = "the text has no samples, and this comment is not a HELP, TYPE, UNIT or EOF line";
    const JOINED: &str = "the text has no samples, and a header inside another line: were its lines joined?";
    for (odd, fault) in [
        ("# just words", format!("line 1, column 3: {WORDS}")),
        ("#just words\n", format!("line 1, column 2: {WORDS}")),
        ("# HELP a x\n  # help a x\n# more words\n", format!("line 2, column 5: {WORDS}")),
        (
            "# HELP jobs_done x# TYPE jobs_done gaugejobs_done 1",
            format!("line 1, column 19: {JOINED}"),
        ),
        ("# EOF# HELP a x", format!("line 1, column 3: {WORDS}")),
        ("# EOF # HELP a x", format!("line 1, column 7: {JOINED}")),
    ] {
        assert_eq!(faults(&text(odd)), [fault], "{odd:?}");
        let sampled = format!("{odd}\nfoo 1\n");
        assert!(text(&sampled).faults().is_empty(), "{sampled:?}");
    }
    // A line that is bad in itself is reported too.
    assert_eq!(text("# words\nbad{\n").faults().total(), 2);
}

#[test]
fn shapes_that_open_metrics_refuses_are_marked() {
    let h = "# TYPE h histogram\n";
    for (head, lines, fits) in [
        (h, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 1", true),
        (h, "h_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1", true),
        (h, "h_bucket{le=\"1\"} 1\nh_sum 1\nh_count 1", false),
        (h, "h_bucket{le=\"1\"} 2\nh_bucket{le=\"+Inf\"} 1", false),
        (h, "h_bucket{le=\"2\"} 1\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1", false),
        (h, "h_bucket{le=\"+Inf\"} 1\nh_sum 1\nh_count 2", false),
        (h, "h_bucket{le=\"+Inf\"} 1\nh_sum 1", false),
        (h, "h_bucket{le=\"+Inf\"} 1\nh_sum -1\nh_count 1", false),
        (h, "h_bucket{le=\"+Inf\"} 1\nh 1", false),
        (h, "h_bucket 1", false),
        (
            h,
            "h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{a=\"2\",le=\"+Inf\"} 1\nh_sum{a=\"1\"} 1\nh_count{a=\"1\"} 1",
            false,
        ),
        (
            h,
            "h_bucket{a=\"1\",le=\"+Inf\"} 1\nh_bucket{le=\"+Inf\",a=\"2\"} 1\nh_sum{a=\"2\"} 1\nh_count{a=\"2\"} 1",
            true,
        ),
        (h, "h_bucket{le=\"+Inf\"} 1 5\nh_sum 1\nh_count 1", false),
        ("# TYPE c_total counter\n", "c_total 1\nc_total{a=\"b\"} 0", true),
        ("# TYPE c_total counter\n", "c_total -1", false),
        ("# TYPE c_total counter\n", "c_total NaN", false),
        ("# TYPE c counter\n", "c 1", false),
        (
            "# TYPE s summary\n",
            "s{quantile=\"0.5\"} NaN\ns{quantile=\"1\"} 2\ns_sum 1\ns_count 1",
            true,
        ),
        ("# TYPE s summary\n", "s{quantile=\"2\"} 1", false),
        ("# TYPE s summary\n", "s 1", false),
        ("# TYPE g gauge\n", "g -1\ng{a=\"b\"} NaN", true),
    ] {
        let it = text(&format!("{head}{lines}\n"));
        assert!(it.faults().is_empty(), "{lines}");
        assert_eq!(!only(&it).flags.contains(FamilyFlags::INVALID_OPENMETRICS), fits, "{lines}");
    }
    assert!(
        only(&open("# TYPE c counter\nc 1\n# EOF\n"))
            .flags
            .contains(FamilyFlags::INVALID_OPENMETRICS)
    );
    assert!(
        only(&open("# TYPE i info\ni_info 2\n# EOF\n"))
            .flags
            .contains(FamilyFlags::INVALID_OPENMETRICS)
    );
    assert!(
        only(&open("# TYPE s stateset\ns{t=\"a\"} 1\n# EOF\n"))
            .flags
            .contains(FamilyFlags::INVALID_OPENMETRICS)
    );
}

#[test]
fn bad_bytes_cost_their_line_only() {
    let body = b"good{a=\"b\"} 1\nfoo{a=\"\xff\"} 1\n# HELP good \xff\ngood{a=\"\xc3\xb6\"} 1\n";
    let it = Exposition::parse(Bytes::from_static(body), Syntax::Text);
    assert_eq!(faults(&it), ["line 2, column 8: not UTF-8", "line 3, column 13: not UTF-8"]);
    assert_eq!(it.series(), 2);
}

#[test]
fn labels_are_bounded() {
    let labels = |count: usize| (0..count).map(|n| format!("l{n}=\"\"")).collect::<Vec<_>>().join(",");
    let most = super::labels::MAX_LABELS;
    let it = text(&format!("foo{{{}}} 1\nbar{{{}}} 1\n", labels(most), labels(most + 1)));
    assert_eq!((it.series(), it.faults().total()), (1, 1));
}

#[test]
fn faults_are_bounded_but_counted() {
    let it = text(&"x\n".repeat(1_000));
    assert_eq!((it.faults().iter().count(), it.faults().total()), (crate::MAX_FAULTS_KEPT, 1_000));
}

#[test]
fn a_series_may_stand_with_several_times() {
    let read = text("a{x=\"1\"} 1 1000\na{x=\"1\"} 2 2000\nb 1 5\r\nb 2 6\r\na{x=\"1\"} 3 3000\na{x=\"1\"} 4\n");
    assert!(read.faults().is_empty(), "{:?}", faults(&read));
    assert_eq!(read.series(), 6);
    assert!(
        read.families()
            .iter()
            .all(|family| family.flags.contains(FamilyFlags::MULTIPLE_TIMES))
    );
    assert_eq!(read.mixed_times(), 1);
    let read = text("a 1 1000\na 2 2000\na 3 2000\na 4 02000\nb 1\nb 2\nc 1\na 5 1000\n");
    assert_eq!(
        faults(&read),
        [
            "line 3, column 1: duplicate series, first on line 2",
            "line 4, column 1: duplicate series, first on line 2",
            "line 6, column 1: duplicate series, first on line 5",
            "line 8, column 1: duplicate series, first on line 1"
        ]
    );
    let read = open("a 1 1.0001\na 2 1.0002\na 3 1.001\n# EOF\n");
    assert_eq!(read.faults().total(), 1, "Prometheus stores milliseconds");
    assert!(
        !text("a 1 1000\nb 1 2000\n")
            .families()
            .iter()
            .any(|family| family.flags.contains(FamilyFlags::MULTIPLE_TIMES))
    );
}

#[test]
fn a_unit_may_have_as_many_bytes_as_the_index_has_room_for() {
    let read = |length: usize| {
        let unit = "u".repeat(length);
        let text = format!("# TYPE a_{unit} gauge\n# UNIT a_{unit} {unit}\na_{unit} 1\n# EOF\n");
        Exposition::parse(text.into(), Syntax::OpenMetrics)
    };
    let longest = read(65_535);
    assert!(longest.faults().is_empty());
    assert_eq!(longest.families()[0].unit().map(|unit| unit.len()), Some(65_535));
    let longer = read(65_536);
    assert_eq!(longer.families()[0].unit(), None);
    assert_eq!(longer.series(), 1);
    let fault = longer.faults().first().expect("the line is left out").to_string();
    assert!(fault.ends_with("the unit has more than 65535 bytes"), "{fault}");
}
