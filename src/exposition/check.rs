//! Strict check of a text, for its author: reports every line that this program skips, everything that Prometheus, promtool or strict
//! OpenMetrics parsers refuse, and the warnings of promtool's linter.

use std::borrow::Cow;
use std::fmt;

use crate::model::Syntax;

use super::family::{Family, MetricType};
use super::parse::{self, ParseOutput, Report};
use super::reason::{Reason, Severity};

/// Problems that are reported in full; further ones are only counted.
pub const MAX_PROBLEMS_KEPT: usize = 1_000;

/// One problem of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1, in characters (not bytes).
    pub column: u32,
    /// Severity of the problem.
    pub severity: Severity,
    /// Description of the problem: a sentence without capital and full stop.
    pub reason: Cow<'static, str>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{} {severity}: {}", self.line, self.column, self.reason)
    }
}

/// Result of [`check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The format it was read as.
    pub syntax: Syntax,
    /// The first [`MAX_PROBLEMS_KEPT`] errors and warnings, in the order of the text.
    pub problems: Vec<Problem>,
    /// Number of errors. Any error makes the text unusable for some scraper.
    pub errors: u64,
    /// Number of warnings.
    pub warnings: u64,
    /// Number of families.
    pub families: usize,
    /// Number of series.
    pub series: u32,
}

/// Detects the format of a text that has no declared one: OpenMetrics if its last line is `# EOF`, else the text format.
#[must_use]
pub fn detect(body: &[u8]) -> Syntax {
    let text = body.trim_ascii_end();
    let last = memchr::memrchr(b'\n', text).map_or(text, |newline| &text[newline + 1..]);
    if last == b"# EOF" { Syntax::OpenMetrics } else { Syntax::Text }
}

/// Reads a text and reports all of its problems. Without `syntax` the format is [`detect`]ed.
///
/// Stricter than [`Exposition::parse`](super::Exposition::parse), which accepts much that other parsers refuse.
#[must_use]
pub fn check(body: &[u8], syntax: Option<Syntax>) -> Checked {
    let syntax = syntax.unwrap_or_else(|| detect(body));
    let mut report = Report::strict(MAX_PROBLEMS_KEPT);
    let ParseOutput { families, series, .. } = parse::read(body, syntax, parse::Repeated::Fault, &mut report);
    for family in &families {
        lint(body, syntax, family, &mut report);
    }
    let (errors, warnings) = report.counts();
    let problem = |it: parse::Diagnostic| Problem {
        line: it.line,
        column: it.column,
        severity: it.reason.severity(),
        reason: it.message,
    };
    let problems = report.into_diagnostics(body).into_iter().map(problem).collect();
    Checked {
        syntax,
        problems,
        errors,
        warnings,
        families: families.len(),
        series,
    }
}

/// Reports the warnings of promtool's linter about a family.
fn lint(body: &[u8], syntax: Syntax, family: &Family, report: &mut Report) {
    let name = family.name.of(body);
    let mut warn = |what| report.note(family.name.start as usize, Reason::Lint(what, family.name));
    if family.samples == 0 {
        return;
    }
    if family.help.is_none() {
        warn("no help text");
    }
    if syntax == Syntax::Text {
        lint_suffixes(name, family, &mut warn);
    }
    if name.contains(&b':') {
        warn("colons are for recording rules");
    }
    if name
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase())
    {
        warn("write names in snake_case, not in camelCase");
    }
    if family.kind != MetricType::Unknown && types().any(|word| name.split(|byte| *byte == b'_').any(|part| part == word.as_bytes())) {
        warn("leave the type out of the name");
    }
}

fn types() -> impl Iterator<Item = &'static str> {
    [MetricType::Counter, MetricType::Gauge, MetricType::Histogram, MetricType::Summary]
        .into_iter()
        .filter_map(|kind| kind.word(Syntax::Text))
}

/// Warns about sample names that do not fit the type. OpenMetrics has rules for them; in the text format they are conventions.
fn lint_suffixes(name: &[u8], family: &Family, warn: &mut impl FnMut(&'static str)) {
    let ends = |suffix: &str| name.ends_with(suffix.as_bytes());
    match family.kind {
        MetricType::Counter if !ends("_total") => warn("names of counters end in _total"),
        MetricType::Unknown | MetricType::Counter => {}
        _ if ends("_total") => warn("only names of counters end in _total"),
        _ => {}
    }
    if !matches!(family.kind, MetricType::Unknown | MetricType::Histogram) && ends("_bucket") {
        warn("only names in histograms end in _bucket");
    }
    if !matches!(family.kind, MetricType::Unknown | MetricType::Histogram | MetricType::Summary) && (ends("_sum") || ends("_count")) {
        warn("only names in histograms and summaries end in _sum and _count");
    }
}

#[cfg(test)]
mod tests {
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
            ("foo 1\r\n", "2:6 error: lines end in CR LF, which Prometheus refuses"),
            ("foo 1", "2:6 error: no newline at the end, which strict parsers refuse"),
            (
                " foo 1\n",
                "2:1 error: whitespace before the metric name, which Prometheus takes as part of it",
            ),
            ("foo 1 \n", "2:6 error: whitespace after the sample, which strict parsers refuse"),
            ("foo{a=\"ö\"} 1\nfoo{a=\"ö\"} 1\n", "3:1 error: duplicate series, first on line 2"),
            ("foo{a=\"ö\" 1\n", "2:11 error: expected , or } after the label value, found \"1\""),
        ] {
            assert_eq!(told(&format!("{H}{text}"), None), [problem], "{text:?}");
        }
        assert!(check(b"foo 1\n", Some(Syntax::OpenMetrics)).errors == 1);
    }

    #[test]
    fn interleaved_families_are_told() {
        let text = format!("{H}# HELP bar x\nfoo 1\nbar 1\nfoo{{a=\"b\"}} 1\n");
        assert_eq!(
            told(&text, None),
            ["5:1 error: the samples of \"foo\" are not contiguous: some are further up"]
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
}
