#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use super::*;
use crate::exposition::catalog::{Duplicates, Rules};
use crate::model::{Client, Event, IdempotencyKey, LabelSet, ScraperId};
use crate::store::{Accepted, EmitError};
use crate::supervise::Service as _;

fn event(n: u32) -> Event {
    let labels = LabelSet::new(vec![("n".into(), n.to_string())]).unwrap();
    Event { labels, value: 1.0 }
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + millis)
}

fn open(path: &Path) -> (Inlet, View, PersistenceHandle) {
    let mode = Mode::Merge(Rules::new(None, Duplicates::Label, &[]));
    let (inlet, view, persistence) = open_in(path, Limits::default(), mode, EventOptions::default(), at(0)).unwrap();
    let running = persistence.start(|log, why| panic!("{log}: {why:?}")).unwrap();
    (inlet, view, running)
}

#[tokio::test]
async fn events_survive_a_restart_and_are_delivered_once() {
    let root = tempfile::tempdir().unwrap();
    let (prom, other) = (ScraperId::new("prom").unwrap(), ScraperId::new("other").unwrap());
    let home = Client::Ip([127, 0, 0, 1].into());
    let (inlet, view, running) = open(root.path());
    let key = Some(IdempotencyKey::new("k").unwrap());
    let emitted: Vec<_> = futures_util::future::join_all((0..100).map(|n| inlet.emit(event(n), None, &home, at(0)))).await;
    assert!(emitted.iter().all(Result::is_ok));
    let first: Accepted = inlet.emit(event(100), key.clone(), &home, at(0)).await.unwrap();
    view.scrape(&prom, &home, at(1)).lease.unwrap().ack();
    let cut_off = view.scrape(&other, &home, at(1));
    assert_eq!(cut_off.events.len(), 101);
    drop((cut_off, inlet, view));
    running.finish().await;

    let (inlet, view, running) = open(root.path());
    assert!(view.scrape(&prom, &home, at(2)).events.is_empty());
    assert_eq!(view.scrape(&other, &home, at(2)).events.len(), 101);
    let again = inlet.emit(event(100), key.clone(), &home, at(2)).await.unwrap();
    assert_eq!((again.id, again.repeated), (first.id, true));
    assert_eq!(inlet.emit(event(7), key, &home, at(2)).await, Err(EmitError::KeyReused));
    assert_eq!(view.event_counts().0, 101);
    running.finish().await;
    let late = inlet.emit(event(8), None, &home, at(3)).await;
    assert!(matches!(late, Err(EmitError::NotDurable(_))), "{late:?}");
}

#[tokio::test]
async fn a_folder_in_use_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let (_inlet, _view, running) = open(root.path());
    let second = open_in(root.path(), Limits::default(), Mode::Raw, EventOptions::default(), at(0));
    assert!(matches!(second, Err(OpenError::InUse(..))));
    running.finish().await;
}

#[tokio::test]
async fn the_watch_ends_with_the_program_and_falls_with_a_thread() {
    let root = tempfile::tempdir().unwrap();
    let (_inlet, _view, running) = open(root.path());
    let stop = tokio_util::sync::CancellationToken::new();
    stop.cancel();
    Box::new(running.watch()).run(stop).await.unwrap();
    let watch = Box::new(running.watch());
    running.finish().await;
    let fallen = tokio::time::timeout(Duration::from_secs(5), watch.run(Default::default()))
        .await
        .unwrap();
    assert!(fallen.unwrap_err().to_string().contains("has ended"));
}
