//! Binding of the receivers, with a fallback path for the Unix socket.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;

use super::Context;
use super::program::Program;
use super::sockets::listen;
use super::usual_sockets;
use crate::config::{Settings, USUAL_UNIX_SOCKET, UnixReceiver, UnixSocketPath};
use crate::http::WebPolicy;
use crate::sources::push::PushHandler;
use crate::sources::pushgateway::{GroupHandler, PushgatewayRules};
use crate::sources::receiver::{self, Budget, Limits, ReceiverContext};
use crate::supervise::files::{create_private_directory, parent};
use crate::supervise::listen::{BindError, BindErrorKind};
use crate::supervise::slots::MAX_INCOMPLETE;
use crate::supervise::{ConnectionSlots, Listener};

/// Slots from which on an address may hold as many connections to a receiver without a complete message as it ever may.
const ENOUGH_FOR_ADDRESS_LIMIT: usize = 2 * MAX_INCOMPLETE;

/// The hint of the warnings about a Unix socket that is not where it usually is.
const CHOOSE: &str = "set receiver.receiver_unix_socket to choose a path";

/// The receivers, bound.
pub(super) struct Receivers {
    pub(super) tcp: Option<Listener>,
    pub(super) unix: Option<Listener>,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) budget: Arc<Budget>,
    context: ReceiverContext,
}

/// Binds the receivers; `http` is where HTTP is served, for clients that send it here.
pub(super) async fn bind(settings: &Settings, context: &Context, http: Arc<str>) -> anyhow::Result<Receivers> {
    let tcp = match &settings.receiver.tcp {
        Some(address) => Some(listen(settings, address).await.context("receiver.receiver_tcp_socket")?),
        None => None,
    };
    let unix = match &settings.receiver.unix {
        Some(unix) => {
            let bound = bind_unix(unix).await;
            bound.map_err(|error| {
                let key = config_key(&error.why);
                anyhow::Error::new(error).context(key)
            })?
        }
        None => None,
    };
    let budget = Budget::new(settings.receiver.max_inflight_bytes);
    let limits = watch::Sender::new(settings.receiver.limits.clone());
    let context = ReceiverContext {
        inlet: context.inlet.clone(),
        telemetry: Arc::clone(&context.telemetry),
        clock: context.clock,
        budget: Arc::clone(&budget),
        limits: limits.subscribe(),
        http,
    };
    Ok(Receivers {
        tcp,
        unix,
        limits,
        budget,
        context,
    })
}

impl Receivers {
    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.tcp.iter().chain(&self.unix)
    }

    /// Pushing over HTTP by the same limits and out of the same budget.
    pub(super) fn push_handler(&self, context: &Context) -> PushHandler {
        PushHandler::new(
            context.inlet.clone(),
            Arc::clone(&context.telemetry),
            context.clock,
            self.limits.subscribe(),
            Arc::clone(&self.budget),
        )
    }

    /// Pushing to groups by the same limits and out of the same budget.
    pub(super) fn group_handler(&self, context: &Context, rules: PushgatewayRules) -> GroupHandler {
        GroupHandler::new(
            context.inlet.clone(),
            Arc::clone(&context.telemetry),
            context.clock,
            self.limits.subscribe(),
            Arc::clone(&self.budget),
            rules,
        )
    }

    /// Gives each receiver `slots` connection slots and adds it to the supervisor; the TCP receiver with TLS where a web configuration is
    /// given.
    ///
    /// Senders without a complete message are limited for each address where open files limit the slots, and where a sender that is slow is one of
    /// many. With few slots that are all that the operator wants, a burst of senders on a busy machine would lose messages to that limit.
    pub(super) fn start(self, slots: usize, has_few_files: bool, tls: Option<Arc<WebPolicy>>, program: &mut Program) {
        let connection_slots = || match slots {
            _ if has_few_files => ConnectionSlots::for_few_files(slots),
            0..ENOUGH_FOR_ADDRESS_LIMIT => ConnectionSlots::new(slots),
            ENOUGH_FOR_ADDRESS_LIMIT.. => ConnectionSlots::with_address_limit(slots),
        };
        let listeners = self.tcp.map(|tcp| (tcp, tls)).into_iter().chain(self.unix.map(|unix| (unix, None)));
        for (listener, tls) in listeners {
            program.add(receiver::service(listener, connection_slots(), self.context.clone(), tls));
        }
    }
}

/// The key that a refusal is about.
pub(super) fn config_key(why: &BindErrorKind) -> &'static str {
    match why {
        BindErrorKind::NoUser(_) => "receiver.unix_socket_user",
        BindErrorKind::NoGroup(_) => "receiver.unix_socket_group",
        _ => "receiver.receiver_unix_socket",
    }
}

/// Binds the configured path, or the first usual one that this user may write to. `None`, with a warning, if there is none.
async fn bind_unix(receiver: &UnixReceiver) -> Result<Option<Listener>, BindError> {
    let access = &receiver.access;
    let usual = match &receiver.path {
        UnixSocketPath::Exactly(path) => return Listener::unix(path, access).await.map(Some),
        UnixSocketPath::Usual => Path::new(USUAL_UNIX_SOCKET),
    };
    let refused = match Listener::unix(usual, access).await {
        Err(error) if is_out_of_reach(&error.why) => error,
        bound => return bound.map(Some),
    };
    if let Some(path) = usual_sockets::in_runtime_directory() {
        match Listener::unix(&path, access).await {
            Err(error) if is_out_of_reach(&error.why) => {}
            bound => {
                let listener = bound?;
                tracing::warn!("{refused}; listening on {} instead ({CHOOSE})", path.display());
                return Ok(Some(listener));
            }
        }
    }
    // Other users can write to the directory for temporary files, so the socket goes into a directory of our own.
    let path = usual_sockets::in_temporary_directory();
    if let Err(why) = create_private_directory(&parent(&path)) {
        tracing::warn!("{refused}; no Unix socket, because {why} ({CHOOSE})");
        return Ok(None);
    }
    let listener = Listener::unix(&path, access).await?;
    let shown = path.display();
    tracing::warn!("{refused}; listening on {shown} instead, which only this user can reach ({CHOOSE})");
    Ok(Some(listener))
}

/// Returns true if this user cannot use the path on this machine, as opposed to a path that is in use. A socket that root's proxy left
/// behind is in the first group: this user can neither remove it nor see whether it is in use.
fn is_out_of_reach(why: &BindErrorKind) -> bool {
    match why {
        BindErrorKind::NoFolder(_) | BindErrorKind::Foreign(_) => true,
        BindErrorKind::Bind(error) | BindErrorKind::Stale(error) => {
            matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
        }
        _ => false,
    }
}
