"""What disks do to the process: full ones under every file that it writes, and limits on files. The disks are small file systems in memory,
so these rows need a mount namespace: scripts/faults/process makes one."""

import gzip
import json
import resource
import secrets
import subprocess
import time

from . import others, swarm
from .bench import row
from .links import registering
from .proxy import Bridge, Proxy, toml
from .streams import HELLO, Upstream, frame

FULL = "No space left on device"
# How long a program may take to refuse to start.
REFUSES_WITHIN = 30


def mount(folder, size, files=None):
    """A small disk in this directory."""
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={size}" + (f",nr_inodes={files}" if files else "")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    return disk


def unmount(disk):
    # Also where files are still open.
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk):
    """Takes all the space that there is."""
    with (disk / "filler").open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                pass


def empty(disk):
    (disk / "filler").unlink()


class OnDisk(Proxy):
    """A proxy whose `store.path` is on a small disk, and which can be killed and started again."""

    size = "4m"
    disk = None

    def defaults(self):
        return {
            **super().defaults(),
            "store.path": str(self.folder / "disk/store"),
            "events.scrapers": ["keeper"], "events.scraper_identity": "param:by", "events.post_rate": "1000000/s",
        }

    def start(self):
        self.disk = self.disk or mount(self.folder, self.size)
        super().start()

    def remove(self):
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        if self.disk:
            unmount(self.disk)
        super().remove()


class Roomier(OnDisk):
    """One whose disk has space for the log of events, and none for that and a copy of what is due in it."""

    size = "7m"


def post(case, number, text=""):
    return case.proxy.ask("POST", f"/event?n={number}" + (f"&text={text}" if text else ""))


def delivered(case):
    """The numbers of the events in the next scrape."""
    lines = case.proxy.text("/metrics?by=keeper&own=false").splitlines()
    return [int(line.partition('n="')[2].partition('"')[0]) for line in lines if line.startswith("events_to_metrics{")]


def all_delivered(case, expected, twice=()):
    """Waits until each of these events has come, and none of them again but those that may."""
    got = []

    def complete():
        got.extend(delivered(case))
        return expected <= set(got)

    case.until("all acknowledged events are delivered", complete)
    got += delivered(case)
    again = {number for number in got if got.count(number) > 1} - set(twice)
    case.check(not again, f"delivered again: {sorted(again)[:5]}")
    case.check(set(got) <= expected | set(twice), f"refused and delivered: {sorted(set(got) - expected)[:5]}")


def ready(case):
    return case.proxy.ask("GET", "/readyz")


def refuse_events(case, accepted, why):
    """Posts events until six were refused, each with the file and the reason."""
    refused, number = 0, 1_000
    while refused < 6 and number < 60_000:
        status, told = post(case, number)
        if status == 200:
            accepted.add(number)
        else:
            refused += 1
            case.check(status == 503 and b"events.log" in told and why in told, f"an event got {status} {told!r}")
        number += 1
    case.check(refused == 6, "no event was refused")


def take_again(case, accepted, since=100_000):
    """Waits until the proxy is ready by itself, and posts further events."""
    case.until("it is ready by itself", lambda: ready(case)[0] == 200)
    for number in range(since, since + 20):
        case.check(post(case, number)[0] == 200, "an event was refused although there is space")
        accepted.add(number)


