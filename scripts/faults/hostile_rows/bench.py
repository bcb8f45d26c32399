"""Rows, and what is measured around each."""

import dataclasses
import os
import resource
import statistics
import threading
import time
import traceback

from . import others
from .proxy import Proxy

# The worst that anybody else may be kept waiting: far above what a busy machine needs, far below a scrape's time-out of 10 s.
MOST_WAIT = 5.0
# How long connections may take to be gone after a row; the proxy lingers for up to 5 s where it was the one to close.
SETTLE = 40.0
# File descriptors that may come and go by themselves: everybody else's last connections.
SPARE_FILES = 8

ROWS = []
# Rows that this machine has no means for, with these means.
LEFT_OUT = []


@dataclasses.dataclass
class Row:
    """One bad thing to do, and what must hold meanwhile."""

    name: str
    act: object
    quick: bool = True
    settings: dict = dataclasses.field(default_factory=dict)
    ways: tuple = others.ALL
    memory: int = 32
    wait: float = MOST_WAIT
    files: int = None
    # File descriptors that stay open by design.
    kept_files: int = 0
    environment: dict = dataclasses.field(default_factory=dict)
    # An example program that the row runs, in the directory `examples` beside the binary.
    needs: str = None
    # What is started for the row: a proxy, unless it is about something else.
    start: object = Proxy


@dataclasses.dataclass
class Outcome:
    row: Row
    sent: str = ""
    answered: str = ""
    served: dict = dataclasses.field(default_factory=dict)
    memory: tuple = (0, 0, 0)
    files: tuple = (0, 0, 0)
    seconds: float = 0.0
    faults: list = dataclasses.field(default_factory=list)

    def others(self):
        parts = []
        for name, ways in (("scrape", ("scrape", "one", "own", "through", "by key")), ("health check", ("health",)), ("push", ("http", "tcp", "unix"))):
            found = [self.served[way] for way in ways if way in self.served]
            if found:
                times = sum(times for times, _, _ in found)
                median = statistics.median([took for _, _, all_of_them in found for took in all_of_them] or [0])
                worst, way = max((self.served[way][1], way) for way in ways if way in self.served)
                where = f" ({way})" if len(found) > 1 else ""
                parts.append(f"{times} {name}{'es' if name == 'push' else 's'}, median {median * 1000:.1f} ms, worst {worst * 1000:.0f} ms{where}")
        return "; ".join(parts) or "nobody else"


def row(name, **options):
    """Makes a function a row. It is given a `Case` and returns what was sent and what was answered."""

    def register(act):
        ROWS.append(Row(name, act, **options))
        return act

    return register


class Case:
    """What a row has to work with."""

    def __init__(self, proxy, binary, quick):
        self.proxy, self.binary, self.quick, self.faults = proxy, binary, quick, []
        self.beside, self.memory, self.ended = None, None, None

    def example(self, name):
        """An example program beside the binary."""
        return self.binary.parent / "examples" / name

    def check(self, holds, fault):
        """Notes a fault unless this holds."""
        if not holds:
            self.faults.append(fault)

    def until(self, what, happened, patience=30):
        """Waits for something that should happen; it is a fault if it does not."""
        end = time.monotonic() + patience
        while not happened():
            if time.monotonic() > end:
                self.faults.append(f"did not happen in {patience} s: {what}")
                return
            time.sleep(0.05)

    def end_others(self):
        """Ends the clients beside this row, which is going to end the proxy, and notes what they got and the memory at this point."""
        if self.beside and self.ended is None:
            self.ended = self.beside.finish()
        self.memory = (self.proxy.peak(), self.proxy.memory())
        return self.ended or ({}, [])

    def so_many(self, full, quick):
        """A number of clients: fewer in quick mode, and no more than this process may open."""
        return min(quick if self.quick else full, raise_open_files() - 200)


class Gauge(threading.Thread):
    """The most open files, looked at several times a second."""

    def __init__(self, proxy):
        super().__init__(daemon=True)
        self.proxy, self.most, self.over = proxy, 0, threading.Event()

    def run(self):
        while not self.over.wait(0.1):
            try:
                self.most = max(self.most, self.proxy.open_files())
            except OSError:
                return

    def finish(self):
        self.over.set()
        self.join()
        return self.most


