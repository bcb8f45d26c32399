//! The parser: one pass over a text.
//!
//! Rules where the formats leave room:
//!
//! - A faulty line is skipped, and parsing continues with the next one. A bad TYPE line leaves its family `untyped`; a family is never
//!   dropped as a whole.
//! - Everything that Prometheus itself accepts is kept. If only strict OpenMetrics parsers refuse it, the family is marked by
//!   [`FamilyFlags`], which the renderer respects.
//! - An unreadable or misplaced exemplar is skipped, and its sample is kept.
//! - A text without samples is suspicious: then a comment of unknown form is a fault, and so is a header inside another line.
//! - Whitespace at the ends of lines, CR LF, a byte order mark, empty lines and a missing last newline are accepted.
//! - In OpenMetrics, a missing `# EOF` (the text may be truncated) and text after it are one fault each; samples are kept.

mod conformance;
pub(super) mod escapes;
mod families;
mod header;
mod labels;
mod line;
mod number;
mod report;
mod scratch;
mod table;
mod tail;
mod template;

use std::ops::Range;

use crate::byte_scan::{is_whitespace, skip_whitespace};
use crate::family::{Family, FamilyFlags, MetricType, Suffix};
use crate::reason::Reason;
use crate::sample;
use crate::span::Span;
use crate::syntax::Syntax;

use conformance::{Bound, Groups, SampleContext, is_counter_name};
use escapes::MARK;
use families::{Families, NameOwner};
use labels::Role;
pub(super) use line::Hashes;
use line::{Line, Scanner};
use number::Number;
pub(super) use report::{Diagnostic, Report};
use scratch::Scratch;
use table::HashTable;
pub(super) use template::Template;
use template::{TemplateBuilder, ValueCheck};

/// Note about a series with several samples.
const TIMES: &str = "OpenMetrics requires the samples of a series in ascending order of time, and a timestamp on each of them";

/// The longest text that is parsed. Offsets have 32 bits.
pub(super) const MAX_BODY_BYTES: usize = u32::MAX as usize - 1;

/// The value of a checked number.
pub(crate) fn float(checked: &[u8]) -> f64 {
    whole_float(checked).unwrap_or(f64::NAN)
}

/// The value of a text that is a number as a whole.
pub(crate) fn whole_float(text: &[u8]) -> Option<f64> {
    Number::whole(text).map(|number| number.value)
}

/// Narrows an offset for storage. No text is longer than [`MAX_BODY_BYTES`], so no bits are lost.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn span(range: Range<usize>) -> Span {
    Span::new(narrow(range.start), narrow(range.end))
}

/// Result of parsing a text.
pub(super) struct ParseOutput {
    pub(super) families: Box<[Family]>,
    pub(super) runs: Box<[Span]>,
    pub(super) series: u32,
    /// Template for updates that differ in values only.
    pub(super) template: Option<Template>,
}

/// Treatment of a series that occurs several times in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeated {
    /// A fault: the first sample is kept.
    Fault,
    /// Several points with different timestamps, as the proxy's own text guarantees.
    Points,
}

/// Parses a text and reports its faults.
pub(super) fn read(body: &[u8], syntax: Syntax, repeated: Repeated, faults: &mut Report) -> ParseOutput {
    if body.len() > MAX_BODY_BYTES {
        faults.fault(0, Reason::TooLong);
        return ParseOutput {
            families: Box::default(),
            runs: Box::default(),
            series: 0,
            template: None,
        };
    }
    Scratch::with(|scratch| {
        scratch.reset(body.len());
        let utf8 = body.is_ascii() || std::str::from_utf8(body).is_ok();
        let is_update_likely = syntax == Syntax::Text && repeated == Repeated::Fault && !faults.is_strict();
        scratch.template.reset(is_update_likely);
        let mut reader = TextParser {
            body,
            syntax,
            repeated,
            faults,
            families: &mut scratch.families,
            groups: &mut scratch.groups,
            series: &mut scratch.series,
            template: &mut scratch.template,
            table_scope: TableScope::Empty,
            utf8,
            runs: &mut scratch.runs,
            scanner: Scanner::new(body, syntax, utf8, std::mem::take(&mut scratch.labels)),
            owner: None,
            header_owner: None,
            open: None,
            eof: None,
        };
        reader.read();
        let found = reader.finish();
        scratch.labels = reader.scanner.into_labels();
        found
    })
}

