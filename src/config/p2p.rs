//! `[p2p]`: the links over which bridges scrape us.

use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::raw::quoted;
use super::reader::Section;
use super::secret::Secret;
use super::value_types::{ADDRESS, Bool, DurationRange, FilePath, ListOf, OrEmpty, Parsed, SecretText};
use crate::peer::{Alias, HyperdhtError, LinkAddress, MAX_NAME_BYTES, PublicKey, SharedSecret};

/// Registering more often would only load the bridge; more rarely than monthly, and no bridge remembers.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
const MAX_INTERVAL: Duration = Duration::from_secs(30 * 86_400);
/// Each bridge is a connection that is kept alive; a proxy has one or two.
const MAX_BRIDGES: usize = 64;
/// Each is looked up at every handshake; people and bridges are few.
const MAX_ALLOWED: usize = 10_000;

/// Location of a shared secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In a file, read at start.
    File(PathBuf),
    /// In the configuration; checked to be 32 bytes.
    Given(Secret),
}

/// `[p2p]` as used, where it is enabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct P2pConfig {
    /// `key_file`; `None`: the usual place.
    pub key_file: Option<PathBuf>,
    /// `alias`; `None`: the hostname.
    pub alias: Option<Alias>,
    /// `service`.
    pub service: String,
    /// `hostname`; `None`: the system's.
    pub hostname: Option<String>,
    /// `secret` or `secret_file`; set if there are bridges.
    pub secret: Option<SecretSource>,
    /// `listen`: the UDP address for scrapers.
    pub listen: Option<HostPort>,
    /// `allow`: keys of scrapers besides the bridges.
    pub allow: Vec<PublicKey>,
    /// `bridges`: registration targets.
    pub bridges: Vec<LinkAddress>,
    /// `register_interval`.
    pub register_interval: Duration,
}

impl P2pConfig {
    /// `None` unless it is enabled; the keys are checked in any case.
    pub(super) fn read(t: &mut Section<'_>) -> Option<Self> {
        let enabled = t.restart_only("enabled").or(false, Bool);
        let p2p = Self {
            key_file: t.restart_only("key_file").or(None, OrEmpty(FilePath)),
            alias: t.restart_only("alias").or(None, OrEmpty(ALIAS)),
            service: t.restart_only("service").or("exporter-proxy".to_owned(), LABEL_VALUE),
            hostname: t.restart_only("hostname").or(None, OrEmpty(LABEL_VALUE)),
            secret: secret(t),
            listen: t.restart_only("listen").or(None, OrEmpty(ADDRESS)),
            allow: t.restart_only("allow").or(Vec::new(), KEYS),
            bridges: t.restart_only("bridges").or(Vec::new(), BRIDGES),
            register_interval: t
                .restart_only("register_interval")
                .or(Duration::from_secs(3_600), DurationRange(MIN_INTERVAL..=MAX_INTERVAL)),
        };
        p2p.check(t, enabled);
        enabled.then_some(p2p)
    }

    fn check(&self, t: &mut Section<'_>, enabled: bool) {
        let (bridges, allowed) = (self.bridges.len(), self.allow.len());
        t.require(&["bridges"], bridges <= MAX_BRIDGES, || {
            format!("{bridges} bridges exceed the maximum of {MAX_BRIDGES}")
        });
        t.require(&["allow"], allowed <= MAX_ALLOWED, || {
            format!("{allowed} keys exceed the maximum of {MAX_ALLOWED}")
        });
        let twice = self
            .bridges
            .iter()
            .enumerate()
            .find(|(at, bridge)| self.bridges[..*at].iter().any(|other| other.key() == bridge.key()));
        let far = self.bridges.iter().any(|bridge| matches!(bridge, LinkAddress::Hyperdht(_)));
        t.require(&["bridges"], !far || cfg!(feature = "hyperdht"), || {
            HyperdhtError::Disabled.to_string()
        });
        t.require(&["bridges"], twice.is_none(), || {
            "two of \"bridges\" have the same key; remove one".to_owned()
        });
        t.require(
            &["enabled", "bridges", "secret", "secret_file"],
            !enabled || bridges == 0 || self.secret.is_some(),
            || "p2p.bridges needs p2p.secret_file".to_owned(),
        );
        t.require(
            &["enabled", "bridges", "listen"],
            !enabled || bridges > 0 || self.listen.is_some(),
            || "\"enabled\" needs \"bridges\" to register at, or \"listen\" for scrapers".to_owned(),
        );
        t.require(
            &["listen", "allow", "bridges"],
            self.listen.is_none() || bridges + allowed > 0,
            || "\"listen\" accepts no peer without \"bridges\" or keys in \"allow\"".to_owned(),
        );
    }
}

/// Reads `secret` and `secret_file`, of which one is enough.
pub(super) fn secret(t: &mut Section<'_>) -> Option<SecretSource> {
    let file = t.restart_only("secret_file").or(None, OrEmpty(FilePath));
    let given = t.restart_only("secret").optional(SecretText);
    t.require(&["secret", "secret_file"], file.is_none() || given.is_none(), || {
        "set only one of \"secret\" and \"secret_file\"".to_owned()
    });
    let sound = given.as_ref().is_none_or(|secret| secret.expose().parse::<SharedSecret>().is_ok());
    t.require(&["secret"], sound, || {
        "\"secret\" is not 32 bytes as hexadecimal or z-base-32".to_owned()
    });
    given.map(SecretSource::Given).or_else(|| file.map(SecretSource::File))
}

const ALIAS: Parsed<Alias> = Parsed {
    expected: "an alias",
    parse: |text| Alias::new(text).map_err(|e| e.to_string()),
};

/// A service or a hostname.
const LABEL_VALUE: Parsed<String> = Parsed {
    expected: "a name",
    parse: |text| {
        let sound = !text.is_empty() && text.len() <= MAX_NAME_BYTES && !text.chars().any(char::is_control);
        let wrong = || {
            format!(
                "{} is not a valid name (1 to {MAX_NAME_BYTES} bytes, no control characters)",
                quoted(text)
            )
        };
        sound.then(|| text.to_owned()).ok_or_else(wrong)
    },
};

const KEYS: ListOf<Parsed<PublicKey>> = ListOf {
    item: Parsed {
        expected: "a public key",
        parse: |text| text.parse().map_err(|e| format!("{}: {e}", quoted(text))),
    },
    expected: "a list of public keys",
    or_single: false,
};

const BRIDGES: ListOf<Parsed<LinkAddress>> = ListOf {
    item: Parsed {
        expected: "a bridge such as \"quic://KEY@bridge.example:6557\" or \"hyperdht://KEY\"",
        parse: str::parse,
    },
    expected: "a list of bridges such as [\"quic://KEY@bridge.example:6557\", \"hyperdht://KEY\"]",
    or_single: false,
};