@row("a full disk under store.path", start=OnDisk, memory=64)
def full_store(case):
    accepted = set(range(20))
    delivered(case)
    for number in accepted:
        post(case, number)
    fill(case.proxy.disk)
    refuse_events(case, accepted, FULL.encode())
    body = "pushed_while_full 1\n" + "".join(f'bulk{{n="{number}"}} 1\n' for number in range(2_000))
    case.check(case.proxy.ask("PUT", "/apps/a/metrics", body)[0] == 200, "a push was refused")
    for log in (b"events.log", b"apps-"):
        case.until(f"/readyz names {log!r}", lambda: ready(case)[0] == 503 and log in ready(case)[1] and FULL.encode() in ready(case)[1])
    case.end_others()
    # A life that begins and ends while the disk is full.
    case.proxy.kill_and_start()
    case.check("witness_http" in case.proxy.text("/metrics?peek=true"), "an app that was written is gone")
    case.check(case.proxy.ask("PUT", "/apps/a/metrics", body)[0] == 200, "a push was refused after a start on the full disk")
    empty(case.proxy.disk)
    take_again(case, accepted)
    case.until("the app is written", lambda: any(b"pushed_while_full" in path.read_bytes() for path in (case.proxy.disk / "store").glob("apps-*")))
    case.proxy.kill_and_start()
    case.check("pushed_while_full 1\n" in case.proxy.text("/metrics?peek=true"), "what was pushed on the full disk is gone")
    all_delivered(case, accepted)
    return "no space while events are posted, an app of 40 kB is pushed, and the proxy is killed and started", \
        "events get 503 that names events.log; pushes are taken; /readyz names both files; with space again all is written by itself; " \
        f"after kill -9 all {len(accepted)} acknowledged events are delivered once"


@row("a full disk while events.log is rewritten", start=Roomier, memory=96)
def full_rewriting(case):
    """All that is pending is part of the new file, which does not fit beside the old one."""
    delivered(case)
    text, accepted, refused = "x" * 1_000, set(), 0
    requests = [f"POST /event?n={number}&text={text} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode() for number in range(5_500)]
    statuses = swarm.pipelined(case.proxy.http, requests)
    accepted = {number for number, status in enumerate(statuses) if status == 200}
    refused = len(statuses) - len(accepted)
    store = case.proxy.disk / "store"
    case.check((store / "events.log").stat().st_size > 5 << 20, "events.log is too short to be rewritten")
    failed = any("cannot write to store.path: " in line and FULL in line for line in case.proxy.log)
    case.check(failed, "the file was rewritten although it does not fit")
    case.until("no half file is left", lambda: not (store / "events.tmp").exists())
    case.end_others()
    case.proxy.kill_and_start()
    all_delivered(case, accepted)
    take_again(case, later := set())
    all_delivered(case, later)
    return "5,500 events of 1 kB, all of them due, on a disk of 7 MiB; the rewritten file does not fit beside the old one", \
        f"{len(accepted):,} taken, {refused:,} refused; each of those taken delivered once after kill -9, no file left behind"


def refused_start(case, command, settings, files=(), why=FULL, limit=None):
    """Starts a program that cannot start; gives what it said. Each of `files` must be named, and none may be left."""
    config = case.proxy.folder / "refused.toml"
    config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in settings.items()))
    config.chmod(0o600)
    ended = subprocess.run([case.binary, command, "--config", config], capture_output=True, text=True, timeout=REFUSES_WITHIN, preexec_fn=limit)
    case.check(ended.returncode == 1, f"{command}: its exit code was {ended.returncode}")
    for file in files:
        case.check(str(file) in ended.stderr and why in ended.stderr, f"{command}: it said {ended.stderr[-300:]!r}")
        case.check(not file.exists(), f"{command}: {file.name} is left")
    return ended.stderr


def quiet(folder):
    """A proxy without receivers."""
    return {"exporter.scrape_expose_endpoint": "127.0.0.1:0", "receiver.receive_on_tcp_socket": False, "receiver.receive_on_unix_socket": False}


def key_settings(disk):
    secret = "1" * 64
    return {
        "run": ({**quiet(disk), "p2p.enabled": True, "p2p.key_file": str(disk / "p2p.key"), "p2p.secret": secret, "p2p.listen": "127.0.0.1:0",
                 "p2p.allow": ["y" * 52]}, disk / "p2p.key"),
        "bridge": ({"bridge.http_listen": "127.0.0.1:0", "bridge.quic_listen": "127.0.0.1:0", "bridge.key_file": str(disk / "bridge.key"),
                    "bridge.secret": secret, "bridge.targets_file": str(disk / "targets.json")}, disk / "bridge.key"),
    }


class _Lone(Proxy):
    """A bridge with no proxy behind it."""

    command = ("bridge",)

    def defaults(self):
        return {}

    def started(self):
        pass


class _Quiet(Proxy):
    """A proxy without receivers."""

    def started(self):
        pass


