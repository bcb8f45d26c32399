//! Assembly of the store with its directory, and of the handlers of one-shot events.

use std::sync::Arc;

use anyhow::Context as _;

use super::receivers::Receivers;
use super::{Context, system_clock};
use crate::config::Settings;
use crate::http::Routes;
use crate::outlets::{EventOutlet, EventOutletSettings};
use crate::sources::events::{self, EventHandler};
use crate::store::{self, Inlet, OriginId, Persistence, PersistenceHandle, View};
use crate::supervise::Readiness;

/// Opens the store, with the directory of `store.path` if it is set.
pub(super) fn open_store(settings: &Settings) -> anyhow::Result<(Inlet, View, Option<Persistence>)> {
    let mode = settings.exposition.store_mode(&settings.events.metric_name);
    let (limits, mut events) = (settings.store.limits.clone(), settings.events.options.clone());
    if settings.cluster.is_some() {
        events.replica = Some(OriginId::random().context("the system has no random numbers")?);
    }
    let Some(path) = &settings.store.path else {
        if settings.events.enabled {
            tracing::info!("apps and events are kept in memory only and lost at a restart (set store.path to keep them)");
        }
        let (inlet, view) = store::open(limits, mode, events);
        return Ok((inlet, view, None));
    };
    let (inlet, view, persistence) = store::open_in(path, limits, mode, events, system_clock())?;
    let (apps, (accepted, _)) = (view.totals().apps, view.event_counts());
    tracing::info!(path = %path.display(), apps, accepted, "apps and events are kept across restarts");
    Ok((inlet, view, Some(persistence)))
}

/// Has what must survive written from now on; a log that cannot be written makes the program not ready.
pub(super) fn start(persistence: Persistence, readiness: Arc<Readiness>) -> std::io::Result<PersistenceHandle> {
    persistence.start(move |log, trouble| match trouble {
        Some(why) => {
            readiness.obstruct(log, why.to_owned());
        }
        None => {
            readiness.clear(log);
        }
    })
}

/// Creates the outlet of events.
pub(super) fn outlet(settings: &Settings, context: &Context) -> Arc<EventOutlet> {
    let events = &settings.events;
    Arc::new(EventOutlet::new(
        context.view.clone(),
        context.clock,
        Arc::clone(&context.telemetry),
        EventOutletSettings {
            identify_by: events.identify_by.clone(),
            only: events.scrapers_only.then(|| events.options.scrapers.iter().cloned().collect()),
            label_by: events.label_by,
            name: events.metric_name.as_str().into(),
            in_metrics: events.expose_in_metrics,
            in_cluster: settings.cluster.is_some(),
        },
    ))
}

/// The routes that accept events.
pub(super) fn routes(settings: &Settings, context: &Context, receivers: &Receivers) -> Routes {
    events::routes(EventHandler::new(
        context.inlet.clone(),
        Arc::clone(&context.telemetry),
        context.clock,
        receivers.limits.subscribe(),
        Arc::clone(&receivers.budget),
        Arc::clone(&context.post_rate),
        &settings.events.metric_name,
    ))
}
