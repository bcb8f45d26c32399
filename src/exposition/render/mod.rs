//! Families to bytes: headers, samples copied as they are where that is legal, spelt anew where it is not.

mod chunk;
mod header;
mod rope;
mod sample;
mod standing;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::negotiate::{Escaping, Format};
use super::{Exposition, Family, Kind, Sample, Suffix, Traits};
use crate::model::Syntax;

pub use chunk::Chunk;
pub(crate) use header::{Header, Help};
pub(crate) use sample::{Addition, legacy_labels, millis_of_seconds, underscored_label, underscored_metric};

use rope::Rope;
use sample::Spelling;
use standing::Standing;

/// What the bytes of an answer depend on: less than its format, whose versions of text differ in the `Content-Type` alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The syntax.
    pub syntax: Syntax,
    /// How names beyond the legacy character set are written.
    pub escaping: Escaping,
}

impl Variant {
    /// How many there are.
    pub(crate) const COUNT: usize = 4;

    /// All of them, each at its [`Variant::index`].
    pub(crate) const ALL: [Self; Self::COUNT] = {
        const fn variant(syntax: Syntax, escaping: Escaping) -> Variant {
            Variant { syntax, escaping }
        }
        [
            variant(Syntax::Text, Escaping::Underscores),
            variant(Syntax::Text, Escaping::AllowUtf8),
            variant(Syntax::OpenMetrics, Escaping::Underscores),
            variant(Syntax::OpenMetrics, Escaping::AllowUtf8),
        ]
    };

    /// A number below [`Variant::COUNT`].
    pub(crate) const fn index(self) -> usize {
        (matches!(self.syntax, Syntax::OpenMetrics) as usize) * 2 + matches!(self.escaping, Escaping::AllowUtf8) as usize
    }
}

impl From<Format> for Variant {
    fn from(format: Format) -> Self {
        Self {
            syntax: format.syntax(),
            escaping: format.escaping(),
        }
    }
}

/// The end of the names of families at which the renderer panics in unit tests, which show what becomes of such responses.
#[cfg(test)]
pub(crate) const PANICS: &[u8] = b"panics_renderer";

/// The samples of one family of one application, as they are to go out.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    /// Where they stand.
    pub(crate) exposition: Arc<Exposition>,
    /// Which of its families.
    pub(crate) family: u32,
    /// Which of the family's samples, by their names.
    pub(crate) names: Traits,
    /// The header to write before them; none where they continue a family.
    pub(crate) header: Option<Box<Header>>,
    /// The kind that they go out as, which decides on exemplars and on how bounds are spelt. [`Kind::Unknown`] leaves labels alone.
    pub(crate) kind: Kind,
    /// The kind whose samples are compared as groups; see [`Identity`].
    pub(crate) grouping: Kind,
    /// Labels for those that lack them.
    pub(crate) additions: Arc<[Addition]>,
    /// The identities of samples that stay away, because another application's stand for them.
    pub(crate) hidden: Option<Arc<Hidden>>,
}

/// Series that stay away, by the identity that the catalog gives them.
pub(crate) type Hidden = HashSet<u64>;

impl Item {
    fn source(&self) -> &Family {
        &self.exposition.families()[self.family as usize]
    }

    /// Whether the names of this item are spelt in one way for all scrapers.
    pub(crate) fn is_legacy(&self) -> bool {
        !self.source().traits.contains(Traits::QUOTED) && self.additions.iter().all(|it| super::escape::is_legacy_label_name(&it.name))
    }

    /// About how many bytes it makes.
    fn size(&self) -> usize {
        let runs: usize = self.exposition.run_spans(self.source()).iter().map(|span| span.len() + 1).sum();
        runs + self.header.as_ref().map_or(0, |header| header.size())
    }

    /// Copies what is another application's, whose whole text would otherwise stay in memory for one line of help when that application
    /// has long handed in the next one.
    fn stand_alone(&mut self) {
        if let Some(header) = &mut self.header {
            header.stand_alone(self.exposition.body());
        }
    }

