#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::*;
use crate::bus::{Notification, Subscription};
use crate::model::{Timestamp, Topic};
use crate::store::{EventOptions, Limits, Mode, View, open};
use crate::telemetry::Telemetry;
use crate::wire::monitoring::{Compressor, HELLO, length_of};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(30);

fn clock() -> Timestamp {
    Timestamp::from_millis(1)
}

fn frame(payload: &[u8]) -> Vec<u8> {
    [&length_of(payload.len()).unwrap()[..], payload].concat()
}

fn message(text: &str) -> Vec<u8> {
    let mut member = Vec::new();
    Compressor::default().member(text.as_bytes(), &mut member);
    frame(&member)
}

fn connected(n: usize) -> Vec<u8> {
    message(&format!(
        "{{\"event\":{{\"timestamp\":\"t\",\"peer\":\"{n}\",\"connection_event\":{{\"remote\":\"/ip4/1.1.1.1/udp/1/quic-v1\",\"connection_event_type\":0}}}}}}\n"
    ))
}

/// A server that gives its first client `first` and closes, and every other one a good handshake and `then`, and stays.
async fn server(first: Option<Vec<u8>>, then: Vec<u8>) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move {
        let (mut first, mut kept) = (first, Vec::new());
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            match first.take() {
                Some(bytes) => {
                    // The client may go before all is written; that is its good right.
                    let _ = client.write_all(&bytes).await;
                    let _ = client.shutdown().await;
                    let _ = client.read_to_end(&mut Vec::new()).await;
                }
                None => {
                    client.write_all(&[HELLO, &then].concat()).await.unwrap();
                    kept.push(client);
                }
            }
        }
    });
    (address, serving.abort_handle())
}

struct Relay {
    telemetry: Arc<Telemetry>,
    view: View,
    feed: Subscription,
    stop: CancellationToken,
}

impl Relay {
    fn start(upstreams: &[String]) -> Self {
        let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
        let (telemetry, stop) = (Arc::<Telemetry>::default(), CancellationToken::new());
        let feed = view.subscribe([Topic::Bitswap, Topic::Poll].into_iter().collect());
        let settings = UpstreamSettings {
            upstreams: upstreams.to_vec(),
            legacy_addresses: true,
        };
        let part = Upstreams::new(settings, watch::Sender::new(true).subscribe(), inlet, Arc::clone(&telemetry), clock);
        tokio::spawn(Box::new(part).run(stop.clone()));
        Self {
            telemetry,
            view,
            feed,
            stop,
        }
    }

    async fn events(&mut self, wanted: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < wanted {
            let mut changes = VecDeque::new();
            timeout(PATIENCE, self.feed.take(&mut changes)).await.unwrap();
            for numbered in changes {
                let Notification::Relayed { event, .. } = numbered.change else {
                    continue;
                };
                events.push(serde_json::from_slice(&event).unwrap());
            }
        }
        events
    }

