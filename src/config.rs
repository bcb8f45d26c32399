//! Text to settings: a file and the environment in, [`Settings`] or every fault out.
//!
//! `raw` tables hold the settings as written, with the location of each value. The settings as used are the modules' own types, such as
//! [`store::Limits`](crate::store::Limits); the structs here (one file for each section) join them by section, with the addresses to bind
//! and the files to read. A declarative reader connects both: a section names each of its keys once, with its type and its default. Unknown
//! keys and suggestions for them, types and ranges, reloading, and the output of `check` follow from that.
//!
//! A new key is one line in its section's `read`; a new section is one file and one line in [`Settings`].

mod access;
mod address;
mod aliases;
mod bitswap;
mod bridge;
mod changes;
mod cluster;
mod endpoint;
mod environment;
mod events;
mod exporter;
mod exposition;
mod fault;
mod find;
mod http;
mod hyperdht;
mod ipfs;
mod key;
mod label;
mod legacy_env;
mod p2p;
mod poll;
mod pushgateway;
mod raw;
mod reader;
mod receiver;
mod secret;
mod secrets;
mod store;
mod stream;
mod summary;
mod syntax;
mod value_types;

use std::path::{Path, PathBuf};

pub use self::http::HttpConfig;
pub(crate) use crate::model::units::parse_size;
pub use address::HostPort;
pub use bitswap::BitswapConfig;
pub use bridge::BridgeConfig;
pub use changes::{Changes, ProgramKind, changes};
pub use cluster::{Acknowledge, ClusterConfig};
pub use environment::Environment;
pub use events::{EventsConfig, Rate};
pub use exporter::{ExporterConfig, Threads};
pub use exposition::{ExpositionConfig, ExpositionMode};
pub use fault::Faults;
pub use find::ConfigOrigin;
pub use http::HttpSocket;
pub use hyperdht::HyperdhtConfig;
pub use p2p::{P2pConfig, SecretSource};
pub use pushgateway::PushgatewayConfig;
pub use receiver::{ReceiverConfig, USUAL_UNIX_SOCKET, UnixReceiver, UnixSocketPath};
pub use secret::Secret;
pub use secrets::SecretsConfig;
pub use store::StoreConfig;
pub use stream::StreamConfig;

#[cfg(test)]
mod tests;

use crate::http::{Access, AccessRules, Identity};
use crate::model::{AppName, units};
use crate::sources::polls::{Credentials, Endpoint, Password, PollSettings};
use fault::{Fault, Location};
use raw::RawTable;
use reader::{ConfigReader, KeyEntry, ReaderOutput};

/// All settings, checked, as the program uses them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The process, and the addresses of HTTP.
    pub exporter: ExporterConfig,
    /// The sockets on which applications hand in metrics.
    pub receiver: ReceiverConfig,
    /// The exporters and IPFS nodes that are polled.
    pub polls: PollSettings,
    /// Number of configured endpoints that are not polled because `poll_external.poll_other_scrape_endpoints` is false.
    pub unpolled: usize,
    /// Limits of the store, and persistence.
    pub store: StoreConfig,
    /// Merging and rendering.
    pub exposition: ExpositionConfig,
    /// Access control of the HTTP port.
    pub http: HttpConfig,
    /// Files with secrets.
    pub secrets: SecretsConfig,
    /// One-shot events.
    pub events: EventsConfig,
    /// The API of Pushgateway.
    pub pushgateway: PushgatewayConfig,
    /// The monitoring stream.
    pub stream: StreamConfig,
    /// The cluster, where there is one.
    pub cluster: Option<ClusterConfig>,
    /// The Bitswap monitor, where it is enabled.
    pub bitswap: Option<BitswapConfig>,
    /// The links over which bridges scrape us, where they are enabled.
    pub p2p: Option<P2pConfig>,
    /// The bridge, for the command that runs one.
    pub bridge: BridgeConfig,
    /// HyperDHT, for the links and for the bridge.
    pub hyperdht: HyperdhtConfig,
    /// Every key with its value, for comparing and showing.
    entries: Vec<KeyEntry>,
}

/// Settings and their origin.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Their origin.
    pub source: ConfigOrigin,
}

impl Loaded {
    /// Returns the configuration file and the first of its keys that holds a secret itself. `None` if the file has no secret: one in an
    /// environment variable is not in the file.
    #[must_use]
    pub fn inline_secret(&self) -> Option<(&'static str, &Path)> {
        let file = self.source.file.as_deref()?;
        let is_given = |endpoint: &Endpoint| {
            matches!(
                &endpoint.credentials,
                Some(Credentials::Basic {
                    password: Password::Given(_),
                    ..
                })
            )
        };
        let has_password = self.settings.polls.endpoints.iter().any(is_given);
        let in_file = |key: &str| {
            let is_set = |entry: &KeyEntry| entry.path() == key && matches!(entry.place, Some(Location::Line(..)));
            self.settings.entries.iter().any(is_set)
        };
        let endpoints = [ENDPOINTS].into_iter().filter(|_| has_password);
        let key = INLINE_SECRETS.into_iter().chain(endpoints).find(|key| in_file(key))?;
        Some((key, file))
    }