/// Parses a text that replaces another one, if it differs from it in values only and has no fault. `old` and `families` are the earlier
/// text and its families.
pub(super) fn read_update(old: &[u8], families: &[Family], template: &Template, body: &[u8]) -> Option<Box<[Family]>> {
    if body.len() > MAX_BODY_BYTES {
        return None;
    }
    template::families_of_update(old, families, template, body)
}

/// Content of the table of series that finds duplicates. Duplicates are always in the same family, so the table holds one family, which
/// keeps it small and in the CPU cache. Once families are interleaved, it holds all series until the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TableScope {
    Empty,
    Family(usize),
    All,
}

/// State of a text that is being parsed.
struct TextParser<'a, 'b> {
    body: &'a [u8],
    syntax: Syntax,
    repeated: Repeated,
    faults: &'b mut Report,
    families: &'b mut Families,
    groups: &'b mut Groups,
    /// From hashes of series to the offsets of their lines; see [`TableScope`].
    series: &'b mut HashTable,
    template: &'b mut TemplateBuilder,
    table_scope: TableScope,
    /// The runs in the order of the text, with their families.
    runs: &'b mut Vec<(usize, Range<usize>)>,
    scanner: Scanner<'a>,
    /// True if all of the text is UTF-8.
    utf8: bool,
    /// The owner of the last valid line's name.
    owner: Option<NameOwner>,
    /// The owner of the last header's name, while no other header can have changed it.
    header_owner: Option<NameOwner>,
    /// The family of the last line.
    open: Option<usize>,
    /// Offset of `# EOF`.
    eof: Option<usize>,
}

impl TextParser<'_, '_> {
    fn read(&mut self) {
        let body = self.body;
        let mut at = 0;
        if body.starts_with(MARK) {
            self.faults.note(0, Reason::Mark);
            at = MARK.len();
        }
        while at < body.len() {
            at = match body[at] {
                b'\n' => self.empty(at),
                b'#' | b' ' | b'\t' | b'\r' => self.other(at),
                _ => self.sample(at),
            };
        }
        if self.syntax == Syntax::Text && body.last().is_some_and(|last| *last != b'\n') {
            self.faults.note(body.len(), Reason::NoNewline);
        }
        if self.syntax == Syntax::OpenMetrics && self.eof.is_none() {
            self.faults.fault(body.len(), Reason::NoEof);
        }
        if self.runs.is_empty() {
            self.check_text_without_samples();
        }
    }

    fn empty(&mut self, at: usize) -> usize {
        if self.syntax == Syntax::OpenMetrics {
            self.faults.note(at, Reason::Formatting("OpenMetrics has no empty lines"));
        }
        at + 1
    }

    /// End of the line that contains `at`, without and with its carriage return.
    fn line_end(&self, at: usize) -> (usize, usize) {
        let newline = memchr::memchr(b'\n', &self.body[at..]).map_or(self.body.len(), |len| at + len);
        let end = if newline > at && self.body[newline - 1] == b'\r' {
            newline - 1
        } else {
            newline
        };
        (end, newline)
    }

    /// Reads a line that starts with `#`, whitespace or a carriage return.
    fn other(&mut self, start: usize) -> usize {
        let (end, newline) = self.line_end(start);
        let at = skip_whitespace(&self.body[..end], start);
        if at < end && self.body[at] != b'#' {
            if at > start {
                self.faults.note(start, Reason::LeadingWhitespace);
            }
            return self.sample(at);
        }
        if end < newline {
            self.faults.note_once(end, Reason::CarriageReturn);
        }
        if at == end {
            self.empty(start);
        } else {
            self.comment(at, end);
        }
        newline + 1
    }

    /// Reports the first line after `# EOF` as a fault.
    fn text_after_eof(&mut self, at: usize) {
        if self.eof.is_some() {
            self.faults.fault_once(at, Reason::AfterEof);
        }
    }

    #[inline]
    fn sample(&mut self, at: usize) -> usize {
        match self.scanner.scan(at) {
            Ok(line) => {
                self.keep(at, &line);
                line.newline + 1
            }
            Err((error, reason)) => {
                self.owner = None;
                self.faults.fault(error, reason);
                self.line_end(at).1 + 1
            }
        }
    }

