//! An app and its families.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::entry::{FamilyEntry, OpenMetricsForm};
use super::halves::Halves;
use super::paged::{Id, PagedVec};
use super::text_family::{StoredTextFamily, TextFamily};
use crate::app_name::{AppName, LabelPair};
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::syntax::Syntax;

/// Labelled families remembered for an app while it does not have them, so that they keep the label when they come back. An app where
/// more than this come and go has no stable series anyway.
pub(super) const MAX_REMEMBERED: usize = 4_096;

/// The id of an app.
pub(super) type AppId = Id<Arc<App>>;

/// An app. A snapshot shares it; an update makes a new one.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) name: AppName,
    /// True if it is the proxy itself: its series are never labelled and its HELP comes first.
    pub(super) own: bool,
    pub(super) exposition: Arc<Exposition>,
    /// Labels of its source, added to series that lack them.
    pub(super) labels: Arc<[LabelPair]>,
    /// All labels that are added to series that lack them.
    pub(super) extra_labels: Arc<[ExtraLabel]>,
    pub(super) families: PagedVec<AppFamily>,
    /// Numbers of the families as written that belong with the self metrics.
    pub(super) reserved: Arc<[u32]>,
    /// Numbers of the families as written that are left out because other families of the same text have their names.
    pub(super) same_name: Arc<[u32]>,
    /// About how many bytes of text its private families make.
    pub(super) private_bytes: usize,
    /// The number of its last update.
    pub(super) update: u64,
    /// Grows when something changes that it alone shows.
    pub(super) version: u64,
    /// Keys of families that are labelled and that it does not have at the moment. At most [`MAX_REMEMBERED`].
    pub(super) remembered: Arc<BTreeSet<Box<[u8]>>>,
    /// The number of its series, or groups of series, that other apps have as well.
    pub(super) duplicates: u64,
    /// The number of its families with which it contradicts other apps.
    pub(super) conflicts: u32,
}

/// A family of an app.
#[derive(Debug, Clone, Copy)]
pub(super) struct AppFamily {
    /// The update with which the app came to have it in this shape.
    pub(super) since: Halves,
    pub(super) text: StoredTextFamily,
    /// Its entry; [`Id::NONE`] until it is bound.
    pub(super) entry: Id<FamilyEntry>,
    /// Its form under OpenMetrics while it is private.
    pub(super) form: OpenMetricsForm,
    /// True if its entry is shared.
    pub(super) shared: bool,
    /// True if its series carry the disambiguating label.
    pub(super) labelled: bool,
}

impl AppFamily {
    pub(super) fn text(&self) -> TextFamily {
        self.text.get()
    }

    /// Takes over the state of the same family before an update; true if its type or role has changed.
    pub(super) fn inherit(&mut self, old: &Self) -> bool {
        self.shared = old.shared;
        self.labelled |= old.labelled;
        self.form = old.form;
        if old.text().shape() == self.text().shape() {
            self.since = old.since;
        }
        let typed = |text: TextFamily| (text.kind, text.role, text.valid, text.quoted);
        typed(old.text()) != typed(self.text())
    }
}

/// Order by name, greater first; the proxy itself comes before every app.
type NameOrder<'a> = (bool, Reverse<&'a AppName>);

impl App {
    pub(super) fn new(name: AppName, own: bool) -> Self {
        Self {
            name,
            own,
            exposition: Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text)),
            labels: Arc::new([]),
            extra_labels: Arc::new([]),
            families: PagedVec::default(),
            reserved: Arc::new([]),
            same_name: Arc::new([]),
            private_bytes: 0,
            update: 0,
            version: 0,
            remembered: Arc::default(),
            duplicates: 0,
            conflicts: 0,
        }
    }

    pub(super) fn name_order(&self) -> NameOrder<'_> {
        (self.own, Reverse(&self.name))
    }

    /// The labels that are added to series that lack them, if there are any.
    pub(super) fn given_labels(&self) -> Option<Arc<[ExtraLabel]>> {
        (!self.extra_labels.is_empty()).then(|| Arc::clone(&self.extra_labels))
    }

    pub(super) fn help(&self, family: u32) -> Option<&[u8]> {
        let help = self.exposition.families()[family as usize].help()?;
        Some(self.exposition.text(help))
    }

    pub(super) fn unit(&self, family: u32) -> Option<&[u8]> {
        let unit = self.exposition.families()[family as usize].unit()?;
        Some(self.exposition.text(unit))
    }

    /// The places of the families that were one family as written with the one at `at`.
    pub(super) fn siblings(&self, at: u32) -> std::ops::Range<u32> {
        let family = self.families[at as usize].text().family;
        let is_sibling = |at: u32| self.families.get(at as usize).is_some_and(|it| it.text().family == family);
        let (mut from, mut to) = (at, at + 1);
        while from > 0 && is_sibling(from - 1) {
            from -= 1;
        }
        while is_sibling(to) {
            to += 1;
        }
        from..to
    }
}