    /// Converts faults that only this machine shows, such as a missing file, given with their keys. `None` if there are none.
    #[must_use]
    pub fn faults(&self, found: Vec<(&'static str, String)>) -> Option<Faults> {
        let entries = &self.settings.entries;
        let fault = |(key, text): (&'static str, String)| {
            let place = entries
                .iter()
                .find(|entry| entry.path() == key)
                .and_then(|entry| entry.place.clone());
            Fault {
                place: place.unwrap_or(Location::File),
                text: format!("{key}: {text}"),
            }
        };
        let name = file_name(self.source.file.as_deref());
        (!found.is_empty()).then(|| Faults::new(name, found.into_iter().map(fault).collect()))
    }
}

/// Keys that hold a secret themselves.
const INLINE_SECRETS: [&str; 2] = ["p2p.secret", "bridge.secret"];
/// Returns true for the secrets of the examples, which are zeros.
fn is_zeros(shown: &str) -> bool {
    let digits: Vec<char> = shown.chars().filter(char::is_ascii_alphanumeric).collect();
    digits.len() >= 32 && digits.iter().all(|digit| *digit == '0')
}

/// The key that holds the passwords of endpoints, among others.
const ENDPOINTS: &str = "poll_external.other_scrape_endpoints";

/// The name of the file in faults.
fn file_name(file: Option<&Path>) -> String {
    file.map_or("configuration".to_owned(), |path| path.display().to_string())
}

/// Finds, reads and checks the configuration. The file is `named` (the command line's `--config`), otherwise the one that the
/// environment names, otherwise `./config.toml`, otherwise `/etc/exporter-proxy/config.toml`; without any, defaults apply.
///
/// # Errors
/// Every fault of the file and of the environment. A named file that cannot be read is a fault, and so is an unnamed one
/// that is there but cannot be read.
pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Loaded, Faults> {
    loaded(find::read(named, environment)?, environment)
}

/// Reads and checks the configuration of a running program again. `file` is that of the configuration in force, as in
/// [`ConfigOrigin::file`]; without one the usual places are searched again.
///
/// # Errors
/// Every fault of the file and of the environment. A file that is no longer there is a fault: neither the built-in defaults nor a file in
/// another place take its place in a running program.
pub fn load_again(file: Option<&Path>, environment: &Environment) -> Result<Loaded, Faults> {
    let found = match file {
        Some(file) => find::read_again(file)?,
        None => find::read(None, environment)?,
    };
    loaded(found, environment)
}

/// The settings of a file that was read, if there is one, and of the environment.
fn loaded(found: Option<(PathBuf, String)>, environment: &Environment) -> Result<Loaded, Faults> {
    let (file, text) = found.unzip();
    let name = file_name(file.as_deref());
    let settings = parse(&text.unwrap_or_default(), &name, environment)?;
    let variables = environment.names();
    Ok(Loaded {
        settings,
        source: ConfigOrigin { file, variables },
    })
}

/// Reads settings from `text`, with the overrides of the environment; `name` stands for the text in faults.
///
/// # Errors
/// Every fault of the text and of the environment.
pub fn parse(text: &str, name: &str, environment: &Environment) -> Result<Settings, Faults> {
    let (mut root, mut faults) = syntax::parse(text);
    if let Some(fault) = foreign_file(&root) {
        return Err(Faults::new(name.to_owned(), vec![fault]));
    }
    environment.apply(&mut root, &mut faults);
    aliases::apply(&mut root, &mut faults);
    let (settings, faults) = Settings::read(ConfigReader::new(root, faults));
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(Faults::new(name.to_owned(), faults))
    }
}

/// All keys, each with its section.
fn known_keys() -> Vec<(&'static str, &'static str)> {
    let defaults = Settings::read(ConfigReader::new(RawTable::default(), Vec::new())).0;
    defaults.entries.iter().map(|entry| (entry.section, entry.key)).collect()
}

/// The fault of a file that has sections and keys, and none of ours: programs of many kinds have a `config.toml`.
fn foreign_file(root: &RawTable) -> Option<Fault> {
    let found: Vec<&str> = root.keys().collect();
    let keys = known_keys();
    let is_ours = |found: &&str| keys.iter().any(|(section, key)| found == section || found == key);
    // One name may be misspelled, and is then reported as such.
    if found.len() < 2 || found.iter().any(is_ours) {
        return None;
    }
    let mut sections: Vec<&str> = keys
        .iter()
        .map(|(section, _)| *section)
        .filter(|section| !section.is_empty())
        .collect();
    sections.dedup();
    Some(Fault {
        place: Location::File,
        text: format!(
            "this is the configuration of another program: it has none of the sections {}; name the right file with --config",
            sections.iter().map(|section| format!("[{section}]")).collect::<Vec<_>>().join(", ")
        ),
    })
}