    /// Keeps a valid line, unless its series occurred before.
    #[inline]
    fn keep(&mut self, start: usize, line: &Line) {
        if line.newline != line.end {
            self.report_line_end(line);
        }
        if self.eof.is_some() {
            self.text_after_eof(start);
        }
        let owner = match (self.owner, self.header_owner) {
            (Some(owner), _) if line.same_name => owner,
            (_, Some(owner)) if self.scanner.has_header_name => owner,
            _ => self
                .families
                .owner(self.body, self.scanner.name(), self.scanner.name_hash(), self.syntax),
        };
        self.owner = Some(owner);
        let kind = self.families.builders()[owner.family].kind;
        let mut flags = line.flags | owner.suffix.as_flag();
        let bound = match self.bound(kind, &mut flags) {
            Ok(bound) => bound,
            Err((at, reason)) => return self.faults.fault(at, reason),
        };
        if self.syntax == Syntax::OpenMetrics
            && line
                .flags
                .intersects(FamilyFlags::REFORMAT_OPENMETRICS | FamilyFlags::RESERVED_LABELS)
        {
            self.report_formatting(start, line.flags);
        }
        if self.repeated == Repeated::Fault {
            if self.table_scope != TableScope::All && self.table_scope != TableScope::Family(owner.family) {
                self.switch_family(owner.family);
            }
            if self.is_duplicate(start, line, owner.family) {
                return;
            }
        }
        if line.exemplar.is_some() {
            flags |= self.exemplar(owner, kind, line);
        }
        if let Some((at, reason)) = line.dropped_exemplar {
            self.faults.exemplar(at, reason);
        }
        self.check_sample(start, owner, bound, line, flags);
        self.run(owner.family, start, line);
    }

    #[cold]
    fn report_line_end(&mut self, line: &Line) {
        let end = if self.body[line.newline - 1] == b'\r' {
            line.newline - 1
        } else {
            line.newline
        };
        if end < line.newline {
            self.faults.note_once(end, Reason::CarriageReturn);
        }
        if end > line.end && is_whitespace(self.body[line.end]) && line.dropped_exemplar.is_none() {
            self.faults.note(line.end, Reason::TrailingWhitespace);
        }
    }

    #[cold]
    fn report_formatting(&mut self, at: usize, flags: FamilyFlags) {
        if flags.contains(FamilyFlags::REFORMAT_OPENMETRICS) {
            self.faults.note(
                at,
                Reason::Formatting(
                    "OpenMetrics requires one space between the parts of a line, and no other whitespace or trailing commas",
                ),
            );
        }
        if flags.contains(FamilyFlags::RESERVED_LABELS) {
            self.faults.note(at, Reason::ReservedLabel);
        }
    }

    /// The flags that an exemplar adds to its family.
    fn exemplar(&mut self, owner: NameOwner, kind: MetricType, line: &Line) -> FamilyFlags {
        let place = matches!(
            (kind, owner.suffix),
            (MetricType::Counter, Suffix::Total) | (MetricType::Histogram | MetricType::GaugeHistogram, Suffix::Bucket)
        );
        if place && line.exemplar.is_some_and(|exemplar| exemplar.short) {
            return FamilyFlags::NONE;
        }
        self.faults.exemplar(line.end, Reason::ExemplarPlace);
        FamilyFlags::REFORMAT_OPENMETRICS
    }

    /// Parses `le` or `quantile` if the type gives it a meaning. Prometheus refuses values that are not numbers.
    #[inline]
    fn bound(&mut self, kind: MetricType, flags: &mut FamilyFlags) -> Result<Option<Bound>, (usize, Reason)> {
        let role = match kind {
            MetricType::Histogram | MetricType::GaugeHistogram => Role::Le,
            MetricType::Summary => Role::Quantile,
            _ => return Ok(None),
        };
        let Some(label) = self.scanner.labels().iter().rfind(|label| label.role == role) else {
            return Ok(None);
        };
        let place = self.scanner.label_value(label);
        let text = &self.body[place.clone()];
        let Some(number) = Number::whole(text) else {
            let name = if role == Role::Le { "le" } else { "quantile" };
            return Err((place.start, Reason::Bound(name, span(place))));
        };
        *flags |= FamilyFlags::of_bound(text);
        if self.syntax == Syntax::OpenMetrics && number.value.is_infinite() && text != b"+Inf" {
            self.faults
                .note(place.start, Reason::Formatting("OpenMetrics writes this bound +Inf"));
        }
        Ok(Some(Bound {
            value: number.value,
            hash: label.hash,
        }))
    }