@row("a full disk under the key file at the first start")
def full_key(case):
    disk = mount(case.proxy.folder, "1m")
    try:
        for command, (settings, key) in key_settings(disk).items():
            fill(disk)
            refused_start(case, command, settings, [key])
            empty(disk)
            kind = _Quiet if command == "run" else _Lone
            started = kind(case.binary, settings)
            case.check(key.stat().st_size == 65, f"{key.name} has {key.stat().st_size} bytes")
            case.check(started.stop() == 0, f"{command}: it does not stop")
            started.remove()
    finally:
        unmount(disk)
    return "a proxy and a bridge that have to make their key", "exit code 1, the file is named, none is left; with space again the next start makes it"


@row("a limit on file sizes at the first start and in operation", start=OnDisk)
def file_size(case):
    """`ulimit -f`: without more ado the signal that comes with it ends a program."""
    folder, accepted = case.proxy.folder, set()
    (folder / "limited").mkdir()
    for command, (settings, key) in key_settings(folder / "limited").items():
        refused_start(case, command, settings, [key], "File too large", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)))
    delivered(case)
    post(case, 0)
    accepted.add(0)
    size = (case.proxy.disk / "store/events.log").stat().st_size
    limits = resource.prlimit(case.proxy.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_FSIZE, (size, limits[1]))
    refuse_events(case, accepted, b"File too large")
    resource.prlimit(case.proxy.pid, resource.RLIMIT_FSIZE, limits)
    take_again(case, accepted)
    case.end_others()
    case.proxy.kill_and_start()
    all_delivered(case, accepted)
    return "RLIMIT_FSIZE of 0 at the start, and of a running proxy at the length of events.log", \
        "a start ends with exit code 1 and names the file; a running proxy refuses events and names the file, and goes on when it may"


class SmallBridge(Bridge):
    """A bridge with its targets file on a small disk."""

    def defaults(self):
        self.disk = mount(self.folder, "64k")
        return {**super().defaults(), "bridge.targets_file": str(self.disk / "targets.json")}

    def remove(self):
        super().remove()
        unmount(self.disk)


def aliases(path):
    """The aliases in a targets file."""
    return {target.split(":")[0] for group in json.loads(path.read_text()) for target in group["targets"]}


@row("a full disk under the targets file", start=SmallBridge, ways=others.THROUGH, memory=32)
def full_targets(case):
    path = case.proxy.disk / "targets.json"
    case.until("the file is written", lambda: path.exists() and aliases(path) == {"north"})
    fill(case.proxy.disk)
    # Longer than the rest of a page.
    name = "south" + "h" * 200
    more = registering(case, name, case.proxy.SECRET)
    try:
        case.proxy.says(f"cannot write .*targets.json: {FULL}")
        case.check(aliases(path) == {"north"}, "the file is not what it was")
        case.until("/readyz names the file", lambda: ready(case)[0] == 503 and b"targets.json" in ready(case)[1])
        case.until("the new proxy is scraped", lambda: case.proxy.ask("GET", f"/scrape/{name}/metrics")[0] == 200)
        empty(case.proxy.disk)
        case.until("the file is written by itself", lambda: aliases(path) == {"north", name})
        case.until("it is ready", lambda: ready(case)[0] == 200)
        left = [entry.name for entry in case.proxy.disk.iterdir() if entry.name != "targets.json"]
        case.check(not left, f"left behind: {left}")
    finally:
        more.remove()
    return "a proxy registers while there is no space for a longer targets file", \
        "the old file stays whole, the log and /readyz name it, all are scraped; with space again it is written by itself"


def noisy(number):
    """A message that hardly gets smaller when it is compressed."""
    event = {"timestamp": "2026-11-21T12:53:22.000000001Z", "peer": secrets.token_urlsafe(120), "connection_event": {
        "remote": f"/ip4/8.8.8.8/tcp/{number}", "connection_event_type": 0}}
    return frame(gzip.compress(json.dumps({"event": event}).encode() + b"\n"))


def recorded(case, path):
    """How many messages a recording has."""
    told = subprocess.run([case.binary, "tap", "--json", "--replay", path], capture_output=True, text=True, timeout=60)
    case.check(told.returncode == 0, f"the recording is not whole: {told.stderr[-200:]}")
    return told.stdout.count("\n")


