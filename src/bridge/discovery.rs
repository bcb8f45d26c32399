//! `GET /sd`: service discovery for Prometheus's `http_sd_configs`, with one target for each alias and one for each app.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http::header::{ACCEPT, HOST, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::alias_list::list_bytes;
use super::alias_table::Transport;
use super::forward::ScrapeForwarder;
use super::proxy_registry::{AliasListing, ProxyRegistry, Route};
use super::relay::{APPS_PATH, Outgoing, Relay};
use super::remote_claims::BridgeMember;
use crate::http::{Connection, Scheme, reply};
use crate::model::{AppName, printable_json};
use crate::page::{PieceQueue, PieceWriter};
use crate::peer::Link;
use crate::supervise::blocking;

/// Age at which a list of apps is requested again.
const APPS_TTL: Duration = Duration::from_secs(15);

/// Limit on refreshing all lists of apps. A proxy that takes longer keeps its previous list.
const APPS_TIMEOUT: Duration = Duration::from_secs(2);

/// Limit on concurrent requests to proxies.
const MAX_CONCURRENT: usize = 32;

/// Limit on the bytes read of a list of apps, and on the apps listed from it: Prometheus reads the response as a whole.
const MAX_LIST_BYTES: usize = 8 << 20;
const MAX_APPS: usize = 10_000;

/// State of the `/sd` handler.
pub(super) struct Discovery {
    pub(super) registry: Arc<ProxyRegistry>,
    /// Target address for requests without a Host header.
    pub(super) address: String,
    /// Writes the targets.
    pub(super) pieces: Arc<PieceQueue>,
    /// The way to the other bridges of a cluster.
    pub(super) relay: Option<Arc<Relay>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct DiscoveryParams {
    /// `false` leaves out the targets of apps; the target of a proxy then covers all of its apps.
    #[serde(default = "yes")]
    apps: bool,
}

fn yes() -> bool {
    true
}

/// `GET /sd`
pub(super) async fn targets(
    State(discovery): State<Arc<Discovery>>,
    Extension(connection): Extension<Connection>,
    Query(params): Query<DiscoveryParams>,
    uri: Uri,
    headers: HeaderMap,
) -> Response<Body> {
    if params.apps {
        // A proxy that does not respond in time keeps its previous list of apps.
        let _ = timeout(APPS_TIMEOUT, refresh(&discovery)).await;
    }
    let url = connection.public_url(&uri, &headers);
    let base = Base {
        address: url
            .as_ref()
            .map_or(discovery.address.as_str(), |url| url.authority.as_str())
            .to_owned(),
        prefix: url.as_ref().map_or("", |url| url.prefix.as_str()).to_owned(),
        scheme: url.as_ref().and_then(|url| url.scheme).map(Scheme::as_str),
    };
    let registry = Arc::clone(&discovery.registry);
    let list = blocking(move || registry.list()).await;
    let targets = TargetList::new(list, base, params.apps);
    discovery.pieces.respond("application/json", targets).await
}

/// The address of this bridge as its clients see it.
struct Base {
    address: String,
    prefix: String,
    scheme: Option<&'static str>,
}

/// The targets of aliases and of their apps, written piece by piece: each proxy may have thousands of apps.
struct TargetList {
    list: Vec<AliasListing>,
    base: Base,
    with_apps: bool,
    /// The next target: its alias, and the app, of which 0 stands for the proxy itself.
    next: (usize, usize),
}

impl TargetList {
    fn new(list: Vec<AliasListing>, base: Base, with_apps: bool) -> Self {
        Self {
            list,
            base,
            with_apps,
            next: (0, 0),
        }
    }

    /// The apps that have targets of their own; `None` if the target of the proxy covers them.
    fn apps<'a>(&self, listed: &'a AliasListing) -> Option<&'a [String]> {
        // Over HyperDHT a proxy returns all of its metrics; single apps cannot be requested.
        let is_whole = listed.link.is_none() && listed.entry.transport == Transport::Hyperdht;
        (self.with_apps && !is_whole).then_some(&*listed.apps.1)
    }

    /// The target of a proxy, or of one of its apps.
    fn target(&self, listed: &AliasListing, app: Option<&str>) -> Value {
        let (entry, base) = (&listed.entry, &self.base);
        let alias = entry.alias.as_str();
        let mut labels = json!({
            // Prometheus encodes the path, so it is not encoded here.
            "__metrics_path__": format!("{}/scrape/{alias}/metrics", base.prefix),
            "alias": alias,
            "hostname": entry.hostname,
            "service": entry.service,
            "instance": alias,
        });
        if let Some(scheme) = base.scheme {
            labels["__scheme__"] = scheme.into();
        }
        match app {
            Some(app) => {
                labels["app"] = app.into();
                labels["__param_app"] = app.into();
                labels["__param_own"] = "false".into();
            }
            // The apps have targets of their own, so this target covers the proxy's self metrics only.
            None if self.apps(listed).is_some() => labels["__param_only"] = "own".into(),
            None => {}
        }
        json!({ "targets": [base.address], "labels": labels })
    }
}