    /// Prepares the table for the series of another family.
    fn switch_family(&mut self, family: usize) {
        if self.families.builders()[family].samples == 0 {
            self.series.reset(0);
            self.table_scope = TableScope::Family(family);
            return;
        }
        self.series.reset(self.body.len());
        self.table_scope = TableScope::All;
        let runs: Vec<Span> = self.runs.iter().map(|(_, run)| span(run.clone())).collect();
        for (at, hash) in Hashes::new(self.body, self.syntax, &runs) {
            let body = self.body;
            let found = self
                .series
                .find_or_insert(hash, narrow(at), |other| same_series(body, other as usize, at));
            if let Some(first) = found {
                self.enter_time(first, at, hash);
            }
        }
    }

    #[inline]
    fn is_duplicate(&mut self, start: usize, line: &Line, family: usize) -> bool {
        let body = self.body;
        let found = self
            .series
            .find_or_insert(line.hash, narrow(start), |other| same_series(body, other as usize, start));
        match found {
            None => false,
            Some(first) => self.is_same_time(first, start, line.hash, family),
        }
    }

    /// Returns true, and reports a fault, if an earlier sample of the same series has the same timestamp, or none as well.
    #[cold]
    fn is_same_time(&mut self, first: u32, start: usize, hash: u64, family: usize) -> bool {
        let same_time = self.enter_time(first, start, hash);
        match same_time {
            Some(same_time) => self.faults.fault(start, Reason::Duplicate(same_time)),
            None => {
                self.families.builder(family).flags |= FamilyFlags::MULTIPLE_TIMES;
                if self.syntax == Syntax::OpenMetrics && self.faults.is_strict() && !self.is_later(first, start) {
                    self.faults.note(start, Reason::Formatting(TIMES));
                }
            }
        }
        same_time.is_some()
    }

    /// Returns true if a further sample of the series that starts at `first` has a later timestamp than the one before it. That is the
    /// line before in a text in order.
    fn is_later(&self, first: u32, start: usize) -> bool {
        let (body, syntax) = (self.body, self.syntax);
        let time = |at: usize| sample::split(line_at(body, at)).millis(syntax);
        let end = self.runs.last().map_or(0, |(_, run)| run.end);
        let last = memchr::memrchr(b'\n', &body[..end]).map_or(0, |newline| newline + 1);
        let before = if same_series(body, last, start) { last } else { first as usize };
        time(before).zip(time(start)).is_some_and(|(before, now)| before < now)
    }

    /// Adds a further sample of the series that starts at `first`; returns the sample with the same timestamp.
    fn enter_time(&mut self, first: u32, start: usize, hash: u64) -> Option<u32> {
        let (body, syntax) = (self.body, self.syntax);
        let time = |at: usize| sample::split(line_at(body, at)).millis(syntax);
        let mine = time(start);
        if time(first as usize) == mine {
            return Some(first);
        }
        let mixed = mine.map_or(1, i64::cast_unsigned).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let same = |other: u32| time(other as usize) == mine && same_series(body, other as usize, start);
        self.series.find_or_insert(hash ^ mixed, narrow(start), same)
    }

    /// Adds the sample to its family and checks it against the rules of the type.
    #[inline]
    fn check_sample(&mut self, start: usize, owner: NameOwner, bound: Option<Bound>, line: &Line, flags: FamilyFlags) {
        let builder = self.families.builder(owner.family);
        builder.samples += 1;
        builder.flags |= flags;
        let kind = builder.kind;
        let is_plain = line.timestamp.is_empty() && line.exemplar.is_none();
        let prefix = line.value_at - start;
        if matches!(kind, MetricType::Unknown | MetricType::Gauge) {
            return self.template.push(prefix, is_plain.then_some(ValueCheck::Any));
        }
        if !builder.flags.contains(FamilyFlags::INVALID_OPENMETRICS) {
            let mut context = SampleContext {
                body: self.body,
                syntax: self.syntax,
                scanner: &self.scanner,
                groups: self.groups,
                family: owner.family,
                name: &builder.name,
                kind,
                bound,
            };
            match builder.conformance.check(&mut context, owner.suffix, line) {
                Ok(check) => return self.template.push(prefix, check.filter(|_| is_plain)),
                Err(violation) => self.invalidate_family(start, owner.family, violation),
            }
        }
        let name = &self.body[self.families.builders()[owner.family].name.clone()];
        // Such a name breaks the rule whatever the values are.
        let is_misnamed = kind == MetricType::Counter && self.syntax == Syntax::Text && !is_counter_name(name);
        self.template.push(prefix, (is_plain && is_misnamed).then_some(ValueCheck::Any));
    }

