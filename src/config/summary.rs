//! Output of `check` for a valid configuration: listeners, polled endpoints, limits, and the keys that are set.

use std::fmt;

use super::endpoint::shown_url;
use super::fault::Location;
use super::ipfs;
use super::units::{show_duration, show_size};
use super::{EventsConfig, Loaded, PushgatewayConfig, ReceiverConfig, Settings, USUAL_UNIX_SOCKET, UnixReceiver, UnixSocketPath};
use crate::http::{AccessRule, AppPattern};
use crate::sources::polls::EndpointKind;
use crate::sources::pushgateway::TimestampRule;
use crate::supervise::UnixAccess;

impl fmt::Display for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "configuration: {}", self.source)?;
        let settings = &self.settings;
        for address in &settings.exporter.scrape_addresses {
            writeln!(f, "scraped at     http://{address}/metrics")?;
        }
        if let Some(socket) = &settings.http.unix_socket {
            writeln!(f, "               and unix {}{}", socket.path.display(), owners(&socket.access))?;
        }
        if let Some(file) = &settings.http.web_config_file {
            writeln!(
                f,
                "               with TLS, users, headers and the rate limit of {}",
                file.display()
            )?;
        }
        access(f, &settings.http.access)?;
        receivers(f, &settings.receiver)?;
        polls(f, settings)?;
        stream(f, settings)?;
        links(f, settings)?;
        bridge(f, settings)?;
        events(f, &settings.events)?;
        pushgateway(f, &settings.pushgateway)?;
        kept(f, settings)?;
        limits(f, settings)?;
        set_keys(f, settings)
    }
}

/// The tables of `http.access`.
fn access(f: &mut fmt::Formatter<'_>, rules: &[AccessRule]) -> fmt::Result {
    for rule in rules {
        let roles: Vec<&str> = rule.roles.iter().map(|role| role.as_str()).collect();
        let apps: Vec<&str> = rule.apps.iter().map(AppPattern::as_str).collect();
        let limit = if apps.is_empty() { "" } else { " of the apps " };
        writeln!(
            f,
            "grants         {}: {}{limit}{}",
            rule.identity,
            roles.join(", "),
            apps.join(", ")
        )?;
    }
    Ok(())
}

fn receivers(f: &mut fmt::Formatter<'_>, receiver: &ReceiverConfig) -> fmt::Result {
    if let Some(tcp) = &receiver.tcp {
        let scheme = if receiver.tls { "tls" } else { "tcp" };
        writeln!(f, "receives on    {scheme} {tcp}")?;
    }
    if let Some(unix) = &receiver.unix {
        writeln!(f, "receives on    unix {}", unix_line(unix))?;
    }
    Ok(())
}

fn unix_line(unix: &UnixReceiver) -> String {
    let path = match &unix.path {
        UnixSocketPath::Usual => format!("{USUAL_UNIX_SOCKET} (or a directory of the user if that is not writable)"),
        UnixSocketPath::Exactly(path) => path.display().to_string(),
    };
    format!("{path}{}", owners(&unix.access))
}

/// Owner, group and mode of a socket.
fn owners(access: &UnixAccess) -> String {
    format!(
        ", user {}, group {}, mode {:04o}",
        access.user.as_deref().unwrap_or("current"),
        access.group.as_deref().unwrap_or("current"),
        access.mode
    )
}

fn links(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    let Some(p2p) = &settings.p2p else { return Ok(()) };
    for bridge in &p2p.bridges {
        writeln!(f, "registers at   {bridge}")?;
    }
    match &p2p.listen {
        Some(listen) => writeln!(
            f,
            "scraped at     quic {listen} by {}",
            count(p2p.bridges.len() + p2p.allow.len(), "key")
        ),
        None => Ok(()),
    }
}

/// The bridge, if any key of `[bridge]` is set.
fn bridge(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    if !settings.is_set("bridge") {
        return Ok(());
    }
    let bridge = &settings.bridge;
    write!(f, "bridge         (exporter-proxy bridge) scraped at http://{}", bridge.http_listen)?;
    if let Some(listen) = &bridge.quic_listen {
        write!(f, ", registers proxies at quic {listen}")?;
    }
    if bridge.hyperdht.is_some() {
        f.write_str(", and over HyperDHT")?;
    }
    writeln!(f, ", lists them in {}", bridge.registry.targets_file.display())
}

