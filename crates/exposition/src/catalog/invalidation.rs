//! Changes: the segments to render again, and the versions that grow.

use std::sync::Arc;

use super::Catalog;
use super::app::AppId;
use super::entry::{FamilyEntry, OpenMetricsForm, Placement};
use super::paged::Id;

impl Catalog {
    /// An app comes to have a family, or certain samples of it, or loses them. The header moves where it is the first app that has them; a
    /// family that goes out as several has several headers.
    pub(super) fn invalidate_membership(&mut self, id: Id<FamilyEntry>, app: AppId) {
        let Some(shared) = self.shared(id) else {
            return self.invalidate(id, app);
        };
        let first = shared.contributions.first().is_none_or(|first| first >= app);
        if first || shared.form == OpenMetricsForm::Split || shared.counts().quoted > 0 {
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
        match self.families.entries.get(id) {
            None => {}
            Some(FamilyEntry::Private { .. }) => self.layout.private.invalidate(app),
            Some(FamilyEntry::Shared(shared)) => match shared.placement {
                Placement::Group(group) => Arc::make_mut(&mut self.layout.groups[group]).segment.invalidate(),
                Placement::Large(_) => {
                    if let Some(Placement::Large(list)) = self.shared_mut(id).map(|shared| &mut shared.placement) {
                        list.invalidate(app);
                    }
                }
            },
        }
    }

    /// The header of a family has changed.
    pub(super) fn invalidate_header(&mut self, id: Id<FamilyEntry>) {
        let version = self.next_version();
        match self.families.entries.get_mut(id) {
            None => {}
            Some(FamilyEntry::Private { app, .. }) => {
                let app = *app;
                self.app_mut(app).version = version;
                self.layout.private.invalidate(app);
            }
            Some(FamilyEntry::Shared(shared)) => {
                let shared = Arc::make_mut(shared);
                shared.version = version;
                let first = shared.contributions.first();
                match &mut shared.placement {
                    Placement::Group(group) => Arc::make_mut(&mut self.layout.groups[*group]).segment.invalidate(),
                    Placement::Large(list) => match first {
                        Some(first) => list.invalidate(first),
                        None => list.invalidate_all(),
                    },
                }
            }
        }
    }

    /// All of a family has changed.
    pub(super) fn invalidate_all(&mut self, id: Id<FamilyEntry>) {
        let version = self.next_version();
        if let Some(shared) = self.shared_mut(id)
            && let Placement::Large(list) = &mut shared.placement
        {
            list.invalidate_all();
            shared.version = version;
        } else {
            self.invalidate_header(id);
        }
    }
}
