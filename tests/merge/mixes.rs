//! Mixes of applications, generated from a number: valid ones, clashing ones, broken ones.

use std::fmt::Write as _;

use bytes::Bytes;
use exporter_proxy::exposition::Exposition;
use exporter_proxy::model::Syntax;

use crate::messages::with_natives;

/// A small generator of numbers (SplitMix64): the same seed gives the same mix on every machine.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed ^ 0x5bf0_3635_dcf5_9e1d)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("below a usize")
    }

    /// True `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// One step of a mix.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Replace {
        app: String,
        syntax: Syntax,
        body: String,
        labels: Vec<(String, String)>,
        /// The seed of native histograms: the body comes as protobuf with these.
        natives: Option<u64>,
    },
    Remove {
        app: String,
    },
}

impl Step {
    /// The same series once more, with other values.
    fn with_other_values(&self) -> Self {
        let mut step = self.clone();
        if let Self::Replace { body, .. } = &mut step {
            *body = body
                .replace(" 17\n", " 19\n")
                .replace(" 12.5\n", " 13\n")
                .replace(" 1e3\n", " 2e3\n");
        }
        step
    }
}

/// The source of a mix.
#[derive(Debug, Clone)]
pub(crate) struct Mix {
    pub(crate) app_label: Option<String>,
    pub(crate) latest: bool,
    pub(crate) steps: Vec<Step>,
}

pub(crate) const APPS: [&str; 6] = ["alpha", "beta", "Gamma \"3\"", "delta\\x", "e", "zeta/ö"];
const BASES: [&str; 6] = ["req", "lat", "temp", "foo_seconds", "req_created", "up"];
const SUFFIXES: [&str; 12] = [
    "", "", "", "_total", "_count", "_sum", "_bucket", "_created", "_info", "_gcount", "_gsum", "_total",
];

impl Mix {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let app_label = dice
            .chance(20)
            .then(|| (*dice.pick(&["app", "job_name", "exporter_app"])).to_owned());
        let latest = dice.chance(20);
        let apps = 1 + dice.below(APPS.len());
        let mut steps: Vec<Step> = Vec::new();
        for _ in 0..2 + dice.below(14) {
            let app = APPS[dice.below(apps)].to_owned();
            let step = match dice.below(12) {
                0 | 1 => Step::Remove { app },
                2 => steps.last().cloned().unwrap_or(Step::Remove { app }),
                3 | 4 if !steps.is_empty() => dice.pick(&steps).with_other_values(),
                _ => {
                    let syntax = if dice.chance(35) { Syntax::OpenMetrics } else { Syntax::Text };
                    let body = Body::new(&mut dice, syntax).write();
                    let labels = dice
                        .chance(15)
                        .then(|| ("zone".to_owned(), (*dice.pick(&["a", "b", "q\"\\"])).to_owned()));
                    Step::Replace {
                        app,
                        syntax,
                        body,
                        labels: labels.into_iter().collect(),
                        natives: None,
                    }
                }
            };
            steps.push(step);
        }
        // Of dice of their own, so that the mixes without them stay what they were.
        let mut dice = Dice::new(seed ^ 0x6e61_7469_7665);
        // A record has one disambiguating label, and its samples in text may have different ones where that name is in use.
        if dice.chance(30)
            && !steps
                .iter()
                .any(|step| matches!(step, Step::Replace { body, .. } if body.contains("app=\"")))
        {
            for step in &mut steps {
                if let Step::Replace { natives, .. } = step {
                    *natives = dice.chance(60).then(|| dice.next());
                }
            }
        }
        Self { app_label, latest, steps }
    }

    /// True if some bodies are protobuf with native histograms.
    pub(crate) fn has_natives(&self) -> bool {
        let has = |step: &Step| matches!(step, Step::Replace { natives: Some(_), .. });
        self.steps.iter().any(has)
    }
}

/// A body as it is read.
pub(crate) fn exposition(body: &str, syntax: Syntax, natives: Option<u64>) -> Exposition {
    let text = Exposition::parse(Bytes::from(body.to_owned()), syntax);
    let natives = natives.and_then(|seed| with_natives(&text, &mut Dice::new(seed)));
    natives.map_or(text, |messages| {
        let read = Exposition::decode(&messages, usize::MAX).expect("valid native histograms");
        assert!(read.faults().is_empty(), "our own bodies have none: {:?}", read.faults());
        read
    })
}

impl Mix {
    /// True if some label needs escaping.
    pub(crate) fn has_labels_to_escape(&self) -> bool {
        let has = |step: &Step| matches!(step, Step::Replace { body, .. } if body.contains("\"k.l\""));
        self.steps.iter().any(has)
    }
}

/// A text being written.
struct Body<'a> {
    dice: &'a mut Dice,
    syntax: Syntax,
    out: String,
    /// True if the application keeps no rules.
    broken: bool,
    utf8: bool,
}

