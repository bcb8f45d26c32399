//! The parser of exposition text, compared with itself: the parsed lines of a text must equal each line parsed alone.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use exporter_proxy::exposition::{self, Exposition, Family, FamilyFlags, MetricType, Sample, Severity};
use exporter_proxy::model::Syntax;

/// Properties of a line parsed alone.
const OF_A_LINE: [FamilyFlags; 5] = [
    FamilyFlags::TIMESTAMPS,
    FamilyFlags::EXEMPLARS,
    FamilyFlags::QUOTED,
    FamilyFlags::RESERVED_LABELS,
    FamilyFlags::REFORMAT_TEXT,
];

/// A byte order mark, which is skipped only at the start of a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Checks any text in both formats: the index is consistent, it contains exactly the valid lines, and it can be rendered again.
pub fn check(input: &[u8]) {
    for syntax in [Syntax::Text, Syntax::OpenMetrics] {
        let it = Exposition::parse(Bytes::copy_from_slice(input), syntax);
        index_is_sound(&it);
        what_is_kept_is_kept_as_it_is(&it);
        lines_are_what_they_are_alone(&it);
        no_good_line_is_lost(&it);
        reads_again_as_it_was(&it);
        problems_are_in_the_text(&it);
    }
}

fn index_is_sound(it: &Exposition) {
    let mut names = HashSet::new();
    for family in it.families() {
        assert!(names.insert(it.text(family.name)), "a name twice: {family:?}");
        let spans = it.run_spans(family);
        assert!(spans.windows(2).all(|pair| pair[0].end < pair[1].start), "runs in order: {spans:?}");
        let lines: usize = it.runs(family).map(|run| run.split(|byte| *byte == b'\n').count()).sum();
        assert_eq!(lines, family.samples as usize);
        assert!(family.help().is_none_or(|help| !help.is_empty()) && family.unit().is_none_or(|unit| !unit.is_empty()));
        assert_eq!(family.samples == 0, family.flags.names().is_empty());
    }
    let series: u32 = it.families().iter().map(|family| family.samples).sum();
    assert_eq!(series, it.series());
    let mut all: Vec<_> = it.families().iter().flat_map(|family| it.run_spans(family)).collect();
    all.sort();
    assert!(all.windows(2).all(|pair| pair[0].end < pair[1].start), "no byte in two runs");
}

/// Checks that the stored text has no lone backslashes.
fn what_is_kept_is_kept_as_it_is(it: &Exposition) {
    let again = Exposition::parse(it.body().clone(), it.syntax());
    assert_eq!(again.body(), it.body());
    assert_eq!(
        (again.series(), again.faults().total(), again.faults().exemplars()),
        (it.series(), it.faults().total(), it.faults().exemplars())
    );
}

/// Parses one line alone.
fn alone(line: &[u8], syntax: Syntax) -> Exposition {
    let end = if syntax == Syntax::OpenMetrics { "\n# EOF\n" } else { "\n" };
    Exposition::parse([line, end.as_bytes()].concat().into(), syntax)
}

fn lines_are_what_they_are_alone(it: &Exposition) {
    for family in it.families() {
        let mut flags = FamilyFlags::NONE;
        let hashes: Vec<u64> = it.series_hashes(family).collect();
        assert_eq!(hashes.len(), family.samples as usize);
        for (sample, hash) in it.samples(family).zip(hashes) {
            let alone = alone(sample.line, it.syntax());
            assert!(
                alone.faults().is_empty() && alone.series() == 1,
                "kept, but bad alone: {sample:?} {:?}",
                alone.faults()
            );
            let its_family = &alone.families()[0];
            assert_eq!((hash, sample.hash()), (hash, hash), "{sample:?}");
            assert_eq!(alone.series_hashes(its_family).next(), Some(hash));
            assert_eq!(alone.text(its_family.name), sample.name);
            assert!(sample.name.starts_with(it.text(family.name)));
            flags |= its_family.flags;
            let lonely = alone.samples(its_family).next().expect("there is one");
            assert!(lonely.same_series(&sample) && lonely.value == sample.value && lonely.timestamp == sample.timestamp);
        }
        for own in OF_A_LINE {
            assert_eq!(family.flags.contains(own), flags.contains(own), "{own:?} of {family:?}");
        }
        // Bounds of buckets may need more flags, and allowed exemplars depend on the family.
        let reformat = |flags: FamilyFlags| flags.contains(FamilyFlags::REFORMAT_OPENMETRICS) && !flags.contains(FamilyFlags::EXEMPLARS);
        assert!(reformat(family.flags) || !reformat(flags), "{family:?}");
    }
}

