//! Forms of families under OpenMetrics.
//!
//! OpenMetrics gives a family of a type more names than its samples have: a counter with samples called `foo_total` also claims `foo`
//! and `foo_created`. A family goes out typed only where no other family has these names; otherwise as an unknown for each sample name.
//! The rules look at names and types and not at other forms, so their order does not matter.

use super::Catalog;
use super::entry::{FamilyEntry, FamilyRef, OpenMetricsForm};
use super::paged::Id;
use super::text_family::{OpenMetricsRole, Shape};
use crate::family::{MetricType, Suffix};

/// A family as far as forms depend on it.
struct Named<'a> {
    key: &'a [u8],
    kind: MetricType,
    shape: Shape,
    /// The role of all contributions, if they agree and are valid.
    role: Option<OpenMetricsRole>,
    in_conflict: bool,
    /// True if one app contributes to it.
    single: bool,
    labelled: bool,
    rank: u8,
}

impl Catalog {
    /// Decides on the form of a family again. The entry may be gone.
    pub(super) fn update_form(&mut self, id: Id<FamilyEntry>) {
        let Some(entry) = self.families.get(id) else { return };
        let key = self.families.key(&self.apps.slots, id);
        let form = self.form(&self.named(id, &key));
        match entry {
            FamilyRef::Private { app, at } => {
                let at = at as usize;
                if self.apps.slots[app].families[at].form != form {
                    if let Some(family) = self.app_mut(app).families.get_mut(at) {
                        family.form = form;
                    }
                    self.invalidate_all(id);
                }
            }
            FamilyRef::Shared(shared) if shared.form != form => {
                if let Some(shared) = self.shared_mut(id) {
                    shared.form = form;
                }
                self.invalidate_all(id);
            }
            FamilyRef::Shared(_) => {}
        }
    }

    fn named<'a>(&'a self, id: Id<FamilyEntry>, key: &'a [u8]) -> Named<'a> {
        match self.families.entry(id) {
            FamilyRef::Private { app, at } => {
                let family = &self.apps.slots[app].families[at as usize];
                Named {
                    key,
                    kind: family.text().kind,
                    shape: family.text().shape(),
                    role: family.text().valid.then_some(family.text().role),
                    in_conflict: false,
                    single: true,
                    labelled: family.labelled,
                    rank: 0,
                }
            }
            FamilyRef::Shared(shared) => Named {
                key,
                kind: shared.kind(),
                shape: shared.shape(),
                role: shared.common_role(),
                in_conflict: shared.in_conflict,
                single: shared.contributions.len() == 1,
                labelled: shared.counts().labelled > 0,
                rank: shared.rank,
            },
        }
    }

    /// True if a family has contributions with this role.
    fn has_role(&self, id: Id<FamilyEntry>, kind: MetricType) -> bool {
        let role = OpenMetricsRole { kind, primary: true };
        match self.families.entry(id) {
            FamilyRef::Private { app, at } => self.apps.slots[app].families[at as usize].text().role == role,
            FamilyRef::Shared(shared) => !shared.in_conflict && shared.counts().has_role(role),
        }
    }

    fn form(&self, family: &Named<'_>) -> OpenMetricsForm {
        match family.role {
            Some(OpenMetricsRole { kind, primary: true }) => self.primary_form(family, kind),
            Some(OpenMetricsRole { kind, primary: false }) => {
                let primary = self.primary_of(family, kind).and_then(|id| {
                    let key = self.families.key(&self.apps.slots, id);
                    let primary = self.named(id, &key);
                    (primary.role == Some(OpenMetricsRole { kind, primary: true })).then(|| self.primary_form(&primary, kind))
                });
                match primary {
                    Some(OpenMetricsForm::Typed(_)) => OpenMetricsForm::Inside,
                    Some(OpenMetricsForm::Inside | OpenMetricsForm::Plain(_) | OpenMetricsForm::Split) | None => untyped(family),
                }
            }
            None => untyped(family),
        }
    }

