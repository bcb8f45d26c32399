//! HELP owners: the first app by name that has a HELP line.
//!
//! An owner that leaves is not replaced at once. A family may have as many contributors as there are apps, and all of them may leave one
//! after another: the next owner is looked for when a response needs it.

use super::Catalog;
use super::app::AppId;
use super::contributions::Contribution;
use super::entry::{FamilyEntry, SharedFamily};
use super::paged::{Id, LateId};
use super::update::UpdateContext;

impl Catalog {
    /// The owner of the exposed HELP.
    pub(super) fn help_owner(&self, shared: &SharedFamily) -> Option<AppId> {
        let owner = shared.help_owner.get_or_find(|| {
            let apps = &self.apps.slots;
            let with_help = shared
                .contributions
                .iter()
                .filter(|(app, it)| shared.shows(it) && apps[*app].help(it.text().family).is_some());
            with_help
                .max_by(|(one, _), (other, _)| apps[*one].name_order().cmp(&apps[*other].name_order()))
                .map_or(Id::NONE, |(app, _)| app)
        });
        (owner != Id::NONE).then_some(owner)
    }

    /// Makes an app the owner of a family's HELP if it comes before the owner. `changed` says whether its HELP is new.
    pub(super) fn offer_help(&mut self, id: Id<FamilyEntry>, app: AppId, changed: bool) {
        let Some(shared) = self.shared(id) else { return };
        let shown = shared.contributions.get(app).filter(|it| shared.shows(it));
        let has_help = shown.is_some_and(|it| self.apps.slots[app].help(it.text().family).is_some());
        let Some(owner) = shared.help_owner.get() else {
            // A snapshot may have rendered the header with an owner that is not known here.
            if changed {
                self.invalidate_header(id);
            }
            return;
        };
        let order = |app: AppId| self.apps.slots[app].name_order();
        let wins = has_help && (owner == Id::NONE || owner != app && order(app) > order(owner));
        if wins && let Some(shared) = self.shared_mut(id) {
            shared.help_owner = LateId::from(app);
        }
        if wins || changed && owner == app {
            self.invalidate_header(id);
        }
        if owner == app && !has_help {
            self.withdraw_help(id, app);
        }
    }

    /// Forgets the owner of a family's HELP if it is this app.
    pub(super) fn withdraw_help(&mut self, id: Id<FamilyEntry>, app: AppId) {
        let owns = self.shared(id).is_some_and(|shared| shared.help_owner.get() == Some(app));
        if owns && let Some(shared) = self.shared_mut(id) {
            shared.help_owner = LateId::unknown();
            self.invalidate_header(id);
        }
    }

    /// Takes note of another HELP or UNIT of the updated app.
    pub(super) fn update_help_and_unit(&mut self, id: Id<FamilyEntry>, old: &Contribution, context: &UpdateContext) {
        let (app, before) = (&self.apps.slots[context.app], &context.before);
        let Some((shared, new)) = self
            .shared(id)
            .and_then(|shared| Some((shared, shared.contributions.get(context.app)?)))
        else {
            return;
        };
        let now = new.text().family;
        // In a conflict it counts only while samples of the family's name come with it.
        let other_help = app.help(now) != before.help(old.text().family) || shared.shows(new) != shared.shows(old);
        let other_unit = app.unit(now) != before.unit(old.text().family);
        if other_help {
            self.offer_help(id, context.app, true);
        }
        if other_unit {
            self.invalidate_header(id);
        }
    }
}
