"""What targets of polls can do. How punctual the others stay is measured over a minute by scripts/faults/hostile-polls."""

import gzip
import multiprocessing
import socket
import ssl
import statistics
import threading
import time

from .bench import row
from .proxy import Proxy

MIB = 1 << 20
# Between two polls of the same endpoint, in seconds.
INTERVAL = 1.0
PAGE = b"good_metric 1\n"
# Of 4 MiB.
LARGE_PAGE = b"".join(b'good_metric{n="%032d"} 1\n' % n for n in range(4 * MIB // 52))
BOMB = gzip.compress(b"#" * (256 * MIB))
OK = b"HTTP/1.1 200 OK\r\n"


def pump(stream, head, piece, most=10 << 30):
    """Sends for as long as it is taken, up to 10 GiB."""
    stream.sendall(head)
    sent = 0
    while sent < most:
        sent += stream.send(piece)


def hang(stream):
    stream.recv(1)


def trickle(stream):
    stream.sendall(OK + b"\r\n")
    while True:
        stream.sendall(b"a")
        time.sleep(0.1)


ACTS = {
    "hangs": hang,
    "redirects forever": lambda stream: stream.sendall(b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n"),
    "floods 10 GiB": lambda stream: pump(stream, OK + b"\r\n", b"flood 1\n" * 32_768),
    "announces 10 GiB": lambda stream: pump(stream, OK + b"content-length: 10737418240\r\n\r\n", b"flood 1\n" * 32_768),
    "floods chunks": lambda stream: pump(stream, OK + b"transfer-encoding: chunked\r\n\r\n", b"4\r\na 1\n\r\n" * 32_768),
    "floods headers": lambda stream: pump(stream, OK, b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 2_000),
    "floods 100 Continue": lambda stream: pump(stream, b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
    "a gzip bomb": lambda stream: stream.sendall(OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB),
    "garbage": lambda stream: stream.sendall(bytes(range(256)) * 100),
    "a web page": lambda stream: stream.sendall(OK + b"content-length: 15\r\n\r\n<html>no</html>"),
    "binary data": lambda stream: stream.sendall(OK + b"content-length: 4\r\n\r\n\x7fE\x00F"),
    "resets": lambda stream: stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"),
    "says nothing and closes": lambda stream: None,
    "trickles": trickle,
}


class Target:
    """A server that does the same to everybody who asks, and notes when that was."""

    def __init__(self, act, before_request=False):
        self.act, self.before_request, self.asked = act, before_request, []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def start(self):
        threading.Thread(target=self.serve, daemon=True).start()
        return self

    def serve(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(stream,), daemon=True).start()

    def answer(self, stream):
        with stream:
            try:
                while self.before_request or self.request(stream):
                    self.act(stream)
                    if self.act not in (good, good_large, ACTS["redirects forever"]):
                        return
            except (OSError, ssl.SSLError):
                pass

    def request(self, stream):
        heard = b""
        while b"\r\n\r\n" not in heard:
            piece = stream.recv(4_096)
            if not piece:
                return False
            heard += piece
        self.asked.append(time.monotonic())
        return True


def good(stream):
    stream.sendall(OK + b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(PAGE) + PAGE)


def good_large(stream):
    stream.sendall(OK + b"content-type: text/plain\r\ncontent-length: %d\r\n\r\n" % len(LARGE_PAGE) + LARGE_PAGE)


def stall(stream):
    """Sends a little more than a mebibyte of a longer body, and nothing after it."""
    stream.sendall(OK + b"content-length: %d\r\n\r\n" % (2 * MIB) + b"stalled 1\n" * (MIB // 10 + 1))
    stream.recv(1)


def serve_apart(targets):
    """Serves these in a process of their own, so that their floods do not make anybody here late. Killing it ends them."""

    def work():
        for target in targets:
            target.start()
        threading.Event().wait()

    child = multiprocessing.get_context("fork").Process(target=work, daemon=True)
    child.start()
    return child


def lateness(target):
    """How far each poll was from an even beat, at the worst, in seconds. The first poll stands off the beat."""
    times = target.asked[1:]
    if len(times) < 3:
        return float("inf")
    offsets = [(at - times[0]) % INTERVAL for at in times]
    # Around a circle: a beat at 0.99 is close to one at 0.01.
    middle = statistics.median((offset + INTERVAL / 2) % INTERVAL - INTERVAL / 2 for offset in offsets)
    return max(abs((offset - middle + INTERVAL / 2) % INTERVAL - INTERVAL / 2) for offset in offsets)


def endpoint(name, target, scheme="http"):
    return {"url": f"{scheme}://127.0.0.1:{target.port}/", "name": name, "interval": INTERVAL, "timeout": 2}


def polling(case, endpoints, seconds):
    """Polls these for a while with a proxy of its own, and gives that proxy."""
    settings = {"poll_external.poll_other_scrape_endpoints": True, "poll_external.other_scrape_endpoints": endpoints}
    proxy = Proxy(case.binary, settings)
    time.sleep(2)
    proxy.forget_peak()
    time.sleep(seconds)
    return proxy


def up(proxy, name):
    return proxy.own("exporter_proxy_poll_up", endpoint=name)


@row("polls: every kind of bad target", ways=())
def every_kind(case):
    bad = {name: Target(act) for name, act in ACTS.items()}
    bad["no TLS"] = Target(lambda stream: stream.sendall(b"\x16\x03\x01garbage" * 1_000), before_request=True)
    nobody = socket.create_server(("127.0.0.1", 0))
    apart = serve_apart(list(bad.values()))
    well = [Target(good).start() for _ in range(3)]
    endpoints = [endpoint(name, target, "https" if name == "no TLS" else "http") for name, target in bad.items()]
    endpoints += [{"url": f"http://127.0.0.1:{nobody.getsockname()[1]}/", "name": "does not accept", "interval": INTERVAL, "timeout": 2}]
    endpoints += [endpoint(f"good {n}", target) for n, target in enumerate(well)]
    proxy = polling(case, endpoints, 6 if case.quick else 30)
    try:
        late = max(lateness(target) for target in well)
        # Each in its own interval; how punctual they are to 100 ms is judged by scripts/faults/hostile-polls.
        case.check(late < INTERVAL / 2, f"a good target was polled {late * 1000:.0f} ms off its time")
        case.check(all(up(proxy, f"good {n}") == 1 for n in range(3)), "a good target is not up")
        for name in [*bad, "does not accept"]:
            case.check(up(proxy, name) == 0, f"{name!r} is up")
        status, apps = proxy.ask("GET", "/apps?format=wide")
        case.check(status == 200 and b"poll failed" in apps, "/apps does not say what is wrong")
        peak, files = proxy.peak(), proxy.open_files()
        case.check(peak < 600, f"memory rose to {peak:.0f} MiB")
        case.check(files < 60 + len(endpoints), f"{files} files are open")
        case.check(proxy.own("exporter_proxy_poll_panics_total") == 0, "a poll panicked")
    finally:
        proxy.remove()
        nobody.close()
        apart.kill()
    return "targets that do this when polled: " + "; ".join([*bad, "does not accept"]), \
        f"each is cut off at a limit and poll_up is 0; three good ones among them at the worst {late * 1000:.0f} ms off their time; memory at its peak {peak:.0f} MiB"


@row("polls: large bodies that stall", ways=())
def stalled_bodies(case):
    stalls, large = [Target(stall) for _ in range(20)], Target(good_large).start()
    apart = serve_apart(stalls)
    endpoints = [endpoint(f"stalls {n}", target) for n, target in enumerate(stalls)] + [endpoint("large", large)]
    proxy = polling(case, endpoints, 6 if case.quick else 30)
    try:
        late = lateness(large)
        case.check(late < INTERVAL / 2, f"the good target was polled {late * 1000:.0f} ms off its time")
        case.check(up(proxy, "large") == 1, "the good target is not up")
        case.check(all(up(proxy, f"stalls {n}") == 0 for n in range(len(stalls))), "a target that stalls is up")
        peak = proxy.peak()
        case.check(peak < 400, f"memory rose to {peak:.0f} MiB")
    finally:
        proxy.remove()
        apart.kill()
    return f"{len(stalls)} targets that send a little more than 1 MiB of a longer body and stall, beside one with 4 MiB", \
        f"that one is polled at the worst {late * 1000:.0f} ms off its time; memory at its peak {peak:.0f} MiB"
