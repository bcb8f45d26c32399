//! Binding of the receivers, with a fallback path for the Unix socket.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::sync::watch;

use super::Context;
use super::program::Program;
use super::sockets::listen;
use crate::config::{Settings, USUAL_UNIX_SOCKET, UnixReceiver, UnixSocketPath};
use crate::sources::push::PushHandler;
use crate::sources::receiver::{self, Budget, Limits, ReceiverContext};
use crate::supervise::listen::{BindError, BindErrorKind};
use crate::supervise::{ConnectionSlots, Listener};

/// The receivers, bound.
pub(super) struct Receivers {
    pub(super) tcp: Option<Listener>,
    pub(super) unix: Option<Listener>,
    pub(super) limits: watch::Sender<Limits>,
    pub(super) budget: Arc<Budget>,
    context: ReceiverContext,
}

pub(super) async fn bind(settings: &Settings, context: &Context) -> anyhow::Result<Receivers> {
    let tcp = match &settings.receiver.tcp {
        Some(address) => Some(listen(settings, address).await.context("receiver.receiver_tcp_socket")?),
        None => None,
    };
    let unix = match &settings.receiver.unix {
        Some(unix) => {
            let bound = bind_unix(unix).await;
            Some(bound.map_err(|error| {
                let key = config_key(&error.why);
                anyhow::Error::new(error).context(key)
            })?)
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

    /// Gives each receiver `slots` connection slots and adds it to the supervisor.
    pub(super) fn start(self, slots: usize, program: &mut Program) {
        for listener in self.tcp.into_iter().chain(self.unix) {
            program.add(receiver::service(listener, ConnectionSlots::new(slots), self.context.clone()));
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

/// Binds the configured path, or the first usual one that this user may write to.
async fn bind_unix(receiver: &UnixReceiver) -> Result<Listener, BindError> {
    let access = &receiver.access;
    let usual = match &receiver.path {
        UnixSocketPath::Exactly(path) => return Listener::unix(path, access).await,
        UnixSocketPath::Usual => Path::new(USUAL_UNIX_SOCKET),
    };
    let refused = match Listener::unix(usual, access).await {
        Err(error) if is_out_of_reach(&error.why) => error,
        bound => return bound,
    };
    let (fallback, listener) = bind_elsewhere(usual, access).await?;
    tracing::warn!(
        "{refused}; listening on {} instead (set receiver.receiver_unix_socket to choose a path)",
        fallback.display()
    );
    Ok(listener)
}

/// Binds in the user's runtime directory, otherwise in the directory for temporary files.
async fn bind_elsewhere(usual: &Path, access: &crate::supervise::UnixAccess) -> Result<(PathBuf, Listener), BindError> {
    let name = usual.file_name().unwrap_or_default();
    if let Some(directory) = std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        let path = Path::new(&directory).join(name);
        match Listener::unix(&path, access).await {
            Err(error) if is_out_of_reach(&error.why) => {}
            bound => return bound.map(|listener| (path, listener)),
        }
    }
    let path = std::env::temp_dir().join(name);
    let listener = Listener::unix(&path, access).await?;
    Ok((path, listener))
}

/// Returns true if this user cannot use the path on this machine, as opposed to a path that is in use.
fn is_out_of_reach(why: &BindErrorKind) -> bool {
    match why {
        BindErrorKind::NoFolder(_) => true,
        BindErrorKind::Bind(error) | BindErrorKind::Stale(error) => {
            matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem)
        }
        _ => false,
    }
}
