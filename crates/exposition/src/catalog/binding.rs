//! The families of an updated app tied to their entries: contributions that come, are renewed, and go.

use std::sync::Arc;

use super::Catalog;
use super::app::{AppFamily, AppId};
use super::contributions::Contribution;
use super::duplicates::{ContributionSamples, has_same_series};
use super::entry::{FamilyEntry, FamilyRef, Key, Placement, SharedFamily};
use super::paged::Id;
use super::rules::Duplicates;
use super::text_family::{Shape, TextFamily};
use super::update::UpdateContext;
use crate::family::{MetricType, Suffix};

impl Catalog {
    /// Ties a family of the updated app to its entry.
    pub(super) fn bind(&mut self, context: &mut UpdateContext, at: u32, hash: u64, entry: Id<FamilyEntry>) {
        let app = context.app;
        let entry = if entry == Id::NONE && context.has_new_names {
            let app = &self.apps.slots[app];
            let key = app.families[at as usize].text().key(&app.exposition);
            self.families.find_hashed(&self.apps.slots, hash, &key).unwrap_or(Id::NONE)
        } else {
            entry
        };
        if entry == Id::NONE {
            return self.create(context, at, hash);
        }
        if self.apps.slots[app].families[at as usize].entry != entry
            && let Some(family) = self.app_mut(app).families.get_mut(at as usize)
        {
            family.entry = entry;
        }
        let shape = self.apps.slots[app].families[at as usize].text().shape();
        match self.families.entry(entry) {
            FamilyRef::Private { app: owner, .. } if owner == app => {
                if context.retyped.contains(&entry) {
                    self.queue_dependents(entry, context);
                }
            }
            FamilyRef::Private { .. } => {
                self.make_shared(entry, context);
                self.declare(context, at, entry);
            }
            FamilyRef::Shared(shared) => match shared.contributions.get(app) {
                None => self.declare(context, at, entry),
                // A contribution can be renewed if it has the shape that it had, or no other app contributes.
                Some(old) if !old.derived && (old.text().shape() == shape || shared.contributions.len() == 1) => {
                    if self.keeps_series(context, at, old, shared) {
                        self.invalidate_segment(entry, app);
                    } else {
                        self.renew_all(context, at, entry);
                    }
                }
                Some(_) => self.declare_again(context, at, hash, entry),
            },
        }
    }

    /// Replaces a derived contribution by a declared one, or one of another shape.
    fn declare_again(&mut self, context: &mut UpdateContext, at: u32, hash: u64, entry: Id<FamilyEntry>) {
        let source = self.source_before(context, entry);
        self.detach(entry, context.app, source.as_ref(), context);
        context.stale_derived.remove(&entry);
        if self.families.get(entry).is_some() {
            self.declare(context, at, entry);
        } else {
            self.create(context, at, hash);
        }
    }

    /// Adds a family that no app has.
    fn create(&mut self, context: &mut UpdateContext, at: u32, hash: u64) {
        let app = Arc::clone(&self.apps.slots[context.app]);
        let text = app.families[at as usize].text();
        let key = text.key(&app.exposition);
        let id = self.families.insert_private(hash, &key, context.app, at);
        self.queue_name_dependents(&key, text.shape(), context);
        if text.shape() != Shape::Scalar || Suffix::split(&key).is_some() {
            context.contested.insert(id);
        }
        context.stale_forms.push(id);
        drop(app);
        if let Some(family) = self.app_mut(context.app).families.get_mut(at as usize) {
            family.entry = id;
        }
    }

    /// Adds a declared family of the updated app to a shared entry.
    fn declare(&mut self, context: &mut UpdateContext, at: u32, id: Id<FamilyEntry>) {
        let text = self.apps.slots[context.app].families[at as usize].text();
        self.attach(id, context.app, at, text, false, context);
        self.sync_derived(id, context.app, context);
    }

