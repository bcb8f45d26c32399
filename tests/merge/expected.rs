//! The rules of merging once more, slow and simple: everything is compared with everything after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use exporter_proxy::exposition::{Exposition, MetricType, Suffix};
use exporter_proxy::model::Syntax;

use crate::mixes::{self, Mix, Step};

/// A sample: its name, labels that count, value, and timestamp in milliseconds.
pub(crate) type Seen = (String, BTreeMap<String, String>, String, Option<i64>);

type Labels = BTreeMap<String, String>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Shape {
    Scalar,
    Histogram,
    Summary,
}

fn shape(kind: MetricType) -> Shape {
    match kind {
        MetricType::Histogram => Shape::Histogram,
        MetricType::Summary => Shape::Summary,
        _ => Shape::Scalar,
    }
}

/// A family of the text format as one application has it.
#[derive(Clone)]
struct Part {
    kind: MetricType,
    source: usize,
    /// Each with what identifies its group.
    samples: Vec<(Seen, Labels)>,
    /// The identities of its groups of series.
    groups: BTreeSet<Labels>,
    names: BTreeSet<String>,
    since: u64,
    /// All samples: their names, the samples as far as they go out, and all their labels.
    all: Vec<(String, Option<Seen>, Labels)>,
}

/// A family of one application as it goes out.
struct Exposed {
    app: String,
    /// The family as declared.
    declared: String,
    part: Part,
}

struct App {
    parts: BTreeMap<String, Part>,
    help: BTreeMap<String, String>,
    labels: Vec<(String, String)>,
    updated: u64,
    last: Body,
}

/// A body as it came: its syntax, its text, the added labels, and the seed of native histograms.
type Body = (Syntax, String, Vec<(String, String)>, Option<u64>);

/// All applications, merged slowly.
pub(crate) struct Model {
    app_label: Option<String>,
    latest: bool,
    apps: BTreeMap<String, App>,
    labelled: BTreeSet<(String, String)>,
    ranks: BTreeMap<String, usize>,
    shared: BTreeSet<String>,
    clock: u64,
}

impl Model {
    pub(crate) fn new(mix: &Mix) -> Self {
        Self {
            app_label: mix.app_label.clone(),
            latest: mix.latest,
            apps: BTreeMap::new(),
            labelled: BTreeSet::new(),
            ranks: BTreeMap::new(),
            shared: BTreeSet::new(),
            clock: 0,
        }
    }

    pub(crate) fn step(&mut self, step: &Step) {
        self.clock += 1;
        match step {
            Step::Remove { app } => {
                self.apps.remove(app);
                self.labelled.retain(|(it, _)| it != app);
            }
            Step::Replace {
                app,
                syntax,
                body,
                labels,
                natives,
            } => self.replace(app, (*syntax, body.clone(), labels.clone(), *natives)),
        }
        self.settle();
    }

    fn replace(&mut self, name: &str, last: Body) {
        let (syntax, body, labels, natives) = &last;
        let before = self.apps.remove(name);
        if !self.latest && before.as_ref().is_some_and(|it| it.last == last) {
            self.apps.insert(name.to_owned(), before.expect("just seen"));
            return;
        }
        let mut extra_labels = labels.clone();
        if let Some(label) = &self.app_label {
            extra_labels.push((label.clone(), name.to_owned()));
        }
        let (mut parts, help) = parts(&Arc::new(mixes::exposition(body, *syntax, *natives)), &extra_labels);
        for (key, part) in &mut parts {
            let same = before
                .as_ref()
                .and_then(|it| it.parts.get(key))
                .filter(|it| shape(it.kind) == shape(part.kind));
            part.since = same.map_or(self.clock, |it| it.since);
        }
        self.apps.insert(
            name.to_owned(),
            App {
                parts,
                help,
                labels: extra_labels,
                updated: self.clock,
                last,
            },
        );
    }

    fn keys(&self) -> BTreeSet<String> {
        self.apps.values().flat_map(|app| app.parts.keys().cloned()).collect()
    }

    /// The apps that have a family, the longest first.
    fn holders(&self, key: &str) -> Vec<(&String, &Part)> {
        let mut holders: Vec<_> = self
            .apps
            .iter()
            .filter_map(|(name, app)| Some((name, app.parts.get(key)?)))
            .collect();
        holders.sort_by_key(|(_, part)| part.since);
        holders
    }

