//! Assembly of links from the settings: identities, secrets, and the client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use crate::config::{HyperdhtConfig, P2pConfig, SecretSource, Settings};
use crate::http::HttpService;
use crate::peer::{
    Alias, Client, ClientError, ClientSettings, Identity, LinkAddress, LinkEvent, LinkEvents, PublicKey, Registration, SharedSecret,
    default_key_file,
};
use crate::supervise::Notes;
use crate::supervise::files::{FileLock, LockError, open_regular};
use crate::supervise::secret_file::{self, FileRule};
use crate::telemetry::{BridgeTelemetry, LinkState, Telemetry};

/// Timeout for a key file that another process uses: a restart may overlap with the end of the previous run.
const KEY_FILE_WAIT: Duration = Duration::from_secs(15);

/// The example secret of the shipped configuration, which is public.
const EXAMPLE: SharedSecret = SharedSecret::new([0; 32]);

/// Creates the client that is scraped over links.
///
/// # Errors
/// When the key or the secret cannot be read, or the listening address cannot be bound.
pub(super) async fn client(
    p2p: &P2pConfig,
    all: &Settings,
    service: HttpService,
    telemetry: Arc<Telemetry>,
    notes: Arc<Notes>,
) -> anyhow::Result<(Client, Option<FileLock>)> {
    let (identity, lock) = identity(p2p.key_file.clone(), "p2p").await?;
    let hostname = match &p2p.hostname {
        Some(hostname) => hostname.clone(),
        None => hostname().context("p2p.hostname")?,
    };
    let alias = match &p2p.alias {
        Some(alias) => alias.clone(),
        None => Alias::new(&hostname).context("p2p.alias is not set, and the hostname is not a valid alias")?,
    };
    let secret = match &p2p.secret {
        Some(source) => secret(source, all.secrets.file_rule()).context("p2p.secret_file")?,
        // Without bridges the secret is never sent.
        None => EXAMPLE,
    };
    let settings = ClientSettings {
        identity,
        bridges: p2p.bridges.clone(),
        registration: Registration {
            alias,
            service: p2p.service.clone(),
            hostname,
            secret,
            interval: p2p.register_interval,
        },
        listen: p2p.listen.as_ref().map(ToString::to_string),
        allow: p2p.allow.clone(),
        bootstrap: bootstrap(&all.hyperdht),
    };
    for bridge in &p2p.bridges {
        telemetry.p2p_connected.with([&bridge.key().text()]).set(0);
        telemetry.links().update(&bridge.to_string(), |_| ());
        notes.set(&about(bridge), "not registered yet");
        tracing::info!(alias = %settings.registration.alias, "registering at {bridge}");
    }
    let bridges = p2p.bridges.clone();
    let events = LinkEvents::new(move |event| {
        count(&telemetry, &bridges, event);
        track(&telemetry, &bridges, event, Instant::now());
        note(&notes, &bridges, event);
    });
    let client = Client::bind(settings, service, events).await.map_err(|error| {
        let key = match error {
            ClientError::Listen(_) => "p2p.listen",
            ClientError::Hyperdht(_) => "p2p.bridges",
        };
        anyhow::Error::new(error).context(key)
    })?;
    Ok((client, lock))
}

/// The identity in the key file of a section, and the lock on that file: two processes must not share a key.
///
/// # Errors
/// When the file cannot be read or made, or another process uses it.
pub(super) async fn identity(configured: Option<PathBuf>, section: &str) -> anyhow::Result<(Identity, Option<FileLock>)> {
    let (path, key) = (key_file(configured, section)?, format!("{section}.key_file"));
    let identity = Identity::load_or_create(&path).with_context(|| key.clone())?;
    let lock = lock(&path, &key).await?;
    Ok((identity, lock))
}

