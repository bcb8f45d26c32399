//! One endpoint of `[poll_external]` as it may be written: a URL, or a table.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use url::Url;

use super::events::metric_name;
use super::fault::Location;
use super::key::{FaultSink, ValueType};
use super::label;
use super::poll::{self, INTERVAL, TIMEOUT};
use super::raw::{Node, RawTable, Value, quoted};
use super::reader::Section;
use super::receiver::MAX_SOCKET_PATH_BYTES;
use super::secret::{Secret, masked_url};
use super::units::show_duration;
use super::value_types::{Bool, FilePath, ListOf, Parsed, SecretText, TEXT};
use crate::model::{AppName, LabelPair};
use crate::sources::polls::{ClientCertificate, Credentials, Endpoint, EndpointKind, Password};

/// An endpoint and its location.
pub(super) struct PlacedEndpoint {
    pub(super) at: Location,
    /// True if the name is configured, not made from the URL.
    pub(super) has_name: bool,
    pub(super) endpoint: Endpoint,
}

/// Type of an endpoint, with the values of the section for an endpoint without its own.
pub(super) struct EndpointType {
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    /// `None`: a number of intervals.
    pub(super) stale_after: Option<Duration>,
    pub(super) native_histograms: bool,
}

impl ValueType for EndpointType {
    type Value = PlacedEndpoint;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<PlacedEndpoint> {
        let at = node.at.clone();
        match node.value {
            Value::Text(text) => match parse_url(&text).and_then(|target| self.endpoint(target)) {
                Ok(endpoint) => Some(PlacedEndpoint {
                    at,
                    has_name: false,
                    endpoint,
                }),
                Err(why) => faults.at(&at, why),
            },
            Value::Table(table) => {
                let title = "an endpoint of [poll_external]";
                Section::inner(faults.notes, title, table, at.clone(), |t| self.read_table(t, at))
            }
            _ => faults.expected(&node, "a URL or a table such as { url = \"http://127.0.0.1:9100/metrics\" }"),
        }
    }

    fn show(&self, value: &PlacedEndpoint) -> String {
        let endpoint = &value.endpoint;
        let path = |path: &PathBuf| FilePath.show(path);
        let (bearer, basic) = match &endpoint.credentials {
            Some(Credentials::BearerFile(file)) => (Some(path(file)), None),
            Some(basic) => (None, Some(BasicAuthType.show(basic))),
            None => (None, None),
        };
        let certificate = endpoint.certificate.as_ref();
        let other = |value: Duration, usual: Duration| (value != usual).then(|| show_duration(value));
        let fields = [
            ("url", Some(format!("{:?}", shown_url(endpoint)))),
            ("name", value.has_name.then(|| format!("{:?}", endpoint.name))),
            ("interval", other(endpoint.interval, self.interval)),
            ("timeout", other(endpoint.timeout, self.timeout)),
            ("bearer_token_file", bearer),
            ("basic_auth", basic),
            ("ca_file", endpoint.ca_file.as_ref().map(path)),
            ("cert_file", certificate.map(|certificate| path(&certificate.cert_file))),
            ("key_file", certificate.map(|certificate| path(&certificate.key_file))),
            (
                "native_histograms",
                (endpoint.native_histograms != self.native_histograms).then(|| endpoint.native_histograms.to_string()),
            ),
            ("labels", (!endpoint.labels.is_empty()).then(|| LabelsType.show(&endpoint.labels))),
            ("events", endpoint.events.as_ref().map(|names| format!("{names:?}"))),
        ];
        show_table(fields.iter().filter_map(|(key, shown)| Some((*key, shown.as_deref()?))))
    }

    fn identity(&self, value: &PlacedEndpoint) -> String {
        let password = match &value.endpoint.credentials {
            Some(Credentials::Basic {
                password: Password::Given(secret),
                ..
            }) => secret,
            _ => "",
        };
        // The shown form leaves out the secrets of the URL.
        format!("{} {} {password}", self.show(value), value.endpoint.url)
    }
}

impl EndpointType {
    /// An endpoint of which only the URL is configured.
    fn endpoint(&self, target: ParsedUrl) -> Result<Endpoint, String> {
        Ok(Endpoint {
            name: poll::name(&poll::made_of(&target.url, target.socket.as_deref()))?,
            url: target.url,
            socket: target.socket,
            kind: EndpointKind::Metrics,
            interval: self.interval,
            timeout: self.timeout,
            stale_after: self.stale_after(self.interval),
            credentials: target.login,
            ca_file: None,
            certificate: None,
            native_histograms: self.native_histograms,
            labels: no_labels(),
            events: None,
        })
    }

    fn stale_after(&self, interval: Duration) -> Duration {
        self.stale_after.unwrap_or(interval * Endpoint::STALE_INTERVALS)
    }

