//! What has changed: the segments to be rendered anew, and whose versions grow.

use super::entry::{Contributions, Entry, Form, Home};
use super::slab::Id;
use super::{App, Catalog};

impl Catalog {
    /// An application comes to have a family, or certain samples of it, or loses them. The header moves where it is the first that has
    /// them; a split family has several headers.
    pub(super) fn mark_membership(&mut self, id: Id<Entry>, app: Id<App>) {
        let entry = &self.entries[id];
        let first = entry.iter().next().is_none_or(|(first, _)| first >= app);
        if first || entry.form == Form::Split {
            self.mark_all(id)
        } else {
            self.mark(id, app)
        }
    }

    /// What an application contributes to a family has changed.
    pub(super) fn mark(&mut self, id: Id<Entry>, app: Id<App>) {
        let stamps = &mut self.stamps;
        self.apps[app].stamp = stamps.next();
        match &mut self.entries[id].contributions {
            Contributions::One(..) => self.private.mark(app, stamps),
            Contributions::Many(shared) => match &mut shared.home {
                Home::Group(group) => self.groups[*group].segment.mark(stamps.next()),
                Home::Own(strip) => strip.mark(app, stamps),
            },
        }
    }

    /// What stands before a family's samples has changed.
    pub(super) fn mark_header(&mut self, id: Id<Entry>) {
        let stamps = &mut self.stamps;
        let entry = &mut self.entries[id];
        entry.stamp = stamps.next();
        match &mut entry.contributions {
            Contributions::One(app, _) => self.private.mark(*app, stamps),
            Contributions::Many(shared) => match &mut shared.home {
                Home::Group(group) => self.groups[*group].segment.mark(stamps.next()),
                Home::Own(strip) => match shared.of.keys().next() {
                    Some(&first) => strip.mark(first, stamps),
                    None => strip.mark_all(stamps),
                },
            },
        }
    }

    /// All of a family has changed.
    pub(super) fn mark_all(&mut self, id: Id<Entry>) {
        let stamps = &mut self.stamps;
        let entry = &mut self.entries[id];
        match entry.strip_mut() {
            Some(strip) => {
                strip.mark_all(stamps);
                entry.stamp = stamps.next();
            }
            None => self.mark_header(id),
        }
    }
}
