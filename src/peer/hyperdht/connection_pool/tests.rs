#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use exporter_proxy_hyperdht::testnet::TestNetwork;
use exporter_proxy_hyperdht::{IncomingConnection, RpcMethod, RpcReply, serve};
use tokio_util::sync::CancellationToken;

use super::*;

/// Longer than anything takes on a loaded machine.
const LONG: Duration = Duration::from_secs(30);

/// Responds immediately, or never.
#[derive(Default)]
struct Switchable(AtomicBool);

impl RpcMethod for Switchable {
    const PROTOCOL: &'static str = METRICS_PROTOCOL;
    const METHOD: &'static str = METRICS_METHOD;

    async fn call(&self, _: Bytes) -> RpcReply {
        if self.0.load(Ordering::SeqCst) {
            std::future::pending().await
        }
        RpcReply::untracked(MetricsReply::Metrics(Bytes::from_static(b"a 1\n")).encode())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_kept_while_they_are_good_and_used() {
    let network = TestNetwork::start(4).await;
    let (server, client) = (Identity::ephemeral().unwrap(), Identity::ephemeral().unwrap());
    let (there, here) = (
        Node::open(&[network.bootstrap()], 0).await.unwrap(),
        Node::open(&[network.bootstrap()], 0).await.unwrap(),
    );
    let mut listener = there.listen(&(&server).into(), |_| true).await.unwrap();
    listener.announced().await;
    let (switch, accepted) = (Arc::<Switchable>::default(), Arc::<AtomicUsize>::default());
    let (service, count) = (switch.clone(), accepted.clone());
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        let mut links = tokio::task::JoinSet::new();
        while let Some(IncomingConnection::Admitted(stream)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            links.spawn(serve(stream, service.clone(), LONG, CancellationToken::new()));
        }
    }));
    let (peer, pool) = (server.public_key(), ConnectionPool::new(here, client, Arc::default()));
    let scrape = async || pool.scrape(peer, LONG).await.map(|reply| (reply, accepted.load(Ordering::SeqCst)));
    let metrics = MetricsReply::Metrics(Bytes::from_static(b"a 1\n"));
    for _ in 0..3 {
        assert_eq!(scrape().await, Ok((metrics.clone(), 1)));
    }
    pool.invalidate(peer);
    assert_eq!(scrape().await, Ok((metrics.clone(), 2)), "it may be another run");
    switch.0.store(true, Ordering::SeqCst);
    let short = Duration::from_millis(50);
    assert_eq!(pool.scrape(peer, short).await, Err(HyperdhtError::Timeout(short)));
    switch.0.store(false, Ordering::SeqCst);
    assert_eq!(scrape().await, Ok((metrics.clone(), 3)), "dialed again after a timeout");
    pool.sweep(Instant::now()).await;
    assert_eq!(scrape().await, Ok((metrics.clone(), 3)));
    let mut events = pool.0.events.subscribe();
    pool.sweep(Instant::now() + IDLE_TIMEOUT).await;
    assert!(pool.lock().is_empty());
    assert!(matches!(events.try_recv().unwrap(), LinkEvent::Closed { peer: closed, .. } if closed == peer));
    assert_eq!(scrape().await, Ok((metrics, 4)));
}

#[tokio::test]
async fn the_failure_of_a_dial_that_outlasts_its_scrape_is_that_of_the_next_scrape() {
    let network = TestNetwork::start(4).await;
    let node = Node::open(&[network.bootstrap()], 0).await.unwrap();
    let (gone, own) = (Identity::ephemeral().unwrap().public_key(), Identity::ephemeral().unwrap());
    let pool = ConnectionPool::new(node, own, Arc::default());
    let mut events = pool.0.events.subscribe();
    let impatient = Duration::ZERO;
    assert_eq!(pool.scrape(gone, impatient).await, Err(HyperdhtError::Timeout(impatient)));
    let is_failure = |event: &LinkEvent| matches!(event, LinkEvent::Unreachable { peer, .. } if *peer == gone);
    let failed = async { while !is_failure(&events.recv().await.unwrap()) {} };
    timeout(LONG, failed).await.expect("the dial goes on without the scrape, and fails");
    // The dial's task ends right after its event.
    let reported = async {
        while matches!(pool.scrape(gone, impatient).await, Err(HyperdhtError::Timeout(_))) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(LONG, reported).await.unwrap();
    while let Ok(event) = events.try_recv() {
        assert!(!is_failure(&event), "it was dialed again for that");
    }
    assert_eq!(
        pool.scrape(gone, impatient).await,
        Err(HyperdhtError::Timeout(impatient)),
        "but for the next one"
    );
}
