//! `[cluster]`: replicas of the proxy that share their apps over an engine with the protocol of Redis.

use std::path::PathBuf;

use super::raw::quoted;
use super::reader::Section;
use super::value_types::{FilePath, OneOf, OrEmpty, Parsed};
use crate::wire::engine_url::{EngineUrl, EngineUrlError};

/// The prefix is part of each key in the engine.
const MAX_PREFIX_BYTES: usize = 64;

/// The moment at which a push over HTTP is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once the engine has it.
    Engine,
    /// Once this replica has it.
    Local,
}

/// `[cluster]` as used, where there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// `url`: the engine.
    pub url: EngineUrl,
    /// `prefix`: the start of all keys in the engine.
    pub prefix: String,
    /// `password_file`; `None`: no password.
    pub password_file: Option<PathBuf>,
    /// `ack`.
    pub acknowledge: Acknowledge,
}

impl ClusterConfig {
    /// `None` without a URL; the keys are checked in any case.
    pub(super) fn read(t: &mut Section<'_>) -> Option<Self> {
        let url = t.restart_only("url").or(None, OrEmpty(URL));
        let prefix = t.restart_only("prefix").or("exporter-proxy".to_owned(), PREFIX);
        let password_file = t.restart_only("password_file").or(None, OrEmpty(FilePath));
        let acknowledge = t.restart_only("ack").or(Acknowledge::Engine, ACKNOWLEDGE);
        t.require(&["url"], url.is_none() || cfg!(feature = "cluster"), || {
            "this program was built without clusters; build it with: cargo build --release --features cluster".to_owned()
        });
        Some(Self {
            url: url?,
            prefix,
            password_file,
            acknowledge,
        })
    }
}

const URL: Parsed<EngineUrl> = Parsed {
    expected: "the URL of an engine such as \"redis://engine.example:6379\"",
    // The text is not shown: it may have a password.
    parse: |text| text.parse().map_err(|error: EngineUrlError| error.to_string()),
};

const PREFIX: Parsed<String> = Parsed {
    expected: "a word",
    parse: |text| {
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let valid = !text.is_empty() && text.len() <= MAX_PREFIX_BYTES && text.chars().all(is_part);
        let invalid = || {
            format!(
                "{} is not a valid prefix (1 to {MAX_PREFIX_BYTES} letters, digits, \"-\", \"_\", \".\" and \":\")",
                quoted(text)
            )
        };
        valid.then(|| text.to_owned()).ok_or_else(invalid)
    },
};

const ACKNOWLEDGE: OneOf<Acknowledge> = OneOf(&[("engine", Acknowledge::Engine), ("local", Acknowledge::Local)]);
