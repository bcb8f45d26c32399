//! What families are under OpenMetrics.
//!
//! OpenMetrics gives a family of a type more names than its samples have: a counter whose samples are called `foo_total` also claims `foo` and
//! `foo_created`. A family goes out typed only where nothing else has these names; otherwise as it would without its type, an unknown under
//! each sample name. The rules look at what is there and not at what has been decided for others, so their order does not matter.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Catalog;
use super::entry::{Entry, Form};
use super::parts::{Role, Shape};
use crate::exposition::Kind;

/// What is put to the base name of an OpenMetrics family to make the names of its parts.
const PARTS: [&str; 7] = ["", "_total", "_created", "_info", "_bucket", "_gcount", "_gsum"];

/// What is put to a family's name to make the names that it claims.
const CLAIMS: [&str; 7] = ["", "_created", "_bucket", "_sum", "_count", "_gcount", "_gsum"];

impl Catalog {
    /// Decides again on these families and on all that depend on them.
    pub(super) fn reform(&mut self, keys: &BTreeSet<Arc<[u8]>>) {
        let mut related = BTreeSet::new();
        for base in keys
            .iter()
            .flat_map(|key| PARTS.iter().filter_map(|part| key.strip_suffix(part.as_bytes())))
        {
            for claimed in CLAIMS.map(|claim| [base, claim.as_bytes()].concat()) {
                related.extend(
                    PARTS
                        .iter()
                        .filter_map(|part| self.entry_by_parts(&claimed, part).map(|(id, _)| id)),
                );
            }
        }
        for id in related {
            let form = self.form(&self.entries[id]);
            if std::mem::replace(&mut self.entries[id].form, form) != form {
                self.mark_all(id);
            }
        }
    }

    fn form(&self, entry: &Entry) -> Form {
        match entry.common_role() {
            Some(Role { kind, primary: true }) => self.primary_form(entry, kind),
            Some(Role { kind, primary: false }) => {
                let primary = self
                    .primary_of(entry, kind)
                    .filter(|primary| primary.common_role() == Some(Role { kind, primary: true }));
                match primary.map(|primary| self.primary_form(primary, kind)) {
                    Some(Form::Typed(_)) => Form::Inside,
                    Some(Form::Inside | Form::Plain(_) | Form::Split) | None => untyped(entry),
                }
            }
            None => untyped(entry),
        }
    }

    fn primary_form(&self, entry: &Entry, kind: Kind) -> Form {
        let key = &*entry.key;
        let alone = entry.shared().is_none_or(|shared| shared.of.len() == 1);
        let free = entry.is_active()
            && match kind {
                Kind::Unknown | Kind::Gauge => return untyped(entry),
                Kind::Histogram | Kind::Summary => self.has_free(entry, kind, key, &["_created"]),
                Kind::StateSet => alone,
                Kind::Counter => key
                    .strip_suffix(b"_total")
                    .is_some_and(|base| self.is_free(base) && self.has_free(entry, kind, base, &["_created"])),
                Kind::Info => key.strip_suffix(b"_info").is_some_and(|base| self.is_free(base)),
                Kind::GaugeHistogram => key
                    .strip_suffix(b"_bucket")
                    .is_some_and(|base| alone && self.is_free(base) && self.has_free(entry, kind, base, &["_gcount", "_gsum"])),
            };
        if free { Form::Typed(kind) } else { untyped(entry) }
    }

    /// Where a family of creation times and the like belongs.
    fn primary_of(&self, entry: &Entry, kind: Kind) -> Option<&Entry> {
        let cut = |suffix: &str| entry.key.strip_suffix(suffix.as_bytes());
        let (base, suffix) = match kind {
            Kind::Counter => (cut("_created")?, "_total"),
            Kind::GaugeHistogram => (cut("_gcount").or_else(|| cut("_gsum"))?, "_bucket"),
            _ => (cut("_created")?, ""),
        };
        self.entry_by_parts(base, suffix).map(|(_, primary)| primary)
    }

    /// Whether the names that a typed family claims beyond its own are nobody's, or its own parts.
    fn has_free(&self, primary: &Entry, kind: Kind, base: &[u8], suffixes: &[&str]) -> bool {
        suffixes
            .iter()
            .filter_map(|suffix| self.entry_by_parts(base, suffix))
            .all(|(_, part)| {
                let is_part = part.common_role() == Some(Role { kind, primary: false });
                // A telling label must be called the same everywhere, because the primary's goes out on all.
                let labelled = primary.iter().any(|(_, it)| it.labelled);
                is_part && part.is_active() && (!labelled || part.rank() == primary.rank())
            })
    }

    /// Whether nothing but one typed family claims its base name.
    fn is_free(&self, base: &[u8]) -> bool {
        let own = Shape::Histogram.suffixes().iter().find_map(|suffix| {
            // The name of a sample of a histogram or summary.
            let owner = self.active(base.strip_suffix(suffix.as_str().as_bytes())?, "")?;
            owner.shape.suffixes().contains(suffix).then_some(())
        });
        if base.is_empty() || self.active(base, "").is_some() || own.is_some() {
            return false;
        }
        let claims = [
            self.active(base, "_total").is_some_and(|entry| entry.kind == Kind::Counter),
            self.active(base, "_info").is_some_and(|entry| has_role(entry, Kind::Info)),
            self.active(base, "_bucket")
                .is_some_and(|entry| has_role(entry, Kind::GaugeHistogram)),
        ];
        let created_by = base.strip_suffix(b"_created").is_some_and(|parent| {
            self.active(parent, "").is_some_and(|entry| entry.shape != Shape::Scalar) || self.active(parent, "_total").is_some()
        });
        let counted_by = ["_gcount", "_gsum"].iter().any(|suffix| {
            base.strip_suffix(suffix.as_bytes())
                .and_then(|parent| self.active(parent, "_bucket"))
                .is_some_and(|entry| has_role(entry, Kind::GaugeHistogram))
        });
        claims.iter().filter(|claims| **claims).count() <= 1 && !created_by && !counted_by
    }

    fn active(&self, base: &[u8], suffix: &str) -> Option<&Entry> {
        self.entry_by_parts(base, suffix)
            .map(|(_, entry)| entry)
            .filter(|entry| entry.is_active())
    }
}

/// What is left of a family when OpenMetrics cannot have its type.
fn untyped(entry: &Entry) -> Form {
    match (entry.shape, entry.kind) {
        (Shape::Histogram | Shape::Summary, _) => Form::Split,
        (Shape::Scalar, Kind::Gauge) => Form::Plain(Kind::Gauge),
        (Shape::Scalar, _) => Form::Plain(Kind::Unknown),
    }
}

fn has_role(entry: &Entry, kind: Kind) -> bool {
    entry
        .get(entry.senior)
        .is_some_and(|senior| senior.part.role == Role { kind, primary: true })
}
