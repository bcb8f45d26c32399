//! Text to settings: a file and the environment in, [`Settings`] or every fault out.
//!
//! What is written and what is used are two things. `raw` tables keep what was written, with the place of each value; the
//! structs of the sections (one file each) hold what the program uses, with nothing optional that is mandatory in life.
//! Between them stands a declarative reader: a section names each of its keys once, with its kind and its default, and from
//! that follow unknown keys and the nearest known one, types and ranges, what a reload takes up, and what `check` shows.
//!
//! A new key is one line in its section's `read`; a new section is one file and one line in [`Settings`].

mod address;
mod bridge;
mod changes;
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
mod raw;
mod reader;
mod receiver;
mod secret;
mod store;
mod stream;
mod summary;
mod syntax;
mod units;
mod value_types;

use std::path::Path;

pub use address::HostPort;
pub use bridge::BridgeConfig;
pub use changes::{Changes, changes};
pub use environment::Environment;
pub use events::{EventsConfig, Rate, ScraperIdentity, ScraperLabel};
pub use exporter::{ExporterConfig, Threads};
pub use exposition::{Duplicates, ExpositionConfig, ExpositionMode};
pub use fault::Faults;
pub use find::ConfigOrigin;
pub use http::HttpConfig;
pub use hyperdht::HyperdhtConfig;
pub use ipfs::IpfsNode;
pub use p2p::{P2pConfig, SecretSource};
pub use poll::{Credentials, Endpoint, Password, PollConfig};
pub use receiver::{Owner, ReceiverConfig, ReceiverFormat, USUAL_UNIX_SOCKET, UnixReceiver, UnixSocketPath};
pub use secret::Secret;
pub use store::StoreConfig;
pub use stream::StreamConfig;

#[cfg(test)]
mod tests;

use crate::model::AppName;
use fault::{Fault, Location};
use reader::{ConfigReader, KeyEntry, ReaderOutput};

/// All settings, checked, as the program uses them.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The process, and where it is scraped.
    pub exporter: ExporterConfig,
    /// The sockets on which applications hand in metrics.
    pub receiver: ReceiverConfig,
    /// The exporters that are polled.
    pub poll_external: PollConfig,
    /// How much is remembered, and for how long.
    pub store: StoreConfig,
    /// How it is handed out.
    pub exposition: ExpositionConfig,
    /// Who may do what over HTTP.
    pub http: HttpConfig,
    /// One-shot events.
    pub events: EventsConfig,
    /// The monitoring stream.
    pub stream: StreamConfig,
    /// The IPFS nodes whose peers are asked for.
    pub ipfs: Vec<IpfsNode>,
    /// The links over which bridges scrape us, where they are enabled.
    pub p2p: Option<P2pConfig>,
    /// The bridge, for the command that runs one.
    pub bridge: BridgeConfig,
    /// HyperDHT, for the links and for the bridge.
    pub hyperdht: HyperdhtConfig,
    /// Every key with its value, for comparing and showing.
    entries: Vec<KeyEntry>,
}

/// Settings and where they came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Where they came from.
    pub source: ConfigOrigin,
}

impl Loaded {
    /// Faults that show only on this machine, such as a file that is not there, each with the key that it is about. `None` where there
    /// are none.
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

/// The name of the file in faults.
fn file_name(file: Option<&Path>) -> String {
    file.map_or("configuration".to_owned(), |path| path.display().to_string())
}

/// Finds, reads and checks the configuration. The file is `named` (the command line's `--config`), else what the
/// environment names, else `./config.toml`, else `/etc/exporter-proxy/config.toml`, else there is none and defaults hold.
///
/// # Errors
/// Every fault of the file and of the environment. A named file that cannot be read is a fault, and so is an unnamed one
/// that is there but cannot be read.
pub fn load(named: Option<&Path>, environment: &Environment) -> Result<Loaded, Faults> {
    let (file, text) = find::read(named, environment)?.unzip();
    let name = file_name(file.as_deref());
    let settings = parse(&text.unwrap_or_default(), &name, environment)?;
    let variables = environment.names();
    Ok(Loaded {
        settings,
        source: ConfigOrigin { file, variables },
    })
}

/// Reads settings from `text`, with the environment's overrides; `name` is what faults call the text.
///
/// # Errors
/// Every fault of the text and of the environment.
pub fn parse(text: &str, name: &str, environment: &Environment) -> Result<Settings, Faults> {
    let (mut root, mut faults) = syntax::parse(text);
    environment.apply(&mut root, &mut faults);
    let (settings, faults) = Settings::read(ConfigReader::new(root, faults));
    if faults.is_empty() {
        Ok(settings)
    } else {
        Err(Faults::new(name.to_owned(), faults))
    }
}

impl Settings {
    fn read(mut reader: ConfigReader) -> (Self, Vec<Fault>) {
        let mut settings = Self {
            exporter: reader.section("exporter", ExporterConfig::read),
            receiver: reader.section("receiver", ReceiverConfig::read),
            poll_external: reader.section("poll_external", PollConfig::read),
            store: reader.section("store", StoreConfig::read),
            exposition: reader.section("exposition", ExpositionConfig::read),
            http: reader.section("http", HttpConfig::read),
            events: reader.section("events", EventsConfig::read),
            stream: reader.section("stream", StreamConfig::read),
            ipfs: reader.tables("ipfs", ipfs::read),
            p2p: reader.section("p2p", P2pConfig::read),
            bridge: reader.section("bridge", BridgeConfig::read),
            hyperdht: reader.section("hyperdht", HyperdhtConfig::read),
            entries: Vec::new(),
        };
        let mut notes = reader.finish();
        settings.check_across(&mut notes);
        settings.entries = notes.entries;
        (settings, notes.faults)
    }

    /// What no section can see by itself.
    fn check_across(&self, notes: &mut ReaderOutput) {
        let polled = self.poll_external.endpoints.iter().map(|endpoint| &endpoint.name);
        let both = self
            .ipfs
            .iter()
            .map(|node| &node.name)
            .find(|name| polled.clone().any(|other| other == *name));
        notes.require(&[("poll_external", "other_scrape_endpoints"), ("", "ipfs")], both.is_none(), || {
            format!("an endpoint and an IPFS node are both called {}", both.map_or("", AppName::as_str))
        });
        self.check_addresses(notes);
    }

    /// Returns true if a key of this section was set.
    #[must_use]
    pub fn is_set(&self, section: &str) -> bool {
        self.entries.iter().any(|entry| entry.section == section && entry.place.is_some())
    }

    /// Returns true if another listener has the port of this one for IPv4, which a listener on `[::]` then has to leave to it.
    #[must_use]
    pub fn shares_port_with_ipv4(&self, address: &HostPort) -> bool {
        let all = self.exporter.scrape_addresses.iter().chain(&self.receiver.tcp);
        let mut all = all.chain(&self.stream.listen_addresses);
        address.port() != 0 && all.any(|other| other.port() == address.port() && other.is_ipv4())
    }

    /// That no two listeners want the same address.
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
                format!("the stream's {stream} and {other} cannot both be listened on")
            });
        }
        let Some(tcp) = &self.receiver.tcp else { return };
        let collision = self.exporter.scrape_addresses.iter().find(|scrape| scrape.collides_with(tcp));
        let keys = [("exporter", "scrape_expose_endpoint"), ("receiver", "receiver_tcp_socket")];
        notes.require(&keys, collision.is_none(), || {
            let scrape = collision.map(ToString::to_string).unwrap_or_default();
            format!("the receiver's {tcp} and the scrape address {scrape} cannot both be listened on")
        });
    }
}