impl<'a> Body<'a> {
    fn new(dice: &'a mut Dice, syntax: Syntax) -> Self {
        let (broken, utf8) = (dice.chance(25), dice.chance(20));
        Self {
            dice,
            syntax,
            out: String::new(),
            broken,
            utf8,
        }
    }

    fn write(mut self) -> String {
        for _ in 0..self.dice.below(7) {
            self.family();
            if self.broken && self.dice.chance(40) {
                let line = *self.dice.pick(&[
                    "what is this",
                    "foo{a=\"} 1",
                    "9abc 1",
                    "req one",
                    "# TYPE req widget",
                    "# HELP",
                    "",
                    "lat{x=\"\\q\"} 2",
                    "{",
                    "}",
                ]);
                self.out.push_str(line);
                self.out.push('\n');
            }
        }
        if self.syntax == Syntax::OpenMetrics && !(self.broken && self.dice.chance(30)) {
            self.out.push_str("# EOF\n");
        }
        if self.dice.chance(10) {
            self.out = self.out.replace('\n', "\r\n");
        }
        if self.dice.chance(10) {
            self.out.pop();
        }
        self.out
    }

    fn name(&mut self) -> String {
        let mut name = format!("{}{}", self.dice.pick(&BASES), self.dice.pick(&SUFFIXES));
        if self.utf8 && self.dice.chance(50) {
            let odd: &str = self.dice.pick::<&str>(&[".", "_", "ö", "\\\""]);
            name = name.replace('_', odd);
        }
        name
    }

    fn family(&mut self) {
        let mut name = self.name();
        let kinds: &[&str] = match self.syntax {
            Syntax::Text => &["counter", "gauge", "untyped", "histogram", "summary", ""],
            Syntax::OpenMetrics => &[
                "counter",
                "gauge",
                "unknown",
                "histogram",
                "summary",
                "info",
                "stateset",
                "gaugehistogram",
            ],
        };
        let kind = *self.dice.pick(kinds);
        if self.syntax == Syntax::Text && kind == "counter" && self.dice.chance(60) && !name.ends_with("_total") {
            name.push_str("_total");
        }
        if self.dice.chance(60) {
            let help = *self
                .dice
                .pick(&["Some help.", "back\\\\slash and\\nnewline", "a quote \\\" here", "plain"]);
            let help = if self.syntax == Syntax::Text {
                help.replace("\\\"", "\"")
            } else {
                help.to_owned()
            };
            let header = format!("# HELP {} {help}\n", self.header(&name));
            self.out.push_str(&header);
        }
        if !kind.is_empty() {
            let header = format!("# TYPE {} {kind}\n", self.header(&name));
            self.out.push_str(&header);
        }
        if self.syntax == Syntax::OpenMetrics && name.ends_with("_seconds") && self.dice.chance(50) {
            let header = format!("# UNIT {} seconds\n", self.header(&name));
            self.out.push_str(&header);
        }
        let count = 1 + self.dice.below(3);
        let timestamp = self.timestamp();
        for group in 0..count {
            let labels = self.labels(group);
            self.group(&name, kind, &labels, &timestamp);
        }
    }

