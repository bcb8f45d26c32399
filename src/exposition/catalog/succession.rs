//! Who decides on a family when somebody who did has left or says something else.
//!
//! A family may have as many contributors as there are applications, and all of them may go at once: the end of a fleet of jobs must not
//! look through all who are left each time that one goes. So those who follow by age are looked up many at once, and whose HELP goes out
//! is only found out when somebody asks for an answer.

use std::cmp::Reverse;
use std::sync::Arc;

use super::entry::{Contribution, Entry, Shared};
use super::parts::{Part, Role};
use super::slab::Id;
use super::updates::Turn;
use super::{App, Catalog};
use crate::exposition::Kind;
use crate::model::AppName;

/// How many of those who have had a family longest are looked up at once: looking through all is rare then, and 4 kB hold them.
const MAX_ELDERS: usize = 256;

/// Who comes first by name; the greater one. The proxy itself comes before every application.
type NameOrder<'a> = (bool, Reverse<&'a AppName>);

impl App {
    pub(super) fn name_order(&self) -> NameOrder<'_> {
        (self.own, Reverse(&self.name))
    }
}

impl Entry {
    /// Looks at all contributions to see who decides on the shape and the type.
    fn elect(&mut self) {
        let Some((senior, shape)) = self.iter().min_by_key(|(_, it)| it.since).map(|(app, it)| (app, it.shape())) else {
            return;
        };
        (self.senior, self.shape) = (senior, shape);
        self.typer = self.oldest_typed();
        self.kind = self.kind_of_typer();
        self.count_odd();
    }

    /// Counts the contributions that are not like the senior's.
    fn count_odd(&mut self) {
        let Some(role) = self.get(self.senior).map(|senior| senior.part.role) else {
            return;
        };
        let odd = self.iter().filter(|(_, it)| self.is_odd(it, role)).count();
        if let Some(shared) = self.shared_mut() {
            shared.odd = u32::try_from(odd).expect("no more than there are applications");
        }
    }

    fn types(&self, contribution: &Contribution) -> bool {
        self.keeps(contribution) && contribution.part.kind != Kind::Unknown
    }

    fn kind_of_typer(&self) -> Kind {
        let typer = self.typer.and_then(|app| self.get(app));
        typer.map_or(Kind::Unknown, |it| it.part.kind)
    }

    /// The application that has had it longest of those that fit and state a type.
    fn oldest_typed(&self) -> Option<Id<App>> {
        let typed = self.iter().filter(|(_, it)| self.types(it));
        typed.min_by_key(|(_, it)| it.since).map(|(app, _)| app)
    }

    /// The same, which is nearly always one of those who have had it longest.
    fn next_typer(&mut self) -> Option<Id<App>> {
        self.shared_mut().and_then(Shared::oldest);
        let elders = self.shared().map_or(&[][..], |shared| &shared.elders);
        let mut by_age = elders.iter().rev().filter(|(since, app)| {
            let contribution = self.get(*app).filter(|it| it.since == *since);
            contribution.is_some_and(|it| self.types(it))
        });
        by_age.next().map(|(_, app)| *app).or_else(|| self.oldest_typed())
    }

    /// Whether a contribution decides on nothing, neither as it was nor as it is, but on how many are odd.
    fn is_follower(&self, app: Id<App>, old: &Contribution) -> bool {
        let Some(now) = self.get(app) else { return false };
        let typer = self.typer.and_then(|typer| self.get(typer));
        let types_first = self.types(now) && typer.is_none_or(|typer| now.since < typer.since);
        now.since == old.since && self.senior != app && self.typer != Some(app) && !types_first
    }
}

impl Shared {
    /// The application that has had it longest.
    fn oldest(&mut self) -> Option<Id<App>> {
        let Self { of, elders, .. } = self;
        // Whoever came later, or came back, has a greater number than all of these.
        while let Some((since, app)) = elders.last() {
            if of.get(app).is_some_and(|it| it.since == *since) {
                return Some(*app);
            }
            elders.pop();
        }
        let mut all: Vec<_> = of.iter().map(|(app, it)| (it.since, *app)).collect();
        if all.len() > MAX_ELDERS {
            all.select_nth_unstable(MAX_ELDERS);
            all.truncate(MAX_ELDERS);
        }
        all.sort_unstable_by_key(|it| Reverse(*it));
        all.shrink_to_fit();
        *elders = all;
        elders.last().map(|(_, app)| *app)
    }
}

