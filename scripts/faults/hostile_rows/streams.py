"""What servers of monitoring streams can do to a proxy that follows them."""

import gzip
import json
import os
import socket
import struct
import threading
import time
import zlib

from .bench import row
from .proxy import Proxy

MIB = 1 << 20
EVENT = json.dumps({"event": {"timestamp": "2026-11-21T12:53:22.000000001Z", "peer": "12D3KooWpeer", "connection_event": {
    "remote": "/ip4/8.8.8.8/tcp/4001", "connection_event_type": 0}}}).encode() + b"\n"


def frame(payload):
    return struct.pack(">I", len(payload)) + payload


def packed(piece, times):
    """A frame of one gzip member that holds this so many times."""
    deflate = zlib.compressobj(6, wbits=31)
    return frame(b"".join(deflate.compress(piece) for _ in range(times)) + deflate.flush())


HELLO = frame(b'{"version":3}')
GOOD = frame(gzip.compress(EVENT))
# 31 MiB of JSON in one message: less than what is taken for a bomb, and it is no event either.
WIDE = packed(b"[" + b"1," * (MIB // 2 - 1) + b"1]", 31)

# What each says in the handshake, and what it then says again and again on each connection; None: it ends there.
ACTS = {
    "a frame that unpacks to 1 GiB": (HELLO, packed(bytes(MIB), 1024)),
    "a message of 31 MiB of nonsense": (HELLO, WIDE),
    "8 MiB that is no gzip": (HELLO, frame(os.urandom(8 * MIB))),
    "a frame of 4 GiB": (HELLO, b"\xff\xff\xff\xff"),
    "garbage": (HELLO, bytes(range(255, -1, -1)) * 100),
    "half a frame": (HELLO, GOOD[: len(GOOD) // 2]),
    "half a frame of 8 MiB, and silence": (HELLO, frame(bytes(8 * MIB))[: 4 * MIB]),
    "no handshake": (b"", b""),
    "version 2": (frame(b'{"version":2}'), b""),
    "a web server's answer": (b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
    "damaged members": (HELLO, frame(gzip.compress(EVENT)[:-1] + b"x")),
    "JSON that is no event": (HELLO, frame(gzip.compress(b'{"event":{}}')) * 1_000),
}


class Upstream:
    """A server that does the same on each connection, and counts them."""

    def __init__(self, hello, then):
        self.hello, self.then, self.connections, self.last = hello, then, 0, None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            stream, _ = self.listener.accept()
            self.connections, self.last = self.connections + 1, stream
            threading.Thread(target=self.serve, args=(stream,), daemon=True).start()

    def serve(self, stream):
        with stream:
            try:
                stream.sendall(self.hello)
                stream.sendall(self.then)
                while stream.recv(4096):
                    pass
            except OSError:
                pass  # the proxy has left, which is what is wanted

    def cut(self):
        """Ends the last connection, so that the proxy comes again."""
        try:
            self.last.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended by itself, or is being opened


@row("streams: every kind of bad upstream", ways=())
def every_kind(case):
    bad = {name: Upstream(*act) for name, act in ACTS.items()}
    # Four at once, so that they meet.
    bombs = [Upstream(*ACTS["a frame that unpacks to 1 GiB"]) for _ in range(3)]
    good = Upstream(HELLO, GOOD * 1_000)
    followed = [*bad.values(), *bombs, good]
    proxy = Proxy(case.binary, {"stream.upstreams": [upstream.address for upstream in followed]})
    try:
        time.sleep(1 if case.quick else 30)
        up = lambda upstream: proxy.own("exporter_proxy_stream_upstream_up", upstream=upstream.address)
        heard = lambda: proxy.own("connection_events_connected", monitor=good.address)
        case.until("all of the good one's messages are counted", lambda: heard() == 1_000)
        case.check(up(good) == 1, "the good upstream is not up")
        lasting = ("half a frame", "half a frame of 8 MiB, and silence", "no handshake", "JSON that is no event",
                   "a message of 31 MiB of nonsense")
        for name, upstream in bad.items():
            # These are waited for, for 10 s in a handshake and a minute in a frame, or only counted.
            # One that has just been connected to again is up until its frame has arrived.
            if name not in lasting:
                case.until(f"{name!r} is down", lambda: up(upstream) == 0)
            case.check(case.quick or name in lasting or upstream.connections > 2, f"{name!r} was not tried again")
        apps = proxy.text("/apps?format=wide")
        case.check("stream failed: invalid handshake: its version is 2, not 3" in apps, "/apps does not say what is wrong")
        peak, files = proxy.peak(), proxy.open_files()
        # Each bomb's 1 MiB as it came and 32 MiB of what it unpacks to; the allocator keeps some of it for a while.
        case.check(peak < 250, f"memory rose to {peak:.0f} MiB")
        case.check(files < 40 + len(followed), f"{files} files are open")
        settled = proxy.memory()
    finally:
        proxy.remove()
    return "upstreams that say this, again at each connection: " + "; ".join(bad) + "; the first of them four times", \
        f"left, shown in /apps and tried again; a good one among them is counted whole; memory {peak:.0f} MiB at its peak, {settled:.0f} MiB in the end"
