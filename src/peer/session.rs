//! One bridge of a proxy: dial, register, be scraped, and come back when the link is lost.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::{Backoff, REFUSALS};
use super::control::{ControlError, ControlReceiver, ControlSender};
use super::dial::dial;
use super::event::{Event, OpenConnection, ScrapeId};
use super::proof::{Claim, keying};
use super::scrape_server::ScrapeServer;
use super::tls::Protocol;
use super::transport::{self, CLOSED, HEARTBEAT_INTERVAL, MAX_STREAMS, close_reason, send_heartbeat};
use super::{Identity, PublicKey, QuicAddress, Registration};
use crate::wire::{LinkMessage, Register};

/// Waits between dials. With a handshake of 5 s the last one still finds a bridge within 15 s of its return.
const DIALS: [Duration; 5] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// How long a link must have lasted for the next dial not to be another failure. A bridge that closes each link, or two proxies that
/// share a key and push each other out, would otherwise dial for ever as fast as they can.
const LASTING: Duration = Duration::from_secs(15);

/// Answers of lost links that may wait for word of their fate: what a bridge may have open a few times over. Beyond it all of them are
/// given back, so that a bridge which asks and vanishes, again and again, holds no more than this.
pub(super) const MAX_ORPHANS: usize = 4 * MAX_STREAMS as usize;

/// How long a bridge may take to answer a registration.
const ANSWER: Duration = Duration::from_secs(10);

/// A proxy's relation to one bridge.
pub(super) struct Session {
    pub(super) identity: Identity,
    pub(super) bridge: QuicAddress,
    pub(super) registration: Arc<Registration>,
    pub(super) server: ScrapeServer,
}

/// How a link ended.
enum End {
    /// We were told to stop.
    Stopped,
    /// The bridge does not want us, for now.
    Refused,
    /// It broke or was closed.
    Over,
}

impl Session {
    /// Works until `stop`; then tells the bridge, and finishes the scrapes in work.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (mut dials, mut refusals) = (Backoff::new(&DIALS), Backoff::new(&REFUSALS));
        // Bounded by MAX_STREAMS and MAX_ORPHANS; answers of a lost link stay until their fate is told or their patience ends.
        let mut streams = JoinSet::new();
        while !stop.is_cancelled() {
            let dialled = tokio::select! {
                () = stop.cancelled() => return,
                dialled = dial(&self.identity, &self.bridge, Protocol::Register, MAX_STREAMS) => dialled,
            };
            let wait = match dialled {
                Err(error) => {
                    self.emit(Event::Unreachable {
                        peer: self.bridge.key,
                        why: error.to_string(),
                    });
                    dials.next()
                }
                Ok(dialled) => {
                    let (address, number) = (dialled.connection.remote_address(), transport::connection_uid(&dialled.connection));
                    let open = self.server.events.opened(self.bridge.key, address, number);
                    let began = Instant::now();
                    let mut link = Live {
                        session: &self,
                        connection: dialled.connection.clone(),
                        streams: &mut streams,
                        registered: false,
                    };
                    let end = link.live(open, &stop).await;
                    if stop.is_cancelled() {
                        dialled.told().await;
                    }
                    if link.registered {
                        refusals.reset();
                    }
                    if link.registered && began.elapsed() >= LASTING {
                        dials.reset();
                    }
                    if streams.len() > MAX_ORPHANS {
                        streams.shutdown().await;
                    }
                    match end {
                        End::Stopped => return,
                        End::Refused => refusals.next(),
                        End::Over => dials.next(),
                    }
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
        }
    }

    fn emit(&self, event: Event) {
        self.server.events.emit(event);
    }

    fn register(&self, connection: &Connection) -> Option<LinkMessage> {
        let Registration {
            alias,
            service,
            hostname,
            secret,
            ..
        } = &*self.registration;
        let claim = Claim {
            alias: alias.as_str(),
            service,
            hostname,
            proxy: self.identity.public_key(),
            bridge: self.bridge.key,
        };
        let proof = claim.prove(secret, &keying(connection)?);
        Some(LinkMessage::Register(Register {
            alias: alias.to_string(),
            service: service.clone(),
            hostname: hostname.clone(),
            proof,
        }))
    }
}

/// A link that is up.
struct Live<'s> {
    session: &'s Session,
    connection: Connection,
    streams: &'s mut JoinSet<()>,
    registered: bool,
}

