//! A program that exposes its own metrics over a link: it registers with a bridge, and Prometheus scrapes it through the bridge.
//!
//! ```text
//! cargo run --example peer_client -- quic://KEY@bridge.example:6557 SECRET my_program
//! cargo run --example peer_client -- hyperdht://KEY SECRET my_program
//! curl http://bridge.example:30000/scrape/my_program/metrics
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to the person who runs it")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context as _;
use exporter_proxy::peer::{Alias, Client, ClientSettings, Identity, LinkEvents, REGISTER_INTERVAL, REQUEST_TIMEOUT, Registration};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| {
        arguments
            .next()
            .with_context(|| format!("usage: peer_client BRIDGE SECRET ALIAS ({what} is missing)"))
    };
    let bridge = next("BRIDGE")?.parse().map_err(anyhow::Error::msg)?;
    let secret = next("SECRET")?.parse()?;
    let alias = Alias::new(&next("ALIAS")?)?;

    let settings = ClientSettings {
        // The key stays the same after a restart, so that the alias stays with this program.
        identity: Identity::load_or_create(Path::new("peer_client.key"))?,
        bridges: vec![bridge],
        registration: Registration {
            alias,
            service: "peer_client".to_owned(),
            hostname: "example".to_owned(),
            secret,
            interval: REGISTER_INTERVAL,
        },
        listen: None,
        allow: Vec::new(),
        bootstrap: Vec::new(),
    };
    let scrapes = Arc::new(AtomicU64::new(0));
    let metrics = move || {
        let count = scrapes.fetch_add(1, Ordering::Relaxed) + 1;
        async move { Ok::<_, std::convert::Infallible>(format!("# TYPE scrapes_total counter\nscrapes_total {count}\n")) }
    };

    let client = Client::with_metrics(settings, REQUEST_TIMEOUT, metrics, LinkEvents::default()).await?;
    println!("our key is {}", client.public_key());
    let mut events = client.events();
    let mut running = client.start();
    tokio::select! {
        () = running.ready() => println!("registered"),
        _ = tokio::signal::ctrl_c() => {}
    }
    loop {
        tokio::select! {
            event = events.recv() => println!("{event:?}"),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    running.close().await;
    Ok(())
}
