//! Where clients register: a connection for each registration, with one method.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::accept::{Arrival, Listener};
use super::node::Node;
use super::pipe::Pipe;
use super::serving::{Answer, Service, serve};
use crate::peer::event::{ConnectionUid, Event, Events};
use crate::peer::far::{Applicant, Clerk};
use crate::peer::session::told;
use crate::wire::hyperdht::{AliasRequest, Failure, FailureCode, REGISTER_METHOD, REGISTER_PROTOCOL};

/// Connections at once. A client needs one for a second each hour; more are dropped and come again.
const MAX_APPLICANTS: usize = 1_024;

/// How long a client may say nothing: it registers at once, and closes the connection itself.
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection may last, whatever is said on it: strangers must not keep the places of [`MAX_APPLICANTS`].
const VISIT: Duration = Duration::from_secs(120);

/// How long taking back our announcement may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// Receives clients.
pub(crate) struct Desk {
    /// Connections end with the last handle on it.
    node: Node,
    listener: Listener,
    events: Arc<Events>,
}

impl Desk {
    pub(super) fn new(node: Node, listener: Listener, events: Arc<Events>) -> Self {
        Self { node, listener, events }
    }

    /// Has `clerk` decide on registrations until `stop`.
    ///
    /// # Errors
    ///
    /// Where nobody can reach us any more.
    pub(crate) async fn run(self, clerk: Arc<dyn Clerk>, stop: CancellationToken) -> anyhow::Result<()> {
        let Self {
            node: _node,
            mut listener,
            events,
        } = self;
        let mut applicants = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = applicants.join_next() => told(ended),
                arrival = listener.accept() => match arrival {
                    None => anyhow::bail!("the HyperDHT node is closed"),
                    Some(Arrival::Admitted(pipe)) if applicants.len() < MAX_APPLICANTS => {
                        applicants.spawn(receive(pipe, clerk.clone(), events.clone(), stop.clone()));
                    }
                    Some(Arrival::Admitted(pipe)) => tracing::warn!(peer = %pipe.peer, "more than {MAX_APPLICANTS} clients register: dropped"),
                    Some(Arrival::Refused { key, address }) => {
                        events.emit(Event::Barred { key: Some(key), address, why: format!("its key {key} is not let in") });
                    }
                },
            }
        }
        // Who cannot be told in time finds out by asking.
        let _ = timeout(FAREWELL, listener.close()).await;
        while let Some(ended) = applicants.join_next().await {
            told(ended);
        }
        Ok(())
    }
}

async fn receive(pipe: Pipe, clerk: Arc<dyn Clerk>, events: Arc<Events>, stop: CancellationToken) {
    let (key, address) = (pipe.peer, pipe.address);
    let open = events.opened(key, address, ConnectionUid::random());
    let who = Applicant { key, address };
    let serving = serve(pipe, Arc::new(Registering { clerk, who }), IDLE, stop);
    let ended = timeout(VISIT, serving).await;
    open.ended(ended.unwrap_or_else(|_| (false, format!("it was still there after {VISIT:?}"))));
}

/// What one client asks.
struct Registering {
    clerk: Arc<dyn Clerk>,
    who: Applicant,
}

impl Service for Registering {
    const PROTOCOL: &'static str = REGISTER_PROTOCOL;
    const METHOD: &'static str = REGISTER_METHOD;

    async fn answer(&self, value: Bytes) -> Answer {
        match AliasRequest::decode(value) {
            Ok(request) => Answer::plain(self.clerk.judge(self.who, &request).encode()),
            Err(fault) => Answer {
                outcome: Err(Failure {
                    message: fault.to_string(),
                    code: Some(FailureCode::Decode),
                }),
                received: None,
            },
        }
    }
}
