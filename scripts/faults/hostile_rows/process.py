"""What the machine and the operator can do to the process."""

import resource
import shutil
import signal
import struct
import subprocess
import time

from . import swarm
from .bench import LEFT_OUT, row
from .http import LARGE_SERIES, SCRAPE, large_body
from .proxy import Proxy, toml


@row("fewer open files than connections", files=256, memory=32)
def few_files(case):
    streams = []
    for address in (case.proxy.http, case.proxy.tcp, case.proxy.unix):
        streams += [swarm.connect(address) for _ in range(400)]
    time.sleep(2)
    swarm.close_all(streams)
    return "1,200 idle connections to a proxy that may open 256 files", "the longest idle made room, on each listener in its own share of the files"


@row("no file left to open", ways=(), memory=32)
def no_files(case):
    files, limits = case.proxy.open_files(), resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, (files, limits[1]))
    streams = [swarm.connect(address) for address in (case.proxy.http, case.proxy.tcp, case.proxy.unix) for _ in range(5)]
    payloads = [swarm.connect(case.proxy.tcp) for _ in range(5)]
    for number, stream in enumerate(payloads):
        stream.sendall(b'{"waited%d":"waited_%d 1"}' % (number, number))
    case.proxy.says("cannot accept connections on")
    time.sleep(1)
    resource.prlimit(case.proxy.pid, resource.RLIMIT_NOFILE, limits)
    case.until("what waited is stored", lambda: case.proxy.text("/metrics?own=false").count("waited_") == 5)
    case.check(case.proxy.own("exporter_proxy_accept_failures_total") > 0, "nothing was counted")
    swarm.close_all(streams + payloads)
    return "twenty connections while the process may open no further file", "they wait; said once in the log, counted; served once there are files again, and nothing lost"


@row("SIGTERM during a scrape", ways=())
def stop_in_a_scrape(case):
    size = large_body(case)
    whole = 0
    streams = [swarm.connect(case.proxy.http) for _ in range(10)]
    for stream in streams:
        stream.sendall(SCRAPE)
    for stream in streams:
        stream.recv(1)
    case.proxy.signal(signal.SIGTERM)
    case.proxy.says("finishing open requests")
    time.sleep(0.5)
    for stream in streams:
        heard = swarm.hear(stream)
        whole += heard.count(b"large1_metric{") == heard.count(b"large2_metric{") == LARGE_SERIES
        stream.close()
    code = case.proxy.wait()
    case.check(whole == 10, f"only {whole} of 10 scrapes were whole")
    case.check(code == 0, f"the exit code was {code}")
    case.check(not (case.proxy.folder / "receiver.sock").exists(), "the socket file was left behind")
    return f"ten scrapes of {size / 1e6:.0f} MB that had read one byte when the signal came", f"{whole} of 10 whole, exit code {code}, no socket file left"


@row("SIGTERM while messages wait", ways=(), settings={"exporter.concurrent_requests": 4})
def stop_in_a_queue(case):
    """What the kernel has taken from a sender before the stop is stored, although nobody had accepted it yet."""
    answers = []
    for way, address in (("tcp", case.proxy.tcp), ("unix", case.proxy.unix)):
        holders = [swarm.connect(address) for _ in range(4)]
        for stream in holders:
            stream.sendall(b'{"holder":"')
        time.sleep(0.3)
        waiting = []
        for number in range(50):
            stream = swarm.connect(address)
            stream.sendall(b'{"%s%d":"waiting_%s%d 1"}' % (way.encode(), number, way.encode(), number))
            waiting.append(stream)
        answers.append((way, holders, waiting))
    scraper = swarm.connect(case.proxy.http)
    scraper.sendall(SCRAPE[:10])
    time.sleep(0.3)
    case.proxy.signal(signal.SIGTERM)
    case.proxy.says("finishing open requests")
    refused = 0
    for way, holders, waiting in answers:
        for stream in holders:
            stream.sendall(b'1"}')
        for stream in waiting:
            # A clean end of file means that the message was read; a reset that it was thrown away.
            try:
                stream.settimeout(20)
                refused += stream.recv(100) != b""
            except OSError:
                refused += 1
        swarm.close_all(holders + waiting)
    scraper.sendall(SCRAPE[10:])
    scraped = swarm.hear(scraper)
    scraper.close()
    case.check(scraped.count(b"waiting_") == 100, f"the last scrape shows {scraped.count(b'waiting_')} of 100 messages")
    case.check(refused == 0, f"{refused} of 100 were cut off")
    code = case.proxy.wait()
    case.check(code == 0, f"the exit code was {code}")
    return "fifty messages in each receiver's queue, all seats busy, when the signal came; a scrape that was just being asked for", \
        f"all stored and in that scrape, exit code {code}"


