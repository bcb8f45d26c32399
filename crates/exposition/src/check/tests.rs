use super::*;

fn told(text: &str, syntax: Option<Syntax>) -> Vec<String> {
    check(text.as_bytes(), syntax).problems.iter().map(ToString::to_string).collect()
}

const H: &str = "# HELP foo x\n";

#[test]
fn a_good_text_has_no_problems() {
    let text = format!("{H}# TYPE foo gauge\nfoo{{a=\"b\"}} 1\nfoo 2 1000\n");
    assert_eq!(told(&text, None), [""; 0]);
    assert_eq!(
        told("# HELP foo x\n# TYPE foo counter\nfoo_total 1 # {a=\"b\"} 1\n# EOF\n", None),
        [""; 0]
    );
}

#[test]
fn what_others_refuse_is_an_error() {
    for (text, problem) in [
        ("foo 1\r\n", "2:6: error: lines end in CR LF, which Prometheus refuses"),
        ("foo 1", "2:6: error: no newline at the end, which strict parsers refuse"),
        (
            " foo 1\n",
            "2:1: error: whitespace before the metric name, which Prometheus takes as part of it",
        ),
        ("foo 1 \n", "2:6: error: whitespace after the sample, which strict parsers refuse"),
        ("foo{a=\"ö\"} 1\nfoo{a=\"ö\"} 1\n", "3:1: error: duplicate series, first on line 2"),
        ("foo{a=\"ö\" 1\n", "2:11: error: expected , or } after the label value, found \"1\""),
    ] {
        assert_eq!(told(&format!("{H}{text}"), None), [problem], "{text:?}");
    }
    assert!(check(b"foo 1\n", Some(Syntax::OpenMetrics)).errors == 1);
}

#[test]
fn what_only_openmetrics_refuses_is_an_error_there() {
    for (text, problem) in [
        (
            "# TYPE foo_created gauge\n# HELP foo_created x\n# TYPE foo counter\n# HELP foo x\n",
            "3:8: error: \"foo\" cannot have this type, because \"foo_created\" is already a metric of its own",
        ),
        (
            "# TYPE foo counter\n# HELP foo x\n# TYPE foo_created gauge\n",
            "3:8: error: TYPE line for \"foo_created\", which belongs to the metric \"foo\"",
        ),
        (
            "# HELP foo x\nfoo 1 1\nfoo 1 3\nfoo 1 2\n",
            "4:1: error: OpenMetrics requires the samples of a series in ascending order of time, and a timestamp on each of them",
        ),
        (
            "# HELP foo x\nfoo 1\nfoo 1 3\n",
            "3:1: error: OpenMetrics requires the samples of a series in ascending order of time, and a timestamp on each of them",
        ),
    ] {
        assert_eq!(told(&format!("{text}# EOF\n"), None), [problem], "{text:?}");
    }
    assert_eq!(told("# HELP foo x\nfoo 1 1\nfoo 1 2\nfoo 1 3\n# EOF\n", None), [""; 0]);
}

#[test]
fn interleaved_families_are_told() {
    let text = format!("{H}# HELP bar x\nfoo 1\nbar 1\nfoo{{a=\"b\"}} 1\n");
    assert_eq!(
        told(&text, None),
        ["5:1: error: the samples of \"foo\" are not contiguous: some are further up"]
    );
}

#[test]
fn the_linter_only_warns() {
    let checked = check(b"# TYPE fooBar counter\nfooBar 1\n", None);
    assert_eq!((checked.errors, checked.warnings, checked.series), (0, 3, 1));
}

#[test]
fn problems_are_bounded_but_all_counted() {
    let checked = check("foo\n".repeat(5_000).as_bytes(), None);
    assert_eq!((checked.problems.len(), checked.errors), (MAX_PROBLEMS_KEPT, 5_000));
}

#[test]
fn formats_are_told_apart_by_their_ends() {
    assert_eq!(detect(b"foo 1\n# EOF\n"), Syntax::OpenMetrics);
    assert_eq!(detect(b"# EOF"), Syntax::OpenMetrics);
    assert_eq!(detect(b"# EOF\nfoo 1\n"), Syntax::Text);
    assert_eq!(detect(b""), Syntax::Text);
}
