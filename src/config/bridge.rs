//! `[bridge]`: the bridge that `exporter-proxy bridge` runs.

use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::key::{FaultSink, ValueType};
use super::p2p::{SecretSource, secret};
use super::raw::{Node, Value};
use super::reader::Section;
use super::secret::Secret;
use super::value_types::{ADDRESS, DurationRange, FilePath, IntegerRange, OneOf, OrEmpty, SecretText};
use crate::bridge::{AliasPolicy, Settings};
use crate::peer::{HyperdhtError, Seed};

/// Entries that live for less would expire between two registrations.
const MIN_EXPIRY: Duration = Duration::from_secs(1);
/// A proxy that has been silent for a year will not come back.
const MAX_EXPIRY: Duration = Duration::from_secs(366 * 86_400);
/// Less is a round trip to the other side of the world.
const MIN_TIMEOUT: Duration = Duration::from_millis(100);
/// No scraper waits longer.
const MAX_TIMEOUT: Duration = Duration::from_secs(3_600);

/// `[bridge]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeConfig {
    /// `http_listen`: the HTTP address for Prometheus.
    pub http_listen: HostPort,
    /// `quic_listen`: the UDP address for registrations.
    pub quic_listen: Option<HostPort>,
    /// `hyperdht`: the UDP port of the bridge's node in HyperDHT, 0 for any; `None`: proxies cannot register over HyperDHT.
    pub hyperdht: Option<u16>,
    /// `key_file`; `None`: the usual place.
    pub key_file: Option<PathBuf>,
    /// The key itself instead of a file, from the environment.
    pub key_seed: Option<Secret>,
    /// `secret` or `secret_file`; a bridge does not start without.
    pub secret: Option<SecretSource>,
    /// `targets_file`, `entry_expiry`, `request_timeout` and `alias_policy`.
    pub registry: Settings,
}

impl BridgeConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let expiry = DurationRange(MIN_EXPIRY..=MAX_EXPIRY);
        let http_listen = t.restart_only("http_listen").or(HostPort::new("127.0.0.1", 30_000), ADDRESS);
        let quic = HostPort::new("0.0.0.0", 6_557);
        let quic_listen = t.restart_only("quic_listen").or(Some(quic), OrEmpty(ADDRESS));
        let hyperdht = t.restart_only("hyperdht").or(None, HyperdhtType);
        t.require(&["hyperdht"], hyperdht.is_none() || cfg!(feature = "hyperdht"), || {
            HyperdhtError::Disabled.to_string()
        });
        let key_file = t.restart_only("key_file").or(None, OrEmpty(FilePath));
        let key_seed = t.variable("key_seed", "key_file", SeedType);
        t.require(&["key_file"], key_file.is_none() || key_seed.is_none(), || {
            "\"key_file\" is set, and the environment has the key itself (KEY_SEED); set only one of them".to_owned()
        });
        Self {
            http_listen,
            quic_listen,
            hyperdht,
            key_file,
            key_seed,
            secret: secret(t),
            registry: Settings {
                targets_file: t
                    .restart_only("targets_file")
                    .or(PathBuf::from("./prometheus/targets.json"), FilePath),
                entry_expiry: t.reloadable("entry_expiry").or(Duration::from_secs(10_800), expiry),
                request_timeout: t
                    .reloadable("request_timeout")
                    .or(Duration::from_secs(5), DurationRange(MIN_TIMEOUT..=MAX_TIMEOUT)),
                alias_policy: t.reloadable("alias_policy").or(AliasPolicy::Replace, OneOf(POLICIES)),
            },
        }
    }
}

/// Off, on with any UDP port, or on with this one.
struct HyperdhtType;

impl ValueType for HyperdhtType {
    type Value = Option<u16>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Option<u16>> {
        match node.value {
            Value::Bool(is_on) => Some(is_on.then_some(0)),
            Value::Integer { .. } => {
                let port = IntegerRange(0..=usize::from(u16::MAX)).read(node, faults)?;
                u16::try_from(port).ok().map(Some)
            }
            _ => faults.expected(&node, "true, false or a UDP port"),
        }
    }

    fn show(&self, value: &Option<u16>) -> String {
        match value {
            None => "false".to_owned(),
            Some(0) => "true".to_owned(),
            Some(port) => port.to_string(),
        }
    }
}

/// The seed of a key.
struct SeedType;

impl ValueType for SeedType {
    type Value = Secret;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Secret> {
        let at = node.at.clone();
        let seed = SecretText.read(node, faults)?;
        match seed.expose().parse::<Seed>() {
            Ok(_) => Some(seed),
            Err(_) => faults.at(&at, "it is not 32 bytes as hexadecimal or z-base-32"),
        }
    }

    fn show(&self, value: &Secret) -> String {
        SecretText.show(value)
    }
}

const POLICIES: &[(&str, AliasPolicy)] = &[("replace", AliasPolicy::Replace), ("first", AliasPolicy::First)];
