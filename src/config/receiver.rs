//! `[receiver]`: the sockets on which applications push metrics.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::{self, HostPort};
use super::http::NETWORKS;
use super::key::{FaultSink, ValueType};
use super::raw::{Node, Value, quoted};
use super::reader::Section;
use super::units::in_memory;
use super::value_types::{ADDRESS, Bool, DurationRange, FilePath, ListOf, OneOf, Parsed, Size};
use crate::sources::receiver::Limits;
use crate::supervise::{UnixAccess, unix_socket};
use crate::wire::FormatChoice;

/// Default path of the Unix socket, as in the original.
pub const USUAL_UNIX_SOCKET: &str = "/var/run/exporter-proxy-receiver.sock";

/// The TCP port on which the original receives.
const RECEIVER_PORT: u16 = 6554;
/// The longest path of a Unix socket on Linux in bytes: `sun_path` of unix(7) less its final NUL.
pub(super) const MAX_SOCKET_PATH_BYTES: usize = 107;
/// A message below this could hold next to nothing, so a limit below is a slip of the unit.
const MIN_MESSAGE_BYTES: u64 = 1 << 10;
/// One message is held in memory whole, and positions in it are 32-bit numbers.
const MAX_MESSAGE_LIMIT: u64 = 2 << 30;
/// No machine that this runs on holds more in memory.
const MAX_INFLIGHT_BYTES: u64 = 1 << 40;
/// Below this, a sender on a busy machine would be cut off for nothing.
const MIN_IDLE: Duration = Duration::from_millis(100);
/// A sender that is silent inside a message for a day will not finish it.
const MAX_IDLE: Duration = Duration::from_secs(86_400);

/// Path of the Unix socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnixSocketPath {
    /// At [`USUAL_UNIX_SOCKET`], or with a warning in `$XDG_RUNTIME_DIR`, or in a directory of this user's own below the one for
    /// temporary files.
    Usual,
    /// At this path or not at all.
    Exactly(PathBuf),
}

/// The Unix receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixReceiver {
    /// `receiver_unix_socket`.
    pub path: UnixSocketPath,
    /// `unix_socket_user`, `unix_socket_group` and `unix_socket_mode`.
    pub access: UnixAccess,
}

/// `[receiver]` as used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceiverConfig {
    /// The Unix receiver, unless `receive_on_unix_socket` is false.
    pub unix: Option<UnixReceiver>,
    /// The TCP receiver's address (`receiver_tcp_socket`), unless `receive_on_tcp_socket` is false.
    pub tcp: Option<HostPort>,
    /// `tls`: true if the TCP receiver takes TLS only, with the web configuration of the HTTP port.
    pub tls: bool,
    /// `format`, `max_message_bytes`, `idle_timeout`, `allow` and `unix_socket_allow_users`.
    pub limits: Limits,
    /// `max_inflight_bytes`: all half-received messages together; never less than `max_message_bytes`.
    pub max_inflight_bytes: usize,
}

impl ReceiverConfig {
    pub(super) fn read(t: &mut Section<'_>) -> Self {
        let format = t.restart_only("format").or(FormatChoice::Auto, OneOf(FORMATS));
        let on_unix = t.restart_only("receive_on_unix_socket").or(true, Bool);
        let path = t.restart_only("receiver_unix_socket").optional(FilePath);
        check_socket_path(t, "receiver_unix_socket", path.as_deref());
        let unix = UnixReceiver {
            path: path.map_or(UnixSocketPath::Usual, UnixSocketPath::Exactly),
            access: unix_access(t, ["unix_socket_user", "unix_socket_group", "unix_socket_mode"]),
        };
        let allow_users = t.reloadable("unix_socket_allow_users").or(Vec::new(), USERS);
        let on_tcp = t.restart_only("receive_on_tcp_socket").or(true, Bool);
        let tcp = t
            .restart_only("receiver_tcp_socket")
            .or(HostPort::new("127.0.0.1", RECEIVER_PORT), ADDRESS);
        let tls = t.restart_only("tls").or(false, Bool);
        let everywhere = ["0.0.0.0/0", "::/0"].iter().filter_map(|net| address::parse_network(net).ok());
        let allow = t.reloadable("allow").or(everywhere.collect(), NETWORKS);
        let message = Size(MIN_MESSAGE_BYTES..=MAX_MESSAGE_LIMIT);
        let max_message_bytes = t.reloadable("max_message_bytes").or(16 << 20, message);
        let inflight = Size(MIN_MESSAGE_BYTES..=MAX_INFLIGHT_BYTES);
        let max_inflight_bytes = t.reloadable("max_inflight_bytes").or(256 << 20, inflight);
        t.require(
            &["max_message_bytes", "max_inflight_bytes"],
            max_inflight_bytes >= max_message_bytes,
            || "\"max_inflight_bytes\" must be at least \"max_message_bytes\"".to_owned(),
        );
        Self {
            unix: on_unix.then_some(unix),
            tcp: on_tcp.then_some(tcp),
            tls,
            limits: Limits {
                format,
                allow: allow.into(),
                allow_users: allow_users.iter().map(|user| user.uid).collect(),
                max_message_bytes: in_memory(max_message_bytes),
                idle_timeout: t
                    .reloadable("idle_timeout")
                    .or(Duration::from_secs(60), DurationRange(MIN_IDLE..=MAX_IDLE)),
            },
            max_inflight_bytes: in_memory(max_inflight_bytes),
        }
    }
}

