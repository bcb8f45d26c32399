//! `exporter-proxy healthcheck`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::target::{cannot_connect, get};
use crate::config::{self, Environment, HostPort};

/// The programs that serve HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Role {
    Proxy,
    Bridge,
}

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// The address to ask. Left out: /readyz of this host, at the port in the configuration.
    url: Option<Url>,
    /// Program of the configuration to check. Default: the proxy, or the bridge if no proxy listens.
    #[arg(long, value_enum, value_name = "ROLE", conflicts_with = "url")]
    role: Option<Role>,
    /// Seconds until no answer is a failure.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=600))]
    timeout: u64,
}

impl Healthcheck {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (authorities, path) = match &self.url {
            Some(url) => {
                let (authority, path) = parts(url)?;
                (vec![authority], path)
            }
            None => (self.configured(named)?, "/readyz".to_owned()),
        };
        let answer = super::current_thread_runtime()?.block_on(self.ask(&authorities, &path))?;
        super::print(&format!("{}\n", answer.trim_end()))?;
        Ok(ExitCode::SUCCESS)
    }

    /// Sends the request to the first address, or to the next one where nothing listens. A server that answers "not ready" is the outcome:
    /// a bridge on the same host must not stand in for it.
    async fn ask(&self, authorities: &[String], path: &str) -> anyhow::Result<String> {
        let timeout = Duration::from_secs(self.timeout);
        let mut refused = Vec::new();
        for authority in authorities {
            let exchange = async {
                if let Err(why) = TcpStream::connect(authority).await {
                    return Ok(Err(cannot_connect(authority, &why)));
                }
                get(authority, path, "text/plain").await.map(Ok)
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

    /// Returns the addresses at which this host's HTTP port may be reached.
    fn configured(&self, named: Option<&Path>) -> anyhow::Result<Vec<String>> {
        let environment = Environment::from_pairs(std::env::vars_os());
        let settings = config::load(named, &environment)
            .map_err(|faults| anyhow::anyhow!("the configuration cannot be used:\n{faults}"))?
            .settings;
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
            Ok(authorities)
        })
    }
}

/// Splits a URL into `HOST:PORT` and the path.
fn parts(url: &Url) -> anyhow::Result<(String, String)> {
    ensure!(url.scheme() == "http", "{url}: only http:// is supported");
    let host = url.host_str().with_context(|| format!("{url} has no host"))?;
    let port = url.port_or_known_default().with_context(|| format!("{url} has no port"))?;
    let query = url.query().map_or(String::new(), |query| format!("?{query}"));
    Ok((format!("{host}:{port}"), format!("{}{query}", url.path())))
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
