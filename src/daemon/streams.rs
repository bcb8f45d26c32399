//! The monitoring stream: its listeners, its publisher, and the relay of other servers' streams.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context as _;

use super::Context;
use super::program::Program;
use super::sockets::listen_all;
use crate::config::Settings;
use crate::outlets::monitoring_api::MonitoringApi;
use crate::outlets::stream::Stream;
use crate::sources::upstreams::Upstreams;
use crate::supervise::Listener;

/// The listeners of the stream, bound.
pub(super) struct Streams {
    listeners: Vec<Listener>,
    /// The addresses of HTTP, for a client of HTTP that connects here.
    http: Arc<str>,
}

pub(super) async fn bind(settings: &Settings, http: Arc<str>) -> anyhow::Result<Streams> {
    let listeners = listen_all(settings, &settings.stream.listen_addresses).await;
    Ok(Streams {
        listeners: listeners.context("stream.listen_addresses")?,
        http,
    })
}

impl Streams {
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.listeners.iter()
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(Listener::local_addr).collect()
    }

    /// The HTTP API with the addresses of the stream.
    pub(super) fn api(&self, context: &Context) -> MonitoringApi {
        MonitoringApi {
            addresses: self.addresses().iter().map(ToString::to_string).collect(),
            peer_samples: context.peer_samples.clone(),
        }
    }

    /// Hands all parts that the configuration enables to the supervisor, each with the given number of slots where the system has no more.
    pub(super) fn start(self, slots: usize, settings: &Settings, context: &Context, program: &mut Program) {
        if !self.listeners.is_empty() {
            let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
            let stream = Stream::new(
                settings.stream.server.clone(),
                name.as_deref().unwrap_or(env!("CARGO_PKG_NAME")).into(),
                self.http,
                slots,
                context.view.clone(),
                Arc::clone(&context.telemetry),
            );
            program.add(stream.publisher());
            for listener in self.listeners {
                program.add(stream.service(listener));
            }
        }
        let relay = &settings.stream.relay;
        // A replica without upstreams removes those that others had.
        if !relay.upstreams.is_empty() || settings.cluster.is_some() {
            let (inlet, telemetry) = (context.inlet.clone(), Arc::clone(&context.telemetry));
            program.add(Upstreams::new(
                relay.clone(),
                context.lease.clone(),
                inlet,
                telemetry,
                context.clock,
            ));
        }
    }
}
