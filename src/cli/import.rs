//! `exporter-proxy import pushgateway FILE|URL`

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use clap::{Args, Subcommand};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Request, StatusCode};
use http_body_util::Full;

use super::count;
use super::http_access::{HttpAccess, SourceAccess};
use super::server::default_server;
use super::target::{HttpServer, Target, has_user, send_request};
use crate::model::printable;
use crate::wire::pushgateway::{PUSH_FAILURE_TIME_HEADER, PUSH_TIME_HEADER, SavedGroup, SavedGroups, groups_of_scrape};

/// The longest file that is read: as much text as the largest usual store holds.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// The media type of a push in protobuf, and of the scrape that has it.
const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

#[derive(Debug, Args)]
pub(super) struct Import {
    #[command(subcommand)]
    from: From,
}

#[derive(Debug, Subcommand)]
enum From {
    /// Copy the groups of a Pushgateway, from its persistence file or from the running program.
    ///
    /// Groups keep their labels and the times of their last pushes. A group that the proxy has already is left as it is, unless
    /// --replace is given.
    Pushgateway(Pushgateway),
}

#[derive(Debug, Args)]
struct Pushgateway {
    /// The file of --persistence.file, or the URL of the Pushgateway, such as http://pushgateway:9091.
    source: String,
    /// The address of the proxy: http://HOST:PORT, https://HOST:PORT or http+unix:PATH. Default: the HTTP address in the file of -c,
    /// otherwise http://127.0.0.1:6555.
    #[arg(long, value_name = "URL")]
    to: Option<Target>,
    /// The route prefix of the Pushgateway at a URL (--web.route-prefix).
    #[arg(long, default_value = "", value_name = "PATH")]
    source_prefix: String,
    /// pushgateway.route_prefix of the proxy.
    #[arg(long, default_value = "", value_name = "PATH")]
    prefix: String,
    /// Replace groups that the proxy has already.
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    source_access: SourceAccess,
    #[command(flatten)]
    access: HttpAccess,
}

impl Import {
    pub(super) fn run(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let From::Pushgateway(pushgateway) = &self.from;
        super::block_on(pushgateway.import(named))
    }
}

/// The proxy that groups are pushed to.
struct Destination<'a> {
    server: HttpServer,
    access: HttpAccess,
    prefix: &'a str,
    replaces: bool,
}

/// The groups by their outcome.
#[derive(Default)]
struct Outcome {
    pushed: u64,
    families: u64,
    present: u64,
    refused: u64,
}

impl Pushgateway {
    async fn import(&self, named: Option<&Path>) -> anyhow::Result<ExitCode> {
        let (server, access) = match &self.to {
            None => default_server(named, &self.access).await?,
            Some(target) => {
                let server = target
                    .http_server()
                    .context("--to needs the HTTP port of the proxy: http://HOST:PORT")?;
                (server, self.access.clone())
            }
        };
        let to = Destination {
            server,
            access,
            prefix: self.prefix.trim_end_matches('/'),
            replaces: self.replace,
        };
        let mut outcome = Outcome::default();
        if self.source.contains("://") {
            // Without the URL, which may hold a password.
            ensure!(
                !has_user(&self.source),
                "a user and a password in the URL of the source are not supported; they go into --source-credentials-file"
            );
            let source: Target = self
                .source
                .parse()
                .map_err(|why: String| anyhow::anyhow!("{}: {why}", self.source))?;
            let source = source.http_server().context("the source is a file, or the URL of a Pushgateway")?;
            let (groups, missing) = self.scrape(&source).await?;
            for group in &groups {
                to.push(group, &mut outcome).await?;
            }
            if missing > 0 {
                tracing::warn!(
                    series = missing,
                    "series were deleted at the Pushgateway during the import; run it again"
                );
            }
        } else {
            let file = read_file(Path::new(&self.source))?;
            let groups = SavedGroups::new(&file).with_context(|| self.source.clone())?;
            for group in groups {
                to.push(&group.with_context(|| self.source.clone())?, &mut outcome).await?;
            }
        }
        outcome.report()
    }