impl Settings {
    fn read(mut reader: ConfigReader) -> (Self, Vec<Fault>) {
        let exporter = reader.section("exporter", ExporterConfig::read);
        let receiver = reader.section("receiver", ReceiverConfig::read);
        let (polls, unpolled) = reader.section("poll_external", poll::read);
        let mut settings = Self {
            exporter,
            receiver,
            polls,
            unpolled,
            store: reader.section("store", StoreConfig::read),
            exposition: reader.section("exposition", ExpositionConfig::read),
            http: reader.section("http", HttpConfig::read),
            secrets: reader.section("secrets", SecretsConfig::read),
            events: reader.section("events", EventsConfig::read),
            pushgateway: reader.section("pushgateway", PushgatewayConfig::read),
            stream: reader.section("stream", StreamConfig::read),
            cluster: reader.section("cluster", ClusterConfig::read),
            bitswap: reader.section("bitswap", BitswapConfig::read),
            p2p: reader.section("p2p", P2pConfig::read),
            bridge: reader.section("bridge", BridgeConfig::read),
            hyperdht: reader.section("hyperdht", HyperdhtConfig::read),
            entries: Vec::new(),
        };
        let nodes = reader.tables("ipfs", ipfs::read);
        let mut notes = reader.finish();
        settings.check_across(&nodes, &mut notes);
        settings.polls.endpoints.extend(nodes);
        let events = &settings.events;
        settings.polls.event_metric = events.enabled.then(|| events.metric_name.as_str().into());
        settings.polls.secret_rule = settings.secrets.file_rule();
        settings.entries = notes.entries;
        (settings, notes.faults)
    }

    /// Checks that concern more than one section.
    fn check_across(&self, nodes: &[Endpoint], notes: &mut ReaderOutput) {
        let mut names = nodes.iter().map(|node| &node.name);
        let both = names.find(|name| self.polls.endpoints.iter().any(|endpoint| endpoint.name == **name));
        notes.require(&[("poll_external", "other_scrape_endpoints"), ("", "ipfs")], both.is_none(), || {
            format!(
                "an endpoint and an IPFS node are both named \"{}\"; give one of them a \"name\"",
                both.map_or("", AppName::as_str)
            )
        });
        for simple in [("http", "write_from"), ("events", "post_from")] {
            let is_set = notes.entries.iter().any(|e| (e.section, e.key) == simple && e.place.is_some());
            let both = is_set && !self.http.access.is_empty();
            notes.require(&[("http", "access"), simple], !both, || {
                format!(
                    "\"{}\" has no effect beside [[http.access]], which says who may do what; remove one of them",
                    simple.1
                )
            });
        }
        notes.require(
            &[("cluster", "url"), ("store", "path")],
            self.cluster.is_none() || !self.events.enabled || self.store.path.is_some(),
            || {
                "a replica of a cluster writes one-shot events to its own disk before it acknowledges them, and keeps them until all scrapers \
                 have them; set store.path, or events.enabled = false"
                    .to_owned()
            },
        );
        notes.require(
            &[("cluster", "url"), ("events", "use_explicit_timestamps")],
            self.cluster.is_none() || !self.events.enabled || !self.events.options.explicit_timestamps,
            || {
                "replicas of a cluster accept events at the same time, so their timestamps have no common order, and Prometheus refuses \
                 samples out of order; set events.use_explicit_timestamps = false"
                    .to_owned()
            },
        );
        let has_uid = self.http.access.iter().any(|rule| matches!(rule.identity, Identity::Uid(_)));
        notes.require(
            &[("http", "unix_socket"), ("http", "access")],
            !has_uid || self.http.unix_socket.is_some(),
            || "\"uid\" in [[http.access]] is that of a client of http.unix_socket, which is not set".to_owned(),
        );
        self.check_addresses(notes);
        let received = self.receiver.unix.as_ref().map(|unix| &unix.path);
        let both = match (&self.http.unix_socket, received) {
            (Some(http), Some(UnixSocketPath::Exactly(path))) => http.path == *path,
            (Some(http), Some(UnixSocketPath::Usual)) => http.path == Path::new(USUAL_UNIX_SOCKET),
            _ => false,
        };
        let keys = [("http", "unix_socket"), ("receiver", "receiver_unix_socket")];
        notes.require(&keys, !both, || {
            "the receiver and HTTP need a Unix socket each, and both have the same path".to_owned()
        });
    }

