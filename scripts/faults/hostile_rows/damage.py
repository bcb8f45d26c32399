"""Damaged bytes in every file that is read at a start. Each round damages one file of a directory that was good, and starts the program."""

import collections
import pathlib
import random
import re
import shutil
import subprocess
import threading

from .bench import row
from .disk import Streaming, noisy
from .proxy import Proxy

FIXTURES = pathlib.Path(__file__).resolve().parents[3] / "tests/fixtures/web_config"
SECRET = "1" * 64
# How long a start may take until it serves or refuses.
STARTS_WITHIN = 30
# How many rounds for each file, and in a short run.
ROUNDS, FEW = 60, 4

PROXY = """\
exporter.scrape_expose_endpoint = "127.0.0.1:0"
receiver.receiver_tcp_socket = "127.0.0.1:0"
receiver.receiver_unix_socket = "receiver.sock"
store.path = "store"
http.web_config_file = "web.yml"
p2p.enabled = true
p2p.key_file = "p2p.key"
p2p.secret_file = "p2p.secret"
p2p.listen = "127.0.0.1:0"
p2p.allow = ["ufqjzbpu1fenqsf5k67kaqz5hrrzjm9tkpcnbuhzxigq6d1n3bdo"]
[[http.access]]
token_file = "all.token"
roles = ["scrape", "push", "event", "read", "admin"]
"""
BRIDGE = """\
[bridge]
http_listen = "127.0.0.1:0"
quic_listen = "127.0.0.1:0"
key_file = "bridge.key"
secret_file = "bridge.secret"
targets_file = "targets.json"
"""
# What is damaged, and by which command it is read. Of the log of apps there is one file, of which the name is known.
FILES = {
    "run": ("proxy.toml", "web.yml", "server.pem", "server-key.pem", "all.token", "p2p.key", "p2p.secret", "store/events.log",
            "store/apps-00000001.log", "store/lock"),
    "bridge": ("bridge.toml", "bridge.key", "bridge.secret", "targets.json"),
}
CONFIGS = {"run": "proxy.toml", "bridge": "bridge.toml"}
# These name others, so that a fault may be one of a file that is not there.
NAMES_OTHERS = {"proxy.toml", "bridge.toml", "web.yml"}


def damage(data, dice):
    """The same bytes with one fault, as disks, editors and killed programs make them."""
    data = bytearray(data)
    kind = dice.choice(("bit", "bits", "range", "zeros", "cut", "empty", "twice", "tail"))
    at = dice.randrange(len(data)) if data else 0
    upto = min(len(data), at + dice.randint(1, 64))
    if kind == "bit" and data:
        data[at] ^= 1 << dice.randrange(8)
    elif kind == "bits":
        for _ in range(8 if data else 0):
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    elif kind == "range":
        data[at:upto] = dice.randbytes(upto - at)
    elif kind == "zeros":
        data[at:upto] = bytes(upto - at)
    elif kind == "cut":
        del data[at:]
    elif kind == "empty":
        data.clear()
    elif kind == "twice":
        data += bytes(data)
    else:
        data += dice.randbytes(64)
    return kind, bytes(data)


class Life:
    """A start of the program in a directory: whether it serves, what it said, and its exit code."""

    def __init__(self, binary, command, folder):
        self.child = subprocess.Popen([binary, command, "--config", CONFIGS[command]], cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                      text=True, errors="replace")
        self.lines, self.serves, self.hangs = [], False, False
        alarm = threading.Timer(STARTS_WITHIN, self.give_up)
        alarm.start()
        for line in self.child.stderr:
            self.lines.append(line)
            if "serving http" in line:
                self.serves = True
                break
        alarm.cancel()
        self.code = None if self.serves else self.child.wait()

    def give_up(self):
        self.hangs = True
        self.child.kill()

    def kill(self):
        self.child.kill()
        self.lines += self.child.stderr.readlines()
        self.child.wait()

    def text(self):
        return "".join(self.lines)


def good(case, folder):
    """A directory with every file, made by the programs themselves."""
    folder.mkdir()
    for name, text in (("proxy.toml", PROXY), ("bridge.toml", BRIDGE), ("all.token", "token"), ("p2p.secret", SECRET), ("bridge.secret", SECRET),
                       ("web.yml", "tls_server_config: {cert_file: server.pem, key_file: server-key.pem}\n"),
                       ("targets.json", "")):
        (folder / name).write_text(text)
    for name in ("server.pem", "server-key.pem"):
        (folder / name).write_bytes((FIXTURES / name).read_bytes())
    for path in folder.iterdir():
        path.chmod(0o600)
    for command in FILES:
        life = Life(case.binary, command, folder)
        assert life.serves, life.text()
        if command == "run":
            fill(life)
        life.child.terminate()
        life.lines += life.child.stderr.readlines()
        assert life.child.wait(30) == 0, life.text()
    (folder / "targets.json").write_text('[\n {\n  "labels": {\n   "job": "aliases"\n  },\n  "targets": [\n   '
                                         f'"north:{"y" * 51 + "o"}:host:service",\n   "south:{"y" * 51 + "o"}:host:service"\n  ]\n }}\n]')


