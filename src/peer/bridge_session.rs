//! One bridge of a proxy: dial, register, be scraped, and come back when the link is lost.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, REFUSAL_DELAYS};
use super::control::{ControlError, ControlReceiver, ControlSender};
use super::dial::dial;
use super::link_event::{LinkEvent, OpenLink, ScrapeId};
use super::proof::{ProofInput, keying_material};
use super::scrape_server::ScrapeServer;
use super::tls::Protocol;
use super::transport::{self, CLOSED, HEARTBEAT_INTERVAL, MAX_STREAMS, close_reason, send_heartbeat};
use super::{Identity, PublicKey, QuicAddress, Registration};
use crate::wire::{LinkMessage, Register};

/// Waits between dials. With a handshake of 5 s the last one still finds a bridge within 15 s of its return.
const DIAL_DELAYS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// How long a link must have lasted for the next dial not to be another failure. A bridge that closes each link, or two proxies that
/// share a key and push each other out, would otherwise dial for ever as fast as they can.
const STABLE_AFTER: Duration = Duration::from_secs(15);

/// Answers of lost links that may wait for word of their fate: what a bridge may have open a few times over. Beyond it all of them are
/// given back, so that a bridge which asks and vanishes, again and again, holds no more than this.
pub(super) const MAX_ORPHANS: usize = 4 * MAX_STREAMS as usize;

/// How long a bridge may take to answer a registration.
const REGISTRATION_TIMEOUT: Duration = Duration::from_secs(10);

/// A proxy's relation to one bridge.
pub(super) struct BridgeSession {
    pub(super) identity: Identity,
    pub(super) bridge: QuicAddress,
    pub(super) registration: Arc<Registration>,
    pub(super) server: ScrapeServer,
}

/// How a link ended.
enum SessionEnd {
    /// We were told to stop.
    Stopped,
    /// The bridge does not want us, for now.
    Refused,
    /// It broke or was closed.
    Over,
}

impl BridgeSession {
    /// Works until `stop`; then tells the bridge, and finishes the scrapes in work.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (mut dials, mut refusals) = (Backoff::new(&DIAL_DELAYS), Backoff::new(&REFUSAL_DELAYS));
        // Bounded by MAX_STREAMS and MAX_ORPHANS; answers of a lost link stay until their fate is told or their patience ends.
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

/// A link that is up.
struct BridgeLink<'s> {
    session: &'s BridgeSession,
    connection: Connection,
    streams: &'s mut JoinSet<()>,
    registered: bool,
}

impl BridgeLink<'_> {
    /// Registers and serves until the link ends, and says so.
    async fn run(&mut self, open: OpenLink, stop: &CancellationToken) -> SessionEnd {
        match self.exchange(stop).await {
            Ok(end) => {
                let why = match end {
                    SessionEnd::Stopped => "stopping",
                    SessionEnd::Refused => "the registration was refused",
                    SessionEnd::Over => "the bridge says goodbye",
                };
                self.connection.close(CLOSED, why.as_bytes());
                open.report_end((true, why.to_owned()));
                end
            }
            Err(error) => {
                let (graceful, why) = match self.connection.close_reason() {
                    Some(reason) => close_reason(&reason),
                    None => (false, error.to_string()),
                };
                self.connection.close(CLOSED, why.as_bytes());
                open.report_end((graceful, why));
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
        // The time of the next registration, or the end of our patience with the one under way.
        let (mut due, mut awaiting_reply) = (Instant::now(), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.drain(&mut outbox).await,
                message = inbox.next() => match message? {
                    LinkMessage::Registered { .. } if !awaiting_reply => return Err(protocol_error("an answer to no registration")),
                    LinkMessage::Registered { updated } => {
                        (due, awaiting_reply) = (Instant::now() + self.session.registration.interval, false);
                        self.report_registered(updated);
                    }
                    LinkMessage::Refused(why) => {
                        let (peer, alias) = (self.session.bridge.key, self.session.registration.alias.to_string());
                        self.session.emit(LinkEvent::RegistrationRefused { peer, alias, why });
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
                    LinkMessage::Register(_) => return Err(protocol_error("a bridge does not register")),
                },
                () = sleep_until(due), if awaiting_reply => return Err(protocol_error("no answer to the registration")),
                () = sleep_until(due), if !awaiting_reply => {
                    let registration_message = self.session.registration_message(&self.connection).ok_or_else(|| protocol_error("TLS gives no keying material"))?;
                    outbox.send(&registration_message).await?;
                    (due, awaiting_reply) = (Instant::now() + REGISTRATION_TIMEOUT, true);
                }
                _ = heartbeats.tick() => send_heartbeat(&self.connection),
                stream = self.connection.accept_bi() => {
                    let stream = stream.map_err(lost)?;
                    let server = self.session.server.clone();
                    self.streams.spawn(server.serve(self.session.bridge.key, stream, stop.clone()));
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

    /// Says goodbye and finishes what is in work; the supervisor limits how long that may take.
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

pub(super) fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(lost) = ended {
        tracing::error!("a scrape over a link was cut off by a fault in this program: {lost}");
    }
}