@row("a log that nothing reads", memory=32)
def unread_log(case):
    """The pipe is full, then its queue in the proxy; others are served, and a signal ends the proxy."""
    settings = case.proxy.config.read_text()

    def overflow():
        # The faults of a configuration are one line, and a long one.
        case.proxy.log_is_read.clear()
        case.proxy.config.write_text(settings + "".join(f"unknown_key_{number} = 1\n" for number in range(2_000)))
        before = case.proxy.own("exporter_proxy_log_lines_dropped_total")

        def dropped():
            case.proxy.signal(signal.SIGHUP)
            return case.proxy.own("exporter_proxy_log_lines_dropped_total") > before

        case.until("lines are dropped", dropped)

    overflow()
    streams = [swarm.connect(case.proxy.tcp) for _ in range(200)]
    for stream in streams:
        stream.sendall(b"no message")
    swarm.close_all(streams)
    time.sleep(1 if case.quick else 10)
    # The others end here: the proxy does, too.
    case.end_others()
    lost = case.proxy.own("exporter_proxy_log_lines_dropped_total")
    case.proxy.log_is_read.set()
    case.proxy.says(r"log lines dropped: .*dropped=\d+")
    overflow()
    began = time.monotonic()
    code = case.proxy.stop()
    case.check(code == 0, f"the exit code was {code}")
    return "2,000 faults in a configuration that is read again and again, and 200 wrong messages, while the log is a pipe that nothing reads", \
        f"{lost:.0f} lines dropped and counted, reported once the pipe was read; SIGTERM with a full pipe: exit code {code} after {time.monotonic() - began:.1f} s"


@row("a second proxy on the same socket")
def second(case):
    code = subprocess.run([case.binary, "--config", case.proxy.config], capture_output=True, text=True, timeout=30)
    case.check(code.returncode == 1, f"its exit code was {code.returncode}")
    case.check("another process is listening there" in code.stderr, f"it said {code.stderr!r}")
    return "another proxy with the same configuration", "it ends with exit code 1 and says that another process is listening there; the first one goes on"


@row("thirty reloads a second", memory=32)
def reloads(case):
    settings, count = case.proxy.config.read_text(), 0
    end = time.monotonic() + (5 if case.quick else 60)
    while time.monotonic() < end:
        count += 1
        limit = 1_000_000 + count % 2
        case.proxy.config.write_text(f"{settings}store.max_series_per_app = {limit}\n")
        case.proxy.signal(signal.SIGHUP)
        time.sleep(1 / 30)
    case.proxy.config.write_text(f"{settings}store.max_apps = 12345\n")
    case.proxy.signal(signal.SIGHUP)
    case.proxy.says("configuration reloaded.*store.max_apps")
    case.check(case.proxy.own("exporter_proxy_config_last_reload_successful") == 1, "the last reload failed")
    return f"{count} changed configurations and SIGHUPs, thirty a second", "others are served meanwhile, and the last one is in force"


@row("SIGSTOP for a minute", ways=(), settings={"events.scrapers": ["late"], "events.scraper_identity": "param:by"})
def stopped(case):
    case.proxy.ask("PUT", "/apps/before/metrics", "before 1\n")
    case.proxy.ask("POST", "/event?what=stopped")
    idle = [swarm.connect(address) for address in (case.proxy.http, case.proxy.tcp, case.proxy.unix) for _ in range(20)]
    case.proxy.signal(signal.SIGSTOP)
    waiting = []
    for number in range(50):
        stream = swarm.connect(case.proxy.tcp)
        stream.sendall(b'{"during%d":"during_%d 1"}' % (number, number))
        waiting.append(stream)
    time.sleep(5 if case.quick else 60)
    case.proxy.signal(signal.SIGCONT)
    case.until("what was sent meanwhile is stored", lambda: case.proxy.text("/metrics?own=false").count("during_") == 50)
    case.check("before 1\n" in case.proxy.text("/metrics?own=false"), "what was there before is gone")
    delivered = [case.proxy.text("/metrics?by=late").count('what="stopped"') for _ in range(2)]
    case.check(delivered == [1, 0], f"the event was delivered {delivered} times")
    swarm.close_all(idle + waiting)
    return "a stopped process with fifty messages in its queue and sixty idle connections", \
        "continued, it stores every message, keeps what it had and delivers a pending event once"