    fn read_table(&self, t: &mut Section<'_>, at: Location) -> Option<PlacedEndpoint> {
        let target = t.reloadable("url").required(URL);
        let name = t.reloadable("name").optional(APP_NAME);
        let interval = t.reloadable("interval").optional(INTERVAL).unwrap_or(self.interval);
        let timeout = t.reloadable("timeout").optional(TIMEOUT).unwrap_or(self.timeout);
        let bearer = t.reloadable("bearer_token_file").optional(FilePath).map(Credentials::BearerFile);
        let basic = t.reloadable("basic_auth").optional(BasicAuthType);
        let ca_file = t.reloadable("ca_file").optional(FilePath);
        let certificate = read_certificate(t);
        let native_histograms = t.reloadable("native_histograms").optional(Bool).unwrap_or(self.native_histograms);
        let labels = t.reloadable("labels").or(no_labels(), LabelsType);
        let events = t.reloadable("events").optional(FAMILIES);
        let twice = events
            .iter()
            .flatten()
            .enumerate()
            .find(|(at, name)| events.iter().flatten().take(*at).any(|other| other == *name));
        t.require(&["events"], twice.is_none(), || {
            format!("{} is listed twice in \"events\"", quoted(twice.map_or("", |(_, name)| name)))
        });
        let target = target?;
        let given = [&target.login, &bearer, &basic];
        t.require(
            &["url", "bearer_token_file", "basic_auth"],
            given.iter().filter(|one| one.is_some()).count() <= 1,
            || "set only one of \"bearer_token_file\", \"basic_auth\" and a user in the URL".to_owned(),
        );
        let plain = self.endpoint(target).map_err(|why| t.notes.fault(&at, why)).ok()?;
        Some(PlacedEndpoint {
            at,
            has_name: name.is_some(),
            endpoint: Endpoint {
                name: name.unwrap_or(plain.name),
                interval,
                timeout,
                stale_after: self.stale_after(interval),
                credentials: plain.credentials.or(bearer).or(basic),
                ca_file,
                certificate,
                native_histograms,
                labels,
                events: events.map(|names| names.iter().map(|name| name.as_str().into()).collect()),
                ..plain
            },
        })
    }
}

/// The certificate for servers that ask for one.
fn read_certificate(t: &mut Section<'_>) -> Option<ClientCertificate> {
    let cert_file = t.reloadable("cert_file").optional(FilePath);
    let key_file = t.reloadable("key_file").optional(FilePath);
    t.require(&["cert_file", "key_file"], cert_file.is_some() == key_file.is_some(), || {
        "\"cert_file\" and \"key_file\" need each other".to_owned()
    });
    Some(ClientCertificate {
        cert_file: cert_file?,
        key_file: key_file?,
    })
}

/// The URL of an endpoint without secrets, as it can be configured.
pub(super) fn shown_url(endpoint: &Endpoint) -> String {
    let url = masked_url(&endpoint.url);
    match &endpoint.socket {
        Some(path) => format!("unix:{}:{}", path.display(), url.strip_prefix(SOCKET_ORIGIN).unwrap_or(&url)),
        None => url,
    }
}

/// The origin of URLs over a Unix socket, which have no host.
const SOCKET_ORIGIN: &str = "http://localhost";

/// A URL without its user and password, and the credentials made from them.
struct ParsedUrl {
    url: Url,
    socket: Option<PathBuf>,
    login: Option<Credentials>,
}

impl std::fmt::Display for ParsedUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&masked_url(&self.url))
    }
}

/// An inline table for display.
pub(super) fn show_table<'s>(fields: impl IntoIterator<Item = (&'s str, &'s str)>) -> String {
    let fields: Vec<String> = fields.into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

fn no_labels() -> Arc<[LabelPair]> {
    Arc::new([])
}

/// The families of one-shot events.
const FAMILIES: ListOf<Parsed<String>> = ListOf {
    item: Parsed {
        expected: "a metric name",
        parse: metric_name,
    },
    expected: "a list of metric names such as [\"events_to_metrics\"]",
    or_single: false,
};

/// The name of an app.
pub(super) const APP_NAME: Parsed<AppName> = Parsed {
    expected: "an app's name",
    parse: |text| AppName::new(text).map_err(|e| e.to_string()),
};

const URL: Parsed<ParsedUrl> = Parsed {
    expected: "a URL such as \"http://127.0.0.1:9100/metrics\"",
    parse: parse_url,
};

