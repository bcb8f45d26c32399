//! Listeners over TCP and Unix sockets: bound once, before anything runs.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

pub use super::accept::{Accepted, ListenerStats};
use super::lookup::look_up_host_port;
use super::unix_socket::{self, SocketFile, UnixAccess};
use super::{ConnectionSlots, Service, Stream, service_manager};

/// Connections that the kernel keeps for us until we accept them: with 2,000 clients at once 128 led to hundreds of resets, 1,024 to
/// none.
pub const BACKLOG: u32 = 4_096;

/// Ports below need a capability (`net.ipv4.ip_unprivileged_port_start` of Linux, by default).
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// Bytes of a connection that the kernel takes before the peer's window has room for them: two writes of a large response. By itself it takes
/// 3 MB from each client that does not read: for 200 of them that is 600 MB of the kernel's memory, and copying it made others wait for a
/// tenth of a second. What is in flight does not count, so a fast client gets as much as before.
const UNSENT_BYTES: u32 = 512 << 10;

/// Error of binding an address; it names the address.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {why}")]
pub struct BindError {
    /// The kind and the address as configured, such as `tcp 127.0.0.1:6554`.
    pub place: String,
    /// The reason. The text contains it, so it is not a source, which would be printed twice.
    pub why: BindErrorKind,
}

/// The reasons of a [`BindError`].
#[derive(Debug, thiserror::Error)]
pub enum BindErrorKind {
    /// The host name has no address, or the text is no `HOST:PORT`.
    #[error("the address does not resolve: {0}")]
    Resolve(io::Error),
    /// The operating system refused.
    #[error("{0}")]
    Bind(io::Error),
    /// The process may not use a port below 1024.
    #[error(
        "{0}; ports below 1024 need the capability CAP_NET_BIND_SERVICE \
         (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE and CapabilityBoundingSet=CAP_NET_BIND_SERVICE)"
    )]
    PrivilegedPort(io::Error),
    /// The socket that the service manager passed for the port has another use.
    #[error(
        "the service manager passed one socket for IPv4 and IPv6 on this port, and it is in use for another key; \
         pass one for each address, with BindIPv6Only=ipv6-only in the socket unit"
    )]
    Passed,
    /// Another process listens on the Unix socket.
    #[error("another process is listening there")]
    Live,
    /// A socket is there to which this user may not connect, in use or not.
    #[error(
        "the socket there is of another user, and this user may not connect to see whether it is in use: {0}; remove it or change the path"
    )]
    Foreign(io::Error),
    /// The file at the path is not a socket, so it is not deleted.
    #[error("a file that is not a socket is in the way; remove it or change the path")]
    NoSocket,
    /// The stale socket could not be removed.
    #[error("the stale socket there cannot be removed: {0}")]
    Stale(io::Error),
    /// The folder of the path does not exist.
    #[error("the directory {} does not exist", .0.display())]
    NoFolder(PathBuf),
    /// The configured user is unknown.
    #[error("unknown user `{0}`")]
    NoUser(String),
    /// The configured group is unknown.
    #[error("unknown group `{0}`")]
    NoGroup(String),
    /// Owner or group could not be set.
    #[error("its owner and group cannot be set: {0}; without CAP_CHOWN the group must be one that this user is a member of")]
    Owner(io::Error),
    /// The permissions could not be set.
    #[error("its mode cannot be set: {0}")]
    Mode(io::Error),
}

/// The address families that `[::]` takes connections of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressFamilies {
    /// IPv6, and IPv4 where the system is set up so, which is the usual case.
    #[default]
    All,
    /// IPv6 alone: another listener has the same port for IPv4.
    Own,
}

/// A socket that is bound and listens.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    // Dropped after the socket, so that the file is removed after the listener is closed.
    _file: Option<SocketFile>,
    pub(super) place: Arc<str>,
    pub(super) stats: Arc<ListenerStats>,
}