impl Live<'_> {
    /// Registers and serves until the link ends, and says so.
    async fn live(&mut self, open: OpenConnection, stop: &CancellationToken) -> End {
        match self.talk(stop).await {
            Ok(end) => {
                let why = match end {
                    End::Stopped => "stopping",
                    End::Refused => "the registration was refused",
                    End::Over => "the bridge says goodbye",
                };
                self.connection.close(CLOSED, why.as_bytes());
                open.ended((true, why.to_owned()));
                end
            }
            Err(error) => {
                let (meant, why) = match self.connection.close_reason() {
                    Some(reason) => close_reason(&reason),
                    None => (false, error.to_string()),
                };
                self.connection.close(CLOSED, why.as_bytes());
                open.ended((meant, why));
                End::Over
            }
        }
    }

    async fn talk(&mut self, stop: &CancellationToken) -> Result<End, ControlError> {
        let lost = |e: quinn::ConnectionError| ControlError::Write(e.into());
        let (send, recv) = self.connection.open_bi().await.map_err(lost)?;
        let (mut inbox, mut outbox) = (ControlReceiver::new(recv), ControlSender(send));
        let mut heartbeats = interval(HEARTBEAT_INTERVAL);
        heartbeats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The time of the next registration, or the end of our patience with the one under way.
        let (mut due, mut asked) = (Instant::now(), false);
        loop {
            tokio::select! {
                () = stop.cancelled() => return self.leave(&mut outbox).await,
                message = inbox.next() => match message? {
                    LinkMessage::Registered { .. } if !asked => return Err(out_of_place("an answer to no registration")),
                    LinkMessage::Registered { updated } => {
                        (due, asked) = (Instant::now() + self.session.registration.interval, false);
                        self.accepted(updated);
                    }
                    LinkMessage::Refused(why) => {
                        let (peer, alias) = (self.session.bridge.key, self.session.registration.alias.to_string());
                        self.session.emit(Event::Refused { peer, alias, why });
                        return Ok(End::Refused);
                    }
                    LinkMessage::Delivered(scrape) => {
                        self.session.server.tracker.delivered(self.session.bridge.key, ScrapeId(scrape));
                    }
                    LinkMessage::Goodbye(_) => return Ok(End::Over),
                    LinkMessage::SharedKey(shared) => self.session.emit(Event::KeyShared {
                        peer: self.session.bridge.key,
                        aliases: [shared.alias, shared.other_alias],
                        addresses: [shared.address, shared.other_address],
                    }),
                    LinkMessage::AliasLost(lost) => self.session.emit(Event::AliasLost {
                        peer: self.session.bridge.key,
                        alias: lost.alias,
                        by: PublicKey::new(lost.key),
                        address: lost.address,
                    }),
                    LinkMessage::AliasReturned(alias) => self.session.emit(Event::AliasReturned {
                        peer: self.session.bridge.key,
                        alias,
                    }),
                    LinkMessage::Register(_) => return Err(out_of_place("a bridge does not register")),
                },
                () = sleep_until(due), if asked => return Err(out_of_place("no answer to the registration")),
                () = sleep_until(due), if !asked => {
                    let register = self.session.register(&self.connection).ok_or_else(|| out_of_place("TLS gives no keying material"))?;
                    outbox.send(&register).await?;
                    (due, asked) = (Instant::now() + ANSWER, true);
                }
                _ = heartbeats.tick() => send_heartbeat(&self.connection),
                stream = self.connection.accept_bi() => {
                    let stream = stream.map_err(lost)?;
                    let server = self.session.server.clone();
                    self.streams.spawn(server.serve(self.session.bridge.key, stream, stop.clone()));
                }
                Some(ended) = self.streams.join_next() => told(ended),
            }
        }
    }

    fn accepted(&mut self, updated: bool) {
        self.registered = true;
        self.session.emit(Event::Registered {
            peer: self.session.bridge.key,
            alias: self.session.registration.alias.to_string(),
            updated,
        });
    }

    /// Says goodbye and finishes what is in work; the supervisor limits how long that may take.
    async fn leave(&mut self, outbox: &mut ControlSender) -> Result<End, ControlError> {
        outbox.send(&LinkMessage::Goodbye("the proxy is stopping".to_owned())).await?;
        loop {
            tokio::select! {
                ended = self.streams.join_next() => match ended {
                    None => return Ok(End::Stopped),
                    Some(ended) => told(ended),
                },
                _ = self.connection.closed() => return Ok(End::Stopped),
            }
        }
    }
}

fn out_of_place(what: &str) -> ControlError {
    ControlError::Fault(crate::wire::LinkFault::Malformed(what.to_owned()))
}

pub(super) fn told(ended: Result<(), tokio::task::JoinError>) {
    if let Err(lost) = ended {
        tracing::error!("a scrape over a link was cut off by a fault in this program: {lost}");
    }
}