    /// True if applications contradict each other about a family.
    fn in_conflict(&self, key: &str) -> bool {
        let shapes = |key: &str| -> BTreeSet<&str> {
            let all = self.holders(key).into_iter().map(|(_, part)| shape(part.kind));
            all.map(|shape| match shape {
                Shape::Scalar => "scalar",
                Shape::Histogram => "histogram",
                Shape::Summary => "summary",
            })
            .collect()
        };
        let owns = |key: &str, suffix: &str| {
            let shapes = shapes(key);
            shapes.contains("histogram") || shapes.contains("summary") && suffix != "_bucket"
        };
        let suffixes = ["_bucket", "_sum", "_count"];
        shapes(key).len() > 1
            || suffixes
                .iter()
                .any(|suffix| owns(key, suffix) && !self.holders(&format!("{key}{suffix}")).is_empty())
            || suffixes
                .iter()
                .any(|suffix| key.strip_suffix(suffix).is_some_and(|parent| owns(parent, suffix)))
    }

    /// The contributions exposed under each name, the longest held first.
    fn exposed(&self) -> BTreeMap<String, Vec<Exposed>> {
        let mut exposed: BTreeMap<String, Vec<Exposed>> = BTreeMap::new();
        for key in self.keys() {
            let in_conflict = self.in_conflict(&key);
            for (app, part) in self.holders(&key) {
                let parts = if in_conflict {
                    part.untyped(&key)
                } else {
                    vec![(key.clone(), part.clone())]
                };
                for (name, part) in parts {
                    exposed.entry(name).or_default().push(Exposed {
                        app: app.clone(),
                        declared: key.clone(),
                        part,
                    });
                }
            }
        }
        exposed.values_mut().for_each(|all| all.sort_by_key(|it| it.part.since));
        exposed
    }

    fn is_labelled(&self, it: &Exposed) -> bool {
        self.labelled.contains(&(it.app.clone(), it.declared.clone()))
    }

    fn settle(&mut self) {
        let exposed = self.exposed();
        let exists = |key: &String| exposed.contains_key(key) || !self.holders(key).is_empty();
        let (mut shared, mut ranks) = (self.shared.clone(), self.ranks.clone());
        shared.retain(exists);
        ranks.retain(|key, _| exists(key));
        (self.shared, self.ranks) = (shared, ranks);
        // A histogram in a conflict may expose nothing under its own name.
        let contradicted: Vec<_> = self.keys().into_iter().filter(|key| self.in_conflict(key)).collect();
        self.shared.extend(contradicted);
        for (key, all) in &exposed {
            if all.len() > 1 || all.iter().any(|it| it.declared != *key) {
                self.shared.insert(key.clone());
            }
        }
        if !self.latest {
            let mut found = Vec::new();
            for all in exposed.values() {
                for mine in all {
                    let collides = all
                        .iter()
                        .any(|it| it.app != mine.app && !mine.part.groups.is_disjoint(&it.part.groups));
                    if collides && !self.is_labelled(mine) {
                        found.push((mine.app.clone(), mine.part.source));
                    }
                }
            }
            for (app, source) in found {
                let parts = self.apps[&app].parts.iter().filter(|(_, part)| part.source == source);
                self.labelled
                    .extend(parts.map(|(key, _)| (app.clone(), key.clone())).collect::<Vec<_>>());
            }
        }
        let mut more = Vec::new();
        for (name, app) in &self.apps {
            let has = |key: &String| self.labelled.contains(&(name.clone(), key.clone()));
            let sources: BTreeSet<_> = app.parts.iter().filter(|(key, _)| has(key)).map(|(_, part)| part.source).collect();
            let parts = app.parts.iter().filter(|(_, part)| sources.contains(&part.source));
            more.extend(parts.map(|(key, _)| (name.clone(), key.clone())));
        }
        self.labelled.extend(more);
        for key in &self.shared {
            let none = Vec::new();
            let all = exposed.get(key).unwrap_or(&none);
            if !all.iter().any(|it| self.is_labelled(it)) {
                continue;
            }
            let taken = |rank: usize| {
                let name = self.telling(rank);
                self.app_label.as_ref() == Some(&name)
                    || all
                        .iter()
                        .any(|it| it.part.names.contains(&name) || self.apps[&it.app].labels.iter().any(|(it, _)| *it == name))
            };
            let now = self.ranks.get(key).copied().unwrap_or(0);
            let rank = (now..8).find(|&rank| !taken(rank)).unwrap_or(7);
            self.ranks.insert(key.clone(), rank);
        }
    }