    /// Adds a contribution to a shared entry.
    pub(super) fn attach(
        &mut self,
        id: Id<FamilyEntry>,
        app: AppId,
        at: u32,
        text: TextFamily,
        derived: bool,
        context: &mut UpdateContext,
    ) {
        self.enter_conflict_if_contradicted(id, &text, derived, context);
        let owner = &self.apps.slots[app];
        let family = owner.families[at as usize];
        let bytes = text.size(&owner.exposition);
        let contribution = Contribution {
            since: family.since,
            at,
            text: text.into(),
            derived,
            bytes,
            duplicates: 0,
            labelled: family.labelled,
            taken: 0,
            counted_in_conflict: false,
        };
        let exposed_type = self.exposed_type(id);
        if let Some(shared) = self.shared_mut(id) {
            shared.contributions.insert(app, contribution);
            if !derived && matches!(shared.key, Key::Owned(_)) {
                shared.key = Key::Declared { app, at };
            }
            self.counts.contributions += 1;
        }
        self.resize(id, bytes as usize, 0);
        if !derived {
            if !family.shared {
                let owner = self.app_mut(app);
                owner.private_bytes = owner.private_bytes.saturating_sub(bytes as usize);
                if let Some(family) = owner.families.get_mut(at as usize) {
                    family.shared = true;
                }
            }
            self.queue_dependents(id, context);
        }
        let has_help = self.apps.slots[app].help(text.family).is_some();
        self.offer_help(id, app, has_help);
        self.reindex(id, app, None, context);
        self.rerank(id, context);
        self.keep_quoted_together(id);
        self.after_change(id, app, exposed_type, context);
        if text.has_unit {
            self.invalidate_header(id);
        }
        self.invalidate_membership(id, app);
    }

    /// True if only the values of samples have changed in a contribution of the updated app, as in most updates.
    fn keeps_series(&self, context: &UpdateContext, at: u32, old: &Contribution, shared: &SharedFamily) -> bool {
        let app = &self.apps.slots[context.app];
        let family = app.families[at as usize];
        let bytes = family.text().size(&app.exposition);
        old.text() == family.text()
            && (old.at, old.bytes, old.labelled) == (at, bytes, family.labelled)
            && !shared.in_conflict
            && (old.duplicates == 0 || self.rules.duplicates == Duplicates::Label)
            && app.help(family.text().family) == context.before.help(old.text().family)
            && app.unit(family.text().family) == context.before.unit(old.text().family)
            && has_same_series(&context.before, app, &family.text())
    }

    /// Renews a declared contribution of the updated app.
    fn renew_all(&mut self, context: &mut UpdateContext, at: u32, id: Id<FamilyEntry>) {
        let (app, exposed_type) = (context.app, self.exposed_type(id));
        let before = self.source_before(context, id);
        let owner = &self.apps.slots[app];
        let family = owner.families[at as usize];
        let bytes = family.text().size(&owner.exposition);
        let Some(old) = self.renew_contribution(id, app, at, family, bytes) else {
            return;
        };
        let (was, is) = (old.text(), family.text());
        if context.retyped.contains(&id) {
            self.queue_dependents(id, context);
        }
        self.keep_quoted_together(id);
        self.reindex(id, app, before, context);
        self.update_help_and_unit(id, &old, context);
        if family.labelled && !old.labelled {
            self.label_bound(id, app, context);
        }
        self.after_change(id, app, exposed_type, context);
        if was.names == is.names {
            self.invalidate(id, app);
        } else {
            self.invalidate_membership(id, app);
        }
        self.sync_derived(id, app, context);
    }

    /// Puts the new state of a declared family into its contribution; returns the contribution as it was.
    fn renew_contribution(&mut self, id: Id<FamilyEntry>, app: AppId, at: u32, family: AppFamily, bytes: u32) -> Option<Contribution> {
        let shared = self.shared_mut(id)?;
        let old = shared.contributions.change(app, |it| {
            let new = Contribution {
                since: family.since,
                at,
                text: family.text,
                bytes,
                ..it.clone()
            };
            std::mem::replace(it, new)
        })?;
        self.resize(id, bytes as usize, old.bytes as usize);
        Some(old)
    }

    /// Notes another size of a contribution that stays the same otherwise.
    pub(super) fn renew_size(&mut self, id: Id<FamilyEntry>, app: AppId, before: u32, now: u32) {
        if before != now
            && let Some(shared) = self.shared_mut(id)
        {
            shared.contributions.change(app, |it| it.bytes = now);
            self.resize(id, now as usize, before as usize);
        }
    }

