"""A proxy as a process of its own: started, watched from outside, stopped."""

import http.client
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

# How long anything may take that is expected to happen.
PATIENCE = 30


def toml(value):
    """A value as TOML; JSON's scalars and arrays are TOML's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


class Proxy:
    """A running proxy. `settings` has dotted keys; `files` is a hard limit on its open files; `environment` is added to ours."""

    # What goes before the program, and its subcommand.
    within, command = (), ()

    def __init__(self, binary, settings=None, files=None, folder=None, environment=None):
        self.binary, self.files, self.environment = binary, files, environment or {}
        self.own_folder = folder is None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="hostile-")) if folder is None else folder
        self.unix = str(self.folder / "receiver.sock")
        settings = {**self.defaults(), **(settings or {})}
        self.config = self.folder / "config.toml"
        self.config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in settings.items()))
        self.log = []
        self._said = threading.Condition()
        self.log_is_read = threading.Event()
        self.log_is_read.set()
        self.start()

    def defaults(self):
        return {
            "exporter.scrape_expose_endpoint": "127.0.0.1:0",
            "receiver.receiver_tcp_socket": "127.0.0.1:0",
            "receiver.receiver_unix_socket": self.unix,
        }

    def start(self):
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("EXPORTER_PROXY", "RUST_LOG"))}
        environment.update(self.environment)
        limit = (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (self.files, self.files))) if self.files else None
        self.child = subprocess.Popen(
            [*self.within, self.binary, *self.command, "--config", self.config], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment, text=True,
            errors="replace", preexec_fn=limit,
        )
        self.pid = self.child.pid
        threading.Thread(target=self._listen, args=(self.child.stderr, self.log), daemon=True).start()
        host, port = self.says(r"serving https?://(.*):(\d+)").groups()
        self.http = (host, int(port))
        self.started()

    def started(self):
        host, port = self.says(r"receiving on (?:tcp|tls)://(.*):(\d+)").groups()
        self.tcp = (host, int(port))

    def _listen(self, stream, log):
        for line in stream:
            self.log_is_read.wait()
            with self._said:
                log.append(line.rstrip())
                self._said.notify_all()
        with self._said:
            log.append("(the log has ended)")
            self._said.notify_all()

    def says(self, pattern, since=0, patience=PATIENCE):
        """Waits for a line of the log, and gives its match."""
        end = time.monotonic() + patience
        with self._said:
            while True:
                for line in self.log[since:]:
                    if found := re.search(pattern, line):
                        return found
                left = end - time.monotonic()
                if left <= 0 or self.log[since:][-1:] == ["(the log has ended)"]:
                    raise AssertionError(f"the log has no line {pattern!r}: {self.log[-5:]}")
                self._said.wait(left)

    def signal(self, number):
        self.child.send_signal(number)

    def stop(self):
        """Stops gracefully, and gives the exit code."""
        if self.child.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()

    def wait(self, patience=PATIENCE):
        return self.child.wait(patience)

    def kill_and_start(self):
        """`kill -9`, and the next life: with a log of its own, in the same folder, on other ports."""
        self.child.kill()
        self.child.wait()
        with self._said:
            self.log = []
        self.start()

    def remove(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)

    # -- asking it -------------------------------------------------------------------------------------------------------------

    def ask(self, method, path, body=None, headers=None, patience=PATIENCE):
        """One request on a connection of its own: status and body."""
        connection = http.client.HTTPConnection(*self.http, timeout=patience)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def send(self, message, patience=120):
        """One message over TCP, and all that is said to it."""
        with socket.create_connection(self.tcp, patience) as stream:
            stream.sendall(message)
            stream.shutdown(socket.SHUT_WR)
            told = b""
            while part := stream.recv(4096):
                told += part
            return told

    def text(self, path):
        status, body = self.ask("GET", path)
        assert status == 200, f"GET {path}: {status} {body[:200]!r}"
        return body.decode()

    def own(self, name, **labels):
        """The sum of one of its own series, over all that have these labels."""
        total = 0.0
        for line in self.text("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and all(f'{key}="{label}"' in series for key, label in labels.items()):
                total += float(value)
        return total

    # -- looking at it from outside --------------------------------------------------------------------------------------------

    def _status(self, field):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", status, re.M)[1]) / 1024

    def memory(self):
        """Resident memory in MiB."""
        return self._status("VmRSS")

    def threads(self):
        status = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"^Threads:\s+(\d+)", status, re.M)[1])

    def peak(self):
        """The most that it was since `forget_peak`."""
        return self._status("VmHWM")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))


class Bridge(Proxy):
    """A running bridge, and a proxy that has registered with it under the alias `north`. What is watched is the bridge."""

    command = ("bridge",)
    tcp = None
    alias = "north"
    SECRET = "1" * 64

    def defaults(self):
        return {
            "bridge.http_listen": "127.0.0.1:0",
            "bridge.quic_listen": "127.0.0.1:0",
            "bridge.key_file": str(self.folder / "bridge.key"),
            "bridge.secret": self.SECRET,
            "bridge.targets_file": str(self.folder / "targets.json"),
        }

    def started(self):
        key, port = self.says(r"quic://(\w+)@HOST:(\d+)").groups()
        self.quic_key, self.quic_port = key, int(port)
        self.start_behind({"p2p.bridges": [f"quic://{key}@127.0.0.1:{port}"]}, f"/scrape/{self.alias}/apps/small/metrics")

    def start_behind(self, settings, path):
        self.behind = Proxy(self.binary, {
            "p2p.enabled": True,
            "p2p.key_file": str(self.folder / "p2p.key"),
            "p2p.alias": self.alias,
            "p2p.secret": self.SECRET,
            **settings,
        })
        self.behind.ask("PUT", "/apps/small/metrics", "small 1\n")
        end = time.monotonic() + PATIENCE
        while self.ask("GET", path)[0] != 200:
            assert time.monotonic() < end, "the proxy does not register"
            time.sleep(0.05)

    def remove(self):
        self.behind.remove()
        super().remove()


class SouthBridge(Bridge):
    """Another bridge, with another proxy."""

    alias = "south"


class ClusterBridge(Bridge):
    """A bridge of a cluster over a Redis of its own, and `south`, the other bridge, which has the link to the proxy `south`."""

    @classmethod
    def is_installed(cls):
        return shutil.which("redis-server") is not None

    def defaults(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        self.engine = subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.cluster = {"cluster.url": f"redis://127.0.0.1:{port}", "events.enabled": False}
        return {**super().defaults(), **self.cluster}

    def started(self):
        super().started()
        self.south = SouthBridge(self.binary, self.cluster)
        end = time.monotonic() + PATIENCE
        while self.ask("GET", "/scrape/south/apps/small/metrics")[0] != 200:
            assert time.monotonic() < end, "the other bridge is not found"
            time.sleep(0.05)

    def remove(self):
        self.south.signal(signal.SIGCONT)
        self.south.remove()
        super().remove()
        self.engine.kill()
        self.engine.wait()


class HyperdhtBridge(Bridge):
    """The same over HyperDHT, in a network of its own. It needs what `scripts/test --all` installs."""

    ROOT = pathlib.Path(__file__).resolve().parents[3]
    MODULES = ROOT / "target/hyperdht-peers"

    @classmethod
    def is_installed(cls):
        return (cls.MODULES / "installed.json").is_file()

    def node(self, script, *arguments):
        environment = {**os.environ, "NODE_PATH": str(self.MODULES / "node_modules")}
        return subprocess.Popen(["node", self.ROOT / "tests/peers/hyperdht" / script, *map(str, arguments)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True)

    def defaults(self):
        self.network = self.node("testnet.js")
        self.bootstrap = self.network.stdout.readline().strip()
        return {**super().defaults(), "bridge.quic_listen": "", "bridge.hyperdht": True, "hyperdht.bootstrap": [self.bootstrap]}

    def started(self):
        self.key = self.says(r"hyperdht://(\w+)").group(1)
        settings = {"p2p.bridges": [f"hyperdht://{self.key}"], "p2p.register_interval": 1, "hyperdht.bootstrap": [self.bootstrap]}
        self.start_behind(settings, "/scrape/north/metrics")

    def remove(self):
        super().remove()
        self.network.kill()
        self.network.wait()
