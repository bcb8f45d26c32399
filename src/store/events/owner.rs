//! The party that an event counts toward, for the shares of the log.

use super::OriginId;
use crate::model::{AppName, Client};

/// The owner of a share of the log, against which an event counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::store) enum Owner {
    /// The network of the client that posted it.
    Poster(Client),
    /// The app of the endpoint that it was polled from.
    Endpoint(AppName),
    /// Another replica of the cluster, which has admitted it.
    Replica(OriginId),
    /// None on record: the journal does not name owners, so all events that a restart restored count as one party's.
    Restored,
}
