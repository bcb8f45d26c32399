#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
//! The monitor with peers of the same library over real sockets. `tests/border/bitswap.rs` has real Kubo nodes.

mod client;

use std::collections::VecDeque;
use std::net::TcpListener;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::*;
use crate::bus::{Notification, Sequenced, Subscription};
use crate::model::{Timestamp, Topic, Topics};
use crate::peer_samples::PeerSamples;
use crate::store::{self, EventOptions, Limits, Mode, View};
use crate::supervise::Service as _;
use crate::wire::bitswap::dont_have;
use client::{Client, LONGEST, until};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const CID: &[u8] = &[1, 0x55, 0, 1, b'x'];

/// A wantlist with one entry for [`CID`], that asks for an answer.
const WANT: &[u8] = b"\x0d\x0a\x0b\x0a\x09\x0a\x05\x01\x55\0\x01x\x28\x01";

/// A running monitor.
struct Running {
    addresses: Vec<String>,
    view: View,
    stream: Subscription,
    context: BitswapContext,
    task: JoinHandle<anyhow::Result<()>>,
}

fn settings(listen: &[&str], seed: u8) -> BitswapSettings {
    BitswapSettings {
        monitor: "north".to_owned(),
        seed: [seed; 32],
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        peers: Vec::new(),
        max_peers: 8,
        legacy_addresses: true,
    }
}

async fn start(settings: BitswapSettings) -> Running {
    let (inlet, view) = store::open(Limits::default(), Mode::Raw, EventOptions::default());
    let stream = view.subscribe(Topics::only(Topic::Bitswap));
    let context = BitswapContext {
        inlet,
        peer_samples: PeerSamples::default(),
        telemetry: std::sync::Arc::default(),
        clock: || Timestamp::from_millis(1),
    };
    let monitor = Monitor::bind(settings, context.clone()).await.unwrap();
    Running {
        addresses: monitor.addresses(),
        view,
        stream,
        context,
        task: tokio::spawn(Box::new(monitor).run(CancellationToken::new())),
    }
}

impl Running {
    /// The text of the app, once it has a line.
    async fn shows(&self, line: &str) {
        until(line, async || {
            self.text().is_some_and(|text| text.lines().any(|shown| shown == line))
        })
        .await;
    }

    fn text(&self) -> Option<String> {
        let app = self.view.app("bitswap: north")?;
        String::from_utf8(app.text.body().to_vec()).ok()
    }

    /// Waits for the next events of the stream, one for each key.
    async fn events(&mut self, keys: &[&str]) -> Vec<serde_json::Value> {
        let mut changes: VecDeque<Sequenced> = VecDeque::new();
        while changes.len() < keys.len() {
            timeout(LONGEST, self.stream.take(&mut changes)).await.unwrap();
        }
        let events: Vec<serde_json::Value> = changes
            .into_iter()
            .map(|changed| match changed.change {
                Notification::Relayed { event, .. } => serde_json::from_slice(&event).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        for (event, key) in events.iter().zip(keys) {
            assert!(event.get(key).is_some(), "no {key} in {event}");
        }
        events
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_over_tcp_and_quic_are_counted_streamed_and_answered() {
    for address in ["/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"] {
        let mut monitor = start(settings(&[address], 1)).await;
        let mut client = Client::start();
        client.dial(&monitor.addresses[0]).await;
        client.send(WANT.to_vec());
        let events = monitor.events(&["connection_event", "bitswap_message"]).await;
        let message = &events[1];
        assert_eq!(
            (message["peer"].as_str(), message["monitor"].as_str()),
            (Some(&*client.peer()), Some("north"))
        );
        let entry = &message["bitswap_message"]["wantlist_entries"][0];
        assert_eq!(
            (entry["Cid"]["/"].as_str(), entry["SendDontHave"].as_bool()),
            (Some("bafkqaaly"), Some(true))
        );
        assert_eq!(client.received().await, dont_have([CID]));
        monitor
            .shows("wantlist_entries_received{monitor=\"north\",entry_type=\"want_block\",send_dont_have=\"true\"} 1")
            .await;
        monitor.shows("plugin_metric_export_bitswap_senders{monitor=\"north\"} 1").await;
        let text = monitor.text().unwrap();
        assert!(
            !text.contains(&client.peer()) && !text.contains("127.0.0.1") && !text.contains("bafk"),
            "{text}"
        );
        drop(client);
        let events = monitor.events(&["connection_event"]).await;
        assert_eq!(events[0]["connection_event"]["connection_event_type"], 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_stream_is_reset_and_the_connection_goes_on() {
    let mut monitor = start(settings(&["/ip4/127.0.0.1/tcp/0"], 1)).await;
    let client = Client::start();
    client.dial(&monitor.addresses[0]).await;
    for bytes in [vec![0xff; 100], vec![0x81, 0x80, 0x80, 2], vec![1, 7], vec![100, 1, 2]] {
        client.send(bytes);
    }
    let rejected = &monitor.context.telemetry.rejected_total;
    let source = "bitswap: north";
    until("refusals", async || {
        rejected.with([source, "malformed"]).get() == 2
            && rejected.with([source, "too_large"]).get() == 1
            && rejected.with([source, "truncated"]).get() == 1
    })
    .await;
    client.send(WANT.to_vec());
    monitor.events(&["connection_event", "bitswap_message"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_peer_is_dialed_again_after_a_loss_and_sampled() {
    let other = start(settings(&["/ip4/127.0.0.1/tcp/0"], 2)).await;
    let address = other.addresses[0].clone();
    let mut monitor = start(BitswapSettings {
        peers: vec![address.parse().unwrap()],
        ..settings(&[], 1)
    })
    .await;
    monitor.events(&["connection_event"]).await;
    let agent = concat!("exporter-proxy/", env!("CARGO_PKG_VERSION"));
    until("a sample with the agent", async || {
        let samples = monitor.context.peer_samples.all();
        samples
            .iter()
            .flat_map(|(_, sample)| &sample.peers)
            .any(|peer| peer.agent.as_deref() == Some(agent))
    })
    .await;
    let (plain, _) = address.rsplit_once("/p2p/").unwrap();
    drop(other);
    let lost = monitor.events(&["connection_event"]).await;
    assert_eq!(lost[0]["connection_event"]["connection_event_type"], 1);
    let again = start(settings(&[plain], 2)).await;
    assert_eq!(again.addresses[0], address, "the same seed is the same peer");
    let found = monitor.events(&["connection_event"]).await;
    assert_eq!(found[0]["connection_event"]["connection_event_type"], 0);
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
    let (inlet, _view) = store::open(Limits::default(), Mode::Raw, EventOptions::default());
    let context = BitswapContext {
        inlet,
        peer_samples: PeerSamples::default(),
        telemetry: std::sync::Arc::default(),
        clock: || Timestamp::from_millis(1),
    };
    let bind = Monitor::bind(settings(&[&address], 1), context);
    let error = timeout(Duration::from_secs(30), bind).await.unwrap().err().unwrap();
    assert_eq!(error.to_string(), format!("cannot bind {address}: address already in use"));
}