/// Checks that every line that is valid alone is kept, unless its series is a duplicate or its bound is invalid for the family's type.
fn no_good_line_is_lost(it: &Exposition) {
    let mut kept: BTreeMap<u64, Vec<Sample<'_>>> = BTreeMap::new();
    let mut bounded = HashSet::new();
    for family in it.families() {
        if matches!(
            family.kind,
            MetricType::Histogram | MetricType::GaugeHistogram | MetricType::Summary
        ) {
            bounded.insert(it.text(family.name).to_vec());
        }
        for sample in it.samples(family) {
            let same = kept.entry(sample.hash()).or_default();
            let is_same = |other: &&Sample<'_>| other.same_series(&sample) && other.timestamp == sample.timestamp;
            assert!(same.iter().find(is_same).is_none(), "a series twice with one time: {sample:?}");
            same.push(sample);
        }
    }
    let body = it.body().strip_prefix(MARK).unwrap_or(it.body());
    // A line that starts with a byte order mark would lose it if parsed alone.
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.starts_with(MARK)) {
        let alone = alone(line, it.syntax());
        let Some(family) = alone.families().iter().find(|family| family.samples > 0) else {
            continue;
        };
        let sample = alone.samples(family).next().expect("there is one");
        let same = kept
            .get(&sample.hash())
            .is_some_and(|kept| kept.iter().any(|other| other.same_series(&sample)));
        let bad_bound = || {
            let mut labels = sample.labels.clone();
            labels.any(|label| matches!(label.name, b"le" | b"quantile")) && bounded.iter().any(|name| sample.name.starts_with(name))
        };
        assert!(same || bad_bound(), "lost: {sample:?}");
    }
}

/// Checks that the kept lines parse again without faults.
fn reads_again_as_it_was(it: &Exposition) {
    let mut text = Vec::new();
    for family in it.families().iter().filter(|family| family.samples > 0) {
        header(it, family, &mut text);
        for run in it.runs(family) {
            text.extend_from_slice(run);
            text.push(b'\n');
        }
    }
    if it.syntax() == Syntax::OpenMetrics {
        text.extend_from_slice(b"# EOF\n");
    }
    let again = Exposition::parse(text.clone().into(), it.syntax());
    assert!(
        again.faults().is_empty(),
        "{:?}\n{}",
        again.faults(),
        String::from_utf8_lossy(&text)
    );
    assert_eq!(again.series(), it.series());
    let known = |it: &Exposition| -> BTreeMap<Vec<u8>, (MetricType, FamilyFlags, u32)> {
        let families = it.families().iter().filter(|family| family.samples > 0);
        families
            .map(|family| (it.text(family.name).to_vec(), (family.kind, family.flags, family.samples)))
            .collect()
    };
    assert_eq!(known(it), known(&again));
}

fn header(it: &Exposition, family: &Family, text: &mut Vec<u8>) {
    let word = family.kind.word(it.syntax()).expect("a kind of its own format");
    let name = it.text(family.name);
    let mut line = |what: &str, rest: &[u8]| {
        let parts: [&[u8]; 7] = [b"# ", what.as_bytes(), b" \"", name, b"\" ", rest, b"\n"];
        text.extend_from_slice(&parts.concat());
    };
    line("TYPE", word.as_bytes());
    family.help().inspect(|help| line("HELP", it.text(*help)));
    family.unit().inspect(|unit| line("UNIT", it.text(*unit)));
}

fn problems_are_in_the_text(it: &Exposition) {
    let lines = it.body().split(|byte| *byte == b'\n').count();
    let faults: Vec<_> = it.faults().iter().collect();
    assert!(faults.windows(2).all(|pair| pair[0].offset <= pair[1].offset));
    assert!(
        faults
            .iter()
            .all(|fault| fault.offset as usize <= it.body().len() && fault.line as usize <= lines && fault.column > 0)
    );
    let checked = exposition::check(it.body(), Some(it.syntax()));
    assert!(checked.errors >= it.faults().total(), "what cannot be used is an error");
    assert_eq!(checked.series, it.series());
    assert!(
        checked
            .problems
            .windows(2)
            .all(|pair| (pair[0].line, pair[0].column) <= (pair[1].line, pair[1].column))
    );
    let errors = checked
        .problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    assert!(checked.problems.len() == exposition::MAX_PROBLEMS_KEPT || errors as u64 == checked.errors);
}
