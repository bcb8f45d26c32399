//! The state of the cluster that this proxy is a replica of, for the status page and the metrics.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A replica of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterMember {
    /// Its id, another one for each run.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// The address of its HTTP port.
    pub http: Option<SocketAddr>,
    /// True if that port is encrypted.
    pub tls: bool,
    /// Its version.
    pub version: String,
    /// The number of its apps.
    pub apps: u64,
    /// True if it does the work that one replica does for all.
    pub has_lease: bool,
}

/// The state of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// The URL of the engine; empty without a cluster.
    pub engine: String,
    /// True while the engine is connected and all its apps are loaded.
    pub connected: bool,
    /// The changes of apps that the engine does not have yet.
    pub pending: u64,
    /// The events that this replica has accepted and that the engine does not have yet.
    pub pending_events: u64,
    /// The replicas that were there at the last heartbeat.
    pub members: Vec<ClusterMember>,
}

/// The state behind a lock.
#[derive(Debug, Default)]
pub struct ClusterStates(Mutex<ClusterState>);

impl ClusterStates {
    fn state(&self) -> MutexGuard<'_, ClusterState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state.
    pub fn update(&self, change: impl FnOnce(&mut ClusterState)) {
        change(&mut self.state());
    }

    /// Returns the state.
    #[must_use]
    pub fn get(&self) -> ClusterState {
        self.state().clone()
    }
}