/// The types of owner and group, and the mode of a Unix socket that none is configured for.
const USER: OwnerType = OwnerType("current_user");
const GROUP: OwnerType = OwnerType("current_group");
const DEFAULT_MODE: Mode = Mode(0o660);

/// Owner, group and mode of a Unix socket, under these names.
pub(super) fn unix_access(t: &mut Section<'_>, [user, group, mode]: [&'static str; 3]) -> UnixAccess {
    UnixAccess {
        user: t.restart_only(user).or(None, USER),
        group: t.restart_only(group).or(None, GROUP),
        mode: t.restart_only(mode).or(DEFAULT_MODE, MODE).0,
    }
}

/// Owner, group and mode of a Unix socket with nothing but a path.
pub(super) const fn default_unix_access() -> UnixAccess {
    UnixAccess {
        user: None,
        group: None,
        mode: DEFAULT_MODE.0,
    }
}

/// Owner, group and mode as keys of a table; `None` if they are the default.
pub(super) fn show_unix_access(access: &UnixAccess) -> Option<String> {
    let UnixAccess { user, group, mode } = access;
    (*access != default_unix_access()).then(|| {
        let (user, group, mode) = (USER.show(user), GROUP.show(group), MODE.show(&Mode(*mode)));
        format!("user = {user}, group = {group}, mode = {mode}")
    })
}

/// Reports a path that is too long for a Unix socket.
pub(super) fn check_socket_path(t: &mut Section<'_>, key: &'static str, path: Option<&Path>) {
    let bytes = path.map_or(0, |path| path.as_os_str().len());
    t.require(&[key], bytes <= MAX_SOCKET_PATH_BYTES, || {
        format!("\"{key}\" has {bytes} bytes, more than the {MAX_SOCKET_PATH_BYTES} of a socket path")
    });
}

/// A user that may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AllowedUser {
    /// The name or number as configured.
    name: String,
    uid: u32,
}

impl fmt::Display for AllowedUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

const USERS: ListOf<Parsed<AllowedUser>> = ListOf {
    item: Parsed {
        expected: "the name or number of a user as a string",
        parse: |text| {
            let uid = unix_socket::user_id(text).or_else(|| text.parse().ok());
            let uid = uid.ok_or_else(|| format!("unknown user {}", quoted(text)))?;
            Ok(AllowedUser {
                name: text.to_owned(),
                uid,
            })
        },
    },
    expected: "a list of users such as [\"www-data\", \"1000\"]",
    or_single: false,
};

const FORMATS: &[(&str, FormatChoice)] = &[
    ("auto", FormatChoice::Auto),
    ("json", FormatChoice::Json),
    ("capnp", FormatChoice::Capnp),
];

/// Type of an owner: the name or number of a user or a group, which is looked up when the socket is made. `None` is the one of the process,
/// written as the word that this type holds.
struct OwnerType(&'static str);

impl ValueType for OwnerType {
    type Value = Option<String>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Self::Value> {
        let word = match &node.value {
            Value::Integer { number, .. } => number.to_string(),
            Value::Text(text) => text.clone(),
            _ => return faults.expected(&node, &format!("\"{}\", a name or a number", self.0)),
        };
        if word == self.0 {
            return Some(None);
        }
        let numeric = is_number(word.trim_start_matches('-'));
        match word.parse::<u32>() {
            // The largest number means "leave it as it is" to chown(2).
            Ok(id) if id < u32::MAX => Some(Some(id.to_string())),
            _ if word.is_empty() || numeric => faults.at(&node.at, format!("{} is not a valid user or group", quoted(&word))),
            _ => Some(Some(word)),
        }
    }

    fn show(&self, value: &Self::Value) -> String {
        match value.as_deref() {
            None => format!("{:?}", self.0),
            Some(id) if is_number(id) => id.to_owned(),
            Some(name) => format!("{name:?}"),
        }
    }
}

/// Permission bits, written as chmod(1) has them: `"0660"` or `0o660`.
struct Mode(u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

struct ModeType;

/// The type of `unix_socket_mode`.
const MODE: ModeType = ModeType;

/// A socket's mode as text.
const MODE_TEXT: Parsed<Mode> = Parsed {
    expected: "an octal file mode such as \"0660\"",
    parse: |text| {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let octal = !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let bits = u32::from_str_radix(digits, 8).ok().filter(|bits| octal && *bits <= 0o777);
        bits.map(Mode)
            .ok_or_else(|| format!("{} is not a valid file mode (0000-0777)", quoted(text)))
    },
};

impl ValueType for ModeType {
    type Value = Mode;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Mode> {
        match node.value {
            Value::Integer { number, octal: true } => match u32::try_from(number) {
                Ok(bits) if bits <= 0o777 => Some(Mode(bits)),
                _ => faults.at(&node.at, format!("0o{number:o} is not a valid file mode (0000-0777)")),
            },
            Value::Integer { number, .. } if node.verbatim.is_none() => {
                faults.at(&node.at, format!("a file mode is octal; write \"0{number}\" or 0o{number}"))
            }
            _ => MODE_TEXT.read(node, faults),
        }
    }

    fn show(&self, value: &Mode) -> String {
        MODE_TEXT.show(value)
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}
