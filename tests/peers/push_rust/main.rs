//! Pushes with the Rust crates `prometheus` (protobuf) and `prometheus_push` (protobuf and text).
//!
//!     push-clients HOST:PORT

use std::collections::HashMap;
use std::error::Error;

use prometheus::{labels, Counter, Gauge, Histogram, HistogramOpts, Registry};
use prometheus_client::encoding::text::encode;
use prometheus_push::prometheus_client_crate::PrometheusClientMetricsPusherBlocking;
use prometheus_push::prometheus_crate::PrometheusMetricsPusherBlocking;
use reqwest::blocking::Client;
use url::Url;

/// A registry with a gauge of this name and value.
fn gauge(name: &str, value: f64) -> Result<Registry, Box<dyn Error>> {
    let registry = Registry::new();
    let gauge = Gauge::new(name, "Some \"help\".")?;
    gauge.set(value);
    registry.register(Box::new(gauge))?;
    Ok(registry)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: push-clients HOST:PORT")?;

    let registry = gauge("rust_replaced", 1.0)?;
    prometheus::push_metrics("rust", labels! { "zone".to_owned() => "a".to_owned() }, &address, registry.gather(), None)?;
    let registry = gauge("rust_pushed", 2.0)?;
    let histogram = Histogram::with_opts(HistogramOpts::new("rust_seconds", "A histogram.").buckets(vec![0.1, 1.0]))?;
    histogram.observe(0.5);
    registry.register(Box::new(histogram))?;
    prometheus::push_metrics("rust", labels! { "zone".to_owned() => "a".to_owned() }, &address, registry.gather(), None)?;
    let registry = gauge("rust_added", 3.0)?;
    prometheus::push_add_metrics("rust", labels! { "zone".to_owned() => "a".to_owned() }, &address, registry.gather(), None)?;

    let url = Url::parse(&format!("http://{address}"))?;
    let registry = Registry::new();
    let counter = Counter::new("rust_push_total", "A counter.")?;
    counter.inc_by(4.0);
    registry.register(Box::new(counter))?;
    PrometheusMetricsPusherBlocking::from(Client::new(), &url)?.push_all("rust_push", &labels! { "zone" => "b" }, registry.gather())?;

    let mut registry = prometheus_client::registry::Registry::default();
    let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
    counter.inc_by(5);
    registry.register("rust_client", "A counter", counter);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    let grouping = HashMap::from([("zone", "c")]);
    PrometheusClientMetricsPusherBlocking::create(Client::new(), &url)?.push_all("rust_client", &grouping, text)?;
    Ok(())
}