    fn telling(&self, rank: usize) -> String {
        match rank {
            0 => self.app_label.clone().unwrap_or_else(|| "app".to_owned()),
            _ => format!("{}app", "exporter_".repeat(rank)),
        }
    }

    /// The type of each family that goes out.
    pub(crate) fn kinds(&self) -> BTreeMap<String, MetricType> {
        let exposed = self.exposed().into_iter();
        let kind = |key: &String, all: &[Exposed]| {
            let mut kinds = all.iter().map(|it| it.part.kind);
            if self.in_conflict(key) {
                MetricType::Unknown
            } else {
                kinds.find(|kind| *kind != MetricType::Unknown).unwrap_or(MetricType::Unknown)
            }
        };
        exposed.map(|(key, all)| (key.clone(), kind(&key, &all))).collect()
    }

    /// The help of each family that goes out.
    pub(crate) fn helps(&self) -> BTreeMap<String, String> {
        let help = |mut all: Vec<Exposed>| {
            all.sort_by_key(|it| it.app.clone());
            all.iter().find_map(|it| self.apps[&it.app].help.get(&it.declared).cloned())
        };
        let exposed = self.exposed().into_iter();
        exposed.filter_map(|(key, all)| Some((key, help(all)?))).collect()
    }

    /// All samples that go out.
    pub(crate) fn samples(&self) -> Vec<Seen> {
        let mut samples = Vec::new();
        for (key, all) in self.exposed() {
            for it in &all {
                let updated = |app: &String| self.apps[app].updated;
                let newer = |group: &Labels| {
                    all.iter()
                        .any(|other| updated(&other.app) > updated(&it.app) && other.part.groups.contains(group))
                };
                let rank = self.ranks.get(&key).copied().unwrap_or(0);
                let labelled = self.is_labelled(it);
                for (sample, group) in &it.part.samples {
                    if self.latest && newer(group) {
                        continue;
                    }
                    let mut sample = sample.clone();
                    if labelled {
                        add(&mut sample.1, &self.telling(rank), &it.app);
                    }
                    samples.push(sample);
                }
            }
        }
        samples.sort();
        samples
    }

    /// The number of groups of series that each application shares with others.
    pub(crate) fn duplicates(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = self.apps.keys().map(|name| (name.clone(), 0)).collect();
        for all in self.exposed().values() {
            for it in all {
                let others = |group: &&Labels| all.iter().any(|other| other.app != it.app && other.part.groups.contains(*group));
                let shared = it.part.groups.iter().filter(others).count() as u64;
                *counts.get_mut(&it.app).expect("all are there") += shared;
            }
        }
        counts
    }
}

impl Part {
    /// The samples of each name as a family of that name.
    fn untyped(&self, key: &str) -> Vec<(String, Self)> {
        let names: BTreeSet<String> = match shape(self.kind) {
            Shape::Scalar => [key.to_owned()].into(),
            _ => self.all.iter().map(|(name, ..)| name.clone()).collect(),
        };
        let of = |name: String| {
            let mine = || self.all.iter().filter(|(it, ..)| *it == name || shape(self.kind) == Shape::Scalar);
            let part = Self {
                kind: MetricType::Unknown,
                samples: mine().filter_map(|(_, seen, full)| Some((seen.clone()?, full.clone()))).collect(),
                groups: mine().map(|(.., full)| full.clone()).collect(),
                names: mine().flat_map(|(.., full)| full.keys().cloned()).collect(),
                ..self.clone()
            };
            (name, part)
        };
        names.into_iter().map(of).collect()
    }
}

fn add(labels: &mut Labels, name: &str, value: &str) {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let legacy = |name: &str| escaped_name(name);
    if !labels.iter().any(|(it, _)| legacy(it) == legacy(name)) {
        labels.insert(name.to_owned(), escaped);
    }
}

/// A name by the underscores rule, from one as escaped in quotes.
pub(crate) fn escaped_name(name: &str) -> String {
    let plain = name
        .replace("\\\\", "\u{1}")
        .replace("\\\"", "\"")
        .replace("\\n", "\n")
        .replace('\u{1}', "\\");
    plain
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == ':' {
                c
            } else {
                '_'
            }
        })
        .collect()
}

