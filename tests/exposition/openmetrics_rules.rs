//! The rules of OpenMetrics 1.0, text by text: the kinds of text that its test suite holds valid or invalid, in texts of our own.
//! `check` must find no error in the valid ones, and some error in the others.

use exporter_proxy::exposition::{Exposition, check};
use exporter_proxy::model::Syntax;

/// A rule, and texts that break it. `# EOF` is added to those that do not have it.
type Rule = (&'static str, &'static [&'static str]);

const INVALID: &[Rule] = &[
    ("there are no empty lines", &["jobs 4\n\n"]),
    (
        "a name belongs to one family",
        &[
            "# TYPE jobs counter\n# TYPE jobs counter\n",
            "# TYPE jobs info\n# TYPE jobs counter\n",
            "# TYPE jobs_created gauge\n# TYPE jobs counter\n",
        ],
    ),
    (
        "counts and sums are neither negative nor NaN",
        &[
            "# TYPE jobs counter\njobs_total NaN\n",
            "# TYPE jobs counter\njobs_total -4\n",
            "# TYPE lag histogram\nlag_sum NaN\n",
            "# TYPE lag histogram\nlag_count NaN\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} NaN\n",
            "# TYPE lag histogram\nlag_sum -4\n",
            "# TYPE lag histogram\nlag_count -4\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} -4\n",
            "# TYPE lag histogram\nlag_bucket{le=\"-2.5\"} 4\nlag_bucket{le=\"+Inf\"} 5\nlag_sum -4\n",
            "# TYPE lag histogram\nlag_bucket{le=\"-2.5\"} 4\nlag_bucket{le=\"+Inf\"} 5\nlag_sum 4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} NaN\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} -4\nfill_gcount -4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} -4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} 4\nfill_gsum -4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} 4\nfill_gsum NaN\n",
            "# TYPE load summary\nload_sum NaN\n",
            "# TYPE load summary\nload_count NaN\n",
            "# TYPE load summary\nload_sum -4\n",
            "# TYPE load summary\nload_count -4\n",
            "# TYPE load summary\nload{quantile=\"0.75\"} -4\n",
        ],
    ),
    (
        "the labels of an exemplar have 128 characters at most",
        &[
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {id=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 2 3\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {id=\"\u{e9}\u{301}\u{e9}\u{301}\u{e9}\u{301}\u{e9}\u{301}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 2\n",
        ],
    ),
    (
        "the time of an exemplar is finite",
        &[
            "# TYPE jobs counter\njobs_total 4 # {id=\"x\"} 2.5 NaN\n",
            "# TYPE jobs counter\njobs_total 4 # {id=\"x\"} 2.5 Inf\n",
            "# TYPE jobs counter\njobs_total 4 # {id=\"x\"} 2.5 -Inf\n",
        ],
    ),
    (
        "an exemplar has braces, a value, and one space between its parts",
        &[
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 #\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4# {} 2\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 #{} 2\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {}2\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {} 2 \n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {} 2 3 \n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {} 0x2p-1\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {} 2 0x2p-1\n",
            "# TYPE jobs counter\njobs_total 4 5 # {id=\"x\"}  \n",
            "# TYPE jobs counter\njobs_total 4 5 # id=\"x\"} 2\n",
            "# TYPE jobs counter\njobs_total 4 5 #id=\" # \"} 2\n",
            "# TYPE jobs counter\njobs_total 4 5 id=\" # \"} 2\n",
        ],
    ),
    (
        "only counters and buckets have exemplars",
        &[
            "# TYPE free gauge\nfree 4 # {id=\"x\"} 2\n",
            "# TYPE build info\nbuild_info 1 # {id=\"x\"} 2\n",
            "# TYPE mode stateset\nmode{mode=\"x\"} 1 # {id=\"y\"} 2\n",
            "# TYPE lag histogram\nlag_sum 4 # {id=\"x\"} 2.5\n",
            "# TYPE fill gaugehistogram\nfill_sum 4 # {id=\"x\"} 2.5\n",
            "# TYPE fill_bucket gauge\nfill_bucket 4 # {id=\"x\"} 2.5\n",
            "# TYPE jobs counter\njobs_created 4 # {id=\"x\"} 2.5\n",
        ],
    ),
    (
        "the samples of a group stand together, in ascending order of time",
        &[
            "# TYPE lag histogram\nlag_sum{n=\"4\"} 0\nlag_bucket{n=\"5\",le=\"+Inf\"} 0\nlag_count{n=\"5\"} 0\nlag_sum{n=\"5\"} 0\n\
                lag_bucket{n=\"4\",le=\"+Inf\"} 0\nlag_count{n=\"4\"} 0\n",
            "# TYPE lag histogram\nlag_bucket{n=\"4\",le=\"7.0\"} 0\nlag_bucket{n=\"5\",le=\"+Inf\"\"} 0\nlag_bucket{n=\"4\",le=\"+Inf\"} 0\n",
            "# TYPE fill gaugehistogram\nfill_gsum{n=\"4\"} 0\nfill_gsum{n=\"5\"} 0\nfill_gcount{n=\"4\"} 0\n",
            "# TYPE load summary\nload{quantile=\"0\"} 0\nload_sum{n=\"4\"} 0\nload{quantile=\"1\"} 0\n",
            "# TYPE free gauge\nfree 0 -4\nfree 0 -5\n",
            "# TYPE free gauge\nfree 0 -4\nfree 0 -4.5\n",
            "# TYPE free gauge\nfree 0 4\nfree 0 -4\n",
            "# TYPE free gauge\nfree 0 4.5\nfree 0 4\n",
            "# TYPE free gauge\nfree 0 4\nfree 0 0\n",
            "# TYPE free gauge\nfree 0\nfree 0 0\n",
            "# TYPE free gauge\nfree 0 0\nfree 0\n",
        ],
    ),
    (
        "a HELP line has a name and a space behind it",
        &[
            "# HELP\n",
            "# HELP \n",
            "# HELP jobs\n",
            "# HELP jobs\t\n",
            " # HELP jobs of a queue\n",
        ],
    ),
    (
        "a histogram has buckets up to +Inf in their order, and a sum and a count together",
        &[
            "# TYPE lag histogram\nlag_sum 4\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 0\nlag_sum 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 0\nlag_count 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"-4\"} 0\nlag_bucket{le=\"+Inf\"} 0\nlag_sum 0\nlag_count 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 0\n#lag_sum 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 0\n#lag_count 0\n",
            "# TYPE fill gaugehistogram\nfill_gsum 4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} 4\nfill_gsum -4\nfill_gcount 4\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} 0\nfill_gsum 0\n",
            "# TYPE fill gaugehistogram\nfill_bucket{le=\"+Inf\"} 0\nfill_gcount 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"5\"} 0\nlag_bucket{le=\"4\"} 0\nlag_bucket{le=\"+Inf\"} 0\n",
            "# TYPE lag histogram\nlag_bucket{le=\"4\"} 7\nlag_bucket{le=\"5\"} 7\nlag_bucket{le=\"+Inf\"} 6\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 0\nlag_count 4\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+INF\"} 0\n",
            "# TYPE lag histogram\nlag_count 4\nlag_bucket{le=\"+Inf\"} 0\n",
        ],
    ),
    (
        "an info is 1, a state 0 or 1",
        &[
            "# TYPE build info\nbuild_info{of=\"x\"} 4\n",
            "# TYPE mode stateset\nmode{mode=\"x\"} 4\n",
            "# TYPE mode stateset\nmode 4\n",
            "# TYPE build info\nbuild 4\n",
            "# TYPE mode stateset\nmode 4.0\n",
            "# TYPE build info\nbuild 4.0\n",
        ],
    ),
    (
        "labels have names, each once, and a separator",
        &[
            "jobs{4=\"x\"} 7\n",
            "jobs{4=\"x\"}7\n",
            "jobs{of=\"x\",of=\"x\"} 7\n",
            "jobs{of=\"x\"by} 7\n",
            "jobs{4=\" # \"} 7\n",
            "jobs{of=\" # \",of=\" # \"} 7\n",
            "jobs{of=\" # \"}7\n",
            "jobs{of=\" # \",by=}7\n",
            "jobs{of=\" # \"by}7\n",
        ],
    ),
    ("there are no comments", &["# NOTE jobs of a queue\n"]),
    (
        "headers come once, before the samples",
        &[
            "# HELP jobs of a queue\njobs 4\n# TYPE jobs gauge\n",
            "# TYPE jobs gauge\njobs 4\n# HELP jobs of a queue\n",
            "# TYPE age_h gauge\nage_h 4\n# UNIT age_h h\n",
            "# HELP jobs of a queue\n# HELP jobs of a queue\n",
            "# TYPE jobs untyped\n# TYPE jobs untyped\n",
            "# UNIT age_h h\n# UNIT age_h h\n",
        ],
    ),
    (
        "names have letters, digits, underscores and colons",
        &["4jobs 7\n", "jobs.run 7\n", "jobs-run 7\n"],
    ),
    (
        "a label has an equals sign and a value",
        &[
            "jobs{of} 7\n",
            "jobs{of\"x\"} 7\n",
            "jobs{of\"\"} 7\n",
            "jobs{of=} 7\n",
            "jobs{of=\"} 7\n",
        ],
    ),
    (
        "one comma stands between labels, none behind them",
        &[
            "jobs{of=\"x\"by=\"y\"} 7\n",
            "jobs{of=\"x\",,by=\"y\"} 7\n",
            "jobs{of=\"x\",by=\"y\",} 7\n",
        ],
    ),
    (
        "samples have the labels of their type",
        &[
            "# TYPE load summary\nload 0\n",
            "# TYPE load summary\nload{quantile=\"-4\"} 0\n",
            "# TYPE load summary\nload{quantile=\"half\"} 0\n",
            "# TYPE load summary\nload{quantile=\"1.5\"} 0\n",
            "# TYPE load summary\nload{quantile=\"NaN\"} 0\n",
            "# TYPE lag histogram\nlag_bucket 0\n",
            "# TYPE fill gaugehistogram\nfill_bucket 0\n",
            "# TYPE mode stateset\nmode 0\n",
        ],
    ),
    (
        "values of labels stand in double quotes",
        &["jobs{of=4} 7\n", "jobs{of=\"4} 7\n", "jobs{of='4'} 7\n"],
    ),
    ("a sample has a value", &["jobs\n", "jobs \n"]),
    ("# EOF is the last line", &["jobs 7\n# EOF\nmore", "jobs 7\n# EOFmore"]),
    (
        "a timestamp is a finite decimal number",
        &[
            "jobs 7 x\n",
            "jobs 7 4x\n",
            "jobs 7 4_5\n",
            "jobs 7 4.5.6\n",
            "jobs 7 NaN\n",
            "jobs 7 Inf\n",
            "jobs 7  Inf\n",
            "jobs 7 -Inf\n",
            "jobs 7 0x2p-1\n",
        ],
    ),
    (
        "a TYPE line has a name and a type of OpenMetrics, and nothing behind it",
        &[
            "# TYPE\n",
            "# TYPE \n",
            "# TYPE jobs\n",
            "# TYPE jobs\t\n",
            "# TYPE jobs meter\n",
            "# TYPE jobs meter \n",
            "# TYPE jobs gauge \n",
            "# TYPE jobs untyped\n",
        ],
    ),
    (
        "a unit is the end of the name, of a type that may have one",
        &[
            "# UNIT\n",
            "# UNIT \n",
            "# UNIT age\n",
            "# UNIT age\t\n",
            "# UNIT age hours\n",
            "# UNIT age_hours hours \n",
            "# TYPE age_h info\n# UNIT age_h h\n",
            "# TYPE age_h stateset\n# UNIT age_h h\n",
        ],
    ),
    (
        "a value is a decimal number, after one space and with nothing behind it",
        &[
            "jobs x\n",
            "jobs  7\n",
            "jobs 7\t\n",
            "jobs 7 \n",
            "jobs 4_5\n",
            "jobs 0x2p-1\n",
            "jobs 0x2P-1\n",
            "jobs 0b1\n",
            "jobs 0B1\n",
            "jobs 0x7\n",
            "jobs 0X7\n",
            "jobs 0o7\n",
            "jobs 0O7\n",
        ],
    ),
];

const VALID: &[Rule] = &[
    (
        "exemplars of counters and buckets",
        &[
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total 4 567 # {id=\"x\"} 2.5\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{} 4 567 # {id=\"x\"} 2.5\n",
            "# TYPE fill gaugehistogram\n# HELP fill of tanks\nfill_bucket{le=\"4.0\"} 1 567 # {id=\"x\"} 2.5\nfill_bucket{le=\"+Inf\"} 3 567 # {id=\"y\"} 7 567\n",
            "# TYPE lag histogram\n# HELP lag of jobs\nlag_bucket{le=\"4.0\"} 1 # {id=\"x\"} 2.5\nlag_bucket{le=\"+Inf\"} 3 # {id=\"y\"} 7 567\n",
            "# TYPE lag histogram\n# HELP lag of jobs\nlag_bucket{le=\"4.0\",of=\"a # b\"} 1 # {id=\"x\",by=\"c # d\"} 2.5\n\
                lag_bucket{le=\"+Inf\",of=\"a # b\"} 3 # {id=\"y\",by=\"c # d\"} 7\n",
            "# TYPE lag histogram\nlag_bucket{le=\"+Inf\"} 4 # {id=\"\u{263a}aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
                aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"} 2 3\n",
        ],
    ),
    (
        "units",
        &[
            "# HELP work_hours done\n# TYPE work_hours counter\n# UNIT work_hours hours\nwork_hours_total 4.0\nwork_hours_created 567.25\n",
            "# TYPE age_hours gauge\n# UNIT age_hours hours\n# HELP age_hours of jobs\nage_hours 4\n",
        ],
    ),
    (
        "several points of a series",
        &[
            "# TYPE free gauge\n# HELP free of space\nfree{n=\"4\"} 1 0.000\nfree{n=\"4\"} 2 0.001\nfree{n=\"4\"} 3 0.010\nfree{n=\"5\"} 4 0.000\nfree{n=\"5\"} 5 0.001\n",
        ],
    ),
    (
        "empty braces, labels, help and units",
        &[
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{} 4\n",
            "# TYPE jobs counter\n# HELP jobs \njobs_total 4\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{of=\"x\"} 4\njobs_total{of=\"\"} 5\n",
            "# HELP jobs \n# UNIT jobs \n",
        ],
    ),
    (
        "escapes, number signs and braces in strings",
        &[
            "# TYPE jobs counter\n# HELP jobs of\\n\\\\a \\\"queue\\\"\njobs_total{of=\"x\\\"y\\nz\"} 4\njobs_total{of=\"x\\\\y\"} 5\njobs_total{of=\"x\\\"y\\nz # \"} 6\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{of=\"x # y\"} 4\njobs_total{of=\"} x # y # \"} 5\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{of=\"x\",by=\"y{z}\"} 4\n",
            "# TYPE jobs counter\n# HELP jobs \\\\of\njobs_total{of=\"x\"} 4\n# TYPE runs counter\n# HELP runs of\\\\\nruns_total{of=\"x\"} 4\n# TYPE ends counter\n\
                # HELP ends \\n\\\\\nends_total{of=\"x\"} 4\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{of=\"\\\\\",by=\"y\"} 4\njobs_total{of=\"x\\\\\",by=\"y\"} 4\njobs_total{of=\"\\\\\\\"\",by=\"y\"} 4\n",
            "# TYPE jobs counter\n# HELP jobs of\0a queue\n",
        ],
    ),
    (
        "numbers",
        &[
            "# TYPE free gauge\n# HELP free of space\nfree 4.5\n",
            "# TYPE free gauge\n# HELP free of space\nfree{n=\"4\"} +Inf\nfree{n=\"5\"} -Inf\n",
            "# TYPE free gauge\n# HELP free of space\nfree 000000000000000000000000000000000000004.5e-1\n",
            "# TYPE free gauge\n# HELP free of space\nfree 000000000000000000000000000000000000004\n",
            "free NaN\n",
            "# TYPE free gauge\n# HELP free of space\nfree NaN\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total 9223372036854775809\n",
        ],
    ),
    (
        "timestamps",
        &[
            "# TYPE build info\n# HELP build of this\nbuild_info{n=\"4\"} 1 5\nbuild_info{n=\"5\"} 1 0\n",
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total{n=\"4\"} 1 00\njobs_total{n=\"5\"} 1 0.0\njobs_total{n=\"6\"} 1 4.5\njobs_total{n=\"7\"} 1 4.5e3\n\
                # TYPE runs counter\n# HELP runs of jobs\nruns_total 2 1234567891\n",
        ],
    ),
    (
        "each type",
        &[
            "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total 4\n",
            "# TYPE free gauge\n# HELP free of space\nfree 4\n",
            "# TYPE fill gaugehistogram\n# HELP fill of tanks\nfill_bucket{le=\"4.0\"} 0\nfill_bucket{le=\"+Inf\"} 5\nfill_gcount 5\nfill_gsum 4\n",
            "# TYPE lag histogram\n# HELP lag of jobs\nlag_bucket{le=\"4.0\"} 0\nlag_bucket{le=\"+Inf\"} 5\nlag_count 5\nlag_sum 4\n",
            "# TYPE mode stateset\n# HELP mode of work\nmode{mode=\"x\"} 0\nmode{mode=\"y\"} 1.0\n",
            "# TYPE load summary\n# HELP load of cores\nload_count 4\nload_sum 5\n",
            "# TYPE load summary\n# HELP load of cores\nload_count 4\nload_sum 5\nload{quantile=\"0.75\"} 0.5\nload{quantile=\"1.0\"} 0.6\n",
            "# HELP peers connected\n# TYPE peers unknown\npeers{of=\"a-b\",port=\"4001\"} 10.0\npeers{of=\"a-b\",port=\"4002\"} 12.0\n",
            "free 4\n",
            "# HELP jobs of a queue\n# TYPE jobs counter\njobs_total 4\n",
        ],
    ),
    (
        "histograms with buckets below zero",
        &[
            "# TYPE fill gaugehistogram\n# HELP fill of tanks\nfill_bucket{le=\"-4.0\"} 1\nfill_bucket{le=\"4.0\"} 2\nfill_bucket{le=\"+Inf\"} 5\nfill_gcount 5\nfill_gsum -7\n",
            "# TYPE lag histogram\n# HELP lag of jobs\nlag_bucket{le=\"-4.0\"} 0\nlag_bucket{le=\"4.0\"} 1\nlag_bucket{le=\"+Inf\"} 5\n",
        ],
    ),
    ("no newline at the end", &["# TYPE free gauge\n# HELP free of space\nfree 4\n# EOF"]),
    (
        "a page of a program",
        &[
            "# HELP gc_seconds of a program\n# TYPE gc_seconds summary\n# UNIT gc_seconds seconds\ngc_seconds{quantile=\"0.0\"} 0.0133006560000001\n\
            gc_seconds{quantile=\"0.5\"} 0.01375\ngc_seconds{quantile=\"1.0\"} 0.0147\ngc_seconds_sum 1.98\ngc_seconds_count 142.0\n# HELP threads of a program\n\
            # TYPE threads gauge\nthreads 33.0\n# HELP started_seconds of a program\n# TYPE started_seconds gauge\nstarted_seconds 1.7e+09\n",
        ],
    ),
];

/// Texts that the test suite holds valid and `check` does not, or the other way around; each with the reason.
const OTHERWISE: &[(&str, &str, bool)] = &[
    (
        "a backslash before another character: strict parsers take both characters, and others refuse them",
        "# TYPE jobs counter\n# HELP jobs of\\ta queue\njobs_total{of=\"x\\y\"} 4\n",
        false,
    ),
    (
        "bounds that are not written canonically: the text has to be written again for OpenMetrics",
        "# TYPE lag histogram\n# HELP lag of jobs\nlag_bucket{le=\"0\"} 0\nlag_bucket{le=\"1e-04\"} 0\nlag_bucket{le=\"4\"} 0\nlag_bucket{le=\"+Inf\"} 3\nlag_sum 2\nlag_count 3\n",
        true,
    ),
    (
        "a timestamp beyond 64 bits of milliseconds: Prometheus cannot store it",
        "# TYPE jobs counter\n# HELP jobs of a queue\njobs_total 1 12345678901234567891.5\n",
        false,
    ),
    ("a second HELP without text: it says nothing", "# HELP jobs \n# HELP jobs \n", true),
    (
        "a series twice with one timestamp: Prometheus drops the second, with a warning",
        "# TYPE free gauge\n# HELP free of space\nfree{n=\"4\"} 1 0\nfree{n=\"4\"} 2 0\n",
        false,
    ),
];

fn whole(text: &str) -> String {
    if text.contains("# EOF") {
        text.to_owned()
    } else {
        format!("{text}# EOF\n")
    }
}

fn errors(text: &str) -> Vec<String> {
    let checked = check(text.as_bytes(), Some(Syntax::OpenMetrics));
    let problems = checked.problems.iter().map(ToString::to_string);
    problems.filter(|problem| problem.contains(": error: ")).collect()
}

#[test]
fn what_openmetrics_forbids_is_an_error() {
    let mut missed = Vec::new();
    assert!(!errors("").is_empty(), "a text without # EOF");
    for (rule, texts) in INVALID {
        missed.extend(
            texts
                .iter()
                .filter(|text| errors(&whole(text)).is_empty())
                .map(|text| format!("{rule}: {text:?}")),
        );
    }
    assert!(missed.is_empty(), "taken for valid:\n{}", missed.join("\n"));
}

#[test]
fn what_openmetrics_allows_has_no_error_and_loses_nothing() {
    let mut wrong = Vec::new();
    for (rule, texts) in VALID {
        for text in *texts {
            let text = whole(text);
            let found = errors(&text);
            let read = Exposition::parse(text.clone().into(), Syntax::OpenMetrics);
            let samples = text.lines().filter(|line| !line.starts_with('#')).count();
            if !found.is_empty() || !read.faults().is_empty() || read.faults().exemplars() > 0 || read.series() as usize != samples {
                wrong.push(format!("{rule}: {text:?}: {found:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "taken for invalid:\n{}", wrong.join("\n"));
}

#[test]
fn where_the_check_differs_from_the_test_suite_it_has_a_reason() {
    for (reason, text, is_valid) in OTHERWISE {
        assert_eq!(errors(&whole(text)).is_empty(), *is_valid, "{reason}: {:?}", errors(&whole(text)));
    }
}