    #[cold]
    fn invalidate_family(&mut self, at: usize, family: usize, violation: &'static str) {
        let builder = self.families.builder(family);
        builder.flags |= FamilyFlags::INVALID_OPENMETRICS;
        let (kind, name) = (builder.kind, span(builder.name.clone()));
        self.report_violation(at, kind, violation, name);
    }

    /// Reports that a family breaks the rules of OpenMetrics. The text format does not require them, but a broken histogram deserves a
    /// warning.
    #[cold]
    fn report_violation(&mut self, at: usize, kind: MetricType, violation: &'static str, family: Span) {
        match (self.syntax, kind) {
            (Syntax::OpenMetrics, _) => self.faults.note(at, Reason::InvalidOpenMetrics(violation, family)),
            (Syntax::Text, MetricType::Histogram | MetricType::Summary) => self.faults.note(at, Reason::Lint(violation, family)),
            (Syntax::Text, _) => {}
        }
    }

    /// Extends the last run if this line follows it, else starts a new one.
    #[inline]
    fn run(&mut self, family: usize, start: usize, line: &Line) {
        match self.runs.last_mut() {
            Some((last, run)) if *last == family && run.end + 1 == start => run.end = line.end,
            _ => self.new_run(family, start..line.end),
        }
    }

    #[inline(never)]
    fn new_run(&mut self, family: usize, run: Range<usize>) {
        self.enter(family, run.start);
        self.runs.push((family, run));
    }

    /// Reports a family that continues after other families.
    fn enter(&mut self, family: usize, at: usize) {
        let before = self.open.replace(family);
        let builder = self.families.builder(family);
        let back = std::mem::replace(&mut builder.entered, true) && before != Some(family);
        if back {
            let name = span(builder.name.clone());
            self.faults.note(at, Reason::Interleaved(name));
        }
    }

    /// Groups the runs by family and builds the index.
    fn finish(&mut self) -> ParseOutput {
        // Usually they are in order already; the stable sort keeps the order of the text within a family.
        if !self.runs.is_sorted_by_key(|(family, _)| *family) {
            self.runs.sort_by_key(|(family, _)| *family);
        }
        let mut rest = &self.runs[..];
        let mut runs: Vec<Span> = Vec::new();
        let mut families = Vec::with_capacity(self.families.kept().count());
        let mut series = 0;
        let mut violations = Vec::new();
        for (number, builder) in self.families.kept() {
            let count = rest.iter().take_while(|(family, _)| *family == number).count();
            let (own, others) = rest.split_at(count);
            rest = others;
            let mut family = match own {
                [(_, run)] => builder.finish(span(run.clone()), true),
                _ => {
                    let from = narrow(runs.len());
                    runs.extend(own.iter().map(|(_, run)| span(run.clone())));
                    builder.finish(Span::new(from, narrow(runs.len())), false)
                }
            };
            if let (Err(violation), false) = (
                builder.conformance.check_end(builder.kind),
                family.flags.contains(FamilyFlags::INVALID_OPENMETRICS),
            ) {
                family.flags |= FamilyFlags::INVALID_OPENMETRICS;
                violations.push((violation, family.kind, family.name));
            }
            series += family.samples;
            families.push(family);
        }
        if !violations.is_empty() || self.faults.faults() > 0 || self.faults.exemplars() > 0 {
            self.template.give_up();
        }
        for (violation, kind, name) in violations {
            self.report_violation(name.start as usize, kind, violation, name);
        }
        ParseOutput {
            template: self.template.finish(&families),
            families: families.into_boxed_slice(),
            runs: runs.into_boxed_slice(),
            series,
        }
    }
}

/// Returns true if two valid lines are samples of the same series.
#[cold]
fn same_series(body: &[u8], one: usize, other: usize) -> bool {
    sample::split(line_at(body, one)).same_series(&sample::split(line_at(body, other)))
}

/// The valid line at an offset.
fn line_at(body: &[u8], start: usize) -> &[u8] {
    let rest = &body[start..];
    let line = &rest[..memchr::memchr(b'\n', rest).unwrap_or(rest.len())];
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests;
