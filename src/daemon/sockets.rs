//! The sockets that clients connect to, from bound to served.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use super::program::{self, Program};
use super::receivers::{self, Receivers};
use super::streams::{self, Streams};
use super::{Addresses, Context};
use crate::config::{HostPort, HttpSocket, Settings};
use crate::http::{Connections, HttpService, WebPolicy};
use crate::supervise::{AddressFamilies, BindError, ConnectionSlots, Listener, limits, service_manager};

/// All sockets, bound but not yet served.
pub(super) struct Sockets {
    pub(super) receivers: Receivers,
    pub(super) streams: Streams,
    scraped: Vec<Listener>,
}

impl Sockets {
    /// Binds what the configuration names.
    pub(super) async fn bind(settings: &Settings, context: &Context) -> anyhow::Result<Self> {
        let mut scraped = listen_all(settings, &settings.exporter.scrape_addresses)
            .await
            .context("exporter.scrape_expose_endpoint")?;
        scraped.extend(http_socket(settings).await?);
        let http = http_places(&scraped);
        Ok(Self {
            receivers: receivers::bind(settings, context, Arc::clone(&http)).await?,
            scraped,
            streams: streams::bind(settings, http).await?,
        })
    }

    /// The addresses, without those of links.
    pub(super) fn addresses(&self, settings: &Settings) -> Addresses {
        Addresses {
            http: self.scraped.iter().filter_map(Listener::local_addr).collect(),
            http_unix: unix_path(&self.scraped),
            tcp: self.receivers.tcp.as_ref().and_then(Listener::local_addr),
            unix: self.receivers.unix.as_ref().map(|listener| PathBuf::from(&**listener.place())),
            stream: self.streams.addresses(),
            https: false,
            can_push: false,
            tls: settings.receiver.tls,
            key: None,
            links: None,
            bitswap: Vec::new(),
        }
    }

    /// The counters of each, for the metrics.
    pub(super) fn connections(&self) -> Connections {
        program::connections(self.listeners())
    }

    /// Gives each its share of the slots that the system's limit leaves, and its place under the supervisor; the TCP receiver with TLS where
    /// a web configuration is given for it.
    pub(super) fn start(
        self,
        settings: &Settings,
        context: &Context,
        (service, receiver_tls): (&HttpService, Option<Arc<WebPolicy>>),
        program: &mut Program,
    ) {
        let slots = self.slots(settings);
        let has_few_files = slots < settings.exporter.concurrent_requests;
        self.receivers.start(slots, has_few_files, receiver_tls, program);
        self.streams.start(slots, settings, context, program);
        for listener in self.scraped {
            let slots = match has_few_files {
                true => ConnectionSlots::for_few_files(slots),
                false => ConnectionSlots::with_address_limit(slots),
            };
            program.serve(listener, slots, service.clone());
        }
    }

    /// The most connections of each.
    pub(super) fn slots(&self, settings: &Settings) -> usize {
        limits::connections_per_listener(
            limits::open_files(),
            self.listeners().count(),
            settings.exporter.concurrent_requests,
        )
    }

    fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.receivers.listeners().chain(&self.scraped).chain(self.streams.listeners())
    }
}

/// The addresses and the path of HTTP, for people.
fn http_places(scraped: &[Listener]) -> Arc<str> {
    let places: Vec<&str> = scraped.iter().map(|listener| &**listener.place()).collect();
    places.join(", ").into()
}

/// The path of the Unix socket among the listeners of HTTP.
fn unix_path(scraped: &[Listener]) -> Option<PathBuf> {
    let unix = scraped.iter().find(|listener| listener.local_addr().is_none())?;
    Some(PathBuf::from(&**unix.place()))
}

/// Listens on `http.unix_socket`, if it is set.
pub(super) async fn http_socket(settings: &Settings) -> anyhow::Result<Option<Listener>> {
    let Some(HttpSocket { path, access }) = &settings.http.unix_socket else {
        return Ok(None);
    };
    let bound = Listener::unix(path, access).await;
    Ok(Some(bound.context(HTTP_SOCKET)?))
}

/// The key of the Unix socket for HTTP.
pub(super) const HTTP_SOCKET: &str = "http.unix_socket";

/// Listens on a configured address. On `[::]` that is for IPv6 alone where another listener has the port for IPv4.
pub(super) async fn listen(settings: &Settings, address: &HostPort) -> Result<Listener, BindError> {
    let families = match settings.shares_port_with_ipv4(address) {
        true => AddressFamilies::Own,
        false => AddressFamilies::All,
    };
    Listener::tcp_for(&address.to_string(), families).await
}

/// Listens on all addresses of one key. One socket of the service manager may serve both `0.0.0.0` and `[::]`.
pub(super) async fn listen_all(settings: &Settings, addresses: &[HostPort]) -> Result<Vec<Listener>, BindError> {
    let mut listeners: Vec<Listener> = Vec::new();
    for address in addresses {
        if !is_served_by(&listeners, address) {
            listeners.push(listen(settings, address).await?);
        }
    }
    Ok(listeners)
}

fn is_served_by(listeners: &[Listener], address: &HostPort) -> bool {
    let Ok(address) = address.to_string().parse::<SocketAddr>() else {
        return false;
    };
    let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
    service_manager::is_served(address) && listeners.iter().any(|listener| listener.local_addr() == Some(both))
}