/// Labels under their names by the underscores rule. The order of the line counts where two become one, so it takes a list.
fn legacy(labels: &[(String, String)]) -> Labels {
    let mut out = Labels::new();
    for (name, value) in labels {
        out.entry(escaped_name(name)).or_insert_with(|| value.clone());
    }
    out
}

fn remove_bound(group: &mut Labels, name: &str, key: &str, kind: MetricType) {
    if kind == MetricType::Histogram && name == format!("{key}_bucket") {
        group.remove("le");
    }
    if kind == MetricType::Summary && name == key {
        group.remove("quantile");
    }
}

/// A bound in one spelling.
pub(crate) fn bound(name: &str, value: &str) -> String {
    match (name, value.parse::<f64>()) {
        ("le" | "quantile", Ok(number)) => format!("{number}"),
        _ => value.to_owned(),
    }
}

/// A timestamp in milliseconds.
fn millis(text: &[u8], syntax: Syntax) -> i64 {
    let number: f64 = String::from_utf8_lossy(text).parse().expect("the parser has checked it");
    let millis = if syntax == Syntax::OpenMetrics {
        (number * 1000.0).round()
    } else {
        number
    };
    format!("{millis:.0}").parse().expect("a whole number")
}

/// A sample, what its name has beyond the family's, and the labels that tell it apart.
type Read = (Seen, Suffix, Vec<(String, String)>);

/// All samples of one family as written, with their labels in order.
fn read(exposition: &Exposition, family: &exporter_proxy::exposition::Family) -> Vec<Read> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let name = exposition.text(family.name);
    let samples = exposition.samples(family).map(|sample| {
        let labels: Vec<(String, String)> = sample
            .labels
            .clone()
            .filter(|label| !label.value.is_empty())
            .map(|label| (text(label.name), text(label.value)))
            .collect();
        let spelt = labels.iter().map(|(name, value)| (name.clone(), bound(name, value))).collect();
        let timestamp = sample.timestamp.map(|timestamp| millis(timestamp, exposition.syntax()));
        let suffix = Suffix::between(name, sample.name).expect("a family's own sample");
        ((text(sample.name), spelt, text(sample.value), timestamp), suffix, labels)
    });
    samples.collect()
}

/// All samples of a text.
pub(crate) fn samples(exposition: &Exposition) -> Vec<Seen> {
    let mut samples: Vec<_> = exposition
        .families()
        .iter()
        .flat_map(|family| read(exposition, family))
        .map(|(seen, ..)| seen)
        .collect();
    samples.sort();
    samples
}

/// The families of the text format that a family as written becomes: for each suffix its name beyond the family's own, and its type.
fn text_family(syntax: Syntax, kind: MetricType, suffix: Suffix) -> (&'static str, MetricType, bool) {
    if syntax == Syntax::Text {
        return ("", kind, true);
    }
    match (kind, suffix) {
        (MetricType::Counter, Suffix::Total) => ("_total", MetricType::Counter, true),
        (MetricType::Counter | MetricType::Histogram | MetricType::Summary, Suffix::Created) => ("_created", MetricType::Gauge, false),
        (MetricType::Histogram, Suffix::Bare | Suffix::Bucket | Suffix::Sum | Suffix::Count) => ("", kind, true),
        (MetricType::Summary, Suffix::Bare | Suffix::Sum | Suffix::Count) => ("", kind, true),
        (MetricType::GaugeHistogram, Suffix::Bucket) => ("_bucket", MetricType::Gauge, true),
        (MetricType::GaugeHistogram, Suffix::GSum) => ("_gsum", MetricType::Gauge, false),
        (MetricType::GaugeHistogram, Suffix::GCount) => ("_gcount", MetricType::Gauge, false),
        (MetricType::Info, Suffix::Info) => ("_info", MetricType::Gauge, true),
        (MetricType::Gauge | MetricType::StateSet, Suffix::Bare) => ("", MetricType::Gauge, true),
        (_, suffix) => (suffix.as_str(), MetricType::Unknown, false),
    }
}

