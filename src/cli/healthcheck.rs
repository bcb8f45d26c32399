//! `exporter-proxy healthcheck`

use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use url::Url;

use super::WebConfigFile;
use super::http_access::HttpAccess;
use super::server::{Role, configured, connect};
use super::target::{HttpServer, Transport, UrlParser, get, socket_path};

#[derive(Debug, Args)]
pub(super) struct Healthcheck {
    /// The address to ask: http://, https://, or unix:PATH for /readyz on http.unix_socket. Left out: /readyz of this host, at the port in
    /// the configuration.
    #[arg(value_parser = UrlParser::<HealthUrl>::new())]
    url: Option<HealthUrl>,
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
            Some(HealthUrl { server, path }) => (vec![server.clone()], self.access.clone(), path.clone()),
            None => {
                let web_config_file = self.web.web_config_file.as_deref();
                let found = configured(named, self.role, web_config_file, &self.access);
                let (servers, access) = super::block_on(found)?;
                (servers, access, "/readyz".to_owned())
            }
        };
        let answer = super::block_on(self.ask(&servers, &access, &path))?;
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
                if let Err(why) = connect(server).await {
                    return Ok(Err(why));
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
}

/// An address to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HealthUrl {
    server: HttpServer,
    /// The path and the query.
    path: String,
}

impl FromStr for HealthUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The path of a file is taken as it is: a URL would encode its spaces.
        if let Some(path) = text.strip_prefix("unix:").or_else(|| text.strip_prefix("http+unix:")) {
            return Ok(Self {
                server: HttpServer::unix(socket_path(path)?),
                path: "/readyz".to_owned(),
            });
        }
        let url = Url::parse(text).map_err(|why| why.to_string())?;
        let transport = match url.scheme() {
            "http" => Transport::Http,
            "https" => Transport::Https,
            _ => return Err("only http://, https:// and unix: are supported".to_owned()),
        };
        let host = url.host_str().ok_or("it has no host")?;
        let port = url.port_or_known_default().ok_or("it has no port")?;
        let query = url.query().map_or(String::new(), |query| format!("?{query}"));
        Ok(Self {
            server: HttpServer {
                place: format!("{host}:{port}"),
                transport,
            },
            path: format!("{}{query}", url.path()),
        })
    }
}

#[cfg(test)]
mod tests;
