//! The service for proxies over QUIC: registration and control messages.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::alias_table::LinkId;
use super::proxy_registry::SharedKeyLink;
use super::registration_policy::{RegistrationAttempt, RegistrationPolicy, RegistrationRefusal};
use crate::peer::{AcceptedLink, ControlEvent, Link, LinkEnd, NO_MESSAGE, ProxyLink, PublicKey, QuicListener, SharedSecret};
use crate::supervise::{Service, panic_text};
use crate::wire::{LinkMessage, Register};

/// Limit on links of proxies that have registered; each takes some tens of kilobytes.
const MAX_LINKS: usize = 20_000;

/// Limit on links that have not registered, in addition: every key may connect. Beyond it the oldest is closed, because a proxy registers
/// within a few round trips of its handshake. Each can hold the 64 KiB of its window.
const MAX_UNREGISTERED: usize = 1_024;

/// Minimum time between two registrations over one link, half of the shortest interval that a proxy can configure. Each registration
/// writes a log line.
const MIN_REGISTRATION_INTERVAL: std::time::Duration = std::time::Duration::from_millis(500);

/// Delay before a link with the same key as an earlier one checks whether the earlier one is alive: a proxy sends two heartbeats in this
/// time. A proxy that dialed again after a network change leaves a dead link behind.
const SHARED_KEY_CHECK_DELAY: std::time::Duration = std::time::Duration::from_secs(5);

/// Limit on notifying a proxy of a stop: a few round trips, also after a lost packet. A proxy that has just vanished must not delay the stop,
/// which as a whole has 10 s.
const STOP_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// Accepts proxies over QUIC.
pub(super) struct QuicRegistration {
    listener: QuicListener,
    handler: Arc<LinkHandler>,
}

struct LinkHandler {
    policy: Arc<RegistrationPolicy>,
    key: PublicKey,
}

impl QuicRegistration {
    pub(super) fn new(listener: QuicListener, policy: Arc<RegistrationPolicy>, key: PublicKey) -> Self {
        let handler = Arc::new(LinkHandler { policy, key });
        Self { listener, handler }
    }
}

impl Service for QuicRegistration {
    fn name(&self) -> &str {
        "links of proxies"
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        let Self { mut listener, handler } = *self;
        Box::pin(async move {
            // Bounded by MAX_LINKS and the links that register at the same moment.
            let mut proxies = JoinSet::new();
            let mut unregistered = UnregisteredLinks::default();
            loop {
                tokio::select! {
                    () = stop.cancelled() => break,
                    accepted = listener.next() => match accepted {
                        None => anyhow::bail!("the UDP socket is closed"),
                        Some(accepted) if proxies.len() < MAX_LINKS => unregistered.add(accepted, &handler),
                        Some(accepted) => accepted.reject("too many links"),
                    },
                    Some(registered) = unregistered.next() => {
                        proxies.spawn(handler.clone().serve(registered, stop.clone()));
                    }
                    Some(ended) = proxies.join_next() => report(ended),
                }
            }
            while let Some(ended) = proxies.join_next().await {
                report(ended);
            }
            // Also ends the links that have not registered.
            listener.close("the bridge is stopping").await;
            Ok(())
        })
    }
}

/// A link that has registered and is not served yet.
struct RegisteredLink {
    proxy: ProxyLink,
    id: LinkId,
    alias: String,
    updated: bool,
}

/// The links that have not registered yet, or were refused.
#[derive(Default)]
struct UnregisteredLinks {
    /// Bounded by [`MAX_UNREGISTERED`], beside those that are ending.
    tasks: JoinSet<Option<RegisteredLink>>,
    /// Those that have not ended, the oldest first.
    links: VecDeque<(AcceptedLink, AbortHandle)>,
}

impl UnregisteredLinks {
    /// Waits for the registration of a link; closes the oldest if there are too many.
    fn add(&mut self, accepted: AcceptedLink, handler: &Arc<LinkHandler>) {
        if self.links.len() >= MAX_UNREGISTERED
            && let Some((oldest, task)) = self.links.pop_front()
            // One that has ended may have registered, and is served in a moment.
            && !task.is_finished()
        {
            task.abort();
            oldest.reject("too many links that have not registered");
        }
        let task = self.tasks.spawn(handler.clone().receive(accepted.clone()));
        self.links.push_back((accepted, task));
    }

    /// Returns the next link that has registered; `None` if there are no links. Cancel-safe.
    async fn next(&mut self) -> Option<RegisteredLink> {
        while let Some(ended) = self.tasks.join_next().await {
            self.links.retain(|(_, task)| !task.is_finished());
            match ended {
                Ok(Some(registered)) => return Some(registered),
                Ok(None) => {}
                Err(lost) if lost.is_cancelled() => {}
                Err(lost) => report(Err(lost)),
            }
        }
        None
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(lost) = ended {
        tracing::error!("the link of a proxy ended by a bug (panic), please report it: {}", panic_text(lost));
    }
}

impl LinkHandler {
    /// Waits for the registration of a link; closes it if that is refused or does not come.
    async fn receive(self: Arc<Self>, accepted: AcceptedLink) -> Option<RegisteredLink> {
        let (proxy, first) = ProxyLink::accept(accepted).await?;
        let register = match first {
            ControlEvent::Message(LinkMessage::Register(register)) => register,
            ControlEvent::Message(_) => {
                proxy.close("the first control message must be a registration");
                return None;
            }
            ControlEvent::Ended(LinkEnd { why, .. }) => {
                tracing::debug!(peer = %proxy.key(), "link closed before a registration: {why}");
                proxy.close(NO_MESSAGE);
                return None;
            }
        };
        let id = self.policy.registry.next_link();
        match self.register(&proxy, id, &register) {
            // From here on the caller has the link: without an await in between it cannot be closed as an unregistered one.
            Ok(updated) => Some(RegisteredLink {
                proxy,
                id,
                alias: register.alias,
                updated,
            }),
            Err(why) => {
                proxy.close_after(&LinkMessage::Refused(why), "the registration was refused").await;
                None
            }
        }
    }

