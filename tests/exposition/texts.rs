//! Texts made up by chance.

#![allow(unreachable_pub, reason = "the other files of this test use them")]

use proptest::prelude::*;
use proptest::sample::select;

/// Pieces that lines are made of, good and bad.
const PIECES: [&str; 53] = [
    "foo",
    "bar",
    "foo_bucket",
    "foo_sum",
    "foo_count",
    "foo_total",
    "foo_created",
    "{",
    "}",
    "{a=\"b\"}",
    "{a=\"1\",b=\"2\"}",
    "{a=\"1\",b=\"22\"}",
    "{b=\"2\",a=\"1\"}",
    "{le=\"1\"}",
    "{le=\"+Inf\"}",
    "{a=\"1\",le=\"0.5\"}",
    "{quantile=\"0.5\"}",
    "{\"foo\"",
    "\"my.metric\"",
    "a",
    "=",
    "\"",
    "\"x\"",
    ",",
    ", ",
    "\\",
    "\\n",
    "\\U",
    "{p=\"C:\\U\"}",
    " # {id=\"x\",id=\"y\"} 1",
    "# HELP foo C:\\t\\\n",
    "\0",
    "\\\"",
    " ",
    "  ",
    "\t",
    "\n",
    "\n",
    "\n",
    "\r\n",
    "1",
    "1.5",
    "-2",
    "NaN",
    "+Inf",
    "1e400",
    "# TYPE foo histogram\n",
    "# TYPE foo counter\n",
    "# TYPE foo summary\n",
    "# HELP foo x\n",
    "# EOF\n",
    " # {id=\"x\"} 1",
    "ö",
];

/// Lines that are never good.
pub const BAD: [&str; 12] = [
    "9foo 1",
    "foo",
    "foo{a=\"b\"}",
    "foo{a=\"b} 1",
    "foo{a=b} 1",
    "foo{a=\"b\",\"c\"} 1",
    "foo{a=\"b\",a=\"c\"} 1",
    "foo one",
    "foo 1 2 3",
    "foo 1 -5",
    "# TYPE foo what",
    "foo{a=\"b\"c=\"d\"} 1",
];

pub fn pieces() -> impl Strategy<Value = String> {
    prop::collection::vec(select(&PIECES[..]), 0..60).prop_map(|pieces| pieces.concat())
}

/// Lines that are much like each other, which is where lines take over from the one before.
pub fn neighbours() -> impl Strategy<Value = String> {
    let value = select(
        &[
            "",
            "x",
            "y",
            "xx",
            "a long value, longer than a word of the machine",
            "\\\"",
            "\\U",
            "ö",
        ][..],
    );
    let label = (select(&["a", "b", "c", "le", "quantile", "__x", "\"q.n\""][..]), value);
    let gap = || select(&["", "", "", "", " "][..]);
    let labels = prop::collection::vec((gap(), label, gap()), 0..5).prop_map(|labels| {
        let labels = labels
            .into_iter()
            .map(|(before, (name, value), after)| format!("{before}{name}=\"{value}\"{after}"));
        labels.collect::<Vec<_>>().join(",")
    });
    let name = select(&["foo", "foo_bucket", "foo_sum", "bar", "f"][..]);
    let line = (name, labels, 0..3u8).prop_map(|(name, labels, value)| match value {
        0 => format!("{{\"{name}\",{labels}}} 1\n"),
        1 => format!("{name}{{{labels}}} 2\n"),
        _ => format!("{name}{{{labels}}} 1.5 1000\n"),
    });
    (
        select(&["", "# TYPE foo histogram\n", "# TYPE foo summary\n"][..]),
        prop::collection::vec(line, 0..12),
    )
        .prop_map(|(head, lines)| head.to_owned() + &lines.concat())
}

/// One of the first, mostly; now and then one of the odd ones.
fn mostly(usual: &'static [&'static str], odd: &'static [&'static str]) -> BoxedStrategy<&'static str> {
    prop_oneof![40 => select(usual), 1 => select(odd)].boxed()
}

