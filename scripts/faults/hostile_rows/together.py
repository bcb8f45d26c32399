"""Many rows at once, again and again, against one proxy, beside a client that must lose nothing."""

import http.client
import multiprocessing
import os
import random
import resource
import socket
import statistics
import time

from . import others
from .bench import ROWS, SETTLE, SPARE_FILES, Case
from .proxy import Proxy

# The address of all hostile clients: Linux has all of 127.0.0.0/8 on its loopback device. The others come from 127.0.0.1.
HOSTILE = "127.0.0.3"
# Pushes first: the scrape of one app ("one") wants what "http" has pushed.
WAYS = ("http", "tcp", "unix", "scrape", "one", "own", "health")


class Elsewhere(socket.socket):
    """A socket whose connections come from the hostile address, unless they are bound to another one."""

    def _bind(self):
        if self.family == socket.AF_INET and self.getsockname()[1] == 0:
            self.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            self.bind((HOSTILE, 0))

    def connect(self, address):
        self._bind()
        super().connect(address)

    def connect_ex(self, address):
        self._bind()
        return super().connect_ex(address)


def usable():
    """The rows that need no settings of their own, and neither end the proxy nor start another one."""
    return [row for row in ROWS if row.quick and not row.settings and not row.files and row.start is Proxy
            and row.act.__module__.rpartition(".")[2] not in ("process", "polls", "streams", "cluster")]


# Rows after which a process is replaced: a row that fails halfway leaves its sockets and buffers behind, gigabytes in half an hour.
ROWS_OF_A_PROCESS = 20
# Address space of a process. A row that wants more fails; without it one process that is starved took 5 GB of what the proxy needs as well.
MEMORY_OF_A_PROCESS = 3 << 30
# The longest time for which an event may be refused while the log is full of other clients' events: docs/limits.md protects each for a minute.
CROWDED = 75


def attack(proxy, binary, seed, counts):
    """Runs some rows in an order of its own. What they find is not judged: they disturb one another."""
    os.nice(10)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_OF_A_PROCESS, MEMORY_OF_A_PROCESS))
    socket.socket = Elsewhere
    proxy.log_is_read.set()
    dice, rows = random.Random(seed), usable()
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    for _ in range(ROWS_OF_A_PROCESS):
        number = dice.randrange(len(rows))
        try:
            rows[number].act(Case(proxy, binary, True))
        except Exception:
            time.sleep(0.1)
        with counts.get_lock():
            counts[number] += 1


class Reporter:
    """A client that posts an event every half second and scrapes as often, and repeats an event that it is told to repeat."""

    def __init__(self, address):
        self.address = address
        self.posted, self.arrived, self.faults, self.waits = 0, {}, [], []
        self.refused, self.refused_since, self.longest_refusal = 0, None, 0.0

    def ask(self, method, path):
        began = time.monotonic()
        connection = http.client.HTTPConnection(*self.address, timeout=others.PATIENCE)
        try:
            # With a key, so that an event whose answer was lost can be repeated as well.
            connection.request(method, path, headers={"user-agent": "regular", "idempotency-key": f"innocent {self.posted}"})
            response = connection.getresponse()
            return response.status, response.read().decode(), response.getheader("retry-after")
        finally:
            connection.close()
            self.waits.append(time.monotonic() - began)

    def scrape(self):
        status, text, _ = self.ask("GET", "/metrics?own=false")
        assert status == 200, f"a scrape got {status}"
        for line in text.splitlines():
            if line.startswith("events_to_metrics{") and 'kind="innocent"' in line:
                number = line.partition('number="')[2].partition('"')[0]
                self.arrived[number] = self.arrived.get(number, 0) + 1

    def post(self):
        status, told, retry = self.ask("POST", f"/event?kind=innocent&number={self.posted}")
        if status == 429 and retry:
            self.refused += 1
            self.refused_since = self.refused_since or time.monotonic()
            self.longest_refusal = max(self.longest_refusal, time.monotonic() - self.refused_since)
            return
        assert status == 200, f"an event got {status}: {told}"
        self.posted, self.refused_since = self.posted + 1, None

    def run(self, stop, out):
        for _ in range(2):
            self.scrape()
        while not stop.is_set():
            for step in (self.post, self.scrape):
                try:
                    step()
                except Exception as why:
                    self.faults.append(f"events: {type(why).__name__}: {why}")
            time.sleep(0.5)
        for _ in range(5):
            self.scrape()
        if self.longest_refusal > CROWDED:
            self.faults.append(f"an event was refused for {self.longest_refusal:.0f} s")
        out.send((self.posted, self.arrived, self.faults, self.waits, self.refused, self.longest_refusal))