    /// Serves a registered proxy until its link ends.
    async fn serve(self: Arc<Self>, registered: RegisteredLink, stop: CancellationToken) {
        let RegisteredLink {
            mut proxy,
            id,
            alias,
            updated,
        } = registered;
        let (peer, registry) = (proxy.key(), &self.policy.registry);
        let (link, messages) = proxy.link(registry.peer_state(peer), registry.events.clone());
        let open = registry.events.opened(peer, proxy.address(), proxy.uid());
        let sharing = registry.link_up(id, peer, (proxy.address(), &alias), link.clone());
        let end = tokio::select! {
            () = stop.cancelled() => LinkEnd::graceful("the bridge is stopping"),
            end = self.exchange(&mut proxy, id, updated, (link, messages, sharing)) => end,
        };
        registry.link_down(id);
        if stop.is_cancelled() {
            let message = LinkMessage::Goodbye(end.why.clone());
            // Afterwards the listener closes the connection.
            let _ = timeout(STOP_TIMEOUT, proxy.close_after(&message, &end.why)).await;
        } else {
            proxy.close(&end.why);
        }
        open.report_end(end);
    }

    /// Exchanges control messages with a registered proxy until its link ends. Returns the end.
    async fn exchange(
        &self,
        proxy: &mut ProxyLink,
        id: LinkId,
        updated: bool,
        (link, mut messages, mut sharing): (Link, mpsc::Receiver<LinkMessage>, Vec<SharedKeyLink>),
    ) -> LinkEnd {
        let registry = &self.policy.registry;
        let shared_key_check = tokio::time::sleep(SHARED_KEY_CHECK_DELAY);
        tokio::pin!(shared_key_check);
        let mut sent = proxy.send(&LinkMessage::Registered { updated }).await;
        let (mut goodbye, mut registered) = (None, std::time::Instant::now());
        loop {
            if let Err(why) = sent {
                return LinkEnd::lost(why);
            }
            sent = Ok(());
            tokio::select! {
                Some(message) = messages.recv() => sent = proxy.send(&message).await,
                () = &mut shared_key_check, if !sharing.is_empty() => registry.warn_of_shared_key(id, &std::mem::take(&mut sharing)),
                event = proxy.recv() => match event {
                    // The first reason says more than the end that follows from it.
                    ControlEvent::Ended(end) => return match goodbye.or_else(|| link.closed_because()) {
                        Some(why) => LinkEnd { why, ..end },
                        None => end,
                    },
                    // The link has left the registry, so that a claim of it would never be served, nor removed with it.
                    ControlEvent::Message(LinkMessage::Register(_)) if goodbye.is_some() => {
                        return LinkEnd::lost("a registration over a link whose end was announced");
                    }
                    ControlEvent::Message(LinkMessage::Register(_)) if registered.elapsed() < MIN_REGISTRATION_INTERVAL => {
                        return LinkEnd::lost("two registrations within half a second");
                    }
                    ControlEvent::Message(LinkMessage::Register(register)) => match self.register(proxy, id, &register) {
                        Ok(updated) => {
                            registry.link_renamed(id, &register.alias);
                            registered = std::time::Instant::now();
                            sent = proxy.send(&LinkMessage::Registered { updated }).await;
                        }
                        Err(why) => sent = proxy.send(&LinkMessage::Refused(why.clone())).await.and(Err(why)),
                    },
                    ControlEvent::Message(LinkMessage::Goodbye(why)) => {
                        // No new scrapes for this proxy. It finishes the open ones and then closes.
                        registry.link_down(id);
                        goodbye = Some(why);
                    }
                    ControlEvent::Message(_) => return LinkEnd::lost("unexpected control message"),
                },
            }
        }
    }

    /// Checks a registration. Returns true if it differs from the previous one, or the reason for the refusal.
    fn register(&self, proxy: &ProxyLink, id: LinkId, register: &Register) -> Result<bool, String> {
        let attempt = RegistrationAttempt {
            from: (proxy.key(), proxy.first_address()),
            key: proxy.key(),
            alias: &register.alias,
            hostname: &register.hostname,
            service: &register.service,
            link: Some(id),
        };
        let knows_secret = |secret: &SharedSecret| proxy.verifies(register, secret, self.key);
        self.policy.register(&attempt, knows_secret).map_err(|refusal| match refusal {
            RegistrationRefusal::Unauthorised => "Unauthorised: wrong shared secret".to_owned(),
            RegistrationRefusal::Other(why) => why,
        })
    }
}