fn blank() -> BoxedStrategy<&'static str> {
    mostly(&[" "], &["", "  ", "\t", " \t ", "\u{a0}", "\r", "\u{b}"])
}

fn number() -> BoxedStrategy<&'static str> {
    let usual = &["0", "1", "12", "1.5", "-2", "1e5", "+Inf", "NaN", "3.0", "100", ".5", "5.", "1E-3"];
    mostly(
        usual,
        &[
            "inf", "-Inf", "nan", "+nan", "0x1p4", "1_0", "1e400", "infinity", "", "-", "1e", "x", "1.2.3", "1,5", "\"1\"", "00", "1e-400",
            "0x10",
        ],
    )
}

fn labels() -> BoxedStrategy<String> {
    let name = mostly(
        &["a", "b", "c", "le", "quantile", "foo"],
        &["__a", "__name__", "9", "a-b", "", "a.b", "ö", "a:b"],
    );
    let usual = &["", "x", "y", "0.5", "1.0", "+Inf", "1", "ö", "a b", "}", ",", "\\n", "\\\"", "\\\\"];
    let value = mostly(usual, &["\\x", "\"", "\\", "inf", "NaN", "\n", "{", "\t", "1e400"]);
    let equals = mostly(&["="], &["", " = ", "= ", ":", "=="]);
    let label = (name, equals, value).prop_map(|(name, equals, value)| format!("{name}{equals}\"{value}\""));
    let comma = mostly(&[","], &["", ", ", " ,", ",,", ";"]);
    let list = prop::collection::vec((label, comma), 0..4).prop_map(|labels| {
        let mut text = String::new();
        for (at, (label, comma)) in labels.into_iter().enumerate() {
            text += if at > 0 { comma } else { "" };
            text += &label;
        }
        text
    });
    (
        mostly(&["{"], &["", "{ ", " {", "{,", "{{"]),
        list,
        mostly(&["}"], &["", ",}", " }", "}}", ",,}"]),
    )
        .prop_map(|(open, list, close)| {
            if list.is_empty() {
                String::new()
            } else {
                format!("{open}{list}{close}")
            }
        })
        .boxed()
}

const NAMES: [&str; 10] = [
    "foo",
    "foo",
    "foo_bucket",
    "foo_bucket",
    "foo_sum",
    "foo_count",
    "foo_total",
    "foo_info",
    "foo_created",
    "bar",
];

fn name() -> BoxedStrategy<&'static str> {
    mostly(&NAMES, &["9foo", "foo-bar", "foo.bar", "", "ö", "foo:bar", "_", "foo\u{0}"])
}

fn sample(tail: BoxedStrategy<String>) -> BoxedStrategy<String> {
    let lead = mostly(&[""], &[" ", "\t", "\u{0}"]);
    (lead, name(), labels(), blank(), number(), tail)
        .prop_map(|(lead, name, labels, blank, value, tail)| format!("{lead}{name}{labels}{blank}{value}{tail}"))
        .boxed()
}

/// A whole histogram with a few things wrong.
fn histogram() -> BoxedStrategy<String> {
    let count = || mostly(&["5"], &["4", "6", "5.0", "5.5", "-5", "NaN"]);
    let keep = || prop::bool::weighted(0.95);
    let label = select(&["", "a=\"x\"", "a=\"y\""][..]);
    (
        label,
        count(),
        count(),
        count(),
        keep(),
        keep(),
        keep(),
        mostly(&["+Inf"], &["Inf", "9.0", "inf"]),
    )
        .prop_map(|(label, low, high, count, has_high, has_sum, has_count, top)| {
            let comma = if label.is_empty() { "" } else { "," };
            let mut text = format!("foo_bucket{{{label}{comma}le=\"1.0\"}} {low}");
            let mut add = |wanted: bool, line: String| {
                if wanted {
                    text += &line
                }
            };
            add(has_high, format!("\nfoo_bucket{{{label}{comma}le=\"{top}\"}} {high}"));
            add(has_sum, format!("\nfoo_sum{{{label}}} 7.5"));
            add(has_count, format!("\nfoo_count{{{label}}} {count}"));
            text
        })
        .boxed()
}

