//! The state behind the lock: plain data, changed by whole assignments after all checks.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::{App, Limits, Receipt, Refused};
use crate::model::{AppName, Origin, Timestamp, Update};

/// The latest of every application.
#[derive(Debug)]
pub(super) struct Latest {
    pub(super) limits: Limits,
    /// By order of first sight. Bounded by [`Limits::max_apps`].
    apps: BTreeMap<u64, Arc<App>>,
    /// The order of each name. As many as `apps`.
    orders: std::collections::HashMap<AppName, u64, foldhash::fast::RandomState>,
    /// The order that the next newcomer gets.
    next_order: u64,
    /// The sum of the bodies' lengths. Bounded by [`Limits::max_bytes`].
    bytes: u64,
    /// Changes with every change of what is exposed.
    generation: u64,
    /// No application that expires was updated before this time, so nothing needs to be looked for until it is old enough.
    oldest: Timestamp,
}

impl Latest {
    pub(super) fn new(limits: Limits) -> Self {
        let oldest = Timestamp::from_millis(i64::MIN);
        Self {
            limits,
            apps: BTreeMap::new(),
            orders: Default::default(),
            next_order: 0,
            bytes: 0,
            generation: 0,
            oldest,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.apps.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// All applications in the order of first sight.
    pub(super) fn apps(&self) -> impl Iterator<Item = &Arc<App>> {
        self.apps.values()
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<App>> {
        self.apps.get(self.orders.get(name)?)
    }

    /// Replaces all that the application had.
    pub(super) fn put(&mut self, update: Update, expires: bool) -> Result<Receipt, Refused> {
        let old = self.get(update.app.as_str()).cloned();
        let freed = old.as_ref().map_or(0, |app| app.body.len() as u64);
        let added = update.body.len() as u64;
        if added > freed && self.bytes - freed + added > self.limits.max_bytes {
            return Err(Refused::Full {
                max_bytes: self.limits.max_bytes,
            });
        }
        let (order, first_seen) = self.place(old.as_deref(), &update.app, update.at)?;
        self.bytes = self.bytes - freed + added;
        self.generation += 1;
        self.oldest = self.oldest.min(update.at);
        let receipt = Receipt {
            replaced: old.is_some(),
            bytes: added,
        };
        let Update {
            app: name,
            body,
            syntax,
            origin,
            at,
            labels: _,
        } = update;
        let app = App {
            name,
            order,
            origin,
            body,
            syntax,
            first_seen,
            updated: Some(at),
            fault: None,
            withdrawn: false,
            expires,
        };
        self.apps.insert(order, Arc::new(app));
        Ok(receipt)
    }

    /// Lists an application of which nothing has been heard yet.
    pub(super) fn announce(&mut self, name: AppName, origin: Origin, at: Timestamp) -> Result<(), Refused> {
        if self.get(name.as_str()).is_some() {
            return Ok(());
        }
        let (order, first_seen) = self.place(None, &name, at)?;
        let (body, syntax) = (Bytes::new(), crate::model::Syntax::Text);
        let app = App {
            name,
            order,
            origin,
            body,
            syntax,
            first_seen,
            updated: None,
            fault: None,
            withdrawn: false,
            expires: false,
        };
        self.apps.insert(order, Arc::new(app));
        Ok(())
    }

    /// The place of an application in the order, a new one for a newcomer if there is room.
    fn place(&mut self, old: Option<&App>, name: &AppName, at: Timestamp) -> Result<(u64, Timestamp), Refused> {
        if let Some(old) = old {
            return Ok((old.order, old.first_seen));
        }
        if self.apps.len() >= self.limits.max_apps {
            return Err(Refused::TooManyApps {
                max_apps: self.limits.max_apps,
            });
        }
        let order = self.next_order;
        self.next_order += 1;
        self.orders.insert(name.clone(), order);
        Ok((order, at))
    }

    /// Changes what is said about an application, not its data.
    pub(super) fn amend(&mut self, name: &AppName, change: impl FnOnce(&mut App)) -> bool {
        let Some(app) = self.orders.get(name).and_then(|order| self.apps.get_mut(order)) else {
            return false;
        };
        change(Arc::make_mut(app));
        true
    }

    /// Takes an application's data out of the exposition; it stays listed.
    pub(super) fn withdraw(&mut self, name: &AppName) -> bool {
        let freed = self.get(name.as_str()).map_or(0, |app| app.body.len() as u64);
        let known = self.amend(name, |app| {
            app.body = Bytes::new();
            app.withdrawn = true;
        });
        self.bytes -= freed;
        self.generation += 1;
        known
    }

    /// Forgets an application.
    pub(super) fn remove(&mut self, name: &AppName) -> bool {
        let Some(order) = self.orders.remove(name) else { return false };
        if let Some(app) = self.apps.remove(&order) {
            self.bytes -= app.body.len() as u64;
        }
        self.generation += 1;
        true
    }

    /// Forgets the applications that are too old at `now` and names them.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<AppName> {
        let Some(expire_after) = self.limits.expire_after else {
            return Vec::new();
        };
        if now < self.oldest.plus(expire_after) {
            return Vec::new();
        }
        let (mut gone, mut oldest) = (Vec::new(), now);
        for app in self.apps.values().filter(|app| app.expires) {
            let updated = app.updated.unwrap_or(app.first_seen);
            if updated.plus(expire_after) <= now {
                gone.push(app.name.clone());
            } else {
                oldest = oldest.min(updated);
            }
        }
        self.oldest = oldest;
        for name in &gone {
            self.remove(name);
        }
        gone
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
        self.oldest = Timestamp::from_millis(i64::MIN);
    }
}
