//! The JavaScript programs of HyperDHT as processes: a DHT, clients of three generations, bridges of two, and strangers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::{PATIENCE, missing, repository};

/// The directory that `scripts/test --all` installs them in.
const PLACE: &str = "target/hyperdht-peers";

fn modules() -> PathBuf {
    repository(PLACE).join("node_modules")
}

/// Whether they are installed. Under CI it is a failure if they are not, elsewhere their tests are skipped aloud.
pub fn installed() -> bool {
    // Written when all of them are there.
    let last = repository(PLACE).join("installed.json");
    missing(last.is_file().then_some(last), "the JavaScript programs of HyperDHT").is_some()
}

/// A running program of theirs, or of ours that uses their libraries. Killed when dropped.
pub struct Script {
    child: Child,
    stdin: ChildStdin,
    lines: mpsc::UnboundedReceiver<String>,
    seen: Vec<String>,
}

impl Script {
    fn start(file: PathBuf, arguments: &[&str], environment: &[(String, String)]) -> Self {
        let mut child = Command::new("node")
            .arg(file)
            .args(arguments)
            .env("NODE_PATH", modules())
            .envs(environment.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, lines) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok(Some(line)) = output.next_line().await {
                let _ = sender.send(line);
            }
        });
        Self {
            child,
            stdin,
            lines,
            seen: Vec::new(),
        }
    }

    fn ours(name: &str, arguments: &[&str]) -> Self {
        Self::start(repository("tests/peers/hyperdht").join(name), arguments, &[])
    }

    /// Waits for the next line that holds this text.
    pub async fn line(&mut self, text: &str) -> String {
        loop {
            let line = timeout(PATIENCE, self.lines.recv()).await.ok().flatten();
            let line = line.unwrap_or_else(|| panic!("no line with {text:?} after {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    pub async fn say(&mut self, command: &str) {
        self.stdin.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// Ends it without a farewell.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A DHT of six nodes on loopback.
pub struct Testnet {
    pub bootstrap: String,
    _script: Script,
}

impl Testnet {
    pub async fn start() -> Self {
        let mut script = Script::ours("testnet.js", &[]);
        Self {
            bootstrap: script.line("127.0.0.1:").await,
            _script: script,
        }
    }

    /// The lines of our configuration that name this DHT.
    pub fn section(&self) -> String {
        format!("[hyperdht]\nbootstrap = [{:?}]\n", self.bootstrap)
    }

    /// What a stranger gets who dials this key: `opened`, or `refused` and why.
    pub async fn dial(&self, key: &str) -> String {
        Script::ours("dial.js", &[&self.bootstrap, key]).line("").await
    }
}

/// A client of some generation (`1.0`, `1.1`, `2.1`).
pub struct JsClient {
    pub script: Script,
    /// The public key under which it is scraped, as hex.
    pub key: String,
}

impl JsClient {
    /// `more` adds to the options that every client has, or replaces them.
    pub async fn start(testnet: &Testnet, generation: &str, bridge: &str, secret: &str, alias: &str, more: Value) -> Self {
        let mut options = json!({
            "generation": generation, "bootstrap": testnet.bootstrap, "bridge": bridge, "secret": secret, "alias": alias,
        });
        let more = more.as_object().cloned().unwrap_or_default();
        options.as_object_mut().unwrap().extend(more);
        let mut script = Script::ours("client.js", &[&options.to_string()]);
        let ready: Value = serde_json::from_str(&script.line("\"ready\"").await).unwrap();
        let key = ready["key"].as_str().unwrap().to_owned();
        Self { script, key }
    }

    /// Waits for the next of the library's events of this name.
    pub async fn event(&mut self, name: &str) -> Value {
        let line = self.script.line(&format!("{{\"event\":\"{name}\"")).await;
        serde_json::from_str(&line).unwrap()
    }

    /// Waits for the next registration, and says whether the bridge took it for news.
    pub async fn registered(&mut self) -> bool {
        self.event("register-alias-success").await["updated"].as_bool().unwrap()
    }
}

/// The program of a bridge, as its users run it.
pub struct JsBridge {
    script: Script,
    pub http: SocketAddr,
    /// Its public key, in z-base-32.
    pub key: String,
    environment: Vec<(String, String)>,
    package: &'static str,
    folder: TempDir,
}

impl JsBridge {
    /// Today's name of the bridge, and the one before; with the prefix that each gives to its environment.
    pub const TODAY: (&str, &str) = ("hyperdht-prometheus-bridge", "HYPERDHT_PROM");
    pub const BEFORE: (&str, &str) = ("hyper-dht-prometheus", "HYPER_DHT_PROM");

    pub async fn start((package, prefix): (&'static str, &str), testnet: &Testnet, secret: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = testnet.bootstrap.rsplit_once(':').unwrap().1;
        let targets = folder.path().join("targets.json").display().to_string();
        let variables = [
            ("BOOTSTRAP_PORT", port),
            ("SHARED_SECRET", secret),
            ("KEY_PAIR_SEED", &"5".repeat(64)),
            ("PROMETHEUS_TARGETS_LOC", &targets),
        ];
        let environment = variables.map(|(name, value)| (format!("{prefix}_{name}"), value.to_owned()));
        let (script, http, key) = Self::run(package, &environment).await;
        Self {
            script,
            http,
            key,
            environment: environment.into(),
            package,
            folder,
        }
    }

    async fn run(package: &str, environment: &[(String, String)]) -> (Script, SocketAddr, String) {
        let mut script = Script::start(modules().join(package).join("run.js"), &[], environment);
        let (mut http, mut key) = (None, None);
        while http.is_none() || key.is_none() {
            let line: Value = serde_json::from_str(&script.line("\"msg\"").await).unwrap();
            let message = line["msg"].as_str().unwrap();
            if let Some((_, address)) = message.split_once("listening at http://") {
                http = address.parse().ok();
            } else if let Some((_, z32)) = message.split_once("ready at public key ") {
                key = Some(z32.to_owned());
            }
        }
        (script, http.unwrap(), key.unwrap())
    }

    /// Killed without a farewell and started anew, with the same key and the same file of targets.
    pub async fn restart(&mut self) {
        self.script.kill().await;
        (self.script, self.http, _) = Self::run(self.package, &self.environment).await;
    }

    pub fn targets(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("targets.json")).unwrap_or_default()
    }
}
