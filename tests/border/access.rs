//! Roles: who may do what on the port of the proxy and of the bridge.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{Method, Request};
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::Command;

use crate::harness::{Proxy, ask, free_port, over, peer, run, until};
use crate::links::TestBridge;
use crate::process::{Process, config, program};
use crate::web_config::{HASH, TLS, WebFiles, certificates, curl};

/// A directory with users, tokens and tables.
struct Rights(TempDir);

impl Rights {
    fn new() -> Self {
        let rights = Self(tempfile::tempdir().unwrap());
        rights.write("web.yml", &format!("basic_auth_users:\n  alice: {HASH}\n  bob: {HASH}\n"));
        rights.write("team.token", "team-token\n");
        rights.write("ops.token", "ops-token\n");
        rights
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(self.0.path().join("new"), text).unwrap();
        std::fs::rename(self.0.path().join("new"), &path).unwrap();
        path
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }

    /// The tables of the matrix.
    fn tables(&self) -> String {
        format!(
            r#"[http]
unix_socket = "{socket}"
web_config_file = "{web}"
trusted_proxies = ["127.0.0.1"]
[[http.access]]
user = "alice"
roles = ["scrape", "read"]
[[http.access]]
token_file = "{team}"
roles = ["push", "scrape", "read", "admin"]
apps = ["team-a-*"]
[[http.access]]
token_file = "{ops}"
roles = ["push", "scrape", "read", "admin", "event"]
[[http.access]]
networks = ["10.0.0.0/8"]
roles = ["event"]
[[http.access]]
uid = {uid}
roles = ["push", "read"]
"#,
            socket = self.path("http.sock"),
            uid = nix::unistd::geteuid(),
            web = self.path("web.yml"),
            team = self.path("team.token"),
            ops = self.path("ops.token"),
        )
    }
}

fn basic(user_and_password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_and_password))
}

/// The headers of each column of the matrix.
fn senders() -> Vec<(&'static str, Vec<(&'static str, String)>)> {
    let authorization = |value: String| vec![("authorization", value)];
    vec![
        ("none", Vec::new()),
        ("password", authorization(basic("alice:guess"))),
        ("token", authorization("Bearer guess".to_owned())),
        // A user without a table.
        ("bob", authorization(basic("bob:secret"))),
        ("alice", authorization(basic("alice:secret"))),
        ("team", authorization("Bearer team-token".to_owned())),
        ("ops", authorization("bearer ops-token".to_owned())),
        ("network", vec![("x-forwarded-for", "10.1.2.3".to_owned())]),
        // Over the Unix socket.
        ("uid", Vec::new()),
    ]
}

/// Expected status codes by sender and request. `password` and `token` are wrong ones; `team` has roles for `team-a-*` alone. The apps
/// `team-a-web` and `other` are there, lifecycle endpoints are disabled (403).
const PROXY: &str = "
request                                     none password token bob alice team ops network uid
GET /healthz                                 200      200   200 200   200  200 200     200     200
GET /-/ready                                 200      200   200 200   200  200 200     200     200
GET /metrics                                 401      401   401 403   200  403 200     401     401
HEAD /metrics                                401      401   401 403   200  403 200     401     401
GET /metrics?app=team-a-web                  401      401   401 403   200  403 200     401     401
GET /metrics?app=team-a-web&own=false        401      401   401 403   200  200 200     401     401
GET /metrics?app=other&own=false             401      401   401 403   200  403 200     401     401
GET /event/metrics                           401      401   401 403   200  403 200     401     401
GET /apps/team-a-web/metrics                 401      401   401 403   200  200 200     401     401
GET /apps/other/metrics                      401      401   401 403   200  403 200     401     401
GET /                                        401      401   401 403   200  403 200     401     200
GET /apps                                    401      401   401 403   200  403 200     401     200
GET /apps/team-a-web                         401      401   401 403   200  200 200     401     200
GET /apps/other                              401      401   401 403   200  403 200     401     200
GET /events                                  401      401   401 403   200  403 200     401     200
GET /sd                                      401      401   401 403   200  403 200     401     200
GET /api/status                              401      401   401 403   200  403 200     401     200
GET /metric_plugin/v1/ping                   401      401   401 403   200  403 200     401     200
PUT /apps/team-a-web/metrics                 401      401   401 403   403  200 200     401     200
POST /apps/team%2Da%2Dweb/metrics            401      401   401 403   403  200 200     401     200
PUT /apps/other/metrics                      401      401   401 403   403  403 200     401     200
DELETE /apps/team-a-web                      401      401   401 403   403  202 202     401     401
DELETE /apps/other                           401      401   401 403   403  403 202     401     401
POST /event?kind=x                           401      401   401 403   403  403 200     200     401
POST /-/reload                               401      401   401 403   403  403 403     401     401
POST /-/quit                                 401      401   401 403   403  403 403     401     401
GET /ui/page.css                             401      401   401 403   200  200 200     200     200
GET /nowhere                                 401      401   401 403   404  404 404     404     404
PATCH /metrics                               401      401   401 403   405  405 405     405     405
";