def perform(binary, seconds, at_once):
    """Prints what came of it, and returns the faults."""
    rows = usable()
    proxy = Proxy(binary)
    context = multiprocessing.get_context("fork")
    counts, stop, (out, inner) = context.Array("i", len(rows)), context.Event(), context.Pipe(duplex=False)
    children, faults = [], []
    try:
        for way in WAYS:
            others.try_once(way, 0, {"http": proxy.http, "tcp": proxy.tcp, "unix": proxy.unix})
        before, files = proxy.memory(), proxy.open_files()
        proxy.forget_peak()
        beside = others.Others(proxy, WAYS)
        reporter = context.Process(target=Reporter(proxy.http).run, args=(stop, inner), daemon=True)
        reporter.start()
        time.sleep(1)
        end, next_line, seed = time.monotonic() + seconds, time.monotonic() + 60, 0
        while time.monotonic() < end and proxy.child.poll() is None:
            children = [child for child in children if child.is_alive()]
            while len(children) < at_once:
                children.append(context.Process(target=attack, args=(proxy, binary, seed, counts), daemon=True))
                children[-1].start()
                seed += 1
            time.sleep(1.0)
            if time.monotonic() >= next_line:
                next_line += 60
                print(f"   {sum(counts)} rows done, {proxy.memory():.0f} MiB, {proxy.open_files()} files", flush=True)
        for child in children:
            child.kill()
            child.join()
        stop.set()
        posted, arrived, unreported, waits, refused, longest = out.recv() if out.poll(120) else (0, {}, ["the client with events hangs"], [0], 0, 0)
        served, unserved = beside.finish()
        faults += unreported + unserved
        missing = [number for number in range(posted) if str(number) not in arrived]
        twice = [number for number, times in arrived.items() if times > 1]
        if missing or twice or not posted:
            faults.append(f"of {posted} events {len(missing)} did not arrive, {len(twice)} more than once: {(missing + twice)[:5]}")
        if proxy.child.poll() is not None:
            return faults + [f"the proxy has ended: {proxy.log[-3:]}"]
        settled = time.monotonic() + SETTLE
        while proxy.open_files() > files + SPARE_FILES and time.monotonic() < settled:
            time.sleep(0.1)
        if proxy.open_files() > files + SPARE_FILES:
            faults.append(f"{proxy.open_files()} files are open, {files} were before")
        for name in ("exporter_proxy_connection_panics_total", "exporter_proxy_http_panics_total"):
            if proxy.own(name):
                faults.append(f"{name} is not 0")
        peak, bound = proxy.peak(), sum(sorted((row.memory for row in rows), reverse=True)[:at_once])
        if peak - before > bound:
            faults.append(f"memory grew by {peak - before:.0f} MiB, more than the {bound} of the {at_once} largest rows")
        for way, (times, worst, each) in served.items():
            print(f"   {way + ':':10}{times:,} served, median {statistics.median(each) * 1000:.1f} ms, worst {worst * 1000:.0f} ms")
        print(f"   {'events:':10}{posted:,} posted, {len(arrived):,} arrived, median {statistics.median(waits) * 1000:.1f} ms, worst {max(waits) * 1000:.0f} ms")
        print(f"   {'':10}{refused:,} posts were told to come again (429), the longest for {longest:.0f} s")
        print(f"   {'memory:':10}{before:.0f} MiB before, {peak:.0f} at its peak, {proxy.memory():.0f} afterwards")
        print(f"   {'rows:':10}" + ", ".join(f"{row.name} {count}" for row, count in zip(rows, counts)))
    finally:
        for child in children:
            child.kill()
        faults += [f"the log says: {line}" for line in proxy.log if "panicked" in line]
        proxy.remove()
    return faults
