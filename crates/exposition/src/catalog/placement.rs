//! The segments of shared families: which families are shown together, as they grow and shrink.

use std::sync::Arc;

use super::Catalog;
use super::contributions::AppRange;
use super::entry::{FamilyEntry, FamilyRef, Placement};
use super::paged::Id;
use super::segments::{Group, MAX_SEGMENT_BYTES, MIN_SEGMENT_BYTES, Segment, SegmentList, TARGET_SEGMENT_BYTES};

impl Catalog {
    /// Keeps the size of a family's group up to date.
    pub(super) fn resize(&mut self, id: Id<FamilyEntry>, added: usize, removed: usize) {
        if added != removed
            && let Some(&Placement::Group(group)) = self.shared(id).map(|shared| &shared.placement)
        {
            let segment = &mut Arc::make_mut(&mut self.layout.groups[group]).segment;
            segment.bytes = segment.bytes + added - removed;
            segment.sized = false;
        }
    }

    /// Drops the segments of a family that had its own.
    pub(super) fn leave_large(&mut self, id: Id<FamilyEntry>, list: Id<Arc<SegmentList>>) {
        Arc::make_mut(&mut self.layout.large).remove(&id);
        self.layout.lists.remove(list);
    }

    pub(super) fn leave_group(&mut self, id: Id<FamilyEntry>, group: Id<Arc<Group>>) {
        let members = Arc::make_mut(&mut self.layout.groups[group]);
        members.remove(id);
        members.segment.invalidate();
        if members.families.is_empty() {
            self.layout.groups.remove(group);
        }
    }

    /// The group for a family of this many bytes, which joins it.
    pub(super) fn group_for(&mut self, id: Id<FamilyEntry>, bytes: usize) -> Id<Arc<Group>> {
        let last = self.layout.groups.last();
        let fitting = last.filter(|(_, group)| group.segment.bytes + bytes <= TARGET_SEGMENT_BYTES);
        let group = fitting.map(|(id, _)| id).unwrap_or_else(|| {
            self.layout.groups.insert(Arc::new(Group {
                families: Vec::new(),
                segment: Segment::new(0),
            }))
        });
        let joined = Arc::make_mut(&mut self.layout.groups[group]);
        joined.add(id);
        joined.segment.bytes += bytes;
        joined.segment.invalidate();
        group
    }

    /// Moves a family with quoted names out of segments of its own: its names may differ, and the samples of each belong together.
    pub(super) fn keep_quoted_together(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        let (quoted, bytes) = {
            let counts = shared.counts();
            (counts.quoted > 0, counts.bytes)
        };
        if quoted && let Placement::Large(list) = shared.placement {
            let group = self.group_for(id, bytes);
            self.leave_large(id, list);
            if let Some(shared) = self.shared_mut(id) {
                shared.placement = Placement::Group(group);
            }
        }
    }

    /// Splits and merges segments that have changed, so that all have a good size.
    pub(super) fn rebalance(&mut self) {
        let apps = &self.apps.slots;
        self.layout.private.rebalance(|from, to| {
            let sizes = apps.range(from, to).map(|(id, app)| (id, app.private_bytes));
            sizes.filter(|(_, bytes)| *bytes > 0).collect()
        });
        self.rebalance_groups();
        for id in self.layout.large.iter().copied().collect::<Vec<_>>() {
            self.rebalance_large(id);
        }
    }

    fn rebalance_groups(&mut self) {
        let groups = self.layout.groups.iter();
        let changed: Vec<_> = groups.filter(|(_, group)| !group.segment.sized).map(|(id, _)| id).collect();
        for id in changed {
            let segment = &mut Arc::make_mut(&mut self.layout.groups[id]).segment;
            segment.sized = true;
            let bytes = segment.bytes;
            if bytes > MAX_SEGMENT_BYTES {
                self.split_group(id);
            } else if bytes < MIN_SEGMENT_BYTES {
                self.merge_group(id);
            }
        }
    }

    /// Splits a group that has grown too large: its large families get segments of their own, the others are distributed.
    fn split_group(&mut self, id: Id<Arc<Group>>) {
        let Some(group) = self.layout.groups.remove(id) else { return };
        for &family in &group.families {
            let Some(shared) = self.shared(family) else { continue };
            let (bytes, quoted) = {
                let counts = shared.counts();
                (counts.bytes, counts.quoted)
            };
            if bytes > TARGET_SEGMENT_BYTES / 2 && quoted == 0 {
                let list = self.layout.lists.insert(Arc::new(SegmentList::new()));
                self.place(family, Placement::Large(list));
                Arc::make_mut(&mut self.layout.large).insert(family);
            } else {
                let group = self.group_for(family, bytes);
                self.place(family, Placement::Group(group));
            }
        }
    }

    /// Merges a group that has shrunk into the one before it, if there is room.
    fn merge_group(&mut self, id: Id<Arc<Group>>) {
        let bytes = self.layout.groups[id].segment.bytes;
        let before = self.layout.groups.before(id);
        let fitting = before.filter(|(_, group)| group.segment.bytes + bytes <= TARGET_SEGMENT_BYTES);
        let Some(target) = fitting.map(|(id, _)| id) else { return };
        let Some(group) = self.layout.groups.remove(id) else { return };
        for &family in &group.families {
            self.place(family, Placement::Group(target));
        }
        let target = Arc::make_mut(&mut self.layout.groups[target]);
        target.families.extend(&group.families);
        target.families.sort_unstable();
        target.segment.bytes += bytes;
        target.segment.invalidate();
    }

    fn place(&mut self, family: Id<FamilyEntry>, placement: Placement) {
        if let Some(shared) = self.shared_mut(family) {
            shared.placement = placement;
        }
    }

    fn rebalance_large(&mut self, id: Id<FamilyEntry>) {
        let Some(shared) = self.shared(id) else { return };
        let Placement::Large(list_id) = shared.placement else { return };
        if self.layout.lists[list_id].segments().all(|(.., segment)| segment.sized) {
            return;
        }
        let Some(of) = self
            .families
            .get(id)
            .and_then(FamilyRef::shared)
            .map(|shared| &shared.contributions)
        else {
            return;
        };
        let list = Arc::make_mut(&mut self.layout.lists[list_id]);
        list.rebalance(|from, to| {
            of.among(AppRange::Range(from, to))
                .map(|(app, it)| (app, it.bytes as usize))
                .collect()
        });
        let bytes = list.bytes();
        if bytes < MIN_SEGMENT_BYTES {
            let group = self.group_for(id, bytes);
            self.place(id, Placement::Group(group));
            self.leave_large(id, list_id);
        }
    }
}