/// A number with its noun, such as `1 key` or `2 keys`.
fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn polls(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    for endpoint in &settings.polls.endpoints {
        let (interval, timeout) = (show_duration(endpoint.interval), show_duration(endpoint.timeout));
        let name = &endpoint.name;
        match endpoint.kind {
            EndpointKind::Metrics => writeln!(
                f,
                "polls          {} every {interval}, timeout {timeout}, as {name:?}",
                shown_url(endpoint)
            )?,
            EndpointKind::Peers { .. } => {
                writeln!(
                    f,
                    "polls          {} for its peers every {interval}, as {name:?}",
                    ipfs::api(endpoint)
                )?;
            }
        }
    }
    Ok(())
}

fn stream(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    for upstream in &settings.stream.relay.upstreams {
        writeln!(f, "relays         the stream of {upstream}")?;
    }
    for address in &settings.stream.listen_addresses {
        writeln!(f, "streams at     tcp {address}")?;
    }
    if let Some(cluster) = &settings.cluster {
        writeln!(f, "shares apps    over {} ({})", cluster.url, cluster.prefix)?;
    }
    if let Some(bitswap) = &settings.bitswap {
        for address in &bitswap.listen {
            writeln!(f, "monitors at    {address}")?;
        }
        for address in &bitswap.peers {
            writeln!(f, "monitors       {address}")?;
        }
    }
    Ok(())
}

fn events(f: &mut fmt::Formatter<'_>, events: &EventsConfig) -> fmt::Result {
    if !events.enabled {
        return writeln!(f, "events         disabled (events.enabled = false)");
    }
    let place = if events.expose_in_metrics {
        "/metrics and /event/metrics"
    } else {
        "/event/metrics"
    };
    let options = &events.options;
    let times = if options.explicit_timestamps { ", with their times" } else { "" };
    writeln!(
        f,
        "events         as {} at {place}{times}, at most {} pending",
        events.metric_name, options.max_pending
    )?;
    let (timeout, window) = (show_duration(options.scraper_timeout), show_duration(options.newcomer_window));
    writeln!(
        f,
        "               scrapers told apart by {}; {} configured; forgotten after {timeout}; a new one gets the last {window}",
        events.identify_by,
        match options.scrapers.len() {
            0 => "none".to_owned(),
            n => n.to_string(),
        }
    )
}

fn pushgateway(f: &mut fmt::Formatter<'_>, pushgateway: &PushgatewayConfig) -> fmt::Result {
    if !pushgateway.enabled {
        return writeln!(f, "pushgateway    disabled (pushgateway.enabled = false)");
    }
    let rules = &pushgateway.rules;
    let timestamps = match rules.timestamps {
        TimestampRule::Reject => "refused",
        TimestampRule::Strip => "left out",
        TimestampRule::Keep => "kept",
    };
    let contradictions = if rules.strict { "refused" } else { "exposed together" };
    writeln!(
        f,
        "pushgateway    groups at {}/metrics/job/...; timestamps {timestamps}, contradictions between groups {contradictions}",
        rules.route_prefix
    )
}

fn kept(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    match &settings.store.path {
        Some(path) => writeln!(f, "keeps          apps and events across restarts, in {}", path.display()),
        None => writeln!(f, "keeps          apps and events in memory only (store.path is not set)"),
    }
}

fn limits(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    let (receiver, store) = (&settings.receiver, &settings.store.limits);
    let size = |bytes: usize| show_size(bytes as u64);
    let (message, inflight) = (size(receiver.limits.max_message_bytes), size(receiver.max_inflight_bytes));
    let slots = settings.exporter.concurrent_requests;
    writeln!(
        f,
        "limits         {slots} connections per listener, {message} per message, {inflight} of messages in flight"
    )?;
    let expiry = store.expire_after.map_or("never forgotten".to_owned(), |span| {
        format!("forgotten after {}", show_duration(span))
    });
    let memory = show_size(store.max_memory);
    writeln!(f, "               {} apps, {memory} of memory, {expiry}", store.max_apps)
}

/// The longest value that is shown whole, in characters; a list of endpoints is already shown line by line.
const MAX_SHOWN_CHARS: usize = 200;

fn cut(shown: &str) -> String {
    match shown.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{} ...", &shown[..end]),
        None => shown.to_owned(),
    }
}

/// The keys that are set, with their origins; secrets masked.
fn set_keys(f: &mut fmt::Formatter<'_>, settings: &Settings) -> fmt::Result {
    for entry in &settings.entries {
        let by = match &entry.place {
            None => continue,
            Some(Location::File) => "the file".to_owned(),
            Some(Location::Line(line, _)) => format!("line {line}"),
            Some(Location::Variable(name)) => name.to_string(),
        };
        writeln!(f, "set            {} = {} ({by})", entry.path(), cut(&entry.shown))?;
    }
    Ok(())
}
