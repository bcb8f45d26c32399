//! Settings of a cluster, as the composition root builds them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::sync::watch;

use crate::store::WhenEngineAway;
use crate::supervise::secret_file::FileRule;
use crate::wire::engine_url::EngineUrl;

/// Settings of a cluster.
#[derive(Clone)]
pub struct ClusterSettings {
    /// The engine.
    pub url: EngineUrl,
    /// The start of all keys in the engine.
    pub prefix: String,
    /// The file with the password, read for each connection; `None` without one.
    pub password_file: Option<PathBuf>,
    /// The rule for that file, which a reload may change.
    pub secret_rule: watch::Receiver<FileRule>,
    /// TLS to the engine, if the URL asks for it.
    pub tls: Option<Arc<ClientConfig>>,
    /// TLS to other replicas, which are only asked whether they hold the engine; `None` where they speak plain HTTP.
    pub member_tls: Option<Arc<ClientConfig>>,
    /// True if a push is acknowledged once the engine has it.
    pub waits_for_engine: bool,
    /// The way of treating one-shot events while the engine is away; `None` if there are none.
    pub events: Option<WhenEngineAway>,
    /// The most events in the engine.
    pub max_events: usize,
    /// The name of this replica for people.
    pub name: String,
    /// The address of HTTP, at which other replicas ask; `None` without TCP.
    pub http: Option<SocketAddr>,
}

impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSettings")
            .field("url", &self.url.to_string())
            .field("prefix", &self.prefix)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