    /// About how many bytes it takes in memory beside the application's text.
    fn footprint(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| size_of::<Header>() + header.size());
        let additions = size_of_val(&*self.additions);
        let hidden = self.hidden.as_ref().map_or(0, |hidden| hidden.capacity() * size_of::<u64>());
        size_of::<Self>() + header + additions + hidden
    }

    fn write(&self, to: Variant, rope: &mut Rope) {
        #[cfg(test)]
        assert!(
            !self.exposition.text(self.source().name).ends_with(PANICS),
            "a family at which tests make the renderer panic"
        );
        if let Some(header) = &self.header {
            header.write(to, rope);
        }
        if self.may_be_copied(to) {
            for span in self.exposition.run_spans(self.source()) {
                rope.stored(self.exposition.body(), span.range());
                rope.literal(b"\n");
            }
        } else {
            self.respell(to, rope);
        }
    }

    fn may_be_copied(&self, to: Variant) -> bool {
        let traits = self.source().traits;
        let forbidden = match to.syntax {
            Syntax::Text => Traits::RESPELL_TEXT,
            // Exemplars may stay where the kind is still one that has them.
            Syntax::OpenMetrics if self.takes_exemplars() => Traits::RESPELL_OPENMETRICS,
            Syntax::OpenMetrics => Traits::RESPELL_OPENMETRICS | Traits::EXEMPLARS,
        };
        !traits.intersects(forbidden | Traits::SEVERAL_TIMES)
            && self.additions.is_empty()
            && self.hidden.is_none()
            && (to.escaping == Escaping::AllowUtf8 || !traits.contains(Traits::QUOTED))
            && self.names.contains(traits.names())
    }

    fn takes_exemplars(&self) -> bool {
        matches!(self.kind, Kind::Counter | Kind::Histogram | Kind::GaugeHistogram)
    }

    fn respell(&self, to: Variant, rope: &mut Rope) {
        let (exposition, source) = (&self.exposition, self.source());
        let spelling = Spelling {
            from: exposition.syntax(),
            to,
            quoted: source.traits.contains(Traits::QUOTED),
            additions: &self.additions,
            canonical: None,
            exemplars: to.syntax == Syntax::OpenMetrics && self.takes_exemplars(),
        };
        let name = exposition.text(source.name);
        let escapes = to.escaping == Escaping::Underscores && spelling.quoted;
        let mut standing = Standing::new(source.kind, exposition.samples(source), &self.additions, escapes);
        let samples = exposition
            .samples(source)
            .filter_map(|sample| Some((Suffix::between(name, sample.name)?, sample)));
        let samples: Box<dyn Iterator<Item = (Suffix, Sample<'_>)>> = if source.traits.contains(Traits::SEVERAL_TIMES) {
            Box::new(self.by_time(samples.collect(), to).into_iter())
        } else {
            Box::new(samples)
        };
        for (suffix, sample) in samples {
            let stands = standing.as_mut().is_none_or(|standing| standing.admits(&sample, suffix));
            if !stands || !self.names.contains(suffix.as_trait()) || self.is_hidden(&sample, suffix) {
                continue;
            }
            let canonical = if to.syntax == Syntax::OpenMetrics {
                bound_label(self.kind, suffix)
            } else {
                None
            };
            Spelling { canonical, ..spelling }.write(&sample, rope.buffer());
        }
    }

    /// The samples in the order in which series of several times are written: group by group, and within a group in ascending order of time.
    /// A sample without time is of the moment of the scrape, the latest. OpenMetrics does not allow it beside others with times.
    fn by_time<'a>(&self, samples: Vec<(Suffix, Sample<'a>)>, to: Variant) -> Vec<(Suffix, Sample<'a>)> {
        let identity = Identity {
            kind: self.kind,
            additions: &[],
            quoted: false,
        };
        let syntax = self.exposition.syntax();
        let mut groups: HashMap<u64, (usize, bool)> = HashMap::new();
        let mut placed = Vec::with_capacity(samples.len());
        for (suffix, sample) in samples {
            let (next, time) = (groups.len(), sample.millis(syntax));
            // Without a type each sample name is a family of its own.
            let apart = if self.kind == Kind::Unknown { suffix as u64 } else { 0 };
            let (group, has_times) = groups
                .entry(identity.of(&sample, suffix).wrapping_add(apart))
                .or_insert((next, false));
            *has_times |= time.is_some();
            placed.push((*group, time, suffix, sample));
        }
        if to.syntax == Syntax::OpenMetrics {
            let mut has_times = vec![false; groups.len()];
            groups.values().for_each(|(group, has)| has_times[*group] = *has);
            placed.retain(|(group, time, ..)| time.is_some() || !has_times[*group]);
        }
        placed.sort_by_key(|(group, time, ..)| (*group, time.unwrap_or(i64::MAX)));
        placed.into_iter().map(|(.., suffix, sample)| (suffix, sample)).collect()
    }

    fn is_hidden(&self, sample: &Sample<'_>, suffix: Suffix) -> bool {
        let quoted = self.source().traits.contains(Traits::QUOTED);
        let identity = Identity {
            kind: self.grouping,
            additions: &self.additions,
            quoted,
        };
        self.hidden
            .as_ref()
            .is_some_and(|hidden| hidden.contains(&identity.of(sample, suffix)))
    }
}

/// The label that tells the samples of one group apart: the bound of a bucket, the quantile of a summary.
pub(crate) const fn bound_label(kind: Kind, suffix: Suffix) -> Option<&'static [u8]> {
    match (kind, suffix) {
        (Kind::Histogram | Kind::GaugeHistogram, Suffix::Bucket) => Some(b"le"),
        (Kind::Summary, Suffix::Bare) => Some(b"quantile"),
        _ => None,
    }
}

/// The identity by which the samples of several apps are compared within a family: that of the series, names escaped by the underscores
/// rule, and of a histogram or summary that of the whole group, which stays together or is left out together.
pub(crate) struct Identity<'a> {
    /// The kind, which decides on groups.
    pub(crate) kind: Kind,
    /// Labels for the samples that lack them.
    pub(crate) additions: &'a [Addition],
    /// Whether some name of the family is written in quotes.
    pub(crate) quoted: bool,
}

impl Identity<'_> {
    /// The identity of a sample whose name has this suffix.
    pub(crate) fn of(&self, sample: &Sample<'_>, suffix: Suffix) -> u64 {
        let bound = if matches!(self.kind, Kind::GaugeHistogram) {
            None
        } else {
            bound_label(self.kind, suffix)
        };
        let labels = legacy_labels(&sample.labels, self.quoted).filter(|(_, label)| Some(label.name) != bound);
        let hash = labels.fold(0_u64, |hash, (name, label)| {
            hash.wrapping_add(super::label_hash(&name, label.value))
        });
        let added = self.additions.iter().filter(|it| it.lacking_in(&sample.labels));
        added.fold(hash, |hash, it| hash.wrapping_add(super::label_hash(&it.legacy_name, &it.value)))
    }
}
