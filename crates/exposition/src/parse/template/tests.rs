#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Write;

use bytes::Bytes;
use proptest::prelude::*;

use crate::index::Exposition;
use crate::syntax::Syntax;

fn parse(text: &str) -> Exposition {
    Exposition::parse(Bytes::copy_from_slice(text.as_bytes()), Syntax::Text)
}

/// Parses `text` as an update of `before`, and compares all of the result with that of parsing it alone. Returns true if it was not parsed,
/// but compared.
fn is_compared(before: &str, text: &[u8]) -> bool {
    let before = parse(before);
    let alone = Exposition::parse(Bytes::copy_from_slice(text), Syntax::Text);
    let update = Exposition::parse_update(Bytes::copy_from_slice(text), Syntax::Text, &before);
    assert_eq!(format!("{update:?}"), format!("{alone:?}"));
    update.is_same_but_values(&before)
}

const HISTOGRAM: &str = "# TYPE h histogram
h_bucket{a=\"x\",le=\"1.0\"} 1
h_bucket{a=\"x\",le=\"+Inf\"} 4
h_sum{a=\"x\"} 3.5
h_count{a=\"x\"} 4
h_bucket{a=\"y\",le=\"1.0\"} 0
h_bucket{a=\"y\",le=\"+Inf\"} 0
h_sum{a=\"y\"} 0
h_count{a=\"y\"} 0
";

#[test]
fn other_values_are_compared() {
    let before = "# HELP a Help.\n# TYPE a gauge\na{b=\"c\"} 1\na{b=\"d\"} 20\n# TYPE u_total counter\nu_total 5\n\n# comment\nv 1";
    let after =
        "# HELP a Help.\n# TYPE a gauge\na{b=\"c\"} -1.5e3\na{b=\"d\"} NaN\n# TYPE u_total counter\nu_total 60000000\n\n# comment\nv 2";
    assert!(is_compared(before, after.as_bytes()));
    assert!(is_compared(before, before.as_bytes()));
    let it = Exposition::parse_update(Bytes::from(after), Syntax::Text, &parse(before));
    let values: Vec<_> = it
        .families()
        .iter()
        .flat_map(|family| it.samples(family))
        .map(|sample| sample.value)
        .collect();
    assert_eq!(values, [&b"-1.5e3"[..], b"NaN", b"60000000", b"2"]);
}

#[test]
fn a_histogram_with_other_counts_is_compared() {
    let after = HISTOGRAM.replace("} 4", "} 17").replace("} 0", "} 3");
    assert!(is_compared(HISTOGRAM, after.as_bytes()));
    assert!(is_compared(&after, HISTOGRAM.as_bytes()));
}

#[test]
fn values_that_break_a_rule_are_parsed() {
    for (old, new) in [
        ("le=\"1.0\"} 1\n", "le=\"1.0\"} 5\n"),
        ("le=\"1.0\"} 1\n", "le=\"1.0\"} 0.5\n"),
        ("h_count{a=\"x\"} 4\n", "h_count{a=\"x\"} 5\n"),
        ("h_sum{a=\"x\"} 3.5\n", "h_sum{a=\"x\"} -3.5\n"),
        ("h_sum{a=\"x\"} 3.5\n", "h_sum{a=\"x\"} three\n"),
        ("h_sum{a=\"x\"} 3.5\n", "h_sum{a=\"x\"} 3.5 1000\n"),
        ("h_sum{a=\"x\"} 3.5\n", "h_sum{a=\"x\"}  3.5\n"),
        ("a=\"y\"", "a=\"z\""),
        ("# TYPE h histogram", "# TYPE h summary"),
    ] {
        assert!(!is_compared(HISTOGRAM, HISTOGRAM.replacen(old, new, 1).as_bytes()), "{new}");
    }
    assert!(!is_compared(
        "# TYPE c_total counter\nc_total 1\n",
        b"# TYPE c_total counter\nc_total -1\n"
    ));
}

#[test]
fn a_counter_whose_name_is_wrong_anyway_is_compared() {
    assert!(is_compared(
        "# TYPE c counter\nc 1\nc{a=\"b\"} 2\n",
        b"# TYPE c counter\nc -1\nc{a=\"b\"} 2\n"
    ));
}

#[test]
fn a_text_that_needs_parsing_has_no_template() {
    for text in [
        "",
        "# TYPE a gauge\n",
        "a 1 1000\n",
        "a 1\n a{ 2\n",
        "a{x=\"1\"} 1\nb 1\na{x=\"2\"} 1\n",
        "a 1\r\na{x=\"2\"} 1\r\n",
        "a 1\n# HELP a Late.\nb 1\n",
        "# TYPE h histogram\nh_count 1\nh_sum 1\nh_bucket{le=\"+Inf\"} 1\n",
        "# TYPE h histogram\nh_bucket{le=\"1.0\"} 1\n",
        "# TYPE c_total counter\nc_total -1\n",
    ] {
        assert!(parse(text).template.is_none(), "{text}");
    }
    let long = format!("a{{x=\"{}\"}} 1\n", "y".repeat(super::MAX_PREFIX));
    assert!(parse(&long).template.is_none());
}

#[test]
fn headers_may_stand_before_other_families_that_have_no_samples() {
    let before = "# HELP a A.\n# HELP b B.\n# TYPE b gauge\nb 1\n# TYPE c gauge\n# HELP d D.\n";
    assert!(is_compared(before, before.replace("b 1", "b 12345").as_bytes()));
}

const VALUES: [&str; 14] = [
    "0",
    "1",
    "2",
    "17",
    "-1",
    "0.5",
    "1e3",
    "+Inf",
    "-Inf",
    "NaN",
    "007",
    "12345678901234567890123",
    "x",
    "1 1000",
];

/// A family of a generated text.
#[derive(Debug, Clone)]
struct Family {
    kind: u8,
    name: u8,
    has_headers: bool,
    groups: u8,
    quirk: u8,
}

fn family() -> impl Strategy<Value = Family> {
    (0_u8..6, 0_u8..6, any::<bool>(), 1_u8..4, 0_u8..40).prop_map(|(kind, name, has_headers, groups, quirk)| Family {
        kind,
        name,
        has_headers,
        groups,
        quirk,
    })
}

/// Writes a text of these families. Values are small counts that make valid histograms, unless `odd` chooses another one for a line.
fn render(families: &[Family], seed: u64, odd: &[(usize, usize)]) -> String {
    let (mut text, mut line) = (String::new(), 0);
    let mut value = |regular: u64| {
        let other = odd.iter().find(|(at, _)| *at == line).and_then(|(_, value)| VALUES.get(*value));
        line += 1;
        other.map_or_else(|| regular.to_string(), |value| (*value).to_owned())
    };
    for family in families {
        let suffix = if family.kind == 1 { "_total" } else { "" };
        let name = format!("family{}{suffix}", family.name);
        let kind = ["gauge", "counter", "counter", "summary", "histogram", "untyped"][usize::from(family.kind)];
        if family.has_headers {
            let _ = write!(text, "# HELP {name} Help \\\\ of it.\n# TYPE {name} {kind}\n");
        }
        let end = if family.quirk == 1 { "\r\n" } else { "\n" };
        let gap = if family.quirk == 2 { "\t " } else { " " };
        let before = if family.quirk == 3 { "a=\"\\\\\", " } else { "" };
        let comment = if family.quirk == 4 { "# between\n\n" } else { "" };
        for group in 0..family.groups {
            let count = seed * 3 % 11 + u64::from(group);
            let labels = format!("{before}group=\"{group}\"");
            match family.kind {
                3 => {
                    for quantile in ["0.5", "0.9"] {
                        let _ = write!(text, "{name}{{{labels},quantile=\"{quantile}\"}}{gap}{}{end}", value(seed));
                    }
                }
                4 => {
                    for (at, bound) in (0..).zip(["0.5", "1.0", "+Inf"]) {
                        let _ = write!(
                            text,
                            "{name}_bucket{{{labels},le=\"{bound}\"}}{gap}{}{end}",
                            value(count + at.min(1))
                        );
                    }
                }
                _ => {
                    let _ = write!(text, "{name}{{{labels}}}{gap}{}{end}", value(seed + u64::from(group)));
                }
            }
            text.push_str(comment);
            if matches!(family.kind, 3 | 4) {
                let _ = write!(text, "{name}_sum{{{labels}}}{gap}{}{end}", value(seed));
                let _ = write!(text, "{name}_count{{{labels}}}{gap}{}{end}", value(count + 1));
            }
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn an_update_is_what_the_text_is_alone(
        families in proptest::collection::vec(family(), 1..6),
        seeds in (0_u64..5, 0_u64..100_000),
        odd_before in proptest::collection::vec((0_usize..40, 0_usize..12), 0..2),
        odd in proptest::collection::vec((0_usize..40, 0..VALUES.len()), 0..3),
        edit in proptest::option::of((any::<prop::sample::Index>(), 0_u8..3, proptest::sample::select(&b"0 \n}{\"#a.-e\\\r\xff"[..]))),
    ) {
        let before = render(&families, seeds.0, &odd_before);
        let mut after = render(&families, seeds.1, &odd).into_bytes();
        if let Some((at, kind, byte)) = edit {
            let at = at.index(after.len());
            match kind {
                0 => after[at] = byte,
                1 => after.insert(at, byte),
                _ => drop(after.remove(at)),
            }
        }
        is_compared(&before, &after);
    }

    #[test]
    fn other_counts_of_a_valid_text_are_compared(kinds in proptest::collection::vec((0_u8..6, 1_u8..4), 1..6), seeds in (0_u64..5, 0_u64..100_000)) {
        let family = |(name, (kind, groups)): (u8, (u8, u8))| Family { kind, name, has_headers: true, groups, quirk: 0 };
        let families: Vec<_> = (0..).zip(kinds).map(family).collect();
        prop_assert!(is_compared(&render(&families, seeds.0, &[]), render(&families, seeds.1, &[]).as_bytes()));
    }
}
