"""What a server can do that is no engine, or a hostile one, to a replica of a cluster, and a bridge to another one."""

import collections
import http.client
import signal
import socket
import threading
import time

from . import others
from .bench import LEFT_OUT, row
from .polls import pump, serve_apart
from .proxy import ClusterBridge

MIB = 1 << 20
# How long each kind of server is looked at.
SECONDS = 6


def slowly(stream):
    stream.sendall(b"$1000000\r\n")
    while True:
        stream.sendall(b"a")
        time.sleep(0.1)


ACTS = {
    "garbage": lambda stream: pump(stream, b"", bytes(range(256)) * 256),
    "a huge bulk string": lambda stream: pump(stream, b"$10737418240\r\n", b"x" * MIB),
    "a huge length": lambda stream: stream.sendall(b"$9223372036854775807\r\n"),
    "an endless line": lambda stream: pump(stream, b"+", b"x" * MIB),
    "an endless array": lambda stream: pump(stream, b"*1000000000\r\n", b":1\r\n" * 262_144),
    "nested arrays": lambda stream: pump(stream, b"", b"*2\r\n" * 262_144),
    "endless replies": lambda stream: pump(stream, b"", b"+OK\r\n" * 200_000),
    "endless pushes": lambda stream: pump(stream, b"", b">2\r\n$7\r\nmessage\r\n:1\r\n" * 50_000),
    "wrong types": lambda stream: stream.sendall(b"+OK\r\n" * 4 + b"%1\r\n+a\r\n:1\r\n" * 50),
    "no answer": lambda stream: stream.recv(1 << 16) and time.sleep(60),
    "one byte at a time": slowly,
    "the end of the connection": lambda stream: stream.recv(1),
}


class Engine:
    """A server that does the same to each connection."""

    def __init__(self, act):
        self.act = act
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def start(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=self.answer, args=(stream,), daemon=True).start()

    def answer(self, stream):
        with stream:
            try:
                stream.recv(1 << 16)
                self.act(stream)
            except OSError:
                pass


# In MiB: a reply of 4 MiB may be an array of a million elements, which are 32 bytes each, half as many again while the array grows.
MEMORY = 80


@row("cluster: every kind of bad engine", ways=(), memory=48)
def every_kind(case):
    worst = []
    for name, act in ACTS.items():
        engine = Engine(act)
        child = serve_apart([engine])
        settings = {"cluster.url": f"redis://127.0.0.1:{engine.port}", "events.enabled": False}
        proxy = type(case.proxy)(case.binary, settings)
        try:
            before = proxy.memory()
            proxy.forget_peak()
            slowest, end = 0, time.monotonic() + SECONDS
            while time.monotonic() < end:
                began = time.monotonic()
                status, body = proxy.ask("PUT", "/apps/shop/metrics", "sold 1\n")
                case.check(status == 200 and b"warning: stored by this replica only" in body, f"{name}: a push was answered {status} {body[:100]!r}")
                case.check(proxy.text("/apps/shop/metrics") == "sold 1\n", f"{name}: the app is not served")
                slowest = max(slowest, time.monotonic() - began)
                time.sleep(0.05)
            status, ready = proxy.ask("GET", "/readyz")
            case.check(status == 503 and b"not all apps are loaded" in ready, f"{name}: /readyz says {status} {ready[:200]!r}")
            grown = proxy.peak() - before
            worst.append((grown, name, slowest))
            case.check(grown <= MEMORY, f"{name}: memory grew by {grown:.0f} MiB")
            case.check(slowest < 1, f"{name}: a push and a scrape took {slowest:.1f} s")
            case.faults += [f"{name}: the log says: {line}" for line in proxy.log if "panicked" in line]
        finally:
            proxy.remove()
            child.kill()
            engine.listener.close()
    grown, name, _ = max(worst)
    slowest, slow_name = max((slowest, name) for _, name, slowest in worst)
    return (
        f"{len(ACTS)} kinds of servers in place of Redis, {SECONDS} s each: {', '.join(ACTS)}",
        f"pushes and scrapes served, at most {slowest * 1000:.0f} ms ({slow_name}); not ready; memory grew by {grown:.0f} MiB at most ({name})",
    )


# Seconds for which the other bridge stalls: longer than the answer to a confirmation may take, and shorter than until it is taken for dead.
STALL = 7
# Readers of a proxy behind the other bridge; a connection to that bridge is kept for each, which takes two file descriptors.
READERS = 200
# Seconds that a scrape of a proxy behind a bridge that stalls may take: one of which the body has begun takes as long as the bridge stalls.
MOST = STALL + 3


class Reader(threading.Thread):
    """Scrapes `south` over an open connection from an address of its own until it is over."""

    def __init__(self, address, number, over):
        super().__init__(daemon=True)
        self.address, self.source, self.over = address, f"127.1.{number // 250}.{number % 250 + 1}", over
        self.statuses, self.slowest, self.last = collections.Counter(), 0, None

    def run(self):
        connection = http.client.HTTPConnection(*self.address, timeout=30, source_address=(self.source, 0))
        while not self.over.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", "/scrape/south/apps/small/metrics")
                response = connection.getresponse()
                response.read()
                self.last = response.status
            except (OSError, http.client.HTTPException) as why:
                connection.close()
                self.last = type(why).__name__
            self.statuses[self.last] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.over.wait(0.05)
        connection.close()


def stalling(case):
    """The other bridge stops at any point: before it answers, within a response, and before it answers a confirmation."""
    over = threading.Event()
    readers = [Reader(case.proxy.http, number, over) for number in range(case.so_many(READERS, 50))]
    for reader in readers:
        reader.start()
    rounds = 1 if case.quick else 5
    try:
        for _ in range(rounds):
            case.until("all are served", lambda: all(reader.last == 200 for reader in readers))
            case.proxy.south.signal(signal.SIGSTOP)
            time.sleep(STALL)
            case.check(sum(reader.last == 200 for reader in readers) < len(readers) / 2, "scrapes of a bridge that stalls were answered")
            case.proxy.south.signal(signal.SIGCONT)
        case.until("all are served again", lambda: all(reader.last == 200 for reader in readers))
    finally:
        over.set()
        for reader in readers:
            reader.join()
    statuses = sum((reader.statuses for reader in readers), collections.Counter())
    slowest = max(reader.slowest for reader in readers)
    case.check(set(statuses) <= {200, 502, 503}, f"scrapes were answered {dict(statuses)}")
    case.check(slowest < MOST, f"a scrape took {slowest:.1f} s")
    failed = sum(count for status, count in statuses.items() if status != 200)
    return f"{len(readers)} readers of a proxy behind another bridge, which stalls {rounds} times for {STALL} s", \
        f"{failed} of {sum(statuses.values())} scrapes answered 502 or 503, at most after {slowest:.1f} s; all were served again"


if ClusterBridge.is_installed():
    row("cluster: another bridge that stalls", start=ClusterBridge, ways=others.THROUGH, memory=48, kept_files=2 * READERS)(stalling)
else:
    LEFT_OUT.append(("cluster: another bridge that stalls", "redis-server"))