    fn header(&self, name: &str) -> String {
        if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            name.to_owned()
        } else {
            format!("\"{name}\"")
        }
    }

    fn labels(&mut self, group: usize) -> Vec<String> {
        let mut labels = Vec::new();
        if group > 0 || self.dice.chance(50) {
            labels.push(format!("n=\"{group}\""));
        }
        if self.dice.chance(10) {
            labels.push(
                (*self.dice.pick(&[
                    "app=\"x\"",
                    "app=\"beta\"",
                    "app=\"\"",
                    "exporter_app=\"y\"",
                    "exporter_exporter_app=\"z\"",
                    "zone=\"\"",
                    "zone=\"a\"",
                ]))
                .to_owned(),
            );
        }
        if self.dice.chance(10) {
            labels.push(
                (*self.dice.pick(&[
                    "e=\"\"",
                    "v=\"a\\\\b\\\"c\\nd\"",
                    "p=\"C:\\Users\"",
                    "p=\"C:\\\\Users\"",
                    "u=\"}{,=ö\"",
                ]))
                .to_owned(),
            );
        }
        if self.broken && self.dice.chance(10) {
            labels.push((*self.dice.pick(&["__x=\"1\"", "n=\"twice\"", "bad-name=\"1\""])).to_owned());
        }
        if self.utf8 && self.dice.chance(30) {
            labels.push(
                (*self
                    .dice
                    .pick(&["\"k.l\"=\"1\"", "k_l=\"1\"", "\"k.l\"=\"1\",k_l=\"2\"", "\"ok\"=\"1\""]))
                .to_owned(),
            );
        }
        labels
    }

    fn timestamp(&mut self) -> String {
        if self.dice.chance(85) {
            return String::new();
        }
        if self.dice.chance(15) {
            // The start of 1970, and times before it, which the text format has not.
            return match self.syntax {
                Syntax::Text => " 0",
                Syntax::OpenMetrics => *self.dice.pick(&[" 0", " -1.500", " -86400"]),
            }
            .to_owned();
        }
        let millis = 1_700_000_000_000_usize + self.dice.below(5) * 250;
        match self.syntax {
            Syntax::Text => format!(" {millis}"),
            Syntax::OpenMetrics => format!(" {}.{:03}", millis / 1000, millis % 1000),
        }
    }

    fn value(&mut self) -> &'static str {
        const GOOD: [&str; 4] = ["1", "2", "17", "1e3"];
        const ODD: [&str; 7] = ["1", "-3", "NaN", "2.5", "+Inf", "1e3", "abc"];
        if self.broken {
            ODD[self.dice.below(ODD.len())]
        } else {
            GOOD[self.dice.below(GOOD.len())]
        }
    }

    fn group(&mut self, name: &str, kind: &str, labels: &[String], timestamp: &str) {
        match kind {
            "counter" if self.syntax == Syntax::OpenMetrics => self.counter(name, labels, timestamp),
            "histogram" => self.histogram(name, labels, timestamp, ["_bucket", "_sum", "_count"]),
            "gaugehistogram" => self.histogram(name, labels, timestamp, ["_bucket", "_gsum", "_gcount"]),
            "summary" => self.summary(name, labels, timestamp),
            "info" => {
                let value = if self.broken && self.dice.chance(20) { "2" } else { "1" };
                self.sample(&format!("{name}_info"), labels, value, timestamp);
            }
            "stateset" => {
                for (state, value) in [("a", "1"), ("b", "0")] {
                    let mut labels = labels.to_vec();
                    let label = self.header(name);
                    labels.push(format!("{label}=\"{state}\""));
                    self.sample(name, &labels, value, timestamp);
                }
            }
            _ => {
                let value = self.value();
                self.sample(name, labels, value, timestamp);
            }
        }
    }

    fn counter(&mut self, name: &str, labels: &[String], timestamp: &str) {
        let value = self.value();
        if !(self.broken && self.dice.chance(20)) {
            let exemplar = if self.dice.chance(20) {
                " # {trace_id=\"abc\"} 0.5 1700000000.25"
            } else {
                ""
            };
            self.sample(&format!("{name}_total"), labels, &format!("{value}{timestamp}{exemplar}"), "");
        }
        if self.dice.chance(40) {
            self.sample(&format!("{name}_created"), labels, "1700000000.5", timestamp);
        }
    }

    fn histogram(&mut self, name: &str, labels: &[String], timestamp: &str, suffixes: [&str; 3]) {
        let mut bounds = if self.syntax == Syntax::Text {
            vec!["1", "2.5", "+Inf"]
        } else {
            vec!["1.0", "2.5", "+Inf"]
        };
        if self.broken && self.dice.chance(50) {
            bounds.remove(self.dice.below(3));
            bounds.reverse();
        }
        for (count, bound) in bounds.iter().enumerate() {
            let mut labels = labels.to_vec();
            labels.push(format!("le=\"{bound}\""));
            let exemplar = if self.syntax == Syntax::OpenMetrics && self.dice.chance(15) {
                " # {} 0.7"
            } else {
                ""
            };
            self.sample(
                &format!("{name}{}", suffixes[0]),
                &labels,
                &format!("{}{timestamp}{exemplar}", count + 1),
                "",
            );
        }
        if !(self.broken && self.dice.chance(30)) {
            self.sample(&format!("{name}{}", suffixes[1]), labels, "12.5", timestamp);
            self.sample(&format!("{name}{}", suffixes[2]), labels, "3", timestamp);
        }
        if self.syntax == Syntax::OpenMetrics && suffixes[1] == "_sum" && self.dice.chance(30) {
            self.sample(&format!("{name}_created"), labels, "1700000000", timestamp);
        }
    }

    fn summary(&mut self, name: &str, labels: &[String], timestamp: &str) {
        for quantile in ["0.5", "1"] {
            let mut labels = labels.to_vec();
            labels.push(format!("quantile=\"{quantile}\""));
            let value = self.value();
            self.sample(name, &labels, value, timestamp);
        }
        self.sample(&format!("{name}_sum"), labels, "9", timestamp);
        self.sample(&format!("{name}_count"), labels, "3", timestamp);
    }

    fn sample(&mut self, name: &str, labels: &[String], value: &str, timestamp: &str) {
        let spaced = self.syntax == Syntax::Text && self.dice.chance(10);
        let quoted = self.header(name) != name;
        let mut inside: Vec<String> = labels.to_vec();
        if quoted {
            inside.insert(0, format!("\"{name}\""));
        } else {
            self.out.push_str(name);
        }
        if !inside.is_empty() {
            let (open, comma, close) = if spaced { ("{ ", " , ", ",}") } else { ("{", ",", "}") };
            let _ = write!(self.out, "{open}{}{close}", inside.join(comma));
        }
        let _ = writeln!(self.out, "{}{value}{timestamp}", if spaced { "  \t" } else { " " });
    }
}
