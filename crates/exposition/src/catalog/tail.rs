//! The proxy's own families merged with the apps' families of the same names.
//!
//! A chained proxy has thousands of such series, which change with its updates, while the proxy's own values change with every response.
//! So the merged families stand in a small catalog of their own, which is kept between responses: a response costs what the proxy's own
//! values take, and an update of a chained proxy what it is long.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::app::{App, AppId};
use super::plan::{Plan, ReservedFamilies, Selection};
use super::rules::{Duplicates, Rules};
use super::update::no_labels;
use super::{Catalog, Update};
use crate::app_name::AppName;
use crate::identity::ExtraLabel;
use crate::index::Exposition;
use crate::memory::MemoryMeter;
use crate::render::OutputFormat;
use crate::syntax::Syntax;

/// The merged families of the latest responses. They are made when the first app has such a family.
#[derive(Debug, Default)]
pub(super) struct Tails {
    tail: Mutex<Option<Tail>>,
    /// Counts rendered text and its compressed forms.
    meter: MemoryMeter,
}

#[derive(Debug)]
struct Tail {
    catalog: Catalog,
    /// The proxy itself. It is the first app, and so determines the types.
    own: AppId,
    own_name: AppName,
    /// The apps that have families of the proxy's own names, as they are in the catalog. Bounded by the apps.
    apps: HashMap<AppName, (AppId, Arc<ReservedFamilies>)>,
}

impl Tails {
    pub(super) fn new(meter: MemoryMeter) -> Self {
        Self {
            tail: Mutex::default(),
            meter,
        }
    }

    /// Plans the merged families of a response. The lock is held while what has changed is updated, and not while text is rendered.
    pub(super) fn plan(&self, own: Option<&Arc<Exposition>>, reserved: &[Arc<ReservedFamilies>], variant: OutputFormat) -> Plan {
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let tail = tail.get_or_insert_with(|| Tail::new(self.meter.clone()));
        tail.put_own(own);
        tail.put_apps(reserved);
        tail.catalog.plan(variant, Selection::Everything)
    }

    /// Drops the merged families where no app has any.
    pub(super) fn clear(&self) {
        let before = self.tail.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Freeing takes a while: not under the lock.
        drop(before);
    }
}

impl Tail {
    fn new(meter: MemoryMeter) -> Self {
        let mut catalog = Catalog::new(Rules::new(None, Duplicates::Label, &[]));
        catalog.meter = meter;
        let own_name = AppName::new("exporter-proxy").expect("a short name of printable characters");
        let own = catalog.apps.slots.insert(Arc::new(App::new(own_name.clone(), true)));
        Self {
            catalog,
            own,
            own_name,
            apps: HashMap::new(),
        }
    }

    fn put_own(&mut self, own: Option<&Arc<Exposition>>) {
        let own = own.map_or_else(nothing, Arc::clone);
        self.put(self.own, &self.own_name.clone(), Arc::new([]), own, None);
    }

    fn put_apps(&mut self, reserved: &[Arc<ReservedFamilies>]) {
        for app in reserved {
            let known = self.apps.get(&app.name);
            if known.is_some_and(|(_, before)| before.is_same(app)) {
                continue;
            }
            let id = known.map(|(id, _)| *id);
            let id = id.unwrap_or_else(|| self.catalog.apps.slots.insert(Arc::new(App::new(app.name.clone(), false))));
            self.put(
                id,
                &app.name,
                Arc::clone(&app.extra_labels),
                Arc::clone(&app.exposition),
                Some(&app.families),
            );
            self.apps.insert(app.name.clone(), (id, Arc::clone(app)));
        }
        if self.apps.len() > reserved.len() {
            let there: HashSet<&AppName> = reserved.iter().map(|app| &app.name).collect();
            let gone: Vec<_> = self.apps.extract_if(|name, _| !there.contains(name)).collect();
            for (name, (id, _)) in gone {
                self.put(id, &name, Arc::new([]), nothing(), None);
                self.catalog.apps.slots.remove(id);
            }
        }
    }

    fn put(&mut self, id: AppId, name: &AppName, extra_labels: Arc<[ExtraLabel]>, exposition: Arc<Exposition>, only: Option<&[u32]>) {
        let update = Update::with(
            &Arc::clone(self.catalog.rules()),
            name,
            &no_labels(),
            extra_labels,
            exposition,
            only,
        );
        self.catalog.apply(id, update);
    }
}

fn nothing() -> Arc<Exposition> {
    Arc::new(Exposition::parse(bytes::Bytes::new(), Syntax::Text))
}

#[cfg(test)]
mod tests;