async fn lock(path: &Path, key: &str) -> anyhow::Result<Option<FileLock>> {
    let shown = path.display();
    let file = open_regular(path).with_context(|| format!("{key}: cannot open {shown}"))?;
    let waiting = |why: &LockError| {
        tracing::warn!("{shown} ({key}): {why}; waiting up to {} s for it", KEY_FILE_WAIT.as_secs());
    };
    match FileLock::take_within(&file, KEY_FILE_WAIT, waiting).await {
        Ok(lock) => Ok(Some(lock)),
        Err(why @ LockError::Held(_)) => bail!("{shown} ({key}): {why}; two processes cannot share a key; set another file"),
        Err(why @ LockError::Unsupported(_)) => {
            tracing::warn!("{shown} ({key}): {why}; make sure that no other process uses this key");
            Ok(None)
        }
    }
}

/// The nodes through which HyperDHT is joined.
pub(super) fn bootstrap(hyperdht: &HyperdhtConfig) -> Vec<String> {
    hyperdht.bootstrap.iter().map(ToString::to_string).collect()
}

/// The configured key file, or the usual one of this name.
pub(super) fn key_file(configured: Option<PathBuf>, section: &str) -> anyhow::Result<PathBuf> {
    configured
        .or_else(|| default_key_file(&format!("{section}.key"), |name| std::env::var(name).ok()))
        .with_context(|| format!("{section}.key_file: none of STATE_DIRECTORY, XDG_STATE_HOME and HOME is set, so it needs a path"))
}

/// Reads the shared secret.
///
/// # Errors
/// When its file cannot be read, has permissions that the rule forbids, or does not hold 32 bytes, and for the example of the documentation.
pub(super) fn secret(source: &SecretSource, rule: FileRule) -> anyhow::Result<SharedSecret> {
    let secret: SharedSecret = match source {
        SecretSource::Given(text) => text.expose().parse()?,
        SecretSource::File(path) => {
            let text = secret_file::read(path, rule).with_context(|| format!("cannot read {}", path.display()))?;
            text.parse().with_context(|| path.display().to_string())?
        }
    };
    if secret == EXAMPLE {
        bail!("this is the example secret; generate your own: openssl rand -hex 32");
    }
    Ok(secret)
}

/// The hostname.
pub(super) fn hostname() -> anyhow::Result<String> {
    let name = nix::unistd::gethostname().context("cannot read the hostname")?;
    Ok(name.to_string_lossy().into_owned())
}

/// The subject of a note about a bridge.
fn about(bridge: &LinkAddress) -> String {
    format!("bridge {bridge} (p2p.bridges)")
}

/// Updates the note about the program's own announcement in HyperDHT: its subject, and the text before the reason.
fn note_announcement(notes: &Notes, about: &str, trouble: &str, event: &LinkEvent) {
    match event {
        LinkEvent::Announced { .. } => notes.clear(about),
        LinkEvent::Unannounced { why, .. } => notes.set(about, format!("{trouble}: {why}")),
        _ => {}
    }
}

/// The value of the label `event` under which an event of a link is counted, at a proxy and at a bridge.
const fn link_label(event: &LinkEvent) -> Option<&'static str> {
    match event {
        LinkEvent::Opened { .. } => Some("opened"),
        LinkEvent::Closed { .. } => Some("closed"),
        LinkEvent::Lost { .. } => Some("lost"),
        LinkEvent::HandshakeRejected { .. } => Some("rejected"),
        _ => None,
    }
}

/// The receiver of a bridge's link events: counts them, and keeps the note about the announcement in HyperDHT.
pub(super) fn bridge_events(telemetry: Arc<BridgeTelemetry>, notes: Arc<Notes>) -> LinkEvents {
    LinkEvents::new(move |event| {
        count_at_bridge(&telemetry, event);
        record_fault(&telemetry, event);
        let trouble = "proxies cannot find this bridge by its key";
        note_announcement(&notes, "HyperDHT (bridge.hyperdht)", trouble, event);
    })
}

