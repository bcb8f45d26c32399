//! Counters, gauges and histograms that are cheap to move and that write themselves as exposition text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most label sets one instrument keeps. Label values come from configuration and from the names of
/// listeners, so more of them means that something makes names up; those are counted together as `other`.
pub(super) const MAX_LABEL_SETS: usize = 10_000;

/// The label value under which everything beyond [`MAX_LABEL_SETS`] is counted.
const OVERFLOW: &str = "other";

/// An instrument that can write its samples.
pub trait Instrument {
    /// The word behind `# TYPE`.
    const TYPE: &'static str;
    /// Appends the samples of the metric `name`, with the label pairs `labels` (without braces).
    fn write(&self, out: &mut String, name: &str, labels: &str);
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The current count.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Instrument for Counter {
    const TYPE: &'static str = "counter";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, self.get());
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The value now.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Instrument for Gauge {
    const TYPE: &'static str = "gauge";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, self.get());
    }
}

/// A gauge of seconds with a fraction.
#[derive(Debug, Default)]
pub struct Seconds(AtomicU64);

impl Seconds {
    /// Sets the value.
    pub fn set(&self, value: Duration) {
        self.0.store(value.as_secs_f64().to_bits(), Ordering::Relaxed);
    }
}

impl Instrument for Seconds {
    const TYPE: &'static str = "gauge";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        sample(out, name, labels, f64::from_bits(self.0.load(Ordering::Relaxed)));
    }
}

/// Upper bounds in seconds of [`Latency`]'s buckets: from a small cached answer to Prometheus's usual timeout.
const BOUNDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0];

/// A histogram of durations.
#[derive(Debug, Default)]
pub struct Latency {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Latency {
    /// Counts one duration.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = BOUNDS.iter().position(|&bound| seconds <= bound) {
            self.buckets[at].fetch_add(1, Ordering::Relaxed);
        }
        self.nanos
            .fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Instrument for Latency {
    const TYPE: &'static str = "histogram";
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        // The count is read first, so that no bucket ever exceeds it by more than what came in meanwhile; the maximum keeps the series monotonic.
        let count = self.count.load(Ordering::Relaxed);
        let comma = if labels.is_empty() { "" } else { "," };
        let mut below = 0;
        for (bound, bucket) in BOUNDS.iter().zip(&self.buckets) {
            below += bucket.load(Ordering::Relaxed);
            let below = below.min(count);
            let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound:?}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}");
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        sample(out, &format!("{name}_sum"), labels, sum);
        sample(out, &format!("{name}_count"), labels, count);
    }
}

/// One instrument for each set of label values.
#[derive(Debug)]
pub struct PerLabel<I, const N: usize> {
    names: [&'static str; N],
    /// Bounded by [`MAX_LABEL_SETS`].
    sets: Mutex<HashMap<[Arc<str>; N], Arc<I>>>,
}

impl<I: Default, const N: usize> PerLabel<I, N> {
    /// An instrument with the label names `names`.
    #[must_use]
    pub fn new(names: [&'static str; N]) -> Self {
        Self {
            names,
            sets: Mutex::default(),
        }
    }

    /// The instrument for these label values, made when they are seen first.
    pub fn with(&self, values: [&str; N]) -> Arc<I> {
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = values.map(Arc::<str>::from);
        if sets.len() >= MAX_LABEL_SETS && !sets.contains_key(&key) {
            key = [OVERFLOW; N].map(Arc::<str>::from);
        }
        Arc::clone(sets.entry(key).or_default())
    }

    /// Forgets the label values for which `gone` says so.
    pub fn forget(&self, gone: impl Fn(&[Arc<str>; N]) -> bool) {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| !gone(key));
    }
}

impl<I: Instrument, const N: usize> Instrument for PerLabel<I, N> {
    const TYPE: &'static str = I::TYPE;
    fn write(&self, out: &mut String, name: &str, labels: &str) {
        let mut sets: Vec<_> = {
            let sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
            sets.iter().map(|(key, instrument)| (key.clone(), Arc::clone(instrument))).collect()
        };
        sets.sort_by(|a, b| a.0.cmp(&b.0));
        for (values, instrument) in sets {
            let mut all = labels.to_owned();
            for (name, value) in self.names.iter().zip(&values) {
                push_label(&mut all, name, value);
            }
            instrument.write(out, name, &all);
        }
    }
}

/// Appends `name="value"` to a list of label pairs, escaped as both text formats demand.
pub fn push_label(labels: &mut String, name: &str, value: &str) {
    if !labels.is_empty() {
        labels.push(',');
    }
    labels.push_str(name);
    labels.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => labels.push_str("\\\\"),
            '"' => labels.push_str("\\\""),
            '\n' => labels.push_str("\\n"),
            c => labels.push(c),
        }
    }
    labels.push('"');
}

/// Appends the two header lines of a family.
pub fn header(out: &mut String, name: &str, metric_type: &str, help: &str) {
    let help = help.trim().replace('\\', "\\\\").replace('\n', " ");
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {metric_type}");
}

/// Appends one sample line.
pub fn sample(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _ = match labels {
        "" => writeln!(out, "{name} {value}"),
        _ => writeln!(out, "{name}{{{labels}}} {value}"),
    };
}

#[cfg(test)]
mod tests;