    /// The access settings of the HTTP port.
    #[must_use]
    pub fn access(&self) -> Access {
        let http = &self.http;
        Access {
            rules: match http.access.is_empty() {
                true => AccessRules::of_networks(http.write_from.clone(), self.events.post_from.clone()),
                false => AccessRules::of_tables(http.access.clone()),
            },
            trusted_proxies: http.trusted_proxies.clone(),
            allowed_hosts: http.allowed_hosts.clone(),
            external_url: http.external_url.clone(),
            secret_rule: self.secrets.file_rule(),
        }
    }

    /// Warnings about keys without effect.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.unpolled > 0 {
            let unpolled = match self.unpolled {
                1 => "1 endpoint".to_owned(),
                n => format!("{n} endpoints"),
            };
            warnings.push(format!(
                "poll_external.other_scrape_endpoints has {unpolled}, but polling is disabled; set poll_external.poll_other_scrape_endpoints = true"
            ));
        }
        if self.p2p.is_none() && !self.changed("p2p").is_empty() {
            warnings.push(format!(
                "{} without effect: links are off; set p2p.enabled = true",
                self.changed("p2p").join(", ")
            ));
        }
        for key in INLINE_SECRETS {
            let is_example =
                |entry: &&KeyEntry| entry.path() == key && !entry.identity.expose().is_empty() && is_zeros(entry.identity.expose());
            if self.entries.iter().any(|entry| is_example(&entry)) {
                warnings.push(format!(
                    "{key} is the example of config.toml, which is public; make one with: openssl rand -hex 32"
                ));
            }
        }
        if self.events.scrapers_only && self.events.options.scrapers.is_empty() {
            warnings.push("events.scrapers_only is set, but events.scrapers is empty, so no client gets events".to_owned());
        }
        warnings
    }

    /// The warnings of a bridge about settings that are for a proxy.
    #[must_use]
    pub fn bridge_warnings(&self) -> Vec<String> {
        let keys = self.changed("p2p");
        let is_of_proxy = self.p2p.is_some() || !keys.is_empty();
        let text = || {
            format!(
                "{} without effect: a bridge reads [bridge], and [p2p] is for proxies",
                keys.join(", ")
            )
        };
        is_of_proxy.then(text).into_iter().collect()
    }

    /// The keys of a section with other values than by default.
    fn changed(&self, section: &str) -> Vec<String> {
        let defaults = Self::read(ConfigReader::new(RawTable::default(), Vec::new())).0;
        let pairs = self.entries.iter().zip(&defaults.entries);
        let changed = pairs.filter(|(entry, default)| entry.section == section && entry.identity != default.identity);
        changed.map(|(entry, _)| entry.path()).collect()
    }

    /// Returns true if a key of this section has another value than by default.
    #[must_use]
    pub fn is_changed(&self, section: &str) -> bool {
        !self.changed(section).is_empty()
    }

    /// Returns true if a key of this section was set.
    #[must_use]
    pub fn is_set(&self, section: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == section && entry.place.is_some())
    }

    /// Returns true if another listener has the same port for IPv4, so that a listener on `[::]` must be for IPv6 only.
    #[must_use]
    pub fn shares_port_with_ipv4(&self, address: &HostPort) -> bool {
        let all = self.exporter.scrape_addresses.iter().chain(&self.receiver.tcp);
        let mut all = all.chain(&self.stream.listen_addresses);
        address.port() != 0 && all.any(|other| other.port() == address.port() && other.is_ipv4())
    }

    /// Reports listeners with the same address.
    fn check_addresses(&self, notes: &mut ReaderOutput) {
        for stream in &self.stream.listen_addresses {
            let others = self.exporter.scrape_addresses.iter().chain(&self.receiver.tcp);
            let other = others.into_iter().find(|other| other.collides_with(stream));
            let keys = [
                ("exporter", "scrape_expose_endpoint"),
                ("receiver", "receiver_tcp_socket"),
                ("stream", "listen_addresses"),
            ];
            notes.require(&keys, other.is_none(), || {
                let other = other.map(ToString::to_string).unwrap_or_default();
                format!("{stream} of the stream and {other} conflict: both cannot be bound")
            });
        }
        let Some(tcp) = &self.receiver.tcp else { return };
        let collision = self.exporter.scrape_addresses.iter().find(|scrape| scrape.collides_with(tcp));
        let keys = [("exporter", "scrape_expose_endpoint"), ("receiver", "receiver_tcp_socket")];
        notes.require(&keys, collision.is_none(), || {
            let scrape = collision.map(ToString::to_string).unwrap_or_default();
            format!("the receiver {tcp} and the scrape address {scrape} conflict: both cannot be bound")
        });
    }
}
