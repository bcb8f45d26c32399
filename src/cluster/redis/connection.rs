//! Connections to the server, with TLS and a password where they are configured, and the search for the primary.

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, RedisConnectionInfo, RedisError, Value, cmd};
use rustls::pki_types::ServerName;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::reply;
use super::reply_bound::{ReplyAccount, ReplyBound};
use crate::cluster::engine::EngineError;
use crate::cluster::settings::ClusterSettings;
use crate::supervise::lookup::look_up;
use crate::supervise::{blocking, secret_file};
use crate::wire::engine_url::{EngineHost, EngineHosts};

/// The time in which a server takes a connection and answers the first commands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection, with the task that drives it. Commands of several callers are sent without waiting for each other.
pub(super) struct Connection {
    link: MultiplexedConnection,
    _driver: AbortOnDropHandle<()>,
    account: Arc<ReplyAccount>,
    pub(super) local_ip: IpAddr,
}

impl Connection {
    /// Sends a command and waits for its reply.
    pub(super) async fn ask(&self, command: &Cmd) -> Result<Value, EngineError> {
        let mut link = self.link.clone();
        let awaited = self.account.command();
        let reply = link.send_packed_command(command).await.map_err(|error| failed(&error))?;
        awaited.arrived();
        match reply {
            Value::ServerError(error) => {
                let detail = error.details().map(|detail| format!(": {detail}")).unwrap_or_default();
                Err(EngineError(format!("the engine refused a command: {}{detail}", error.code())))
            }
            reply => Ok(reply),
        }
    }
}

fn failed(error: &RedisError) -> EngineError {
    EngineError(if error.is_timeout() {
        "the engine does not answer".to_owned()
    } else {
        format!("the connection to the engine failed: {error}")
    })
}

/// Finds the server to write to.
pub(super) async fn find_primary(settings: &ClusterSettings) -> Result<EngineHost, EngineError> {
    let (sentinels, primary) = match &settings.url.hosts {
        EngineHosts::Server(server) => return Ok(server.clone()),
        EngineHosts::Sentinels { sentinels, primary } => (sentinels, primary),
    };
    let mut why = EngineError("no sentinel".to_owned());
    for sentinel in sentinels {
        match ask_sentinel(settings, sentinel, primary).await {
            Ok(server) => return Ok(server),
            Err(error) => why = EngineError(format!("sentinel {sentinel}: {error}")),
        }
    }
    Err(why)
}

async fn ask_sentinel(settings: &ClusterSettings, sentinel: &EngineHost, primary: &str) -> Result<EngineHost, EngineError> {
    // Sentinels have users of their own, and usually none.
    let connection = dial(settings, sentinel, RedisConnectionInfo::default(), CONNECT_TIMEOUT).await?;
    let mut ask = cmd("SENTINEL");
    ask.arg("GET-MASTER-ADDR-BY-NAME").arg(primary);
    let mut parts = reply::array(connection.ask(&ask).await?)?.into_iter();
    match (parts.next(), parts.next()) {
        (Some(name), Some(port)) => Ok(EngineHost {
            name: reply::text(name)?,
            port: u16::try_from(reply::number(port)?).map_err(|_| reply::unexpected("SENTINEL"))?,
        }),
        _ => Err(EngineError(format!("it does not know {primary:?}"))),
    }
}

/// Opens a connection to the primary.
pub(super) async fn open(settings: &ClusterSettings, server: &EngineHost, answer: Duration) -> Result<Connection, EngineError> {
    let mut info = RedisConnectionInfo::default().set_db(i64::from(settings.url.database));
    if let Some(path) = settings.password_file.clone() {
        let rule = *settings.secret_rule.borrow();
        let shown = path.display().to_string();
        let password = blocking(move || secret_file::read(&path, rule)).await;
        let password = password.map_err(|why| EngineError(format!("{shown}: {why} (cluster.password_file)")))?;
        info = info.set_password(password);
        if let Some(user) = &settings.url.user {
            info = info.set_username(user);
        }
    }
    let connection = dial(settings, server, info, answer).await?;
    let role = reply::array(connection.ask(&cmd("ROLE")).await?)?.into_iter().next();
    match role.map(reply::text).transpose()?.as_deref() {
        Some("master") => Ok(connection),
        _ => Err(EngineError(format!("{server} is a replica, which cannot be written to"))),
    }
}

async fn dial(
    settings: &ClusterSettings,
    server: &EngineHost,
    info: RedisConnectionInfo,
    answer: Duration,
) -> Result<Connection, EngineError> {
    let connect = async {
        let addresses = look_up(&server.name, server.port).await.map_err(|error| error.to_string())?;
        let socket = TcpStream::connect(&*addresses).await.map_err(|error| error.to_string())?;
        // A connection that is given up is reset. Otherwise the system would go on sending the writes in flight, for minutes, and they would
        // replace later ones of the next connection once the engine is reached again.
        let reset = SockRef::from(&socket).set_linger(Some(Duration::ZERO));
        reset.map_err(|error| error.to_string())?;
        let nodelay = socket.set_nodelay(true);
        let local = socket.local_addr().map_err(|error| error.to_string())?;
        nodelay.map_err(|error| error.to_string())?;
        if !settings.url.tls {
            return drive(socket, local, info, answer).await;
        }
        let config = settings.tls.clone().ok_or("no TLS settings")?;
        let name = ServerName::try_from(server.name.clone()).map_err(|error| error.to_string())?;
        let tls = TlsConnector::from(config)
            .connect(name, socket)
            .await
            .map_err(|error| format!("TLS: {error}"))?;
        drive(tls, local, info, answer).await
    };
    match timeout(CONNECT_TIMEOUT, connect).await {
        Ok(connected) => connected.map_err(|why| EngineError(format!("cannot connect to {server}: {why}"))),
        Err(_) => Err(EngineError(format!(
            "cannot connect to {server}: no answer within {} s",
            CONNECT_TIMEOUT.as_secs()
        ))),
    }
}

async fn drive(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    local: SocketAddr,
    info: RedisConnectionInfo,
    answer: Duration,
) -> Result<Connection, String> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(answer));
    let account = Arc::new(ReplyAccount::default());
    let stream = ReplyBound::new(stream, Arc::clone(&account));
    let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let (link, driver) = opened.map_err(|error| error.to_string())?;
    Ok(Connection {
        link,
        _driver: AbortOnDropHandle::new(tokio::spawn(boxed(driver))),
        account,
        local_ip: local.ip().to_canonical(),
    })
}

/// One type of task for plain and for encrypted streams.
fn boxed(driver: impl Future<Output = ()> + Send + 'static) -> futures_util::future::BoxFuture<'static, ()> {
    Box::pin(driver)
}
