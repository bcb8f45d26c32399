//! `exporter-proxy sd-config`

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use super::http_access::{Credential, HttpAccess};
use super::server::ServerOptions;
use super::status::parse;
use super::target::{HttpServer, Transport, get};

#[derive(Debug, Args)]
pub(super) struct SdConfig {
    #[command(flatten)]
    server: ServerOptions,
    /// Name of the job.
    #[arg(long, value_name = "NAME", default_value = "exporter-proxy")]
    job: String,
}

impl SdConfig {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let text = super::block_on(async {
            let (server, access) = self.server.find(named).await?;
            if server.transport == Transport::Unix {
                bail!("Prometheus cannot scrape a Unix socket; give --from http://HOST:PORT");
            }
            let status = parse(&server.place, &get(&server, &access, "/api/status", "application/json").await?)?;
            // Without the right to read it, the list of targets would be a riddle later.
            get(&server, &access, "/sd", "application/json").await?;
            anyhow::Ok(scrape_config(&server, &access, &self.job, status["role"] == "bridge"))
        })?;
        super::print(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The configuration of a Prometheus that scrapes a server.
fn scrape_config(server: &HttpServer, access: &HttpAccess, job: &str, is_bridge: bool) -> String {
    let scheme = if server.transport == Transport::Https { "https" } else { "http" };
    let what = match is_bridge {
        true => "each proxy of the bridge, and each of its apps",
        false => "each app of the proxy, and the proxy itself",
    };
    let mut out = format!(
        "# A target for {what} (http_sd_configs).\nscrape_configs:\n  - job_name: {}\n",
        quoted(job)
    );
    out.push_str("    # The labels of the apps stay as they are.\n    honor_labels: true\n");
    if scheme == "https" {
        out.push_str("    scheme: https\n");
    }
    let client = client(access, scheme == "https");
    indent(&mut out, &client, 4);
    let url = format!("{scheme}://{}/sd", server.place);
    let _ = write!(out, "    http_sd_configs:\n      - url: {}\n", quoted(&url));
    indent(&mut out, &client, 8);
    out
}

/// The settings of a client of the server, for its scrapes and for its list of targets.
fn client(access: &HttpAccess, is_https: bool) -> String {
    let mut out = String::new();
    match access.credential() {
        Some(Credential::Token(Some(file))) => {
            let _ = write!(out, "authorization:\n  credentials_file: {}\n", quoted(&absolute(file)));
        }
        Some(Credential::Token(None)) => out.push_str(
            "# The token is in an environment variable here; Prometheus needs it in a file.\nauthorization:\n  credentials_file: token\n",
        ),
        Some(Credential::Password(user)) => {
            let _ = write!(
                out,
                "# The file holds the password alone.\nbasic_auth:\n  username: {}\n  password_file: password\n",
                quoted(&user)
            );
        }
        None => {}
    }
    let (ca, certificate) = access.tls_files();
    if is_https && (ca.is_some() || certificate.is_some()) {
        out.push_str("tls_config:\n");
        if let Some(ca) = ca {
            let _ = writeln!(out, "  ca_file: {}", quoted(&absolute(ca)));
        }
        if let Some((certificate, key)) = certificate {
            let _ = writeln!(out, "  cert_file: {}", quoted(&absolute(certificate)));
            let _ = writeln!(out, "  key_file: {}", quoted(&absolute(key)));
        }
    }
    out
}

fn absolute(file: &Path) -> String {
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    absolute.display().to_string()
}

/// A string as YAML: JSON is a subset of it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn indent(out: &mut String, lines: &str, spaces: usize) {
    for line in lines.lines() {
        let _ = writeln!(out, "{:spaces$}{line}", "");
    }
}

#[cfg(test)]
mod tests;
