//! Endpoints that come, go, fail and recover.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use exporter_proxy::model::AppName;
use exporter_proxy::sources::polls::Endpoint;
use exporter_proxy::store::Limits;

use super::rig::{Rig, endpoint, settings};
use super::target::{Target, eventually};

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\na 1\n";

/// A target that answers well while the switch is on.
async fn moody() -> (Target, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let switch = Arc::clone(&well);
    let target = Target::serve(move |mut connection| {
        let well = Arc::clone(&switch);
        async move {
            loop {
                connection.request().await?;
                match well.load(Ordering::SeqCst) {
                    true => connection.answer("200 OK", "", b"a 1\n").await?,
                    false => connection.answer("500 No", "", b"").await?,
                }
            }
        }
    })
    .await;
    (target, well)
}

fn stale_soon(url: &str) -> Endpoint {
    let mut endpoint = endpoint(url);
    endpoint.stale_after = Duration::from_millis(250);
    endpoint
}

#[tokio::test]
async fn an_endpoint_fails_goes_stale_and_recovers() {
    let (target, well) = moody().await;
    let url = target.url("/");
    let (rig, up) = (
        Rig::start(settings([stale_soon(&url)])),
        format!("exporter_proxy_poll_up{{endpoint=\"{url}\"}}"),
    );
    assert_eq!(rig.body(&url).await, "a 1\n");
    assert_eq!(rig.metric(&up).as_deref(), Some("1"));
    assert!(
        rig.metric(&format!("exporter_proxy_poll_duration_seconds{{endpoint=\"{url}\"}}"))
            .is_some()
    );
    well.store(false, Ordering::SeqCst);
    rig.app(&url, |app| {
        app.fault.as_deref() == Some("poll failed: the response has status 500 Internal Server Error")
    })
    .await;
    assert_eq!(rig.metric(&up).as_deref(), Some("0"));
    let stale = rig.app(&url, |app| app.withdrawn).await;
    assert!(stale.text.body().is_empty() && stale.fault.is_some());
    well.store(true, Ordering::SeqCst);
    let again = rig.app(&url, |app| app.fault.is_none()).await;
    assert_eq!((&**again.text.body(), again.withdrawn), (&b"a 1\n"[..], false));
    assert_eq!(rig.metric(&up).as_deref(), Some("1"));
    rig.stop().await;
}