    async fn shows(&self, what: &str) {
        let shown = async {
            while !self
                .view
                .apps()
                .iter()
                .any(|app| app.text.body().windows(what.len()).any(|text| text == what.as_bytes()))
            {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, shown).await.unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[tokio::test]
async fn a_replica_removes_the_counts_of_upstreams_that_are_none_of_its_own() {
    let (inlet, view) = open(Limits::default(), Mode::Raw, EventOptions::default());
    for (name, format) in [
        ("stream: old:1", Format::Stream),
        ("bitswap: north", Format::Stream),
        ("stream: pushed", Format::Push),
    ] {
        let origin = Origin {
            source: name.into(),
            format,
        };
        inlet.register(AppName::new(name).unwrap(), origin, clock()).unwrap();
    }
    let settings = UpstreamSettings {
        upstreams: vec!["127.0.0.1:1".to_owned()],
        legacy_addresses: true,
    };
    // Held, as a cluster does.
    let (_lease, active) = watch::channel(true);
    let service = Upstreams::new(settings, active, inlet, Arc::default(), clock);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(Box::new(service).run(stop));
    let names = || view.app_names().iter().map(ToString::to_string).collect::<Vec<_>>();
    let removed = async {
        while names() != ["bitswap: north", "stream: pushed", "stream: 127.0.0.1:1"] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, removed).await.unwrap();
}

#[tokio::test]
async fn what_is_heard_is_relayed_in_order_and_counted() {
    let (address, _serving) = server(None, (0..500).flat_map(connected).collect()).await;
    let mut relay = Relay::start(std::slice::from_ref(&address));
    for (n, event) in relay.events(500).await.into_iter().enumerate() {
        assert_eq!(
            (&event["peer"], &event["monitor"]),
            (&n.to_string().into(), &address.as_str().into())
        );
        assert_eq!(event["connection_event"]["remote"], "/ip4/1.1.1.1/udp/1/quic");
        assert_eq!(event["full_remote"], "/ip4/1.1.1.1/udp/1/quic-v1");
    }
    relay
        .shows(&format!("connection_events_connected{{monitor=\"{address}\"}} 500\n"))
        .await;
    let app = relay.view.app(&format!("stream: {address}")).unwrap();
    assert_eq!((&*app.origin.source, app.fault.as_deref()), (&*format!("stream: {address}"), None));
    assert_eq!(relay.telemetry.stream_upstream_up.with([&address]).get(), 1);
}

#[tokio::test]
async fn a_bad_server_is_left_and_tried_again() {
    let mut bomb = Vec::new();
    Compressor::default().member(&vec![b' '; 64 << 20], &mut bomb);
    let good = connected(1);
    let cases = [
        ("version 2", [&b"\0\0\0\x0d{\"version\":2}"[..], &good].concat()),
        ("no handshake", frame(b"hello")),
        ("garbage instead of frames", [HELLO, &[0xff; 100]].concat()),
        ("garbage in a frame", [HELLO, &frame(b"garbage")].concat()),
        ("a damaged member", [HELLO, &frame(&good[4..good.len() - 2])].concat()),
        ("half a frame", [HELLO, &good[..good.len() / 2]].concat()),
        ("a bomb", [HELLO, &frame(&bomb)].concat()),
        ("nothing", Vec::new()),
    ];
    let mut upstreams = Vec::new();
    for (_, first) in &cases {
        upstreams.push(server(Some(first.clone()), connected(2)).await.0);
    }
    let mut relay = Relay::start(&upstreams);
    let events = relay.events(cases.len()).await;
    for ((what, _), upstream) in cases.iter().zip(&upstreams) {
        let from = events.iter().filter(|event| event["monitor"] == upstream.as_str());
        assert_eq!(from.map(|event| &event["peer"]).collect::<Vec<_>>(), ["2"], "{what}");
        assert_eq!(relay.telemetry.stream_upstream_up.with([upstream]).get(), 1, "{what}");
    }
}

#[tokio::test]
async fn messages_that_nobody_can_use_are_passed_over_and_counted() {
    let event = |keys: &str| message(&format!("{{\"event\":{{\"timestamp\":\"t\",\"peer\":\"p\"{keys}}}}}\n"));
    let bytes = [
        message("{\"event\":null}\n"),
        event(""),
        event(",\"poll\":{},\"monitor\":\"m\",\"hops\":8"),
        event(",\"poll\":{},\"monitor\":\"m\",\"hops\":7"),
    ];
    let (address, _serving) = server(None, bytes.concat()).await;
    let mut relay = Relay::start(std::slice::from_ref(&address));
    assert_eq!(relay.events(1).await[0]["hops"], 8);
    let source = format!("stream: {address}");
    for reason in ["malformed", "unknown_event", "loop"] {
        assert_eq!(relay.telemetry.rejected_total.with([&source, reason]).get(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_lost_server_is_shown_until_it_is_back() {
    let (address, serving) = server(None, connected(1)).await;
    let mut relay = Relay::start(std::slice::from_ref(&address));
    relay.events(1).await;
    serving.abort();
    let app = format!("stream: {address}");
    let fault = async {
        while relay.view.app(&app).unwrap().fault.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, fault).await.unwrap();
    assert_eq!(relay.telemetry.stream_upstream_up.with([&address]).get(), 0);
    relay
        .shows(&format!("connection_events_connected{{monitor=\"{address}\"}} 1\n"))
        .await;
}
