//! Families to bytes: headers, samples copied as they are where that is legal, spelt anew where it is not.

mod chunk;
mod header;
mod rope;
mod sample;
mod standing;

use std::collections::HashSet;
use std::sync::Arc;

use super::negotiate::{Escaping, Format};
use super::{Exposition, Family, Kind, Sample, Suffix, Traits};
use crate::model::Syntax;

pub use chunk::Chunk;
pub(crate) use header::{Header, Help};
pub(crate) use sample::{Addition, legacy_labels, underscored_label, underscored_metric};

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
            Syntax::OpenMetrics if self.takes_exemplars() => Traits::RESPELL_OPENMETRICS | Traits::RESERVED_LABELS,
            Syntax::OpenMetrics => Traits::RESPELL_OPENMETRICS | Traits::RESERVED_LABELS | Traits::EXEMPLARS,
        };
        !traits.intersects(forbidden)
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
        for sample in exposition.samples(source) {
            let Some(suffix) = Suffix::between(name, sample.name) else {
                continue;
            };
            let stands = standing.as_mut().is_none_or(|standing| standing.admits(&sample, suffix));
            if !stands || !self.names.contains(suffix.as_trait()) || self.stays_away(&sample, suffix, to) {
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

    fn stays_away(&self, sample: &Sample<'_>, suffix: Suffix, to: Variant) -> bool {
        let quoted = self.source().traits.contains(Traits::QUOTED);
        let hidden = |hidden: &Arc<Hidden>| hidden.contains(&group_hash(sample, self.source().kind, suffix, &self.additions, quoted));
        // Strict parsers refuse a whole scrape for one label that starts with two underscores.
        let reserved = to.syntax == Syntax::OpenMetrics
            && self.source().traits.contains(Traits::RESERVED_LABELS)
            && sample.labels.clone().any(|label| label.name.starts_with(b"__"));
        reserved || self.hidden.as_ref().is_some_and(hidden)
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

/// The identity by which samples of several applications are compared within a family: that of the series, names escaped by the underscores
/// rule, and of a histogram or summary that of the whole group, which must stay together or go together.
pub(crate) fn group_hash(sample: &Sample<'_>, kind: Kind, suffix: Suffix, additions: &[Addition], quoted: bool) -> u64 {
    let bound = if matches!(kind, Kind::GaugeHistogram) {
        None
    } else {
        bound_label(kind, suffix)
    };
    let labels = legacy_labels(&sample.labels, quoted).filter(|(_, label)| Some(label.name) != bound);
    let hash = labels.fold(0_u64, |hash, (name, label)| {
        hash.wrapping_add(super::label_hash(&name, label.value))
    });
    let added = additions.iter().filter(|it| it.lacking_in(&sample.labels));
    added.fold(hash, |hash, it| hash.wrapping_add(super::label_hash(&it.legacy_name, &it.value)))
}