    /// The groups of a running Pushgateway, and how many series changed meanwhile.
    async fn scrape(&self, source: &HttpServer) -> anyhow::Result<(Vec<SavedGroup>, usize)> {
        let prefix = self.source_prefix.trim_end_matches('/');
        let access = self.access.to_source(&self.source_access);
        let get = async |path: &str, accept: &str| {
            let request = Request::get(format!("{prefix}{path}"))
                .header(ACCEPT, accept)
                .body(Full::default())?;
            let answer = send_request(source, &access, request).await?;
            let (status, place) = (answer.status(), &source.place);
            ensure!(
                status.is_success(),
                "{place} answered {status} to {path}{}",
                access.hint(answer.headers())
            );
            anyhow::Ok(answer.into_body())
        };
        let api = get("/api/v1/metrics", "application/json").await?;
        // With names in UTF-8 as they are.
        let metrics = get("/metrics", &format!("{PROTOBUF}; escaping=allow-utf-8")).await?;
        groups_of_scrape(&api, &metrics).with_context(|| source.place.clone())
    }
}

impl Destination<'_> {
    /// Pushes a group. A refused one is reported, and the others are pushed all the same.
    async fn push(&self, saved: &SavedGroup, outcome: &mut Outcome) -> anyhow::Result<()> {
        let app = saved.group.app_name();
        if !self.replaces && self.has(app.as_str()).await? {
            outcome.present += 1;
            return Ok(());
        }
        let path = format!("{}{}", self.prefix, saved.group.path());
        let mut request = Request::put(path).header(CONTENT_TYPE, PROTOBUF);
        for (header, time) in [(PUSH_TIME_HEADER, saved.pushed), (PUSH_FAILURE_TIME_HEADER, saved.failed)] {
            if let Some(time) = time {
                request = request.header(header, time.to_string());
            }
        }
        let request = request.body(Full::from(Bytes::copy_from_slice(&saved.families)))?;
        let answer = send_request(&self.server, &self.access, request).await?;
        let (status, text) = (answer.status(), String::from_utf8_lossy(answer.body()).trim_end().to_owned());
        match status {
            StatusCode::OK => {
                outcome.pushed += 1;
                outcome.families += saved.count as u64;
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => {
                bail!(
                    "{} answered {status}: {text}{}",
                    self.server.place,
                    self.access.hint(answer.headers())
                );
            }
            _ => {
                outcome.refused += 1;
                tracing::error!(group = app.as_str(), %status, "a group was refused: {text}");
            }
        }
        Ok(())
    }

    /// Returns true if the proxy has an app.
    async fn has(&self, app: &str) -> anyhow::Result<bool> {
        let path = format!("/apps/{}?format=json", crate::http::path_segment(app));
        let request = Request::get(path).body(Full::default())?;
        let answer = send_request(&self.server, &self.access, request).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => bail!(
                "{} answered {status} to GET /apps{}",
                self.server.place,
                self.access.hint(answer.headers())
            ),
        }
    }
}

impl Outcome {
    fn report(&self) -> anyhow::Result<ExitCode> {
        let pushed = count(self.pushed, "group", "groups");
        let mut text = format!("imported {pushed} with {}", count(self.families, "family", "families"));
        if self.present > 0 {
            let present = count(self.present, "group", "groups");
            text.push_str(&format!("; {present} there already, left as they are (--replace replaces them)"));
        }
        if self.refused > 0 {
            text.push_str(&format!("; {} refused", count(self.refused, "group", "groups")));
        }
        super::print(&printable(&format!("{text}\n")))?;
        Ok(if self.refused > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

/// Reads a file into memory, within the limit.
fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot open {shown}"))?;
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {shown}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_FILE_BYTES,
        "{shown} is larger than {} GiB",
        MAX_FILE_BYTES >> 30
    );
    Ok(bytes)
}