/// Counts link events of a bridge. Scrapes are counted with their delivery outcome, takeovers where the table changes.
fn count_at_bridge(telemetry: &BridgeTelemetry, event: &LinkEvent) {
    let link = |what: &str| telemetry.bridge_links_total.with([what]).inc();
    let registration = |what: &str| telemetry.bridge_registrations_total.with([what]).inc();
    match event {
        LinkEvent::Registered { updated: true, .. } => registration("updated"),
        LinkEvent::Registered { updated: false, .. } => registration("unchanged"),
        LinkEvent::RegistrationRefused { .. } => registration("refused"),
        LinkEvent::Unreachable { .. } => link("unreachable"),
        _ => {
            if let Some(label) = link_label(event) {
                link(label);
            }
        }
    }
}

/// Records the faults of links for the status page of a bridge.
fn record_fault(telemetry: &BridgeTelemetry, event: &LinkEvent) {
    match event {
        LinkEvent::RegistrationRefused { peer, alias, address, why } => {
            let client = address.map_or_else(|| peer.to_string(), |address| address.ip().to_string());
            telemetry.link_fault("registration", &client, "registration_refused", &format!("{alias}: {why}"));
        }
        LinkEvent::HandshakeRejected { address, why, .. } => {
            telemetry.link_fault("handshake", &address.ip().to_string(), "handshake_rejected", why);
        }
        LinkEvent::Replaced { peer, alias, by, address } => {
            let detail = format!("{alias}, which {peer} had, is held by {by}");
            telemetry.link_fault("takeover", &address.ip().to_string(), "alias_taken", &detail);
        }
        LinkEvent::Lost { peer, why, .. } => telemetry.link_fault("link", &peer.to_string(), "link_lost", why),
        LinkEvent::Unreachable { peer, why } => telemetry.link_fault("link", &peer.to_string(), "unreachable", why),
        LinkEvent::ScrapeFailed { peer, why, .. } => telemetry.link_fault("scrape", &peer.to_string(), "scrape_failed", why),
        _ => {}
    }
}

/// Updates the notes about bridges at which this proxy is not registered, with the reasons.
fn note(notes: &Notes, bridges: &[LinkAddress], event: &LinkEvent) {
    let (peer, trouble) = match event {
        LinkEvent::Announced { .. } | LinkEvent::Unannounced { .. } => {
            return note_announcement(notes, "HyperDHT (p2p.bridges)", "this proxy is not announced", event);
        }
        LinkEvent::Registered { peer, .. } => (peer, None),
        LinkEvent::RegistrationRefused { peer, why, .. } => (peer, Some(format!("registration refused: {why}"))),
        LinkEvent::Unreachable { peer, why } => (peer, Some(format!("cannot connect: {why}"))),
        LinkEvent::Closed { peer, why, .. } | LinkEvent::Lost { peer, why, .. } => (peer, Some(format!("link closed: {why}"))),
        _ => return,
    };
    let over_hyperdht = |bridge: &LinkAddress| matches!(bridge, LinkAddress::Hyperdht(_));
    // Over HyperDHT there is a connection for each registration: its end says nothing.
    let is_end = matches!(event, LinkEvent::Closed { .. } | LinkEvent::Lost { .. });
    let concerned = bridges
        .iter()
        .filter(|bridge| bridge.key() == *peer && !(is_end && over_hyperdht(bridge)));
    for bridge in concerned {
        match &trouble {
            None => notes.clear(&about(bridge)),
            // Why the link ended says less than why the registration was refused.
            Some(_) if is_end && notes.is_set(&about(bridge)) => {}
            Some(trouble) => notes.set(&about(bridge), trouble.as_str()),
        }
    }
}

