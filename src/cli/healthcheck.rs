//! `exporter-proxy healthcheck`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use url::Url;

use super::WebConfigFile;
use super::http_access::HttpAccess;
use super::target::{HttpServer, Transport, cannot_connect, get};
use crate::config::{self, Environment, HostPort};
use crate::http::read_web_config;

/// The programs that serve HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Proxy,
    Bridge,
}

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// The address to ask: http://, https://, or unix:PATH for /readyz on http.unix_socket. Left out: /readyz of this host, at the port in
    /// the configuration.
    url: Option<Url>,
    /// Program of the configuration to check. Default: the proxy, or the bridge if no proxy listens.
    #[arg(long, value_enum, value_name = "ROLE", conflicts_with = "url")]
    role: Option<Role>,
    /// Seconds until no answer is a failure.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
    #[command(flatten)]
    web: WebConfigFile,
    #[command(flatten)]
    access: HttpAccess,
}

impl Healthcheck {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (servers, access, path) = match &self.url {
            Some(url) => {
                let (server, path) = parts(url)?;
                (vec![server], self.access.clone(), path)
            }
            None => {
                let (servers, access) = self.configured(named)?;
                (servers, access, "/readyz".to_owned())
            }
        };
        let answer = super::current_thread_runtime()?.block_on(self.ask(&servers, &access, &path))?;
        super::print(&format!("{}\n", answer.trim_end()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sends the request to the first address, or to the next one where nothing listens. A server that answers "not ready" is the outcome:
    /// a bridge on the same host must not stand in for it.
    async fn ask(&self, servers: &[HttpServer], access: &HttpAccess, path: &str) -> anyhow::Result<String> {
        let timeout = Duration::from_secs(self.timeout);
        let mut refused = Vec::new();
        for server in servers {
            let authority = &server.place;
            let exchange = async {
                let connected = match server.transport {
                    Transport::Unix => UnixStream::connect(authority).await.err(),
                    Transport::Http | Transport::Https => TcpStream::connect(authority).await.err(),
                };
                if let Some(why) = connected {
                    return Ok(Err(cannot_connect(authority, &why)));
                }
                get(server, access, path, "text/plain").await.map(Ok)
            };
            let outcome = tokio::time::timeout(timeout, exchange)
                .await
                .with_context(|| format!("{authority} did not answer within {} s", self.timeout))?;
            match outcome? {
                Ok(text) => return Ok(text),
                Err(error) => refused.push(error.to_string()),
            }
        }
        bail!("{}", refused.join("; "))
    }

    /// Returns the addresses at which this host's HTTP port may be reached, and the access to it: where it has TLS, its certificate is
    /// that of its files, because it need not have the name of a local address.
    fn configured(&self, named: Option<&Path>) -> anyhow::Result<(Vec<HttpServer>, HttpAccess)> {
        let environment = Environment::from_pairs(std::env::vars_os());
        let settings = config::load(named, &environment)
            .map_err(|faults| anyhow::anyhow!("the configuration cannot be used:\n{faults}"))?
            .settings;
        let web_config_file = self.web.web_config_file.clone().or(settings.http.web_config_file);
        let (mut https, mut certificate) = (false, None);
        if let Some(file) = web_config_file {
            let web = read_web_config(&file).outcome?.config;
            (https, certificate) = (web.is_tls(), web.certificates().first().cloned());
        }
        let proxy = settings.exporter.scrape_addresses.into_iter().next();
        let addresses = match self.role {
            Some(Role::Proxy) => vec![proxy],
            Some(Role::Bridge) => vec![Some(settings.bridge.http_listen)],
            None => vec![proxy, Some(settings.bridge.http_listen)],
        };
        super::current_thread_runtime()?.block_on(async {
            let mut authorities = Vec::new();
            for address in addresses.into_iter().flatten() {
                authorities.extend(reachable(&address).await?);
            }
            let transport = if https { Transport::Https } else { Transport::Http };
            let server = |place| HttpServer { place, transport };
            let access = self.access.clone().pinned_to(certificate);
            Ok((authorities.into_iter().map(server).collect(), access))
        })
    }
}

/// Splits a URL into the server and the path.
fn parts(url: &Url) -> anyhow::Result<(HttpServer, String)> {
    if url.scheme() == "unix" {
        return Ok((HttpServer::unix(url.path()), "/readyz".to_owned()));
    }
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "{url}: only http://, https:// and unix: are supported"
    );
    let host = url.host_str().with_context(|| format!("{url} has no host"))?;
    let port = url.port_or_known_default().with_context(|| format!("{url} has no port"))?;
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    let server = HttpServer {
        place: format!("{host}:{port}"),
        transport: if url.scheme() == "https" {
            Transport::Https
        } else {
            Transport::Http
        },
    };
    Ok((server, format!("{}{query}", url.path())))
}

/// Replaces an unspecified address, which servers listen on and clients cannot connect to, by those of this host.
async fn reachable(address: &HostPort) -> anyhow::Result<Vec<String>> {
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