impl Catalog {
    /// Finds out again who decides on a family, looking at all who have it.
    pub(super) fn reelect(&mut self, id: Id<Entry>, turn: &mut Turn) {
        let entry = &mut self.entries[id];
        let before = (entry.shape, entry.kind);
        entry.elect();
        entry.helper = None;
        let after = (entry.shape, entry.kind);
        turn.reshaped.insert(Arc::clone(&entry.key));
        turn.contested.insert(Arc::clone(&entry.key));
        self.headless.insert(id);
        if before == after {
            self.mark_header(id);
        } else {
            turn.affected.extend(self.entries[id].iter().map(|(app, _)| app));
            self.mark_all(id);
        }
        if before.0 != after.0 {
            self.reindex_all(id, turn);
        }
    }

    /// The application whose turn it is has left a family on which it decided, and whose senior had this role.
    pub(super) fn succeed(&mut self, id: Id<Entry>, role: Option<Role>, turn: &mut Turn) {
        let left = turn.app;
        let entry = &mut self.entries[id];
        if entry.senior == left {
            let next = entry.shared_mut().and_then(Shared::oldest);
            let alike = |next: &Id<App>| entry.get(*next).is_some_and(|it| entry.keeps(it) && Some(it.part.role) == role);
            match next.filter(alike) {
                Some(next) => entry.senior = next,
                None => return self.reelect(id, turn),
            }
        }
        turn.reshaped.insert(Arc::clone(&entry.key));
        turn.contested.insert(Arc::clone(&entry.key));
        let (typed, helped, kind) = (entry.typer == Some(left), entry.helper == Some(left), entry.kind);
        if typed {
            entry.typer = entry.next_typer();
            entry.kind = entry.kind_of_typer();
        }
        if helped {
            entry.helper = None;
            self.headless.insert(id);
        }
        if self.entries[id].kind != kind {
            turn.affected.extend(self.entries[id].iter().map(|(app, _)| app));
            self.mark_all(id);
        } else if typed || helped {
            self.mark_header(id);
        }
    }

    /// The application whose turn it is has a family otherwise than before.
    pub(super) fn reconsider(&mut self, id: Id<Entry>, old: &Contribution, turn: &mut Turn) {
        let app = turn.app;
        let entry = &mut self.entries[id];
        let Some(part) = entry.get(app).map(|it| it.part) else { return };
        let retyped = (old.part.kind, old.part.role, old.part.fit, old.part.quoted) != (part.kind, part.role, part.fit, part.quoted);
        if retyped {
            let role = entry.get(entry.senior).map(|senior| senior.part.role);
            let (Some(role), true) = (role, entry.is_follower(app, old)) else {
                return self.reelect(id, turn);
            };
            let (was, is) = (entry.is_odd(old, role), entry.get(app).is_some_and(|it| entry.is_odd(it, role)));
            if let Some(shared) = entry.shared_mut() {
                shared.odd = shared.odd + u32::from(is) - u32::from(was);
            }
            turn.reshaped.insert(Arc::clone(&entry.key));
            turn.contested.insert(Arc::clone(&entry.key));
        }
        self.reword(id, old.part, part, turn);
    }

    /// Takes note of other words for a family.
    fn reword(&mut self, id: Id<Entry>, old: Part, part: Part, turn: &Turn) {
        let now = &self.apps[turn.app];
        let before = turn.before.words(old);
        if now.words(part) == before {
            return;
        }
        let (help, unit) = now.words(part);
        let entry = &self.entries[id];
        let is_helper = entry.helper == Some(turn.app);
        let kept = entry.get(turn.app).is_some_and(|it| entry.keeps(it));
        let helps = kept && help.is_some() && self.comes_first(id, turn.app);
        let has_new_unit = unit != before.1;
        if is_helper && help.is_none() {
            self.entries[id].helper = None;
            self.headless.insert(id);
        } else if helps {
            self.entries[id].helper = Some(turn.app);
        }
        if is_helper || helps || has_new_unit {
            self.mark_header(id);
        }
    }

    /// Whether the help of an application goes before that which goes out now.
    pub(super) fn comes_first(&self, id: Id<Entry>, app: Id<App>) -> bool {
        let helper = self.entries[id].helper.and_then(|helper| self.apps.get(helper));
        helper.is_none_or(|helper| self.apps[app].name_order() > helper.name_order())
    }

    /// Finds out whose HELP goes out where that is not known any more. To be called before anything is shown.
    pub(super) fn find_helpers(&mut self) {
        for id in std::mem::take(&mut self.headless) {
            let helper = self.entries.get(id).and_then(|entry| self.first_helper(entry));
            if let Some(entry) = self.entries.get_mut(id) {
                entry.helper = helper;
            }
        }
    }

    fn first_helper(&self, entry: &Entry) -> Option<Id<App>> {
        let helping = entry
            .iter()
            .filter(|(app, it)| entry.keeps(it) && self.apps[*app].help(it.part.family).is_some());
        helping
            .max_by(|(one, _), (other, _)| self.apps[*one].name_order().cmp(&self.apps[*other].name_order()))
            .map(|(app, _)| app)
    }
}
