//! The session of a proxy with one bridge over QUIC: dials, registers, serves scrapes, and reconnects after a loss.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::control::{ControlError, ControlReceiver, ControlSender};
use super::dial::dial;
use super::proof::{ProofInput, keying_material};
use super::scrape_server::ScrapeServer;
use super::tls::Protocol;
use super::transport::{self, CLOSED, HEARTBEAT_INTERVAL, MAX_STREAMS, link_end, send_heartbeat};
use crate::peer::identity::{Identity, PublicKey, QuicAddress, Registration, explain_refusal};
use crate::peer::limits::{Backoff, REFUSAL_DELAYS};
use crate::peer::link_event::{LinkEnd, LinkEvent, OpenLink, ScrapeId, log_panic};
use crate::wire::{LinkMessage, Register};

/// Delays between dials. With a handshake timeout of 5 s, a bridge that comes back is found within 15 s.
const DIAL_DELAYS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Minimum duration of a link for the dial backoff to restart. Without it, a bridge that closes each link, or two proxies that share a
/// key and replace each other, would cause dials at full speed.
const STABLE_AFTER: Duration = Duration::from_secs(15);

/// Limit on responses of lost links with a pending delivery outcome, a few times the number a bridge can have open. Beyond it all of
/// them count as unacked, so that a bridge that repeatedly scrapes and disconnects cannot hold more.
pub(crate) const MAX_ORPHANS: usize = 4 * MAX_STREAMS as usize;

/// Limit on the wait for the response to a registration.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The session with one bridge.
pub(crate) struct BridgeSession {
    pub(crate) identity: Identity,
    pub(crate) bridge: QuicAddress,
    pub(crate) registration: Arc<Registration>,
    pub(crate) server: ScrapeServer,
}

/// The reason for the end of a link.
enum SessionEnd {
    /// The proxy is stopping.
    Stopped,
    /// The bridge refused the registration.
    Refused,
    /// The link was lost or closed.
    Over,
}