/// Updates the states of the links for the status page.
fn track(telemetry: &Telemetry, bridges: &[LinkAddress], event: &LinkEvent, now: Instant) {
    let update = |peer: &PublicKey, change: &dyn Fn(&LinkAddress, &mut LinkState)| {
        for bridge in bridges.iter().filter(|bridge| bridge.key() == *peer) {
            telemetry.links().update(&bridge.to_string(), |state| change(bridge, state));
        }
    };
    let failed = |peer: &PublicKey, why: &str| {
        update(peer, &|_, state| {
            state.registered_since = None;
            state.last_error = Some((now, why.into()));
        });
    };
    match event {
        LinkEvent::Registered { peer, .. } => update(peer, &|_, state| {
            state.registered_since.get_or_insert(now);
        }),
        LinkEvent::RegistrationRefused { peer, why, .. } => failed(peer, &format!("registration refused: {why}")),
        LinkEvent::Unreachable { peer, why } => failed(peer, &format!("cannot connect: {why}")),
        // Over HyperDHT there is a connection for each registration: its end says nothing.
        LinkEvent::Closed { peer, why, .. } | LinkEvent::Lost { peer, why, .. } => update(peer, &|bridge, state| {
            if matches!(bridge, LinkAddress::Quic(_)) {
                state.registered_since = None;
                state.last_error = Some((now, format!("link closed: {why}").into()));
            }
        }),
        LinkEvent::ScrapeAnswered { peer, .. } => update(peer, &|_, state| state.last_scrape = Some(now)),
        LinkEvent::ScrapeFailed { peer, why, .. } => {
            update(peer, &|_, state| {
                state.last_error = Some((now, format!("scrape failed: {why}").into()))
            });
        }
        _ => {}
    }
}

/// Counts what happens on links.
fn count(telemetry: &Telemetry, bridges: &[LinkAddress], event: &LinkEvent) {
    let link = |what: &str| telemetry.p2p_links_total.with([what]).inc();
    let scrape = |what: &str| telemetry.p2p_scrapes_total.with([what]).inc();
    let registration = |peer: &PublicKey, what: &str| telemetry.p2p_registrations_total.with([&peer.text(), what]).inc();
    let bridge = |peer: &PublicKey| bridges.iter().find(|bridge| bridge.key() == *peer);
    let connected = |peer: &PublicKey, up: bool| {
        if bridge(peer).is_some() {
            telemetry.p2p_connected.with([&peer.text()]).set(i64::from(up));
        }
    };
    // Over HyperDHT a connection says nothing: one is made for each registration, and others for scrapes.
    let ended = |peer: &PublicKey| {
        if matches!(bridge(peer), Some(LinkAddress::Quic(_))) {
            connected(peer, false);
        }
    };
    if let Some(label) = link_label(event) {
        link(label);
    }
    match event {
        LinkEvent::Registered { peer, updated, .. } => {
            registration(peer, if *updated { "updated" } else { "unchanged" });
            connected(peer, true);
        }
        LinkEvent::RegistrationRefused { peer, .. } => {
            registration(peer, "refused");
            connected(peer, false);
        }
        LinkEvent::Unreachable { peer, .. } => {
            registration(peer, "unreachable");
            connected(peer, false);
        }
        LinkEvent::Closed { peer, .. } | LinkEvent::Lost { peer, .. } => ended(peer),
        // Counted above, or not at all.
        LinkEvent::Opened { .. } | LinkEvent::HandshakeRejected { .. } => {}
        LinkEvent::Announced { .. } | LinkEvent::Unannounced { .. } => {}
        LinkEvent::AliasLost { peer, .. } => registration(peer, "lost"),
        LinkEvent::AliasReturned { peer, .. } => registration(peer, "returned"),
        // Shown in the log alone.
        LinkEvent::KeyShared { .. } => {}
        // For bridges.
        LinkEvent::Replaced { .. } | LinkEvent::Restored { .. } | LinkEvent::Renamed { .. } => {}
        LinkEvent::ScrapeStarted { .. } => scrape("started"),
        LinkEvent::ScrapeAnswered { .. } => scrape("answered"),
        LinkEvent::ScrapeFailed { .. } => scrape("failed"),
    }
}

#[cfg(test)]
mod tests;