/// As [`PROXY`], for a bridge at which no proxy is registered: a scrape that is allowed gets 404.
const BRIDGE: &str = "
request                                     none password token bob alice team ops network uid
GET /healthz                                 200      200   200 200   200  200 200     200     200
GET /readyz                                  200      200   200 200   200  200 200     200     200
GET /metrics                                 401      401   401 403   200  403 200     401     401
GET /metrics?app=team-a-web&own=false        401      401   401 403   200  403 200     401     401
GET /scrape/x/metrics                        401      401   401 403   404  403 404     401     401
GET /scrape/x/metrics?app=team-a-web&own=false 401    401   401 403   404  404 404     401     401
GET /scrape/x/metrics?app=other&own=false    401      401   401 403   404  403 404     401     401
GET /scrape/x/apps/team-a-web/metrics        401      401   401 403   404  404 404     401     401
GET /scrape/x/apps/other/metrics             401      401   401 403   404  403 404     401     401
GET /                                        401      401   401 403   200  403 200     401     200
GET /aliases                                 401      401   401 403   200  403 200     401     200
GET /sd                                      401      401   401 403   200  403 200     401     200
GET /api/status                              401      401   401 403   200  403 200     401     200
GET /ui/page.js                              401      401   401 403   200  200 200     200     200
DELETE /aliases/x                            401      401   401 403   403  403 404     401     401
POST /-/reload                               401      401   401 403   403  403 403     401     401
POST /-/quit                                 401      401   401 403   403  403 403     401     401
GET /nowhere                                 401      401   401 403   404  404 404     404     404
POST /aliases                                401      401   401 403   405  405 405     405     405
";

