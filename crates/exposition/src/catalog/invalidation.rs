//! Changes: the segments to render again, and the versions that grow.

use std::sync::Arc;

use super::Catalog;
use super::app::AppId;
use super::entry::{FamilyEntry, FamilyRef, Placement};
use super::paged::Id;
use crate::family::Suffix;

impl Catalog {
    /// An app comes to have a family, or certain samples of it, or loses them. The header moves where it is the first app that has them; a
    /// family that goes out as several has several headers, and in a conflict some apps have no samples of its name, so that the header may
    /// stand in any segment.
    pub(super) fn invalidate_membership(&mut self, id: Id<FamilyEntry>, app: AppId) {
        let Some(shared) = self.shared(id) else {
            return self.invalidate(id, app);
        };
        let first = shared.contributions.first().is_none_or(|first| first >= app);
        if first || !shared.has_header_first() || shared.counts().quoted > 0 {
            self.invalidate_all(id);
        } else {
            self.invalidate(id, app);
        }
    }

    /// The contribution of an app has changed.
    pub(super) fn invalidate(&mut self, id: Id<FamilyEntry>, app: AppId) {
        let version = self.next_version();
        self.app_mut(app).version = version;
        self.invalidate_segment(id, app);
    }

    /// The segment that shows the contribution of an app has changed; the app's version grows elsewhere.
    pub(super) fn invalidate_segment(&mut self, id: Id<FamilyEntry>, app: AppId) {
        match self.families.get(id) {
            None => {}
            Some(FamilyRef::Private { .. }) => self.layout.private.invalidate(app),
            Some(FamilyRef::Shared(shared)) => match shared.placement {
                Placement::Group(group) => Arc::make_mut(&mut self.layout.groups[group]).segment.invalidate(),
                Placement::Large(list) => Arc::make_mut(&mut self.layout.lists[list]).invalidate(app),
            },
        }
    }

    /// The header of a family has changed.
    pub(super) fn invalidate_header(&mut self, id: Id<FamilyEntry>) {
        let version = self.next_version();
        if let Some(FamilyRef::Private { app, .. }) = self.families.get(id) {
            self.app_mut(app).version = version;
            self.layout.private.invalidate(app);
        } else if let Some(shared) = self.families.shared_mut(id) {
            shared.version = version;
            let first = shared.contributions.first().filter(|_| shared.has_header_first());
            match (shared.placement, first) {
                (Placement::Group(group), _) => Arc::make_mut(&mut self.layout.groups[group]).segment.invalidate(),
                (Placement::Large(list), Some(first)) => Arc::make_mut(&mut self.layout.lists[list]).invalidate(first),
                (Placement::Large(list), None) => Arc::make_mut(&mut self.layout.lists[list]).invalidate_all(),
            }
        }
    }

    /// All of a family has changed, in a way that messages of another one may depend on: the series that are left out, or the name of the
    /// disambiguating label.
    pub(super) fn invalidate_with_base(&mut self, id: Id<FamilyEntry>) {
        self.invalidate_all(id);
        self.invalidate_base(id);
    }

    /// Invalidates the family of which messages have samples that text shows under the name of this one: a family in conflict, or one that a body
    /// gives several types.
    pub(super) fn invalidate_base(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        let is_derived = shared.counts().derived > 0;
        let key = self.families.key(&self.apps.slots, id);
        let Some((base, suffix)) = Suffix::split(&key) else { return };
        let Some(base) = self.find(base) else { return };
        let depends = match self.families.get(base) {
            None => false,
            Some(FamilyRef::Private { app, at }) => self.apps.slots[app].families[at as usize].text().other_records,
            // Creation times are declared, and out of a group in conflict they go out as these.
            Some(FamilyRef::Shared(base)) => {
                base.in_conflict && (is_derived || suffix == Suffix::Created) || base.counts().other_records > 0
            }
        };
        if depends {
            self.invalidate_all(base);
        }
    }

    /// All of a family has changed.
    pub(super) fn invalidate_all(&mut self, id: Id<FamilyEntry>) {
        let version = self.next_version();
        if let Some(shared) = self.families.shared_mut(id)
            && let Placement::Large(list) = shared.placement
        {
            shared.version = version;
            Arc::make_mut(&mut self.layout.lists[list]).invalidate_all();
        } else {
            self.invalidate_header(id);
        }
    }
}