    /// Renews a derived contribution of the updated app.
    pub(super) fn renew_derived(&mut self, id: Id<FamilyEntry>, app: AppId, at: u32, text: TextFamily, context: &mut UpdateContext) {
        let before = self.source_before(context, id);
        let owner = &self.apps.slots[app];
        let family = AppFamily {
            text: text.into(),
            ..owner.families[at as usize]
        };
        let bytes = text.size(&owner.exposition);
        let Some(old) = self.renew_contribution(id, app, at, family, bytes) else {
            return;
        };
        self.keep_quoted_together(id);
        self.reindex(id, app, before, context);
        self.update_help_and_unit(id, &old, context);
        if family.labelled && !old.labelled {
            self.label_bound(id, app, context);
        }
        self.invalidate(id, app);
    }

    /// Makes a private entry a shared one.
    pub(super) fn make_shared(&mut self, id: Id<FamilyEntry>, context: &mut UpdateContext) {
        let FamilyRef::Private { app, at } = self.families.entry(id) else {
            return;
        };
        let text = self.apps.slots[app].families[at as usize].text();
        self.layout.private.invalidate(app);
        let placement = Placement::Group(self.group_for(id, 0));
        self.families.share(id, placement);
        self.counts.shared += 1;
        self.attach(id, app, at, text, false, context);
    }

    /// Removes the contributions of shared families that the update no longer has.
    pub(super) fn detach_declared(&mut self, context: &mut UpdateContext, kept: &[bool]) {
        let before = Arc::clone(&context.before);
        for (old, _) in before.families.iter().zip(kept).filter(|(old, kept)| !**kept && old.shared) {
            let source = self.source_before(context, old.entry);
            self.detach(old.entry, context.app, source.as_ref(), context);
        }
    }

    /// Removes the contributions under other names that the update no longer has.
    pub(super) fn detach_derived(&mut self, context: &mut UpdateContext) {
        for id in std::mem::take(&mut context.stale_derived) {
            let source = self.source_before(context, id);
            self.detach(id, context.app, source.as_ref(), context);
        }
    }

    /// Removes a contribution with the samples of `source`.
    pub(super) fn detach(&mut self, id: Id<FamilyEntry>, app: AppId, source: Option<&ContributionSamples>, context: &mut UpdateContext) {
        self.invalidate_membership(id, app);
        let exposed_type = self.exposed_type(id);
        if let Some(source) = source {
            self.release_series(id, app, source, context);
        }
        let Some(shared) = self.shared_mut(id) else { return };
        let Some(gone) = shared.contributions.remove(app) else { return };
        let is_empty = shared.contributions.is_empty();
        self.counts.contributions -= 1;
        self.resize(id, 0, gone.bytes as usize);
        if gone.counted_in_conflict {
            let owner = self.app_mut(app);
            owner.conflicts = owner.conflicts.saturating_sub(1);
        }
        self.queue_dependents(id, context);
        if is_empty {
            return self.remove_entry(id);
        }
        self.withdraw_help(id, app);
        self.after_change(id, app, exposed_type, context);
        if gone.text().has_unit {
            self.invalidate_header(id);
        }
    }

    /// Removes an entry without contributions.
    fn remove_entry(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        match shared.placement {
            Placement::Group(group) => self.leave_group(id, group),
            Placement::Large(list) => self.leave_large(id, list),
        }
        let key = self.families.key(&self.apps.slots, id).into_owned();
        self.families.remove(id, &key);
        self.counts.shared -= 1;
    }

    /// True if a family is in conflict, and its type as exposed: contributions count as conflicts by these.
    pub(super) fn exposed_type(&self, id: Id<FamilyEntry>) -> Option<(bool, MetricType)> {
        self.shared(id).map(|shared| (shared.in_conflict, shared.kind()))
    }

    /// Updates what depends on a family's type and on the contribution of one app.
    fn after_change(&mut self, id: Id<FamilyEntry>, app: AppId, exposed_type: Option<(bool, MetricType)>, context: &mut UpdateContext) {
        if self.exposed_type(id) == exposed_type {
            self.refresh_conflict_count(id, app);
        } else {
            context.stale_forms.push(id);
            self.refresh_conflict_counts(id);
            self.invalidate_all(id);
        }
    }
}