def perform(row, binary, quick):
    """Runs one row and prints it."""
    print(f"== {row.name}", flush=True)
    outcome, began = Outcome(row), time.monotonic()
    try:
        proxy = row.start(binary, row.settings, row.files, environment=row.environment)
    except Exception as why:
        # The results of the other rows are worth keeping.
        traceback.print_exc()
        outcome.faults.append(f"not started: {why}")
        return outcome
    try:
        measure(row, Case(proxy, binary, quick), outcome)
    except Exception as why:
        traceback.print_exc()
        outcome.faults.append(f"{type(why).__name__}: {why}")
    finally:
        outcome.faults += [f"the log says: {line}" for line in proxy.log if "panicked" in line]
        proxy.remove()
    outcome.seconds = time.monotonic() - began
    for name, value in (("sent", outcome.sent), ("answered", outcome.answered), ("others", outcome.others()),
                        ("memory", " / ".join(f"{value:.0f} MiB" for value in outcome.memory)),
                        ("files", " / ".join(map(str, outcome.files)))):
        print(f"   {name + ':':10}{value}")
    for fault in outcome.faults:
        print(f"   FAULT     {fault}")
    print(f"   {'took:':10}{outcome.seconds:.1f} s\n", flush=True)
    return outcome


def measure(row, case, outcome):
    proxy = case.proxy
    for way in row.ways:
        others.try_once(way, 0, {"http": proxy.http, "tcp": proxy.tcp, "unix": proxy.unix})
    proxy.forget_peak()
    before, files = proxy.memory(), proxy.open_files()
    gauge, case.beside = Gauge(proxy), others.Others(proxy, row.ways) if row.ways else None
    gauge.start()
    try:
        outcome.sent, outcome.answered = aside(lambda: row.act(case))
    finally:
        outcome.served, unserved = case.ended or (case.beside.finish() if case.beside else ({}, []))
        most_files = gauge.finish()
        case.faults += unserved[:5] + ([f"... and {len(unserved) - 5} more"] if len(unserved) > 5 else [])
        outcome.faults = case.faults
    if proxy.child.poll() is not None:
        if case.memory:
            outcome.memory = (before, *case.memory)
            check_others(row, case, outcome)
        return  # the row was about its end
    case.until("its connections are gone", lambda: proxy.open_files() <= files + row.kept_files + SPARE_FILES, SETTLE)
    outcome.memory = (before, proxy.peak(), proxy.memory())
    outcome.files = (files, most_files, proxy.open_files())
    check_others(row, case, outcome)
    for name in ("exporter_proxy_connection_panics_total", "exporter_proxy_http_panics_total"):
        case.check(proxy.own(name) == 0, f"{name} is not 0")


# How much the hostile clients give way to the proxy and to everybody else.
NICE = 10


def aside(act):
    """Does something on a thread of its own that gives way to others, and gives its result.

    Hostile clients are on other machines. Here they share the cores with the proxy and with the others, so that what these wait would be
    the time that a client needs for closing 6,000 sockets. The thread is given up with its nice value, because only root may lower one;
    processes that are running already keep theirs.
    """
    result = []

    def run():
        os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) + NICE)  # of this thread alone, on Linux
        try:
            result.append((act(), None))
        except BaseException as why:
            result.append((None, why))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    done, why = result[0]
    if why:
        raise why
    return done


def check_others(row, case, outcome):
    """Notes a fault where other clients were not served in time, or memory grew too much."""
    for way, (times, worst, _) in outcome.served.items():
        case.check(times > 0, f"nobody else was served: {way}")
        case.check(worst < row.wait, f"somebody else waited {worst:.1f} s: {way}")
    grown = outcome.memory[1] - outcome.memory[0]
    case.check(grown <= row.memory, f"memory grew by {grown:.0f} MiB, more than {row.memory}")


def table(outcomes):
    """All of it as Markdown."""
    lines = ["| what was sent | what was answered | everybody else meanwhile | memory in MiB: before, peak, after | open files: before, peak, after |",
             "| --- | --- | --- | --- | --- |"]
    for outcome in outcomes:
        answered = outcome.answered + ("" if not outcome.faults else " **FAULT: " + "; ".join(outcome.faults) + "**")
        cells = [f"**{outcome.row.name}**: {outcome.sent}", answered, outcome.others(),
                 ", ".join(f"{value:.0f}" for value in outcome.memory) if outcome.memory[0] else "-",
                 ", ".join(map(str, outcome.files)) if outcome.files[0] else "-"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def raise_open_files():
    """Raises this process's limit on open files as far as it may."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(hard, 1 << 20)


assert os.path.exists("/proc/self/status"), "this looks at processes through /proc, as Linux has it"