/// Reads a URL and moves its user and password out, so that they are never shown with it.
fn parse_url(text: &str) -> Result<ParsedUrl, String> {
    // The part before an @ may be a password and the part after a ? a token, so neither is repeated.
    let shown = match text.split_once('?') {
        _ if text.contains('@') => "the text".to_owned(),
        Some((before, _)) => format!("{} with a query", quoted(before)),
        None => quoted(text),
    };
    if let Some(rest) = text.strip_prefix("unix:") {
        return parse_socket(rest).map_err(|why| format!("{shown} is not unix:PATH:/metrics: {why}"));
    }
    if !text.contains("://") {
        return Err(format!("{shown} is not a URL; write e.g. \"http://127.0.0.1:9100/metrics\""));
    }
    let mut url = Url::parse(text).map_err(|_| format!("{shown} is not a URL; write e.g. \"http://127.0.0.1:9100/metrics\""))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("{shown} is not an http:// or https:// URL"));
    }
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let login = (!url.username().is_empty() || url.password().is_some()).then(|| Credentials::Basic {
        username: decoded(url.username()),
        password: Password::Given(decoded(url.password().unwrap_or_default()).into()),
    });
    url.set_fragment(None);
    let cleared = url.set_username("").and_then(|()| url.set_password(None));
    cleared.map_err(|()| format!("{shown} cannot be polled"))?;
    Ok(ParsedUrl { url, socket: None, login })
}

/// Reads `PATH:/metrics`, the path of a Unix socket and of the request.
fn parse_socket(text: &str) -> Result<ParsedUrl, &'static str> {
    let (socket, path) = text.split_once(":/").ok_or("the path of the request is missing")?;
    let bytes = socket.len();
    if !socket.starts_with('/') || bytes > MAX_SOCKET_PATH_BYTES {
        return Err("the path of the socket must begin with a slash and have at most 107 bytes");
    }
    let url = Url::parse(&format!("{SOCKET_ORIGIN}/{path}")).map_err(|_| "the path of the request is not valid")?;
    Ok(ParsedUrl {
        url,
        socket: Some(socket.into()),
        login: None,
    })
}

/// `{ username, password }` or `{ username, password_file }`.
struct BasicAuthType;

impl ValueType for BasicAuthType {
    type Value = Credentials;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Credentials> {
        let at = node.at;
        let Value::Table(table) = node.value else {
            return faults.at(
                &at,
                "expected a table such as { username = \"me\", password_file = \"/etc/secret\" }",
            );
        };
        Section::inner(faults.notes, "\"basic_auth\" of an endpoint", table, at, |t| {
            let username = t.reloadable("username").required(TEXT);
            let password = t.reloadable("password").optional(SecretText);
            let file = t.reloadable("password_file").optional(FilePath);
            t.require(&["password", "password_file"], password.is_some() != file.is_some(), || {
                "\"basic_auth\" needs either \"password\" or \"password_file\"".to_owned()
            });
            let username = username?;
            let with_colon = username.contains(':');
            t.require(&["username"], !with_colon, || {
                "a user of basic authentication must not contain a colon".to_owned()
            });
            let given = password.map(|secret| Password::Given(secret.expose().into()));
            let password = given.or(file.map(Password::File))?;
            Some(Credentials::Basic { username, password })
        })
    }

    fn show(&self, value: &Credentials) -> String {
        let (username, password) = match value {
            Credentials::BearerFile(file) | Credentials::HeaderFile(file) => return FilePath.show(file),
            Credentials::Basic { username, password } => (format!("{username:?}"), password),
        };
        match password {
            Password::Given(secret) => show_table([("username", username.as_str()), ("password", &Secret::new(secret).to_string())]),
            Password::File(file) => show_table([("username", username.as_str()), ("password_file", &FilePath.show(file))]),
        }
    }
}

/// A table of label names and values, sorted by name.
struct LabelsType;

impl ValueType for LabelsType {
    type Value = Arc<[LabelPair]>;

    fn read(&self, node: Node, faults: &mut FaultSink<'_>) -> Option<Arc<[LabelPair]>> {
        match node.value {
            Value::Table(table) => Some(read_labels(table, faults)),
            _ => faults.expected(&node, "a table such as { site = \"north\" }"),
        }
    }

    fn show(&self, value: &Arc<[LabelPair]>) -> String {
        let shown: Vec<String> = value.iter().map(|(_, value)| format!("{value:?}")).collect();
        show_table(value.iter().zip(&shown).map(|((name, _), value)| (name.as_ref(), value.as_str())))
    }
}

fn read_labels(table: RawTable, faults: &mut FaultSink<'_>) -> Arc<[LabelPair]> {
    let mut labels: Vec<LabelPair> = Vec::new();
    for written in table.into_remaining() {
        if let Err(why) = label::check(&written.key) {
            faults.at::<()>(&written.at, why);
        }
        if let Some(value) = written.node.text() {
            labels.push((written.key.as_str().into(), value.into()));
        } else {
            faults.expected::<()>(&written.node, "a string as a label's value");
        }
    }
    labels.sort();
    labels.into()
}
