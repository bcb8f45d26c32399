//! The HTTP port that a command asks: that of an option, otherwise that of the configuration.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::http_access::HttpAccess;
use super::target::{HttpServer, Target, Transport, cannot_connect};
use crate::config::{self, Environment, HostPort, Settings};
use crate::http::read_web_config;

/// The address without an option and without a configuration.
const DEFAULT: &str = "127.0.0.1:6555";

/// Options for the server that a command asks.
#[derive(Debug, Clone, Args)]
pub(super) struct ServerOptions {
    /// HTTP address: http://HOST:PORT, https://HOST:PORT, or unix:PATH for http.unix_socket. Default: that of the configuration
    /// file given with -c, otherwise http://127.0.0.1:6555.
    #[arg(long, value_name = "URL")]
    from: Option<Target>,
    #[command(flatten)]
    access: HttpAccess,
}

impl ServerOptions {
    /// Returns the server and the access to it. `named` is the configuration file on the command line.
    ///
    /// # Errors
    /// If the option is no address of HTTP, if the configuration cannot be used, or if nothing listens at its addresses.
    pub(super) async fn find(&self, named: Option<&Path>) -> anyhow::Result<(HttpServer, HttpAccess)> {
        match &self.from {
            Some(target) => match target.http_server() {
                Some(server) => Ok((server, self.access.clone())),
                None => bail!("--from needs HTTP: http://HOST:PORT, https://HOST:PORT or unix:PATH"),
            },
            None => default_server(named, &self.access).await,
        }
    }
}

/// The server of the configuration file on the command line, otherwise that of the default configuration.
pub(super) async fn default_server(named: Option<&Path>, access: &HttpAccess) -> anyhow::Result<(HttpServer, HttpAccess)> {
    if named.is_none() {
        let server = HttpServer {
            place: DEFAULT.to_owned(),
            transport: Transport::Http,
        };
        return Ok((server, access.clone()));
    }
    let (servers, access) = configured(named, None, None, access).await?;
    let mut refused = Vec::new();
    for server in servers {
        match connect(&server).await {
            Ok(()) => return Ok((server, access)),
            Err(why) => refused.push(why.to_string()),
        }
    }
    bail!("{}", refused.join("; "))
}

/// Opens and closes a connection.
pub(super) async fn connect(server: &HttpServer) -> anyhow::Result<()> {
    let place = &server.place;
    let connected = match server.transport {
        Transport::Unix => UnixStream::connect(place).await.err(),
        Transport::Http | Transport::Https => TcpStream::connect(place).await.err(),
    };
    connected.map_or(Ok(()), |why| Err(cannot_connect(place, &why)))
}

/// The programs that serve HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Role {
    Proxy,
    Bridge,
}

/// Returns the addresses at which this host's HTTP port may be reached, and the access to it: where it has TLS, its certificate is that of
/// its files, because it need not have the name of a local address. `web_config_file` overrides the configured one.
pub(super) async fn configured(
    named: Option<&Path>,
    role: Option<Role>,
    web_config_file: Option<&Path>,
    access: &HttpAccess,
) -> anyhow::Result<(Vec<HttpServer>, HttpAccess)> {
    let settings = load(named)?;
    let (mut https, mut certificate) = (false, None);
    if let Some(file) = web_config_file.or(settings.http.web_config_file.as_deref()) {
        let web = read_web_config(file).outcome?.config;
        (https, certificate) = (web.is_tls(), web.certificates().first().cloned());
    }
    let proxy = settings.exporter.scrape_addresses.into_iter().next();
    let bridge = Some(settings.bridge.http_listen);
    let addresses = match role {
        Some(Role::Proxy) => vec![proxy],
        Some(Role::Bridge) => vec![bridge],
        None => vec![proxy, bridge],
    };
    let mut authorities = Vec::new();
    for address in addresses.into_iter().flatten() {
        authorities.extend(reachable(&address).await?);
    }
    let transport = if https { Transport::Https } else { Transport::Http };
    let server = |place| HttpServer { place, transport };
    let access = access.clone().pinned_to(certificate);
    Ok((authorities.into_iter().map(server).collect(), access))
}

/// The settings of the configuration file on the command line.
///
/// # Errors
/// All faults of the file and of the environment.
pub(super) fn settings(file: &Path) -> anyhow::Result<Settings> {
    load(Some(file))
}

fn load(named: Option<&Path>) -> anyhow::Result<Settings> {
    let environment = Environment::from_pairs(std::env::vars_os());
    let loaded = config::load(named, &environment);
    Ok(loaded
        .map_err(|faults| anyhow::anyhow!("the configuration cannot be used:\n{faults}"))?
        .settings)
}

/// Replaces an unspecified address, which servers listen on and clients cannot connect to, by those of this host.
pub(super) async fn reachable(address: &HostPort) -> anyhow::Result<Vec<String>> {
    let text = address.to_string();
    let resolved: SocketAddr = lookup_host(&text)
        .await
        .ok()
        .and_then(|mut all| all.next())
        .with_context(|| format!("{text} does not resolve"))?;
    let local = match resolved.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        // `[::]` takes IPv4 too, and a host may have no IPv6.
        IpAddr::V6(ip) if ip.is_unspecified() => vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()],
        ip => vec![ip],
    };
    Ok(local
        .into_iter()
        .map(|ip: IpAddr| SocketAddr::new(ip, resolved.port()).to_string())
        .collect())
}

#[cfg(test)]
mod tests;
