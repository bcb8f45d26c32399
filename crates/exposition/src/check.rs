//! Strict check of a text, for its author: reports every line that this program skips, everything that Prometheus, promtool or strict
//! OpenMetrics parsers refuse, and the warnings of promtool's linter.

use std::borrow::Cow;
use std::fmt;

use crate::family::{Family, MetricType};
use crate::parse::{self, ParseOutput, Report};
use crate::reason::{Reason, Severity};
use crate::syntax::Syntax;

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
        write!(f, "{}:{}: {severity}: {}", self.line, self.column, self.reason)
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
    if family.help().is_none() {
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
mod tests;