#[tokio::test]
async fn data_that_another_process_polled_goes_stale() {
    let failing = Target::always("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await;
    let url = failing.url("/");
    let rig = Rig::after_another(settings([stale_soon(&url)]), &url, "a 1\n");
    let stale = rig.app(&url, |app| app.withdrawn).await;
    assert!(stale.text.body().is_empty() && stale.updated.is_some());
    rig.stop().await;
}

#[tokio::test]
async fn data_is_withdrawn_while_a_poll_hangs() {
    let target = Target::serve(|mut connection| async move {
        connection.request().await?;
        connection.answer("200 OK", "", b"a 1\n").await?;
        connection.request().await?;
        connection.until_closed().await
    })
    .await;
    let url = target.url("/");
    let mut hangs = stale_soon(&url);
    // So long that only a poll that hangs can be what is seen.
    hangs.timeout = Duration::from_secs(3_600);
    let rig = Rig::start(settings([hangs]));
    target.asked(2).await;
    let stale = rig.app(&url, |app| app.withdrawn).await;
    assert_eq!(
        (stale.text.body().len(), &stale.fault),
        (0, &None),
        "the poll has neither failed nor ended"
    );
    assert_eq!(target.requests().len(), 2);
    rig.stop().await;
}

#[tokio::test]
async fn an_endpoint_is_listed_from_the_start() {
    let silent = Target::serve(|mut connection| async move { connection.until_closed().await }).await;
    let rig = Rig::start(settings([endpoint(&silent.url("/"))]));
    let app = rig.app(&silent.url("/"), |_| true).await;
    assert_eq!(
        (app.updated, &*app.origin.source),
        (None, &*format!("external_poll: {}", silent.address))
    );
}

#[tokio::test]
async fn a_reload_adds_and_removes_and_leaves_the_rest_alone() {
    let (stays, goes, comes) = (Target::always(GOOD).await, Target::always(GOOD).await, Target::always(GOOD).await);
    let urls = [&stays, &goes, &comes].map(|target| target.url("/"));
    let rig = Rig::start(settings([endpoint(&urls[0]), endpoint(&urls[1])]));
    rig.body(&urls[0]).await;
    rig.body(&urls[1]).await;
    rig.reload(settings([endpoint(&urls[2]), endpoint(&urls[0])]));
    rig.body(&urls[2]).await;
    assert_eq!(rig.apps(), [urls[0].as_str(), urls[2].as_str()]);
    goes.ended(1).await;
    for (url, known) in [(&urls[1], false), (&urls[0], true)] {
        assert_eq!(
            rig.metric(&format!("exporter_proxy_poll_up{{endpoint=\"{url}\"}}")).is_some(),
            known
        );
    }
    stays.asked(stays.requests().len() + 2).await;
    assert_eq!(stays.connections(), 1, "its connection was left alone");
    rig.reload(settings([]));
    eventually("nothing to be left", || rig.apps().is_empty().then_some(())).await;
    stays.ended(1).await;
    rig.stop().await;
}

#[tokio::test]
async fn an_endpoint_whose_url_changes_keeps_its_data_until_it_is_stale() {
    let (good, bad) = (
        Target::always(GOOD).await,
        Target::always("HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await,
    );
    let called = |url: &str| Endpoint {
        name: AppName::new("mine").unwrap(),
        ..stale_soon(url)
    };
    let rig = Rig::start(settings([called(&good.url("/"))]));
    rig.body("mine").await;
    rig.reload(settings([called(&bad.url("/"))]));
    let failing = rig.app("mine", |app| app.fault.is_some()).await;
    assert!(failing.updated.is_some());
    rig.app("mine", |app| app.withdrawn).await;
    good.ended(1).await;
}

#[tokio::test]
async fn endpoints_on_one_host_and_port_stand_side_by_side() {
    let target = Target::serve(|mut connection| async move {
        loop {
            let request = connection.request().await?;
            let path = request.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
            connection.answer("200 OK", "", format!("{path} 1\n").as_bytes()).await?;
        }
    })
    .await;
    let rig = Rig::start(settings([endpoint(&target.url("/a")), endpoint(&target.url("/b"))]));
    assert_eq!(rig.body(&target.url("/a")).await, "a 1\n");
    assert_eq!(rig.body(&target.url("/b")).await, "b 1\n");
}

#[tokio::test]
async fn polls_of_an_endpoint_never_overlap() {
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counter, maximum) = (Arc::clone(&busy), Arc::clone(&most));
    let target = Target::serve(move |mut connection| {
        let (busy, most) = (Arc::clone(&counter), Arc::clone(&maximum));
        async move {
            connection.request().await?;
            most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(250)).await;
            busy.fetch_sub(1, Ordering::SeqCst);
            connection.answer("200 OK", "Connection: close\r\n", b"a 1\n").await
        }
    })
    .await;
    let rig = Rig::start(settings([endpoint(&target.url("/"))]));
    target.asked(3).await;
    assert_eq!(most.load(Ordering::SeqCst), 1);
    rig.stop().await;
}

#[tokio::test]
async fn what_the_store_has_no_room_for_is_a_failed_poll() {
    let target = Target::always(GOOD).await;
    let limits = Limits {
        max_memory: 3,
        ..Limits::default()
    };
    let rig = Rig::with_limits(settings([endpoint(&target.url("/"))]), limits);
    assert!(rig.fault(&target.url("/")).await.contains("store.max_memory"));
    let refused = format!(
        "exporter_proxy_rejected_total{{source=\"external_poll: {}\",reason=\"store_full\"}}",
        target.address
    );
    assert!(rig.metric(&refused).is_some());
    let listed = rig.refusals();
    assert_eq!((&*listed[0].client, listed[0].reason), ("127.0.0.1", "store_full"));
    assert!(listed[0].detail.contains("store.max_memory"), "{:?}", listed[0]);
}
