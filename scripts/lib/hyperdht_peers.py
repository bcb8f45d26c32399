"""Proxies, bridges and DHTs of both makes as processes, for the scripts about HyperDHT."""

import http.client
import json
import os
import pathlib
import secrets
import socket
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "tests/peers/hyperdht"
MODULES = ROOT / "target/hyperdht-peers/node_modules"
PROGRAM = ROOT / "target/release/exporter-proxy"


def until(what, seconds):
    """Waits until `what` gives something, and gives it; None when time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = what()
        if found:
            return found
        time.sleep(0.05)
    return None


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def public_key(seed):
    """The public key of a seed, both as hex."""
    script = "console.log(require('hyperdht').keyPair(Buffer.from(process.argv[1], 'hex')).publicKey.toString('hex'))"
    environment = {**os.environ, "NODE_PATH": str(MODULES)}
    done = subprocess.run(["node", "-e", script, seed], env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return done.stdout.strip()


class Peers:
    """Programs with their files and logs in one folder; `within` goes before each command, such as `ip netns exec`."""

    def __init__(self, folder, program=PROGRAM, log="info"):
        self.folder, self.program, self.rust_log = pathlib.Path(folder), pathlib.Path(program).resolve(), log
        self.running = []
        self.folder.mkdir(parents=True, exist_ok=True)

    def start(self, log, command, within=()):
        environment = {**os.environ, "NODE_PATH": str(MODULES), "RUST_LOG": self.rust_log}
        with open(self.folder / log, "ab") as output:
            command = [*within, *map(str, command)]
            child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, env=environment)
        self.running.append(child)
        return child

    def log(self, name):
        try:
            return (self.folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        path.chmod(0o600)
        return path

    def end(self, children=None):
        for child in list(self.running if children is None else children):
            child.kill()
            child.wait()
            self.running.remove(child)

    def dht(self, addresses=(), within=()):
        """Starts a DHT, and gives the address of its first node."""
        self.start("dht.log", ["node", SCRIPTS / "testnet.js", *addresses], within)
        address = until(lambda: self.log("dht.log").strip(), 20)
        if not address or ":" not in address:
            raise SystemExit(f"the DHT does not start: {address}")
        return address


class Bridge:
    """A bridge of either make, "js" or "ours", with a key of its own."""

    def __init__(self, peers, make, bootstrap, name="bridge", port=None, within=()):
        self.peers, self.make, self.name, self.within = peers, make, name, within
        self.bootstrap, self.port = bootstrap, port or free_port()
        self.secret, self.seed = secrets.token_hex(32), secrets.token_hex(32)
        self.key = public_key(self.seed)
        self.child = None

    def start(self):
        """Starts it, also again after it was killed; whether it is ready within 20 s."""
        targets = str(self.peers.folder / f"{self.name}.targets.json")
        log = f"{self.name}.log"
        before = len(self.peers.log(log))
        if self.make == "js":
            options = dict(bootstrap=self.bootstrap, seed=self.seed, secret=self.secret, http=self.port, targets=targets)
            command, ready = ["node", SCRIPTS / "bridge.js", json.dumps(options)], "ready"
        else:
            text = f"""[bridge]
http_listen = "127.0.0.1:{self.port}"
quic_listen = ""
hyperdht = true
key_file = "{self.peers.file(f"{self.name}.key", self.seed)}"
secret = "{self.secret}"
targets_file = "{targets}"
[hyperdht]
bootstrap = ["{self.bootstrap}"]
"""
            command = [self.peers.program, "bridge", "-c", self.peers.file(f"{self.name}.toml", text)]
            ready = "hyperdht://"
        self.child = self.peers.start(log, command, self.within)
        return until(lambda: ready in self.peers.log(log)[before:], 20)


class Proxy:
    """A proxy of ours or a JavaScript client, registered as `lab` at a bridge."""

    def __init__(self, peers, make, bridge, name="proxy", size=1000, within=()):
        self.peers, self.make, self.bridge, self.name, self.size, self.within = peers, make, bridge, name, size, within
        self.port = free_port()
        self.seed = secrets.token_hex(32)
        self.child = None

    def start(self):
        """Starts it, also again after it was killed, with the same key."""
        bridge, log = self.bridge, f"{self.name}.log"
        if self.make == "js":
            options = dict(generation="2.1", bootstrap=bridge.bootstrap, bridge=bridge.key, secret=bridge.secret, alias="lab")
            options = json.dumps({**options, "bytes": self.size, "seed": self.seed})
            self.child = self.peers.start(log, ["node", SCRIPTS / "client.js", options], self.within)
            return
        text = f"""[exporter]
scrape_expose_endpoint = "127.0.0.1:{self.port}"
[receiver]
receive_on_unix_socket = false
receive_on_tcp_socket = false
[p2p]
enabled = true
key_file = "{self.peers.file(f"{self.name}.key", self.seed)}"
alias = "lab"
secret = "{bridge.secret}"
bridges = ["hyperdht://{bridge.key}"]
[hyperdht]
bootstrap = ["{bridge.bootstrap}"]
"""
        command = [self.peers.program, "-c", self.peers.file(f"{self.name}.toml", text)]
        self.child = self.peers.start(log, command, self.within)

    def push(self):
        """Gives a proxy of ours what a JavaScript client makes up itself."""
        lines = ["# TYPE lab_up gauge", "lab_up 1"]
        length = sum(map(len, lines))
        while length < self.size:
            lines.append(f'lab_bulk{{n="{len(lines) - 2:08}"}} 1')
            length += len(lines[-1]) + 1
        return request(self.port, "PUT", "/apps/lab/metrics", "\n".join(lines) + "\n")[0] == 200

    def complaint(self):
        """The last line of its log that tells of a failure."""
        lines = [line for line in self.peers.log(f"{self.name}.log").splitlines() if "rror" in line or "WARN" in line]
        return lines[-1][-160:] if lines else "silent"


def request(port, method, path, body=None, timeout=30, connection=None):
    """Status and body; 0 and the reason where there is no answer."""
    own = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        own.request(method, path, body)
        answer = own.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        own.close()
        return 0, str(error).encode()
    finally:
        if connection is None:
            own.close()


def scrape(port, connection=None):
    return request(port, "GET", "/scrape/lab/metrics", connection=connection)