impl BridgeSession {
    /// Runs until `stop`; then notifies the bridge and finishes open scrapes.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let (mut dials, mut refusals) = (Backoff::new(&DIAL_DELAYS), Backoff::new(&REFUSAL_DELAYS));
        // Bounded by MAX_STREAMS and MAX_ORPHANS. Responses of a lost link stay until their delivery outcome is reported or
        // REPORT_TIMEOUT has passed.
        let mut streams = JoinSet::new();
        while !stop.is_cancelled() {
            let dialed = tokio::select! {
                () = stop.cancelled() => return,
                dialed = dial(&self.identity, &self.bridge, Protocol::Register, MAX_STREAMS) => dialed,
            };
            let wait = match dialed {
                Err(error) => {
                    self.emit(LinkEvent::Unreachable {
                        peer: self.bridge.key,
                        why: error.to_string(),
                    });
                    dials.next()
                }
                Ok(dialed) => {
                    let (address, number) = (dialed.connection.remote_address(), transport::connection_uid(&dialed.connection));
                    let open = self.server.events.opened(self.bridge.key, address, number);
                    let began = Instant::now();
                    let mut link = BridgeLink {
                        session: &self,
                        connection: dialed.connection.clone(),
                        streams: &mut streams,
                        registered: false,
                    };
                    let end = link.run(open, &stop).await;
                    if stop.is_cancelled() {
                        dialed.wait_closed().await;
                    }
                    if link.registered {
                        refusals.reset();
                    }
                    if link.registered && began.elapsed() >= STABLE_AFTER {
                        dials.reset();
                    }
                    if streams.len() > MAX_ORPHANS {
                        streams.shutdown().await;
                    }
                    match end {
                        SessionEnd::Stopped => return,
                        SessionEnd::Refused => refusals.next(),
                        SessionEnd::Over => dials.next(),
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    fn emit(&self, event: LinkEvent) {
        self.server.events.emit(event);
    }

    fn registration_message(&self, connection: &Connection) -> Option<LinkMessage> {
        let Registration {
            alias,
            service,
            hostname,
            secret,
            ..
        } = &*self.registration;
        let input = ProofInput {
            alias: alias.as_str(),
            service,
            hostname,
            proxy: self.identity.public_key(),
            bridge: self.bridge.key,
        };
        let proof = input.prove(secret, &keying_material(connection)?);
        Some(LinkMessage::Register(Register {
            alias: alias.to_string(),
            service: service.clone(),
            hostname: hostname.clone(),
            proof,
        }))
    }
}

/// An open link.
struct BridgeLink<'s> {
    session: &'s BridgeSession,
    connection: Connection,
    streams: &'s mut JoinSet<()>,
    registered: bool,
}

impl BridgeLink<'_> {
    /// Registers and serves until the link ends, and reports its end.
    async fn run(&mut self, open: OpenLink, stop: &CancellationToken) -> SessionEnd {
        match self.exchange(stop).await {
            Ok(end) => {
                let why = match end {
                    SessionEnd::Stopped => "stopping",
                    SessionEnd::Refused => "the registration was refused",
                    SessionEnd::Over => "the bridge is stopping",
                };
                self.connection.close(CLOSED, why.as_bytes());
                open.report_end(LinkEnd::graceful(why));
                end
            }
            Err(error) => {
                let end = match self.connection.close_reason() {
                    Some(reason) => link_end(&reason),
                    None => LinkEnd::lost(error.to_string()),
                };
                self.connection.close(CLOSED, end.why.as_bytes());
                open.report_end(end);
                SessionEnd::Over
            }
        }
    }

    async fn exchange(&mut self, stop: &CancellationToken) -> Result<SessionEnd, ControlError> {
        let lost = |e: quinn::ConnectionError| ControlError::Write(e.into());
        let (send, recv) = self.connection.open_bi().await.map_err(lost)?;
        let (mut inbox, mut outbox) = (ControlReceiver::new(recv), ControlSender(send));
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // `due` is the time of the next registration, or the deadline for the response to the current one.
        let (mut due, mut awaiting_reply) = (Instant::now(), false);
        let server = self.session.server.for_link();
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.drain(&mut outbox).await,
                message = inbox.next() => match message? {
                    LinkMessage::Registered { .. } if !awaiting_reply => return Err(protocol_error("a response without a registration")),
                    LinkMessage::Registered { updated } => {
                        (due, awaiting_reply) = (Instant::now() + self.session.registration.interval, false);
                        self.report_registered(updated);
                    }
                    LinkMessage::Refused(why) => {
                        let (peer, alias) = (self.session.bridge.key, self.session.registration.alias.to_string());
                        self.session.emit(LinkEvent::RegistrationRefused {
                            peer,
                            alias,
                            address: None,
                            why: explain_refusal(why),
                        });
                        return Ok(SessionEnd::Refused);
                    }
                    LinkMessage::Delivered(scrape) => {
                        self.session.server.tracker.delivered(self.session.bridge.key, ScrapeId(scrape));
                    }
                    LinkMessage::Goodbye(_) => return Ok(SessionEnd::Over),
                    LinkMessage::SharedKey(shared) => self.session.emit(LinkEvent::KeyShared {
                        peer: self.session.bridge.key,
                        aliases: [shared.alias, shared.other_alias],
                        addresses: [shared.address, shared.other_address],
                    }),
                    LinkMessage::AliasLost(lost) => self.session.emit(LinkEvent::AliasLost {
                        peer: self.session.bridge.key,
                        alias: lost.alias,
                        by: PublicKey::new(lost.key),
                        address: lost.address,
                    }),
                    LinkMessage::AliasReturned(alias) => self.session.emit(LinkEvent::AliasReturned {
                        peer: self.session.bridge.key,
                        alias,
                    }),
                    LinkMessage::Register(_) => return Err(protocol_error("a registration from a bridge")),
                },
                () = sleep_until(due), if awaiting_reply => return Err(protocol_error("no response to the registration")),
                () = sleep_until(due), if !awaiting_reply => {
                    let registration_message = self.session.registration_message(&self.connection).ok_or_else(|| protocol_error("TLS gives no keying material"))?;
                    outbox.send(&registration_message).await?;
                    (due, awaiting_reply) = (Instant::now() + REGISTRATION_TIMEOUT, true);
                }
                _ = heartbeats.tick() => send_heartbeat(&self.connection),
                stream = self.connection.accept_bi() => {
                    let stream = stream.map_err(lost)?;
                    self.streams.spawn(server.clone().serve(self.session.bridge.key, stream, stop.clone()));
                }
                Some(ended) = self.streams.join_next() => log_panic(ended),
            }
        }
    }

    fn report_registered(&mut self, updated: bool) {
        self.registered = true;
        self.session.emit(LinkEvent::Registered {
            peer: self.session.bridge.key,
            alias: self.session.registration.alias.to_string(),
            updated,
        });
    }

    /// Notifies the bridge and finishes open scrapes. The supervisor limits the duration.
    async fn drain(&mut self, outbox: &mut ControlSender) -> Result<SessionEnd, ControlError> {
        outbox.send(&LinkMessage::Goodbye("the proxy is stopping".to_owned())).await?;
        loop {
            tokio::select! {
                ended = self.streams.join_next() => match ended {
                    None => return Ok(SessionEnd::Stopped),
                    Some(ended) => log_panic(ended),
                },
                _ = self.connection.closed() => return Ok(SessionEnd::Stopped),
            }
        }
    }
}

fn protocol_error(what: &str) -> ControlError {
    ControlError::Fault(crate::wire::LinkFault::Malformed(what.to_owned()))
}