def client(life):
    import http.client
    import ssl

    port = int(re.search(r"serving https://127\.0\.0\.1:(\d+)", life.text())[1])
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)

    def ask(method, path, body=None):
        connection.request(method, path, body, {"authorization": "Bearer token", "user-agent": "keeper"})
        response = connection.getresponse()
        return response.status, response.read().decode()

    return ask


def fill(life):
    ask = client(life)
    for number in range(20):
        assert ask("PUT", f"/apps/app{number}/metrics", f"kept_{number} {number}\n")[0] == 200
    ask("GET", "/metrics")
    for number in range(20):
        assert ask("POST", f"/event?n={number}")[0] == 200


def check_store(case, life, where):
    """What is left is what was there."""
    ask = client(life)
    status, text = ask("GET", "/metrics?own=false&peek=true")
    case.check(status == 200, f"{where}: a scrape got {status}")
    for name, value in re.findall(r"^kept_(\d+)(?:\{[^}]*\})? (\S+)$", text, re.M):
        case.check(name == value, f"{where}: kept_{name} is {value}")
    case.check(len(re.findall(r'^events_to_metrics\{n="', text, re.M)) <= 20, f"{where}: there are more events than before")
    case.check(ask("PUT", "/apps/later/metrics", "later 1\n")[0] == 200, f"{where}: a push is refused")
    case.check(ask("POST", "/event?n=later")[0] == 200, f"{where}: an event is refused")


def one_round(case, command, name, folder, dice):
    """Damages one file; whether the program serves."""
    path = folder / name
    kind, data = damage(path.read_bytes(), dice)
    if data == path.read_bytes():
        return None
    path.write_bytes(data)
    life, where = Life(case.binary, command, folder), f"{name}, {kind}"
    try:
        case.check(not life.hangs, f"{where}: neither served nor refused within {STARTS_WITHIN} s")
        if life.serves:
            in_store = name.startswith("store/")
            if in_store:
                check_store(case, life, where)
                if "skipped damaged records" in life.text():
                    # A log of apps is written again beside the requests, and then removed.
                    case.until(f"{where}: the damaged file is replaced", lambda: not path.exists())
            life.kill()
            again = Life(case.binary, command, folder)
            case.check(again.serves, f"{where}: the second start failed: {again.text()[-300:]}")
            if in_store and again.serves:
                case.check("damaged" not in again.text(), f"{where}: the second start still finds damage: {again.text()[-300:]}")
            again.kill()
        else:
            case.check(life.code == 1, f"{where}: the exit code was {life.code}: {life.text()[-300:]}")
            named = pathlib.Path(name).name in life.text() or name in NAMES_OTHERS
            case.check(named, f"{where}: the error does not name the file: {life.text()[-300:]}")
            case.check("\nexporter-proxy: " in "\n" + life.text(), f"{where}: no error: {life.text()[-300:]}")
        case.check("panicked" not in life.text(), f"{where}: it panicked: {life.text()[-500:]}")
        return life.serves
    finally:
        life.child.kill()


@row("damaged bytes in each file that a start reads", memory=64)
def damaged(case):
    base, folder, dice = case.proxy.folder / "good", case.proxy.folder / "damaged", random.Random(20261129)
    good(case, base)
    outcomes = collections.OrderedDict()
    for command, names in FILES.items():
        for name in names:
            counts = collections.Counter()
            for _ in range(FEW if case.quick else ROUNDS):
                shutil.copytree(base, folder)
                counts[one_round(case, command, name, folder, dice)] += 1
                shutil.rmtree(folder)
            outcomes[name] = f"{name} {counts[True]}/{counts[False]}"
    return f"one fault (bits, ranges, zeros, cut off, empty, doubled) in one file, {FEW if case.quick else ROUNDS} starts for each file", \
        "started/refused with exit code 1 and the name of the file: " + ", ".join(outcomes.values())


@row("damaged bytes in a recording that is continued", start=Streaming, memory=64)
def damaged_recording(case):
    path, dice, rounds = case.proxy.folder / "trace.jsonl.gz", random.Random(20261129), FEW * 2 if case.quick else ROUNDS
    case.proxy.upstream.then = b"".join(noisy(number) for number in range(50))

    def record():
        recorder = case.proxy.record(case.binary, path)
        began = path.stat().st_size if path.exists() else 0
        case.proxy.upstream.cut()
        for _ in range(300):
            if recorder.poll() is not None or (path.exists() and path.stat().st_size > began + 1_000):
                break
            threading.Event().wait(0.02)
        recorder.terminate()
        return recorder.wait(30), recorder.stderr.read()

    assert record()[0] == 0
    whole, continued, refused = path.read_bytes(), 0, 0
    for _ in range(rounds):
        kind, data = damage(whole, dice)
        path.write_bytes(data)
        code, told = record()
        if code == 0:
            continued += 1
            replayed = subprocess.run([case.binary, "tap", "--json", "--replay", path], capture_output=True, text=True, timeout=60)
            case.check(replayed.returncode == 0, f"{kind}: continued, but not whole: {replayed.stderr[-200:]}")
        else:
            refused += 1
            case.check(code == 1 and "trace.jsonl.gz" in told, f"{kind}: exit code {code}, {told!r}")
            case.check(path.read_bytes() == data, f"{kind}: refused and changed")
        case.check("panicked" not in told, f"{kind}: {told}")
    return f"{rounds} recordings with one fault", f"{continued} continued and whole afterwards, {refused} refused by name and left as they were"