fn parts(exposition: &Arc<Exposition>, extra_labels: &[(String, String)]) -> (BTreeMap<String, Part>, BTreeMap<String, String>) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut found: Vec<(usize, String, Part)> = Vec::new();
    let mut helps = BTreeMap::new();
    for (source, family) in exposition.families().iter().enumerate() {
        let mut mine: BTreeMap<String, (Part, bool)> = BTreeMap::new();
        let mut whole: BTreeSet<(String, Labels)> = BTreeSet::new();
        let mut names = BTreeSet::new();
        let mut first: BTreeMap<(Labels, bool), Labels> = BTreeMap::new();
        for (mut seen, suffix, ordered) in read(exposition, family) {
            let (beyond, kind, primary) = text_family(exposition.syntax(), family.kind, suffix);
            let key = escaped_name(&format!("{}{beyond}", text(exposition.text(family.name))));
            let mut group = legacy(&ordered);
            names.extend(ordered.iter().map(|(name, _)| escaped_name(name)));
            for (label, value) in extra_labels {
                add(&mut seen.1, label, value);
                add(&mut group, label, value);
            }
            let sample_name = escaped_name(&seen.0);
            // Of groups that extra_labels make one the first stands.
            let (mut was, mut looks): (Labels, Labels) = (ordered.iter().cloned().collect(), ordered.iter().cloned().collect());
            extra_labels.iter().for_each(|(label, value)| add(&mut looks, label, value));
            let own_name = escaped_name(&text(exposition.text(family.name)));
            let own_kind = if family.kind == MetricType::GaugeHistogram {
                MetricType::Histogram
            } else {
                family.kind
            };
            remove_bound(&mut was, &sample_name, &own_name, own_kind);
            remove_bound(&mut looks, &sample_name, &own_name, own_kind);
            let apart = match (own_kind, suffix) {
                (MetricType::Histogram, Suffix::Bare) => true,
                (MetricType::Histogram, Suffix::Bucket) => !seen.1.contains_key("le"),
                (MetricType::Summary, Suffix::Bare) => !seen.1.contains_key("quantile"),
                _ => false,
            };
            let stands = *first.entry((looks, apart)).or_insert_with(|| was.clone()) == was;
            whole.insert((sample_name.clone(), group.clone()));
            let (part, is_primary) = mine.entry(key.clone()).or_insert_with(|| {
                let part = Part {
                    kind,
                    source,
                    samples: Vec::new(),
                    groups: BTreeSet::new(),
                    names: BTreeSet::new(),
                    since: 0,
                    all: Vec::new(),
                };
                (part, primary)
            });
            *is_primary |= primary;
            part.all.push((sample_name.clone(), stands.then(|| seen.clone()), group.clone()));
            remove_bound(&mut group, &sample_name, &key, kind);
            part.groups.insert(group.clone());
            part.names.extend(ordered.iter().map(|(name, _)| escaped_name(name)));
            if stands {
                part.samples.push((seen, group));
            }
        }
        let typed = family.kind != MetricType::Unknown;
        for (key, (mut part, primary)) in mine {
            if primary && typed {
                // Creation times and the like belong to the same groups.
                let groups = whole.iter().cloned().map(|(name, mut group)| {
                    remove_bound(&mut group, &name, &key, part.kind);
                    group
                });
                part.groups = groups.collect();
                part.names.clone_from(&names);
            }
            if let Some(help) = family.help() {
                helps.insert(format!("{source} {key}"), text(exposition.text(help)));
            }
            found.push((source, key, part));
        }
    }
    // A family is left out as a whole if one of its names is taken already.
    let (mut keys, mut claims, mut doubles) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for (source, key, part) in &found {
        let suffixes: &[&str] = match shape(part.kind) {
            Shape::Scalar => &[],
            Shape::Histogram => &["_bucket", "_sum", "_count"],
            Shape::Summary => &["_sum", "_count"],
        };
        let mine: Vec<String> = suffixes.iter().map(|suffix| format!("{key}{suffix}")).collect();
        if keys.contains(key) || claims.contains(key) || mine.iter().any(|name| keys.contains(name)) {
            doubles.insert(*source);
        } else {
            keys.insert(key.clone());
            claims.extend(mine);
        }
    }
    let kept = found.into_iter().filter(|(source, ..)| !doubles.contains(source));
    let (mut parts, mut help) = (BTreeMap::new(), BTreeMap::new());
    for (source, key, part) in kept {
        if let Some(text) = helps.remove(&format!("{source} {key}")) {
            help.insert(key.clone(), text);
        }
        parts.insert(key, part);
    }
    (parts, help)
}
