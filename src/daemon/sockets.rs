//! The sockets that clients connect to, from bound to served.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::receivers::{self, Receivers};
use super::streams::{self, Streams};
use super::{Addresses, Context};
use crate::config::{HostPort, Settings};
use crate::http::{HttpService, Server};
use crate::outlets::Connections;
use crate::supervise::{AddressFamilies, BindError, ConnectionSlots, Listener, Supervisor, limits};

/// All sockets, bound but not yet served.
pub(super) struct Sockets {
    pub(super) receivers: Receivers,
    pub(super) streams: Streams,
    scraped: Vec<Listener>,
}

impl Sockets {
    /// Binds what the configuration names.
    pub(super) async fn bind(settings: &Settings, context: &Context) -> anyhow::Result<Self> {
        Ok(Self {
            receivers: receivers::bind(settings, context).await?,
            scraped: bind_http(settings).await?,
            streams: streams::bind(settings).await?,
        })
    }

    /// The addresses, without those of links.
    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            http: self.scraped.iter().filter_map(Listener::local_addr).collect(),
            tcp: self.receivers.tcp.as_ref().and_then(Listener::local_addr),
            unix: self.receivers.unix.as_ref().map(|listener| PathBuf::from(&**listener.place())),
            stream: self.streams.addresses(),
            key: None,
            links: None,
        }
    }

    /// The counters of each, for the metrics.
    pub(super) fn connections(&self) -> Connections {
        self.listeners()
            .map(|listener| (Arc::clone(listener.place()), Arc::clone(listener.stats())))
            .collect()
    }

    /// Gives each its share of the slots that the system's limit leaves, and its place under the supervisor.
    pub(super) fn start(self, settings: &Settings, context: &Context, service: &HttpService, supervisor: &mut Supervisor) {
        let slots = limits::connections_per_listener(
            limits::open_files(),
            self.listeners().count(),
            settings.exporter.concurrent_requests,
        );
        self.receivers.start(slots, supervisor);
        self.streams.start(slots, settings, context, supervisor);
        for listener in self.scraped {
            supervisor.add(Server::new(listener, ConnectionSlots::with_address_limit(slots), service.clone()));
        }
    }

    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.receivers.listeners().chain(&self.scraped).chain(self.streams.listeners())
    }
}

/// Listens on a configured address. On `[::]` that is for IPv6 alone where another listener has the port for IPv4.
pub(super) async fn listen(settings: &Settings, address: &HostPort) -> Result<Listener, BindError> {
    let families = match settings.shares_port_with_ipv4(address) {
        true => AddressFamilies::Own,
        false => AddressFamilies::All,
    };
    Listener::tcp_for(&address.to_string(), families).await
}

async fn bind_http(settings: &Settings) -> anyhow::Result<Vec<Listener>> {
    let mut bound = Vec::new();
    for address in &settings.exporter.scrape_addresses {
        bound.push(listen(settings, address).await.context("exporter.scrape_expose_endpoint")?);
    }
    Ok(bound)
}