class Streaming(Proxy):
    """A proxy that passes on what one upstream sends a thousand of at each connection."""

    def defaults(self):
        self.upstream = Upstream(HELLO, b"")
        return {**super().defaults(), "stream.listen_addresses": ["127.0.0.1:0"], "stream.upstreams": [self.upstream.address]}

    def started(self):
        super().started()
        self.stream = self.says(r"streaming on tcp://([^;]+);")[1]

    def record(self, binary, path):
        return subprocess.Popen([binary, "tap", "--from", self.stream, "--record", path], stderr=subprocess.PIPE, text=True)


@row("a full disk under a recording", start=Streaming, memory=64)
def full_recording(case):
    disk = mount(case.proxy.folder, "64k")
    path, counts = disk / "trace.jsonl.gz", []
    try:
        # Messages that hardly shrink, so that the disk fills.
        case.proxy.upstream.then = b"".join(noisy(number) for number in range(3_000))
        for round_of in range(2):
            recorder = case.proxy.record(case.binary, path)
            time.sleep(0.5)
            case.proxy.upstream.cut()
            _, told = recorder.communicate(timeout=60)
            case.check(recorder.returncode == 1 and "trace.jsonl.gz" in told and FULL in told, f"the recorder ended with {recorder.returncode}: {told!r}")
            counts.append(recorded(case, path))
            if round_of == 0:
                # It is continued, with a little more space.
                subprocess.run(["mount", "-o", "remount,size=160k", disk], check=True)
        case.check(0 < counts[0] < counts[1], f"{counts} messages are in the recording")
    finally:
        unmount(disk)
    return "a recorder on a disk of 64 KiB, and again with 96 KiB more", \
        f"exit code 1, the file is named and whole: {counts[0]:,} messages, then {counts[-1]:,}"


@row("no file that can be made on the disk")
def no_inode(case):
    disk = mount(case.proxy.folder, "4m", files=2)
    try:
        (disk / "last").touch()
        for settings, path in (({"receiver.receiver_unix_socket": str(disk / "r.sock"), "receiver.receive_on_unix_socket": True}, disk / "r.sock"),
                               ({"store.path": str(disk / "store")}, disk / "store")):
            refused_start(case, "run", {**quiet(disk), **settings}, [path])
        for command, (settings, key) in key_settings(disk).items():
            refused_start(case, command, settings, [key])
    finally:
        unmount(disk)
    return "starts that have to make a socket, a store and keys on a disk without a free inode", "exit code 1, and the path is named"


@row("no file left to open, with store.path", start=OnDisk, ways=())
def no_file_for_store(case):
    """Connections that are open are served, and the store has its files open."""
    accepted = {0}
    delivered(case)
    post(case, 0)
    connection = swarm.connect(case.proxy.http)
    request = lambda head: connection.sendall(f"{head} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode()) or connection.recv(65_536)
    request("GET /healthz")
    limits = resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, (case.proxy.open_files(), limits[1]))
    for number in range(1, 50):
        case.check(request(f"POST /event?n={number}").startswith(b"HTTP/1.1 200"), "an event was refused")
        accepted.add(number)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, limits)
    connection.close()
    case.proxy.kill_and_start()
    all_delivered(case, accepted)
    return "events over an open connection while the process may open no further file", "each is taken, and delivered after kill -9"


@row("no file left to open, with a targets file", start=Bridge, ways=())
def no_file_for_targets(case):
    path = case.proxy.folder / "targets.json"
    case.until("the file is written", lambda: path.exists() and aliases(path) == {"north"})
    connection = swarm.connect(case.proxy.http)
    connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    connection.recv(4_096)
    limits = resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, (case.proxy.open_files(), limits[1]))
    more = registering(case, "south", case.proxy.SECRET)
    try:
        case.proxy.says("cannot write .*targets.json: Too many open files")
        case.check(aliases(path) == {"north"}, "the file is not what it was")
        resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, limits)
        case.until("the file is written by itself", lambda: aliases(path) == {"north", "south"})
    finally:
        more.remove()
        connection.close()
    return "a proxy registers while the bridge may open no file", "the file stays, the log names it; it is written once it can be"