/// The bound socket.
#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Listens on `HOST:PORT`; a name with several addresses takes the first that can be bound.
    ///
    /// # Errors
    ///
    /// If the name does not resolve or none of its addresses can be bound.
    pub async fn tcp(address: &str) -> Result<Self, BindError> {
        Self::tcp_for(address, AddressFamilies::All).await
    }

    /// As [`Listener::tcp`]; the choice of families matters for `[::]` alone.
    ///
    /// # Errors
    ///
    /// As [`Listener::tcp`].
    pub async fn tcp_for(address: &str, families: AddressFamilies) -> Result<Self, BindError> {
        let refused = |why| BindError {
            place: format!("tcp {address}"),
            why,
        };
        let socket = bind_tcp(address, families).await.map_err(refused)?;
        let bound = socket.local_addr().map_err(|e| refused(BindErrorKind::Bind(e)))?;
        Ok(Self::new(Socket::Tcp(socket), None, bound.to_string()))
    }

    /// Listens on a socket file with the given owner and permissions; the file is removed when the listener is dropped.
    ///
    /// # Errors
    ///
    /// If another process listens there, the file is not a socket, or the operating system refuses.
    pub async fn unix(path: &Path, access: &UnixAccess) -> Result<Self, BindError> {
        let place = path.display().to_string();
        let refused = |why| BindError {
            place: format!("unix {place}"),
            why,
        };
        if let Some(passed) = service_manager::unix(path) {
            let socket = UnixListener::from_std(passed).map_err(|error| refused(BindErrorKind::Bind(error)))?;
            // The file, its owner and its mode are the service manager's.
            return Ok(Self::new(Socket::Unix(socket), None, place));
        }
        let (socket, file) = unix_socket::bind(path, access).await.map_err(refused)?;
        Ok(Self::new(Socket::Unix(socket), Some(file), place))
    }

    fn new(socket: Socket, file: Option<SocketFile>, place: String) -> Self {
        if let Socket::Tcp(listener) = &socket {
            // Accepted connections inherit it (tcp(7), TCP_NOTSENT_LOWAT). A kernel without it only keeps more.
            let _ = SockRef::from(listener).set_tcp_notsent_lowat(UNSENT_BYTES);
        }
        Self {
            socket,
            _file: file,
            place: place.into(),
            stats: Arc::default(),
        }
    }

    /// The bound address as `HOST:PORT` with the real port, or the path of the socket file.
    #[must_use]
    pub fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// The bound TCP address; none for a Unix socket.
    #[must_use]
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(socket) => socket.local_addr().ok(),
            Socket::Unix(_) => None,
        }
    }

    /// The listener's numbers, alive beyond the listener.
    #[must_use]
    pub fn stats(&self) -> &Arc<ListenerStats> {
        &self.stats
    }

    /// The accept loop as a part of its own.
    pub fn into_service<H, F>(self, name: String, slots: ConnectionSlots, handler: H) -> impl Service
    where
        H: Fn(Accepted) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        ListenerService {
            name,
            listener: self,
            slots,
            handler,
        }
    }
}

/// A [`Listener`] with all that its loop needs.
struct ListenerService<H> {
    name: String,
    listener: Listener,
    slots: ConnectionSlots,
    handler: H,
}

impl<H, F> Service for ListenerService<H>
where
    H: Fn(Accepted) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    fn name(&self) -> &str {
        &self.name
    }

    fn run(self: Box<Self>, stop: CancellationToken) -> BoxFuture<'static, anyhow::Result<()>> {
        Box::pin(async move {
            self.listener.serve(self.slots, stop, self.handler).await;
            Ok(())
        })
    }
}

async fn bind_tcp(address: &str, families: AddressFamilies) -> Result<TcpListener, BindErrorKind> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut port = u16::MAX;
    for resolved in look_up_host_port(address).await.map_err(BindErrorKind::Resolve)? {
        let bound = match service_manager::tcp(resolved) {
            Some(passed) => TcpListener::from_std(passed),
            None if service_manager::is_served(resolved) => return Err(BindErrorKind::Passed),
            None => bind_one(resolved, families),
        };
        match bound {
            Ok(listener) => return Ok(listener),
            Err(e) => (last, port) = (e, resolved.port()),
        }
    }
    Err(match last.kind() {
        io::ErrorKind::PermissionDenied if port < FIRST_UNPRIVILEGED_PORT => BindErrorKind::PrivilegedPort(last),
        _ => BindErrorKind::Bind(last),
    })
}

fn bind_one(address: SocketAddr, families: AddressFamilies) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart must not wait for the last run's connections to be forgotten by the kernel.
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && families == AddressFamilies::Own {
        SockRef::from(&socket).set_only_v6(true)?;
    }
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Socket {
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Stream::tcp(stream, peer)),
            Self::Unix(listener) => listener.accept().await.map(|(stream, _)| Stream::unix(stream)),
        }
    }

    /// Accepts a connection from the kernel's backlog, or returns [`io::ErrorKind::WouldBlock`]. The runtime learns of connections only
    /// when it polls, so its own `accept` cannot detect an empty backlog.
    pub(super) fn accept_now(&self) -> io::Result<Stream> {
        match self {
            Self::Tcp(listener) => {
                let (socket, peer) = SockRef::from(listener).accept()?;
                socket.set_nonblocking(true)?;
                let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
                Ok(Stream::tcp(TcpStream::from_std(socket.into())?, peer))
            }
            Self::Unix(listener) => {
                let (socket, _) = SockRef::from(listener).accept()?;
                socket.set_nonblocking(true)?;
                Ok(Stream::unix(UnixStream::from_std(socket.into())?))
            }
        }
    }
}

#[cfg(test)]
mod tests;
