#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Option<String> {
    doubled(text.as_bytes(), Syntax::Text).map(|text| String::from_utf8(text).unwrap())
}

fn open(text: &str) -> Option<String> {
    doubled(text.as_bytes(), Syntax::OpenMetrics).map(|text| String::from_utf8(text).unwrap())
}

/// The string that Prometheus makes of the inside of quotes: `strings.NewReplacer` of its `lvalReplacer`.
fn unreplace(inside: &str) -> String {
    let mut out = String::new();
    let mut rest = inside;
    while let Some(c) = rest.chars().next() {
        let (with, len) = match rest.get(..2) {
            Some("\\\"") => ('"', 2),
            Some("\\\\") => ('\\', 2),
            Some("\\n") => ('\n', 2),
            _ => (c, c.len_utf8()),
        };
        out.push(with);
        rest = &rest[len..];
    }
    out
}

#[test]
fn only_lone_backslashes_are_doubled() {
    assert_eq!(text("a{p=\"C:\\Users\\x\"} 1\n").unwrap(), "a{p=\"C:\\\\Users\\\\x\"} 1\n");
    assert_eq!(text("a{p=\"\\\\U\\n\\\"\"} 1\nb 1\n"), None);
    assert_eq!(text("a{p=\"\\\\\\d\"} 1\n").unwrap(), "a{p=\"\\\\\\\\d\"} 1\n");
    assert_eq!(text("{\"n\\m\",\"l\\m\"=\"\"} 1").unwrap(), "{\"n\\\\m\",\"l\\\\m\"=\"\"} 1");
    assert_eq!(text("a{p=\"\\ö\"} 1\r\n").unwrap(), "a{p=\"\\\\ö\"} 1\r\n");
}

#[test]
fn a_string_that_ends_in_a_backslash_stays_open() {
    for line in ["a{p=\"C:\\\"} 1\n", "a{p=\"\\\nb 1\n", "a{p=\"\\\r\nb 1\n", "a{p=\"\\"] {
        assert_eq!(text(line), None, "{line:?}");
    }
}

#[test]
fn help_has_the_escapes_of_its_format() {
    assert_eq!(text("# HELP a C:\\temp\\").unwrap(), "# HELP a C:\\\\temp\\\\");
    assert_eq!(text(" #\tHELP a \\\"x\\\"\r\n").unwrap(), " #\tHELP a \\\\\"x\\\\\"\r\n");
    assert_eq!(text("# HELP \"n\\\"m\" \\n \\\\\n"), None);
    assert_eq!(text("\u{feff}# HELP a \\d\n").unwrap(), "\u{feff}# HELP a \\\\d\n");
    assert_eq!(open("# HELP a \\\"x\\\"\n"), None);
    assert_eq!(open("# HELP a \\d\\\n# EOF\n").unwrap(), "# HELP a \\\\d\\\\\n# EOF\n");
    assert_eq!(text("# TYPE \"n\\m\" gauge\n").unwrap(), "# TYPE \"n\\\\m\" gauge\n");
}

#[test]
fn comments_are_left_alone() {
    assert_eq!(text("# see C:\\temp\n# UNIT \\d\n#\\\na 1\n"), None);
    assert_eq!(text("# C:\\temp\na{p=\"\\d\"} 1\n").unwrap(), "# C:\\temp\na{p=\"\\\\d\"} 1\n");
}

#[test]
fn columns_lead_back() {
    let line = b"a{p=\"\\d\xc3\xb6\\e\",q=\"x\"} y";
    let doubled = doubled(line, Syntax::Text).unwrap();
    for (byte, column) in [(b'd', 7), (b'e', 10), (b'q', 13), (b'y', 20)] {
        let at = doubled.iter().rposition(|it| *it == byte).unwrap();
        let there = 1 + super::super::report::characters(&doubled[..at]);
        assert_eq!(original_column(line, Syntax::Text, there), column, "{}", char::from(byte));
    }
    assert_eq!(original_column(b"\\\\\\\\ x", Syntax::Text, 6), 6);
}

proptest! {
    #[test]
    fn a_label_value_means_what_prometheus_takes_it_for(inside in "([a-nU:ö ]|\\\\[a-nU:\\\\\"ö ]){0,12}") {
        let line = format!("a{{p=\"{inside}\"}} 1\n");
        let out = text(&line).unwrap_or(line);
        let spelled = out.strip_prefix("a{p=\"").unwrap().strip_suffix("\"} 1\n").unwrap();
        prop_assert_eq!(unreplace(spelled), unreplace(&inside));
        prop_assert_eq!(text(&out), None, "no lone backslash is left");
    }
}