fn header(kinds: &'static [&'static str], odd_kinds: &'static [&'static str], words: &'static [&'static str]) -> BoxedStrategy<String> {
    let hash = mostly(&["# "], &["#", "#\t", " # ", "## "]);
    let help = mostly(
        &["some help", "a \\\\ b \\n c", "ö"],
        &["C:\\temp", "", "  ", "\\", "say \\\"x\\\"", "trailing "],
    );
    let text = (mostly(kinds, odd_kinds), help);
    (hash, select(words), name(), blank(), text)
        .prop_map(|(hash, word, name, blank, (kind, help))| {
            let rest = match word {
                "TYPE" => kind,
                "UNIT" => name.rsplit('_').next().unwrap_or_default(),
                _ => help,
            };
            format!("{hash}{word} {name}{blank}{rest}")
        })
        .boxed()
}

fn lines(line: BoxedStrategy<String>, end: &'static str) -> BoxedStrategy<String> {
    let newline = mostly(&["\n"], &["\r\n", "\n\n", " \n", "\n \n"]);
    let last = mostly(&["\n"], &["", "\r\n"]);
    (prop::collection::vec((line, newline), 0..6), last)
        .prop_map(move |(lines, last)| {
            let text: String = lines.into_iter().map(|(line, newline)| line + newline).collect();
            if end.is_empty() {
                text.trim_end_matches('\n').to_owned() + last
            } else {
                text + end + last
            }
        })
        .boxed()
}

/// Text that is nearly always nearly good.
pub fn nearly_text() -> BoxedStrategy<String> {
    let kinds = &["counter", "gauge", "histogram", "histogram", "summary", "untyped"];
    let odd = &["COUNTER", "info", "unknown", "", "gauge ", " gauge", "gauge x", "gaugehistogram"];
    let tail = prop_oneof![8 => Just(String::new()), 1 => select(&[" 1000", " 0"][..]).prop_map(str::to_owned),
        1 => select(&[" -5", " 1.5", " ", " 1 2", " # {a=\"b\"} 1", " +5", " 99999999999999999999", "\t7", " x", "\u{0}"][..]).prop_map(str::to_owned)];
    let line = prop_oneof![5 => sample(tail.boxed()), 3 => header(kinds, odd, &["TYPE", "HELP"]), 1 => histogram(),
        1 => select(&["# a comment", "#", "", "# EOF", "#x", "# HELP", "# TYPE foo", "# HELP foo", "# HELP "][..]).prop_map(str::to_owned)];
    lines(line.boxed(), "")
}

/// OpenMetrics that is nearly always nearly good.
pub fn nearly_openmetrics() -> BoxedStrategy<String> {
    let kinds = &[
        "counter",
        "gauge",
        "histogram",
        "histogram",
        "summary",
        "unknown",
        "info",
        "stateset",
        "gaugehistogram",
    ];
    let odd = &["untyped", "COUNTER", "", "gauge ", "x"];
    let tail = prop_oneof![6 => Just(String::new()), 1 => select(&[" 1000", " 12.5", " -1", " 1e3", " 0.123456789"][..]).prop_map(str::to_owned),
        2 => select(&[" # {a=\"b\"} 1", " # {} 1", " # {a=\"b\",c=\"d\"} 0.5 12.5", " 5 # {a=\"b\"} 1"][..]).prop_map(str::to_owned),
        1 => select(&[" nan", " Inf", " ", " 1 2", " # {a=\"b\"}", " # {a=\"b\"} x", " # 1", "  # {a=\"b\"} 1", " #{a=\"b\"} 1", " # {a=\"b\",a=\"c\"} 1", " # {a=\"b\"} 1 NaN"][..]).prop_map(str::to_owned)];
    let line = prop_oneof![4 => sample(tail.boxed()), 4 => header(kinds, odd, &["TYPE", "TYPE", "HELP", "UNIT"]), 2 => histogram()];
    lines(line.boxed(), "# EOF")
}