@row("two proxies with one store and one key", ways=())
def one_store(case):
    folder = case.proxy.folder
    settings = {
        "store.path": str(folder / "store"), "p2p.enabled": True, "p2p.key_file": str(folder / "one.key"), "p2p.secret": "1" * 64,
        "p2p.listen": "127.0.0.1:0", "p2p.allow": ["y" * 52],
    }
    first = Proxy(case.binary, settings)
    try:
        first.ask("POST", "/event?what=kept")
        refused = []
        for kept in ("store.path", "p2p.key_file"):
            mine = {key: value for key, value in settings.items() if key.split(".")[0] == kept.split(".")[0]}
            config = folder / "second.toml"
            mine.update({"exporter.scrape_expose_endpoint": "127.0.0.1:0", "receiver.receive_on_tcp_socket": False,
                         "receiver.receive_on_unix_socket": False})
            config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in mine.items()))
            ended = subprocess.run([case.binary, "--config", config], capture_output=True, text=True, timeout=60)
            case.check(ended.returncode == 1, f"{kept}: its exit code was {ended.returncode}")
            case.check(f"process {first.pid}" in ended.stderr, f"{kept}: it said {ended.stderr[-300:]!r}")
            refused.append(kept)
        case.check(first.ask("POST", "/event?what=after")[0] == 200, "the first one takes no event any more")
        code = first.stop()
        case.check(code == 0, f"the exit code of the first was {code}")
    finally:
        first.remove()
    return f"second proxies with the {' and the '.join(refused)} of a running one", "each ends with exit code 1 and names the process; the first goes on"


class ClockedProxy(Proxy):
    """A proxy that sees the wall clock with an offset, which can be changed while it runs."""

    SHIM = r"""
        #define _GNU_SOURCE
        #include <dlfcn.h>
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/mman.h>
        #include <time.h>
        static volatile long *offset;
        int clock_gettime(clockid_t id, struct timespec *now) {
            static int (*real)(clockid_t, struct timespec *);
            if (!real) {
                int file = open(getenv("CLOCK_OFFSET"), O_RDONLY);
                offset = mmap(0, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
                real = dlsym(RTLD_NEXT, "clock_gettime");
            }
            int outcome = real(id, now);
            if (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE) now->tv_sec += *offset;
            return outcome;
        }
    """

    def start(self):
        shim, self.offset = self.folder / "clock.so", self.folder / "offset"
        if not shim.exists():
            subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-w", "-xc", "-", "-o", shim, "-ldl"], input=self.SHIM, text=True, check=True)
            self.offset.write_bytes(bytes(8))
        self.environment = {"LD_PRELOAD": str(shim), "CLOCK_OFFSET": str(self.offset)}
        super().start()

    def step(self, seconds):
        with self.offset.open("r+b") as file:
            file.write(struct.pack("l", seconds))


def clock_steps(case):
    case.proxy.ask("PUT", "/apps/kept/metrics", "kept 1\n")
    hour, shown = 3_600, []
    for hours in (5, -5, 24, 0):
        case.proxy.step(hours * hour)
        case.proxy.ask("POST", f"/event?step=s{len(shown)}")
        # Expiry is looked for each second.
        time.sleep(1.5)
        text = case.proxy.text("/metrics?by=witness")
        case.check("kept 1\n" in text, f"an app was forgotten at {hours:+} h")
        case.check(text.count(f'step="s{len(shown)}"') == 1, f"an event was not delivered at {hours:+} h")
        shown.append(hours)
    return f"steps of the wall clock to {', '.join(f'{hours:+} h' for hours in shown)}, with store.expire_after = 60", \
        "no app is forgotten, each event is delivered once, others are served"


if shutil.which("cc"):
    row("steps of the wall clock", start=ClockedProxy, memory=32, settings={
        "store.expire_after": 60, "events.scrapers": ["witness"], "events.scraper_identity": "param:by",
    })(clock_steps)
else:
    LEFT_OUT.append(("steps of the wall clock", "cc"))


@row("kill -9 and a restart", ways=())
def killed(case):
    case.proxy.signal(signal.SIGKILL)
    case.proxy.wait()
    case.check((case.proxy.folder / "receiver.sock").exists(), "there is no stale socket to be replaced")
    again = Proxy(case.binary, folder=case.proxy.folder)
    try:
        case.check(swarm.say(again.unix, b'{"back":"back 1"}') == b"", "the new socket does not take a message")
        case.check("back 1\n" in again.text("/metrics"), "the message is not there")
        code = again.stop()
        case.check(code == 0, f"the exit code was {code}")
    finally:
        again.remove()
    return "kill -9, then a new start", "the stale socket is replaced, the new proxy receives"