impl PieceWriter for TargetList {
    fn write(&mut self, out: &mut Vec<u8>, enough: usize) -> bool {
        while out.len() < enough {
            let is_first = self.next == (0, 0);
            let (alias, number) = self.next;
            let Some(listed) = self.list.get(alias) else {
                out.extend_from_slice(if is_first { "[]\n" } else { "]\n" }.as_bytes());
                return false;
            };
            let apps = self.apps(listed).unwrap_or_default();
            let app = number.checked_sub(1).and_then(|number| apps.get(number));
            let target = self.target(listed, app.map(String::as_str)).to_string();
            out.push(if is_first { b'[' } else { b',' });
            out.extend_from_slice(printable_json(&target).as_bytes());
            self.next = if number < apps.len() { (alias, number + 1) } else { (alias + 1, 0) };
        }
        true
    }

    fn memory(&self) -> u64 {
        // The names of apps may have been replaced in the registry.
        let names = self.list.iter().flat_map(|listed| listed.apps.1.iter());
        list_bytes(&self.list) + names.map(|name| (size_of::<String>() + name.len()) as u64).sum::<u64>()
    }
}

/// Refreshes the outdated lists of apps of all connected proxies, those of other bridges as well.
async fn refresh(discovery: &Discovery) {
    let Discovery { registry, relay, .. } = discovery;
    let now = Instant::now();
    let stale = registry
        .list()
        .into_iter()
        .filter(|listed| listed.apps.0.is_none_or(|asked| now.duration_since(asked) >= APPS_TTL))
        .filter(|listed| listed.link.is_some() || listed.bridge.is_some());
    futures_util::stream::iter(stale)
        .for_each_concurrent(MAX_CONCURRENT, |listed| async move {
            let alias = listed.entry.alias;
            let found = match (&listed.link, &listed.bridge, relay) {
                (Some(link), ..) => apps(link).await,
                (None, Some(bridge), Some(relay)) => apps_over(relay, bridge, alias.as_str()).await,
                _ => None,
            };
            match found {
                Some(apps) => registry.set_apps(alias.as_str(), apps, Instant::now()),
                None => tracing::debug!(%alias, "the list of apps is not available"),
            }
        })
        .await;
}

async fn apps(link: &Link) -> Option<Arc<[String]>> {
    let mut request = Request::get("/apps?format=json").body(Empty::<Bytes>::new()).ok()?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("exporter-proxy"));
    request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
    let answer = link.untracked().scrape(request, APPS_TIMEOUT).await.ok()?;
    if !answer.response.status().is_success() {
        return None;
    }
    let body = Limited::new(answer.response.into_body(), MAX_LIST_BYTES).collect().await.ok()?;
    names(&body.to_bytes())
}

/// The list of a proxy's apps, from the bridge that has the link to it.
async fn apps_over(relay: &Relay, bridge: &BridgeMember, alias: &str) -> Option<Arc<[String]>> {
    let outgoing = Outgoing {
        path: APPS_PATH,
        alias,
        proxy_path: "",
        method: Method::GET,
        headers: HeaderMap::new(),
        client: String::new(),
    };
    // Kept until the response is read: without it the connection ends.
    let (response, _upstream) = relay.send(bridge, outgoing, APPS_TIMEOUT).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    let body = timeout(APPS_TIMEOUT, Limited::new(response.into_body(), MAX_LIST_BYTES).collect()).await;
    names(&body.ok()?.ok()?.to_bytes())
}

/// `GET /-/cluster/apps`: the apps of a proxy of this bridge, for another bridge.
pub(super) async fn relayed(State(forwarder): State<Arc<ScrapeForwarder>>, uri: Uri, method: Method, headers: HeaderMap) -> Response<Body> {
    let alias = match forwarder.verify(&method, &uri, &headers) {
        Ok(request) => request.alias,
        Err(refused) => return *refused,
    };
    let found = match forwarder.registry.find_here(&alias) {
        Ok(Route::Link(link)) => apps(&link).await,
        _ => None,
    };
    let Some(found) = found else {
        return reply::text(StatusCode::BAD_GATEWAY, "Upstream unavailable");
    };
    let apps = found.iter().map(|name| ListedApp { name: name.into() }).collect();
    reply::json(StatusCode::OK, &AppList { apps })
}

/// The part of a proxy's list of apps that counts here.
#[derive(Debug, Serialize, Deserialize)]
struct AppList<'a> {
    apps: Vec<ListedApp<'a>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ListedApp<'a> {
    name: Cow<'a, str>,
}

/// Returns the names in a proxy's list of apps; `None` if the response is not such a list, in which case the previous list is kept.
fn names(list: &[u8]) -> Option<Arc<[String]>> {
    let list: AppList<'_> = serde_json::from_slice(list).ok()?;
    let names = list.apps.into_iter().map(|app| app.name.into_owned());
    let names = names.filter(|name| AppName::new(name).is_ok());
    Some(names.take(MAX_APPS).collect())
}

#[cfg(test)]
mod tests;