/// Sends each request of a matrix as each of its senders. `before` is done before each.
async fn check(address: SocketAddr, rights: &Rights, matrix: &str, before: impl AsyncFn()) {
    let senders = senders();
    let socket = rights.0.path().join("http.sock");
    let mut lines = matrix.trim().lines();
    let heads: Vec<&str> = lines.next().unwrap().split_whitespace().skip(1).collect();
    let names: Vec<&str> = senders.iter().map(|(name, _)| *name).collect();
    assert_eq!(heads, names);
    for line in lines {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let (method, path) = (Method::from_bytes(fields[0].as_bytes()).unwrap(), fields[1]);
        for ((name, headers), expected) in senders.iter().zip(&fields[2..]) {
            before().await;
            let mut request = Request::builder().method(method.clone()).uri(path);
            for (header, value) in headers {
                request = request.header(*header, value);
            }
            let body = if path.ends_with("metrics") { "m 1\n" } else { "" };
            let body = if method == Method::PUT || method == Method::POST {
                body
            } else {
                ""
            };
            let answer = match *name {
                "uid" => over(UnixStream::connect(&socket).await.unwrap(), request.header("host", "x"), body).await,
                _ => ask(address, request, body).await,
            };
            assert_eq!(answer.status().as_str(), *expected, "{line}, as {name}: {answer:?}");
            let challenges = answer.headers().get_all("www-authenticate").iter().count();
            assert_eq!(challenges > 0, answer.status() == 401, "{line}, as {name}");
        }
        assert_eq!(fields.len() - 2, senders.len(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_gets_what_the_matrix_says_from_a_proxy() {
    let rights = Rights::new();
    let proxy = Proxy::with(&rights.tables()).await;
    let as_ops = |request: http::request::Builder| request.header("authorization", "Bearer ops-token");
    check(proxy.http, &rights, PROXY, async || {
        for app in ["team-a-web", "other"] {
            let push = as_ops(Request::put(format!("/apps/{app}/metrics")));
            assert_eq!(proxy.send(push, "m 1\n").await.status(), 200);
        }
    })
    .await;
    let metrics = proxy.ask(as_ops(Request::get("/metrics?only=own"))).await;
    let metrics = String::from_utf8(metrics.into_body().to_vec()).unwrap();
    let refused = |identity: &str, role: &str| {
        let name = format!("exporter_proxy_http_access_refused_total{{identity=\"{identity}\",role=\"{role}\"}} ");
        let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
        line.unwrap_or_else(|| panic!("{name} is not in {metrics}")).to_owned()
    };
    assert_eq!(refused("user:alice", "push"), "3");
    assert_eq!(refused("user:alice", "admin"), "4");
    assert_eq!(refused(&format!("token_file:{}", rights.path("team.token")), "event"), "1");
    assert_eq!(refused("user:bob", "any"), "3");
    assert_eq!(refused("anonymous", "scrape"), "8");
    assert_eq!(refused("networks:10.0.0.0/8", "read"), "8");
    assert_eq!(refused(&format!("uid:{}", nix::unistd::geteuid()), "scrape"), "8");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_identity_gets_what_the_matrix_says_from_a_bridge() {
    let rights = Rights::new();
    let bridge = TestBridge::with(tempfile::tempdir().unwrap(), free_port(), &rights.tables()).await;
    check(bridge.http, &rights, BRIDGE, async || {}).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_role_and_the_way_in() {
    let rights = Rights::new();
    let proxy = Proxy::with(&rights.tables()).await;
    let refused = proxy.get("/metrics").await;
    let schemes: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(
        schemes,
        [
            "Basic realm=\"exporter-proxy\", charset=\"UTF-8\"",
            "Bearer realm=\"exporter-proxy\""
        ]
    );
    let push = proxy.ask(Request::put("/apps/team-a-1/metrics")).await;
    let schemes: Vec<_> = push.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(schemes, ["Bearer realm=\"exporter-proxy\""], "no user may push");
    let team = proxy.ask(Request::get("/apps").header("authorization", "Bearer team-token")).await;
    let text = String::from_utf8_lossy(team.body()).into_owned();
    assert!(text.contains("the role read for all apps, only for team-a-*"), "{text}");
    let alice = proxy
        .ask(Request::delete("/apps/x").header("authorization", basic("alice:secret")))
        .await;
    assert_eq!(
        alice.body(),
        "user:alice does not have the role admin for the app \"x\"; grant it in [[http.access]]\n"
    );
    let Some(status) = curl(&["--oauth2-bearer", "ops-token", &format!("http://{}/metrics", proxy.http)]).await else {
        return;
    };
    assert_eq!(status, "200");
    let url = format!("http://{}/apps/team-a-1/metrics", proxy.http);
    let output =
        run(Command::new(peer("curl").unwrap()).args(["-sS", "--oauth2-bearer", "team-token", "--data-binary", "m 1\n", &url])).await;
    assert!(output.contains("stored team-a-1"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_token_is_read_again_and_a_broken_file_is_not_used() {
    let rights = Rights::new();
    let proxy = Proxy::with(&rights.tables()).await;
    let status = async |token: &str| {
        let request = Request::get("/apps").header("authorization", format!("Bearer {token}"));
        proxy.ask(request).await.status().as_u16()
    };
    assert_eq!(status("ops-token").await, 200);
    rights.write("ops.token", "new-token");
    until("the new token is known", async || status("new-token").await == 200).await;
    assert_eq!(status("ops-token").await, 401);
    rights.write("ops.token", "two tokens");
    let ready = async || String::from_utf8(proxy.get("/readyz").await.into_body().to_vec()).unwrap();
    until("the fault is shown", async || {
        ready().await.contains("not reloaded, the previous token is in force")
    })
    .await;
    assert_eq!(status("new-token").await, 200);
    rights.write("ops.token", "third-token");
    until("the third token is known", async || status("third-token").await == 200).await;
    assert!(!ready().await.contains("not reloaded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_replaces_the_tables() {
    let directory = tempfile::tempdir().unwrap();
    let rights = Rights::new();
    let table = |token: &str| format!("[[http.access]]\ntoken_file = \"{}\"\nroles = [\"read\"]\n", rights.path(token));
    let file = config(directory.path(), &table("ops.token"));
    let mut process = Process::start(&file);
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    let status = async |token: &str| {
        let request = Request::get("/apps").header("authorization", format!("Bearer {token}"));
        ask(address, request, "").await.status().as_u16()
    };
    assert_eq!((status("ops-token").await, status("team-token").await), (200, 401));
    config(directory.path(), &table("missing.token"));
    process.signal(Signal::SIGHUP);
    process.line("missing.token");
    assert_eq!(status("ops-token").await, 200, "the previous tables are in force");
    config(directory.path(), &table("team.token"));
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded");
    assert_eq!((status("ops-token").await, status("team-token").await), (401, 200));
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_refuses_an_identity_that_a_start_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let rights = Rights::new();
    let table = |user: &str| {
        format!(
            "http.web_config_file = \"{}\"\n[[http.access]]\nuser = \"{user}\"\nroles = [\"read\"]\n",
            rights.path("web.yml")
        )
    };
    let file = config(directory.path(), &table("alice"));
    let mut process = Process::start(&file);
    process.line("serving http://127.0.0.1:");
    config(directory.path(), &table("carol"));
    process.signal(Signal::SIGHUP);
    let refused = process.line("configuration not reloaded, the previous one stays in force");
    assert!(
        refused.contains("http.access: user \"carol\" is not in basic_auth_users of http.web_config_file"),
        "{refused}"
    );
    config(directory.path(), &table("alice"));
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded, no changes");
    process.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_finds_identities_that_no_client_can_have() {
    let rights = Rights::new();
    let text = format!(
        "[http]\nweb_config_file = \"{}\"\n[[http.access]]\nuser = \"carol\"\nroles = [\"read\"]\n[[http.access]]\nsan = \"a.example\"\n\
         roles = [\"read\"]\n[[http.access]]\ntoken_file = \"{}\"\nroles = [\"read\"]\n",
        rights.path("web.yml"),
        rights.path("missing.token"),
    );
    let file = rights.write("config.toml", &text);
    let checked = async |file: &Path| {
        let mut command = program(&["check", "--config", file.to_str().unwrap()]);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let output = checked(&file).await;
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    for fault in [
        "user \"carol\" is not in basic_auth_users",
        "san \"a.example\": no client certificate is verified",
        "missing.token\": cannot read the token file",
    ] {
        assert!(
            text.lines().any(|line| line.contains("config.toml:3:") && line.contains(fault)),
            "{fault}: {text}"
        );
    }
    let good = rights.write("config.toml", &rights.tables());
    let output = checked(&good).await;
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("user:alice: scrape, read"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_certificate_is_an_identity() {
    let files = WebFiles::new("");
    certificates(&files, "prometheus.example.org");
    files.write(&format!(
        "{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: client-ca.pem\n"
    ));
    let web = files.path("web.yml");
    let table = "[[http.access]]\nsan = \"prometheus.example.org\"\nroles = [\"scrape\"]\n";
    let proxy = Proxy::with(&format!("[http]\nweb_config_file = {web:?}\n{table}")).await;
    let ca = files.path("server.pem");
    let asked = async |certificate: Option<&str>, path: &str| {
        let url = format!("https://{}{path}", proxy.http);
        let names = certificate.map(|name| ["", "-key"].map(|end| files.path(&format!("{name}{end}.pem")).display().to_string()));
        let mut all = vec!["--cacert", ca.to_str().unwrap(), &url];
        if let Some([pem, key]) = &names {
            all.extend(["--cert", pem, "--key", key]);
        }
        curl(&all).await
    };
    let Some(status) = asked(Some("client"), "/metrics").await else {
        return;
    };
    assert_eq!(status, "200");
    assert_eq!(asked(Some("client"), "/apps").await.unwrap(), "403");
    // A reverse proxy with a certificate does not lend it to its clients.
    let url = format!("https://{}/metrics", proxy.http);
    let [pem, key] = ["client", "client-key"].map(|name| files.path(&format!("{name}.pem")).display().to_string());
    let ca_file = ca.to_str().unwrap();
    let forwarded = [
        "--cacert",
        ca_file,
        "--cert",
        &pem,
        "--key",
        &key,
        "-H",
        "X-Forwarded-For: 9.9.9.9",
        &url,
    ];
    assert_eq!(curl(&forwarded).await.unwrap(), "403");
    assert_eq!(asked(Some("stranger"), "/metrics").await.unwrap(), "403");
    // No credentials of HTTP would help.
    assert_eq!(asked(None, "/metrics").await.unwrap(), "403");
    // A certificate that is only asked for proves nothing.
    let unverified = WebFiles::new(&format!("{TLS}  client_auth_type: RequestClientCert\n"));
    let web = unverified.path("web.yml");
    let text = format!("[http]\nweb_config_file = {web:?}\n{table}");
    let refused = exporter_proxy::config::parse(&text, "test", &exporter_proxy::config::Environment::default()).unwrap();
    let source = exporter_proxy::config::ConfigOrigin {
        file: None,
        variables: Vec::new(),
    };
    let loaded = exporter_proxy::config::Loaded { settings: refused, source };
    let faults = exporter_proxy::daemon::preflight(&loaded).await.unwrap().to_string();
    assert!(faults.contains("no client certificate is verified"), "{faults}");
}

/// Tables under which alice and everyone else may scrape, and this client's machine may post.
fn scrapers(rights: &Rights, events: &str) -> String {
    format!(
        "[http]\nweb_config_file = \"{}\"\n[[http.access]]\nuser = \"alice\"\nroles = [\"scrape\"]\n[[http.access]]\nanonymous = true\n\
         roles = [\"scrape\", \"read\", \"event\"]\n[events]\nscraper_identity = \"auth\"\n{events}\n",
        rights.path("web.yml")
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_agent_takes_no_events_of_an_authenticated_scraper() {
    let rights = Rights::new();
    let proxy = Proxy::with(&scrapers(&rights, "scrapers = [\"user:alice\"]")).await;
    let events = async |authorization: Option<String>| {
        let mut request = Request::get("/event/metrics").header("user-agent", "Prometheus/3.5.0");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        String::from_utf8(proxy.ask(request).await.into_body().to_vec()).unwrap()
    };
    assert_eq!(proxy.ask(Request::post("/event?kind=deploy")).await.status(), 200);
    let event = "events_to_metrics{kind=\"deploy\"} 1";
    assert!(events(None).await.contains(event), "a scraper of its own");
    assert!(!events(None).await.contains(event), "it has received it");
    assert!(
        events(Some(basic("alice:secret"))).await.contains(event),
        "alice gets it all the same"
    );
    assert!(!events(Some(basic("alice:secret"))).await.contains(event));
    // Her lease may end a moment after she has read the response.
    until("alice has nothing to get", async || {
        let counts = events(Some(basic("alice:secret"))).await;
        counts.contains("events_to_metrics_scraper_counts{scraper=\"user:alice\"} 0")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_declared_scrapers_get_events_where_that_is_set() {
    let rights = Rights::new();
    let proxy = Proxy::with(&scrapers(&rights, "scrapers = [\"user:alice\"]\nscrapers_only = true")).await;
    assert_eq!(proxy.ask(Request::post("/event?kind=deploy")).await.status(), 200);
    let event = "events_to_metrics{kind=\"deploy\"} 1";
    for path in ["/metrics", "/event/metrics", "/event/metrics?peek=true"] {
        assert!(!proxy.text(path).await.contains(event), "{path}");
    }
    let pending = proxy.text("/events?format=json").await;
    assert!(pending.contains("user:alice") && !pending.contains("127.0.0.1 "), "{pending}");
    let request = Request::get("/metrics").header("authorization", basic("alice:secret"));
    let metrics = proxy.ask(request).await.into_body();
    assert!(String::from_utf8_lossy(&metrics).contains(event));
}

#[test]
fn a_user_id_needs_a_unix_socket() {
    let rights = Rights::new();
    let file = rights.write("config.toml", "[[http.access]]\nuid = 1000\nroles = [\"read\"]\n");
    for command in ["check", "run", "bridge"] {
        let output = program(&[command, "--config", file.to_str().unwrap()]).output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            text.contains("\"uid\" in [[http.access]] is that of a client of http.unix_socket, which is not set"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_file_that_all_users_can_read_is_refused_when_its_mode_changes() {
    use std::os::unix::fs::PermissionsExt;
    let rights = Rights::new();
    let token = rights.path("ops.token");
    let mode = |mode: u32| std::fs::set_permissions(&token, PermissionsExt::from_mode(mode)).unwrap();
    mode(0o600);
    let table = format!("secrets.strict = true\n[[http.access]]\ntoken_file = {token:?}\nroles = [\"read\"]\n");
    let proxy = Proxy::with(&table).await;
    let ready = async || String::from_utf8(proxy.get("/readyz").await.into_body().to_vec()).unwrap();
    let status = async || {
        proxy
            .ask(Request::get("/apps").header("authorization", "Bearer ops-token"))
            .await
            .status()
    };
    mode(0o604);
    until("the mode is refused", async || {
        ready()
            .await
            .contains("mode 0604 lets every user of this machine read or change it")
    })
    .await;
    assert_eq!(status().await, 200);
    mode(0o600);
    until("the mode is accepted", async || !ready().await.contains("0604")).await;
    assert_eq!(status().await, 200);
}

/// The configuration of a bridge in a process of its own.
fn bridge_config(rights: &Rights, http: &str, bridge: &str) -> PathBuf {
    let text = format!(
        "[bridge]\nhttp_listen = \"127.0.0.1:0\"\nquic_listen = \"127.0.0.1:0\"\nkey_file = {:?}\nsecret = \"{}\"\n\
         targets_file = {:?}\n{bridge}\n[http]\n{http}\n",
        rights.path("bridge.key"),
        "1".repeat(64),
        rights.path("targets.json"),
    );
    rights.write("bridge.toml", &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_reloads_its_tables_and_settings_as_a_proxy_does() {
    let rights = Rights::new();
    let table = |token: &str| {
        format!(
            "enable_lifecycle = true\n[[http.access]]\ntoken_file = \"{}\"\nroles = [\"read\", \"scrape\", \"admin\"]\n",
            rights.path(token)
        )
    };
    let file = bridge_config(&rights, &table("ops.token"), "");
    let mut process = Process::command("bridge", &file);
    let serving = process.line("serving http://127.0.0.1:");
    let address = serving.rsplit_once("http://").unwrap().1.parse().unwrap();
    let send = async |method: Method, path: &str, token: &str| {
        let request = Request::builder().method(method).uri(path);
        let answer = ask(address, request.header("authorization", format!("Bearer {token}")), "").await;
        (answer.status().as_u16(), String::from_utf8(answer.into_body().to_vec()).unwrap())
    };
    let status = async |token: &str| send(Method::GET, "/aliases", token).await.0;
    let successful = async || {
        let metrics = send(Method::GET, "/metrics", "ops-token").await.1;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("exporter_proxy_config_last_reload_successful "));
        line.unwrap().to_owned()
    };
    assert_eq!((status("ops-token").await, status("team-token").await), (200, 401));

    // A file that cannot be used leaves everything as it is, and says so.
    rights.write("bridge.toml", "[bridge]\nrequest_timeout = \"never\"\n");
    process.signal(Signal::SIGHUP);
    let refused = process.line("configuration not reloaded, the previous one stays in force");
    assert!(refused.contains("request_timeout"), "{refused}");
    let (code, text) = send(Method::POST, "/-/reload", "ops-token").await;
    assert_eq!(code, 500, "{text}");
    assert!(text.contains("bridge.toml:2:") && text.contains("stays in force"), "{text}");
    assert_eq!((status("ops-token").await, successful().await), (200, "0".to_owned()));

    // A missing token is such a fault.
    bridge_config(&rights, &table("missing.token"), "");
    process.signal(Signal::SIGHUP);
    process.line("missing.token");
    assert_eq!(status("ops-token").await, 200);

    let file = bridge_config(
        &rights,
        &table("ops.token"),
        "request_timeout = 7\nalias_policy = \"first\"\nentry_expiry = 60",
    );
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replace("quic_listen = \"127.0.0.1:0\"", "quic_listen = \"127.0.0.1:9\""),
    )
    .unwrap();
    let (code, text) = send(Method::POST, "/-/reload", "ops-token").await;
    assert_eq!(code, 200, "{text}");
    process.line("bridge.quic_listen has changed and needs a restart");
    let line = process.line("configuration reloaded");
    for key in ["bridge.entry_expiry", "bridge.request_timeout", "bridge.alias_policy"] {
        assert!(line.contains(key), "{line}");
    }
    assert_eq!(successful().await, "1");

    bridge_config(&rights, &table("team.token"), "");
    process.signal(Signal::SIGHUP);
    process.line("configuration reloaded");
    assert_eq!((status("ops-token").await, status("team-token").await), (401, 200));
    assert_eq!(send(Method::POST, "/-/quit", "ops-token").await.0, 401);
    assert_eq!(send(Method::POST, "/-/quit", "team-token").await.0, 200);
    process.line("stopped");
    assert_eq!(process.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_log_in_with_a_token() {
    let rights = Rights::new();
    let proxy = Proxy::with(&rights.tables()).await;
    let url = format!("http://{}", proxy.http);
    let file = rights.path("ops.token");
    let metrics = rights.write("m.txt", "m 1\n");
    let metrics = metrics.to_str().unwrap();
    let ran = async |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = program(arguments);
        command.envs(variables.iter().copied());
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        (output.status.success(), text)
    };
    let (good, text) = ran(&["send", "a", metrics, "--to", &url, "--token-file", &file], &[]).await;
    assert!(good && text.contains("1 series"), "{text}");
    let token = [("EXPORTER_PROXY_TOKEN", "ops-token")];
    let (good, text) = ran(&["apps", "--from", &url], &token).await;
    assert!(good && text.contains("1 app, 1 series"), "{text}");
    let (good, text) = ran(&["healthcheck", &format!("{url}/api/status")], &token).await;
    assert!(good, "{text}");
    let (good, text) = ran(&["apps", "--from", &url], &[]).await;
    let hint = "set --credentials-file or --token-file, or EXPORTER_PROXY_CREDENTIALS or EXPORTER_PROXY_TOKEN";
    assert!(!good && text.contains(hint), "{text}");
    let (good, text) = ran(&["send", "a", metrics, "--to", &url], &[]).await;
    assert!(!good && text.contains("set --token-file or EXPORTER_PROXY_TOKEN"), "{text}");
    let both = [token[0], ("EXPORTER_PROXY_CREDENTIALS", "alice:secret")];
    let (good, text) = ran(&["apps", "--from", &url], &both).await;
    assert!(!good && text.contains("both set"), "{text}");
    // A file counts before any variable.
    let (good, text) = ran(&["apps", "--from", &url, "--token-file", &file], &both).await;
    assert!(good, "{text}");
    let (good, text) = ran(&["apps", "--from", &url, "--token-file", metrics], &[]).await;
    assert!(!good && text.contains("does not hold one bearer token"), "{text}");
}

/// The head of the response to the first bytes of a request, and whether the same connection takes another request.
async fn exchange(address: SocketAddr, head: &str, body: &str) -> (String, bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{head}host: x\r\n\r\n{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut ends_with = async |stream: &mut TcpStream, end: &str| {
        while !String::from_utf8_lossy(&answer).contains(end) {
            if stream.read_buf(&mut answer).await.unwrap_or(0) == 0 {
                return false;
            }
        }
        true
    };
    assert!(ends_with(&mut stream, "\r\n\r\n").await);
    let sent = stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok();
    let is_open = sent && ends_with(&mut stream, "\r\n\r\nok\n").await;
    let text = String::from_utf8(answer).unwrap();
    let head = text.split("\r\n\r\n").next().unwrap().to_ascii_lowercase();
    (head, is_open)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_push_announces_that_its_connection_is_closed() {
    let proxy = Proxy::with("http.write_from = []").await;
    let head = |length: &str| format!("PUT /apps/a/metrics HTTP/1.1\r\n{length}\r\n");
    for (length, body) in [
        ("content-length: 1000000", "m 1\n"),
        ("content-length: 4", ""),
        ("content-length: 1000000\r\nexpect: 100-continue", ""),
        ("transfer-encoding: chunked", "4\r\nm 1\n\r\n"),
    ] {
        let (answer, is_open) = exchange(proxy.http, &head(length), body).await;
        assert!(answer.starts_with("http/1.1 403"), "{answer}");
        assert!(answer.contains("\r\nconnection: close") && !is_open, "{length}: {is_open} {answer}");
    }
    // What has arrived is read, and the connection serves further requests.
    for (length, body) in [
        ("content-length: 4", "m 1\n"),
        ("transfer-encoding: chunked", "4\r\nm 1\n\r\n0\r\n\r\n"),
    ] {
        let (answer, is_open) = exchange(proxy.http, &head(length), body).await;
        assert!(answer.starts_with("http/1.1 403"), "{answer}");
        assert!(!answer.contains("connection: close") && is_open, "{length}: {is_open} {answer}");
    }
}
