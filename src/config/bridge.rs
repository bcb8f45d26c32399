//! `[bridge]`: the bridge that `exporter-proxy bridge` runs.

use std::path::PathBuf;
use std::time::Duration;

use super::address::HostPort;
use super::p2p::{SecretSource, secret};
use super::reader::Section;
use super::secret::Secret;
use super::value_types::{ADDRESS, Bool, DurationRange, FilePath, IntegerRange, OneOf, OrEmpty, SecretText};
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
    /// `hyperdht`: whether proxies can also register over HyperDHT.
    pub hyperdht: bool,
    /// `hyperdht_port`: the UDP port of the bridge's node; 0: any.
    pub hyperdht_port: u16,
    /// `key_file`; `None`: the usual place.
    pub key_file: Option<PathBuf>,
    /// `key_seed`: the key itself, instead of a file.
    pub key_seed: Option<Secret>,
    /// `secret` or `secret_file`; a bridge does not start without.
    pub secret: Option<SecretSource>,
    /// `targets_file`, `entry_expiry`, `check_expired_interval`, `request_timeout` and `alias_policy`.
    pub registry: Settings,
}

impl BridgeConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let expiry = DurationRange(MIN_EXPIRY..=MAX_EXPIRY);
        let http_listen = t.restart_only("http_listen").or(HostPort::new("127.0.0.1", 30_000), ADDRESS);
        let quic = HostPort::new("0.0.0.0", 6_557);
        let quic_listen = t.restart_only("quic_listen").or(Some(quic), OrEmpty(ADDRESS));
        let hyperdht = t.restart_only("hyperdht").or(false, Bool);
        t.require(&["hyperdht"], !hyperdht || cfg!(feature = "hyperdht"), || {
            HyperdhtError::Disabled.to_string()
        });
        let hyperdht_port = t.restart_only("hyperdht_port").or(0, IntegerRange(0..=usize::from(u16::MAX)));
        let key_file = t.restart_only("key_file").or(None, OrEmpty(FilePath));
        let key_seed = t.restart_only("key_seed").optional(SecretText);
        t.require(&["key_file", "key_seed"], key_file.is_none() || key_seed.is_none(), || {
            "set only one of \"key_seed\" and \"key_file\"".to_owned()
        });
        let sound = key_seed.as_ref().is_none_or(|seed| seed.expose().parse::<Seed>().is_ok());
        t.require(&["key_seed"], sound, || {
            "\"key_seed\" is not 32 bytes as hexadecimal or z-base-32".to_owned()
        });
        Self {
            http_listen,
            quic_listen,
            hyperdht,
            hyperdht_port: u16::try_from(hyperdht_port).unwrap_or_default(),
            key_file,
            key_seed,
            secret: secret(t),
            registry: Settings {
                targets_file: t
                    .restart_only("targets_file")
                    .or(PathBuf::from("./prometheus/targets.json"), FilePath),
                entry_expiry: t.reloadable("entry_expiry").or(Duration::from_secs(10_800), expiry),
                check_expired_interval: t
                    .reloadable("check_expired_interval")
                    .or(Duration::from_secs(3_600), DurationRange(MIN_EXPIRY..=MAX_EXPIRY)),
                request_timeout: t
                    .reloadable("request_timeout")
                    .or(Duration::from_secs(5), DurationRange(MIN_TIMEOUT..=MAX_TIMEOUT)),
                alias_policy: t.reloadable("alias_policy").or(AliasPolicy::Replace, OneOf(POLICIES)),
            },
        }
    }
}

const POLICIES: &[(&str, AliasPolicy)] = &[("replace", AliasPolicy::Replace), ("first", AliasPolicy::First)];