    fn primary_form(&self, family: &Named<'_>, kind: MetricType) -> OpenMetricsForm {
        use Suffix::{Created, GCount, GSum};
        let key = family.key;
        let free = !family.in_conflict
            && match kind {
                MetricType::Unknown | MetricType::Gauge => return untyped(family),
                MetricType::Histogram | MetricType::Summary => self.has_free(family, kind, key, &[Created]),
                MetricType::StateSet => family.single,
                MetricType::Counter => key
                    .strip_suffix(b"_total")
                    .is_some_and(|base| self.is_free(base) && self.has_free(family, kind, base, &[Created])),
                MetricType::Info => key.strip_suffix(b"_info").is_some_and(|base| self.is_free(base)),
                MetricType::GaugeHistogram => key
                    .strip_suffix(b"_bucket")
                    .is_some_and(|base| family.single && self.is_free(base) && self.has_free(family, kind, base, &[GCount, GSum])),
            };
        if free { OpenMetricsForm::Typed(kind) } else { untyped(family) }
    }

    fn lookup(&self, base: &[u8], suffix: Suffix) -> Option<Id<FamilyEntry>> {
        self.families.find_suffixed(&self.apps.slots, base, Suffix::Bare, suffix)
    }

    /// The family to which creation times and the like belong.
    fn primary_of(&self, family: &Named<'_>, kind: MetricType) -> Option<Id<FamilyEntry>> {
        let cut = |suffix: &str| family.key.strip_suffix(suffix.as_bytes());
        let (base, suffix) = match kind {
            MetricType::Counter => (cut("_created")?, Suffix::Total),
            MetricType::GaugeHistogram => (cut("_gcount").or_else(|| cut("_gsum"))?, Suffix::Bucket),
            _ => (cut("_created")?, Suffix::Bare),
        };
        self.lookup(base, suffix)
    }

    /// True if the names that a typed family claims beyond its own are free, or those of its own parts.
    fn has_free(&self, primary: &Named<'_>, kind: MetricType, base: &[u8], suffixes: &[Suffix]) -> bool {
        let mut claimed = suffixes.iter().filter_map(|suffix| self.lookup(base, *suffix));
        claimed.all(|id| {
            let part = self.named(id, &[]);
            // The disambiguating label must have the same name everywhere, because the primary's is exposed on all.
            part.role == Some(OpenMetricsRole { kind, primary: false }) && (!primary.labelled || part.rank == primary.rank)
        })
    }

    /// True if only one typed family claims a base name.
    fn is_free(&self, base: &[u8]) -> bool {
        if base.is_empty() || self.lookup(base, Suffix::Bare).is_some() || self.is_sample_name(base) {
            return false;
        }
        let claims = [
            self.lookup(base, Suffix::Total).is_some_and(|id| self.is_counter(id)),
            self.lookup(base, Suffix::Info)
                .is_some_and(|id| self.has_role(id, MetricType::Info)),
            self.lookup(base, Suffix::Bucket)
                .is_some_and(|id| self.has_role(id, MetricType::GaugeHistogram)),
        ];
        claims.iter().filter(|claims| **claims).count() <= 1 && !self.is_claimed(base)
    }

    fn is_counter(&self, id: Id<FamilyEntry>) -> bool {
        self.named(id, &[]).kind == MetricType::Counter
    }

    /// True if a histogram or summary has samples of this name.
    fn is_sample_name(&self, name: &[u8]) -> bool {
        let Some((base, suffix)) = Suffix::split(name) else { return false };
        let owner = self.lookup(base, Suffix::Bare).map(|id| self.named(id, &[]).shape);
        owner.is_some_and(|shape| shape.suffixes().contains(&suffix))
    }

    /// True if a name is one that a counter, histogram, summary or gauge histogram claims.
    fn is_claimed(&self, name: &[u8]) -> bool {
        match Suffix::split(name) {
            Some((parent, Suffix::Created)) => {
                let grouped = self.lookup(parent, Suffix::Bare).map(|id| self.named(id, &[]).shape);
                grouped.is_some_and(|shape| shape != Shape::Scalar) || self.lookup(parent, Suffix::Total).is_some()
            }
            Some((parent, Suffix::GCount | Suffix::GSum)) => self
                .lookup(parent, Suffix::Bucket)
                .is_some_and(|id| self.has_role(id, MetricType::GaugeHistogram)),
            _ => false,
        }
    }
}

/// The form of a family that OpenMetrics cannot have with its type.
fn untyped(family: &Named<'_>) -> OpenMetricsForm {
    match (family.shape, family.kind) {
        (Shape::Histogram | Shape::Summary, _) => OpenMetricsForm::Split,
        (Shape::Scalar, MetricType::Gauge) => OpenMetricsForm::Plain(MetricType::Gauge),
        (Shape::Scalar, _) => OpenMetricsForm::Plain(MetricType::Unknown),
    }
}
