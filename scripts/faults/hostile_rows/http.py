"""What clients of the HTTP port can do."""

import contextlib
import gzip
import http.client
import json
import socket
import ssl
import threading
import time

from . import swarm
from .bench import row

MIB = 1 << 20
SCRAPE = b"GET /metrics?own=false HTTP/1.1\r\nhost: x\r\n\r\n"


def client_hello():
    """The first thing that a client of TLS says."""
    outgoing = ssl.MemoryBIO()
    try:
        ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="proxy").do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


# What is sent, and the status that it gets; none: the connection is closed without an answer.
WRONG = {
    "a head of 100 KiB": (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", 431),
    "500 header lines": (b"GET / HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 500 + b"\r\n", 431),
    "a URL of 70 kB": (b"GET /" + b"y" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
    "no HTTP": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "a client of TLS": (client_hello(), 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), 505),
    "chunks that are none": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc", 400),
    "a chunk of 16 EiB": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffff\r\nabc", 400),
    "endless chunk extensions": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"x" * 100_000, 400),
    "a length of -1": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
    "two lengths": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab", 400),
    "a length of 1 TiB": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1099511627776\r\n\r\nabc", 413),
    "a body cut off": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc", 400),
    "no gzip": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc", 400),
    "another packing": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-encoding: br\r\ncontent-length: 3\r\n\r\nabc", 415),
    "UTF-16": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n\xff\xfea\x00", 415),
    "no length": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\n\r\n", 411),
    "no UTF-8": (b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n\xff\xff", 400),
    "a name that is no UTF-8": (b"PUT /apps/%ff/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\na", 400),
    "another site's page": (b"POST /apps/a/metrics HTTP/1.1\r\nhost: x\r\norigin: http://evil\r\ncontent-length: 3\r\n\r\nm 1", 403),
    "a page that rebinds its name": (
        b"POST /apps/a/metrics HTTP/1.1\r\nhost: evil.example\r\norigin: http://evil.example\r\ncontent-length: 3\r\n\r\nm 1",
        403,
    ),
    "no host": (b"GET /metrics HTTP/1.1\r\nconnection: close\r\n\r\n", 400),
    "two hosts": (b"GET /metrics HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n", 400),
    "a path that is not there": (b"GET /../../etc/passwd HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
    "a method that is none": (b"BREW /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405),
}


def status(heard):
    """The status of the first answer, if there is one."""
    if not isinstance(heard, bytes):
        return repr(heard)
    return int(heard[9:12]) if heard.startswith(b"HTTP/1.1 ") else None


@row("requests that are wrong")
def wrong(case):
    case.proxy.ask("PUT", "/apps/a/metrics", "a 1\n")
    got = {name: status(swarm.converse(case.proxy.http, [request])[0]) for name, (request, _) in WRONG.items()}
    for name, (_, expected) in WRONG.items():
        case.check(got[name] == expected, f"{name}: {got[name]} instead of {expected}")
    many = [request for request, _ in WRONG.values()] * case.so_many(100, 10)
    heard = swarm.converse(case.proxy.http, many)
    case.check(not any(isinstance(what, TimeoutError) for what in heard), "somebody was left waiting")
    case.check(case.proxy.text("/apps/a/metrics") == "a 1\n", "what was stored before has changed")
    answered = ", ".join(f"{name} {got[name]}" for name in WRONG)
    return f"{len(WRONG)} kinds of wrong requests, then {len(many):,} at once", f"{answered}; earlier data intact"


@row("5,000 scrapes at once", memory=160)
def crowd(case):
    count = case.so_many(5_000, 2_500)
    request = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    began = time.monotonic()
    heard = swarm.converse(case.proxy.http, [request] * count, half_close=False)
    answered = sum(status(what) == 200 for what in heard)
    case.check(answered == count, f"{count - answered} were not answered, such as {[w for w in heard if status(w) != 200][:1]}")
    return "5,000 requests (2,500 in quick mode), each on a connection of its own, all at the same time", \
        f"{answered:,} of {count:,} answered in {time.monotonic() - began:.1f} s"


@row("slow request heads and bodies", memory=96)
def slow(case):
    beginnings = (b"G", b"GET / HTTP/1.1\r\nhost: x\r\nx: ", b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\nab")
    streams, sizes = [], case.so_many(1_500, 600)
    for number in range(sizes):
        stream = swarm.connect(case.proxy.http)
        stream.sendall(beginnings[number % 3])
        streams.append(stream)
    if case.quick:
        time.sleep(3)
        swarm.close_all(streams)
        return f"{sizes} clients that stop within a request's head or body", "others served (in full mode: closed after 30 s)"
    began = time.monotonic()
    while time.monotonic() - began < 20:
        for number in range(1, sizes, 3):
            streams[number].send(b"y")  # a byte a second does not prolong a head's time
        time.sleep(1)
    closed, last = swarm.closed_within(streams, 30)
    last += time.monotonic() - began - last if closed < sizes else 20
    case.check(closed == sizes, f"{sizes - closed} are still open after 50 s")
    case.check(last < 40, f"the last one was closed after {last:.0f} s")
    swarm.close_all(streams)
    return f"{sizes:,} clients that stop within a request's head or body, a third of which send a byte a second", \
        f"all told 408 and closed, the last after {last:.0f} s"


def half_requests(case, beginning, asks_first=False):
    """3,000 of them from one address, each opened again when it is closed: the address may keep 256, and no other is kept out."""
    def half():
        stream = swarm.connect(case.proxy.http, source="127.0.0.2")
        if asks_first:
            stream.sendall(WHOLE_REQUEST)
            with contextlib.suppress(OSError):
                stream.recv(4_096)
        with contextlib.suppress(OSError):
            stream.sendall(beginning)
        return stream

    kept = http.client.HTTPConnection(*case.proxy.http, timeout=swarm.PATIENCE, source_address=("127.0.0.3", 0))
    kept.connect()
    its_socket, scrapes, worst = kept.sock, 0, 0.0
    streams = [half() for _ in range(case.so_many(3_000, 2_500))]
    renewed, end = 0, time.monotonic() + (3 if case.quick else 20)
    while time.monotonic() < end:
        for number, stream in enumerate(streams):
            if swarm.is_closed(stream):
                stream.close()
                streams[number] = half()
                renewed += 1
        began = time.monotonic()
        kept.request("GET", "/healthz")
        case.check(kept.getresponse().read() == b"ok\n", "the kept connection got another answer")
        worst, scrapes = max(worst, time.monotonic() - began), scrapes + 1
    case.check(kept.sock is its_socket, "a connection that had completed requests was closed")
    case.check(renewed > 0, "none was closed, so there was no shortage")
    kept.close()
    swarm.close_all(streams)
    return f"{len(streams):,}", \
        f"{renewed:,} closed and opened again; {scrapes} requests on one connection kept by another address, worst {worst * 1000:.0f} ms"


WHOLE_REQUEST = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


@row("half-sent request heads of one address", memory=128)
def half_heads(case):
    count, became = half_requests(case, b"GET /metrics HTTP/1.1\r\nhost: x\r\nx: ")
    return f"{count} half-sent request heads from one address, each opened again when it was closed", became


@row("half-sent request heads of one address after a whole request", memory=128)
def half_second_heads(case):
    count, became = half_requests(case, b"G", asks_first=True)
    return f"{count} connections from one address with a whole request and a byte of the next one, each opened again when it was closed", became


@row("stalled bodies of one address", memory=128)
def stalled_bodies(case):
    count, became = half_requests(case, b"POST /event HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx", asks_first=True)
    return f"{count} connections from one address with a whole request and one byte of the body of the next one, each opened again when it was closed", \
        became


@row("clients that do not close after their last response", memory=128)
def lingerers(case):
    """One after the other for as long as it takes to fill all slots again and again: each gives way after its grace."""
    streams, asked, most = [], 0, case.so_many(4_000, 3_000)
    end = time.monotonic() + (4 if case.quick else 20)
    while time.monotonic() < end:
        stream = swarm.connect(case.proxy.http)
        stream.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        streams.append(stream)
        asked += 1
        if len(streams) > most:
            streams.pop(0).close()
    evicted = case.proxy.own("exporter_proxy_http_evicted_total")
    case.check(evicted > 0, "none was closed for another one")
    swarm.close_all(streams)
    return f"{asked:,} connections, one after the other, that stay open after their last response", f"{evicted:,.0f} closed for others"


@row("pipelined floods", memory=96)
def pipelined(case):
    body = "".join(f"pipelined{{number=\"{number}\"}} 1\n" for number in range(2_000))
    case.proxy.ask("PUT", "/apps/big/metrics", body)
    flood = SCRAPE * 5_000
    streams, sent = [], 0
    for _ in range(case.so_many(200, 50)):
        stream = swarm.connect(case.proxy.http)
        stream.setblocking(False)
        try:
            sent += stream.send(flood)
        except BlockingIOError:
            pass
        streams.append(stream)
    time.sleep(3)
    swarm.close_all(streams)
    small = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 5_000
    last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    heard = swarm.converse(case.proxy.http, [small + last] * 4, half_close=False)
    answers = [what.count(b"HTTP/1.1 200") if isinstance(what, bytes) else what for what in heard]
    case.check(answers == [5_001] * 4, f"pipelined requests got {answers} answers instead of 5,001 each")
    return f"{sent // len(SCRAPE):,} scrapes in a row on {len(streams)} connections that read nothing; 5,001 requests in a row, four times, by clients that read", \
        "the former take what their sockets hold; the latter got every answer"


# glibc keeps large blocks for later once a few were freed, which hides how much is in use. A fixed threshold makes it give them back.
@row("a gzip bomb pushed", memory=320, environment={"MALLOC_MMAP_THRESHOLD_": "131072"})
def bomb(case):
    case.proxy.ask("PUT", "/apps/a/metrics", "a 1\n")
    packed = gzip.compress(b"#" * (1 << 30) if not case.quick else b"#" * (256 * MIB))
    headers = {"content-encoding": "gzip"}
    got = case.proxy.ask("PUT", "/apps/a/metrics", packed, headers)[0]
    case.check(got == 413, f"the bomb got {got}")
    head = b"PUT /apps/a/metrics HTTP/1.1\r\nhost: x\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    heard = swarm.converse(case.proxy.http, [head + packed] * 50, half_close=False)
    answers = {status(what) for what in heard}
    case.check(answers <= {413}, f"fifty at once got {answers}")
    case.check(case.proxy.text("/apps/a/metrics") == "a 1\n", "what was stored before has changed")
    return f"{len(packed) / 1024:.0f} KiB of gzip that unpack to {'256 MiB' if case.quick else '1 GiB'}, then fifty of them at once", \
        "413, and no more unpacked than max_message_bytes each and max_inflight_bytes (256 MiB) together; measured with MALLOC_MMAP_THRESHOLD_=131072"


@row("half-received bodies that use up the budget", memory=110, ways=("scrape", "tcp", "unix", "http"),
     settings={"receiver.max_inflight_bytes": "32MiB", "receiver.max_message_bytes": "8MiB"})
def bodies(case):
    streams, piece = [], b"x" * (256 * 1024)
    for number in range(200):
        stream = swarm.connect(case.proxy.http)
        stream.sendall(b"PUT /apps/held%d/metrics HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % (number, 8 * MIB))
        stream.setblocking(False)
        streams.append([stream, 0])
    end = time.monotonic() + (4 if case.quick else 10)
    while time.monotonic() < end:
        for held in streams:
            try:
                held[1] += held[0].send(piece[: max(0, 8 * MIB - 1 - held[1])])
            except (BlockingIOError, ConnectionError):
                pass
        time.sleep(0.01)
    swarm.close_all(stream for stream, _ in streams)
    return "200 pushes that stop one byte before the end of 8 MiB, with 32 MiB for half-received messages", \
        f"{sum(sent for _, sent in streams) / MIB:.0f} MiB taken in all, most of them by the sockets; the rest waited"


def slow_scraper(case, packed):
    stream = socket.socket()
    # As little as the kernel allows, so that what is not read shows at the other end as early as can be.
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stream.connect(case.proxy.http)
    stream.sendall(SCRAPE.replace(b"\r\n\r\n", b"\r\naccept-encoding: gzip\r\n\r\n") if packed else SCRAPE)
    return stream


# Series of each of the two apps that `large_body` pushes.
LARGE_SERIES = 100_000


def large_body(case):
    """About 18 MB of metrics in two apps."""
    for app in ("large1", "large2"):
        body = "".join(f'{app}_metric{{number="{number}",padding="{"x" * 40}"}} {number}\n' for number in range(LARGE_SERIES))
        assert case.proxy.ask("PUT", f"/apps/{app}/metrics", body)[0] == 200
    size = len(case.proxy.text("/metrics"))
    case.proxy.ask("GET", "/metrics", headers={"accept-encoding": "gzip"})
    return size


@row("scrapers that read slowly or not at all", memory=320)
def readers(case):
    size = large_body(case)
    before = case.proxy.memory()
    case.proxy.forget_peak()
    streams = [slow_scraper(case, packed=number % 2 == 1) for number in range(50)]
    began, crawling, alive = time.monotonic(), streams[:25], 0
    span = 6 if case.quick else 100
    while time.monotonic() - began < span:
        alive = 0
        for stream in crawling:
            try:
                alive += len(stream.recv(1)) > 0
            except OSError:
                pass
        time.sleep(1)
    grown = case.proxy.peak() - before
    case.check(grown < 128, f"fifty readers made memory grow by {grown:.0f} MiB")
    sent = f"fifty scrapers of {size / 1e6:.0f} MB, half of them packed; half read a byte a second, half nothing"
    if case.quick:
        swarm.close_all(streams)
        return sent, f"{grown:.0f} MiB more for all of them (in full mode: closed 60 s after they took nothing)"
    ended = case.proxy.own("exporter_proxy_http_stalled_readers_total")
    case.check(ended >= 25, f"only {ended:.0f} were closed after {span} s")
    case.check(any("it took nothing of a response" in line for line in case.proxy.log), "no log line says so")
    swarm.close_all(streams)
    return sent, f"{ended:.0f} closed 60 s after their sockets took nothing more; {grown:.0f} MiB more for all of them"


# Memory that stalled responses may keep beyond what is current, and what the row itself may take beside that.
KEPT, BESIDE = 256, 200


def unread(case, path, agent="x"):
    stream = socket.socket()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    stream.connect(case.proxy.http)
    stream.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nuser-agent: {agent}\r\n\r\n".encode())
    return stream


@row("unread scrapes of many versions", memory=KEPT + BESIDE, environment={"MALLOC_MMAP_THRESHOLD_": "131072"})
def versions(case):
    count = case.so_many(146, 100)
    streams = []
    for version in range(count):
        body = "".join(f'versions{{number="{number}",padding="{"x" * 40}"}} {version}\n' for number in range(55_000))
        assert case.proxy.ask("PUT", "/apps/large/metrics", body)[0] == 200
        streams.append(unread(case, "/metrics?own=false"))
        time.sleep(0.01 if case.quick else 1 / 3)
    size = len(body) / MIB
    kept = case.proxy.own("exporter_proxy_http_stalled_bytes") / MIB
    closed = case.proxy.own("exporter_proxy_http_stalled_closed_total")
    # The last one counts until its connection is closed.
    case.check(kept <= KEPT + size, f"stalled responses keep {kept:.0f} MiB")
    case.check(closed > 0, "no stalled response was closed")
    case.until("the first is closed, the last is not", lambda: swarm.is_closed(streams[0]))
    case.check(not swarm.is_closed(streams[-1]), "the last one was closed as well")
    swarm.close_all(streams)
    return f"{count} scrapes that read nothing, each of another version of an app of {size:.1f} MiB", \
        f"{closed:.0f} closed, the longest stalled first; the others keep {kept:.0f} MiB"


@row("listings in a loop", memory=BESIDE, settings={"receiver.max_message_bytes": "64MiB", "store.max_apps": 200_000})
def listings(case):
    count = 10_000 if case.quick else 100_000
    for start in range(0, count, 10_000):
        apps = json.dumps({f"app{number:06}": f"m {number}\n" for number in range(start, start + 10_000)}).encode()
        case.check(swarm.say(case.proxy.tcp, apps) == b"", "the apps are not taken")
    stop, asked, whole = threading.Event(), [0], []

    def loop(path):
        while not stop.is_set():
            status, body = case.proxy.ask("GET", path)
            asked[0] += 1
            if status != 200 or body.count(b"app") < count:
                whole.append(f"{path}: {status}, {len(body)} bytes")

    before = case.proxy.memory()
    case.proxy.forget_peak()
    clients = [threading.Thread(target=loop, args=(path,)) for path in ("/apps", "/apps?format=json", "/sd") for _ in range(2)]
    for client in clients:
        client.start()
    end = time.monotonic() + (4 if case.quick else 20)
    while time.monotonic() < end:
        # Each update is another version.
        case.proxy.ask("PUT", "/apps/app000000/metrics", f"m {time.monotonic()}\n")
        time.sleep(0.02)
    stop.set()
    for client in clients:
        client.join()
    case.check(not whole, f"not whole: {whole[:3]}")
    grown = case.proxy.peak() - before
    return f"{count:,} apps, one of which is updated fifty times a second, and six clients that ask for /apps, its JSON and /sd in a loop", \
        f"{asked[0]} whole listings; {grown:.0f} MiB more"


@row("a chained proxy with many apps", memory=BESIDE, ways=("http", "tcp", "unix"))
def chained(case):
    lines = ["# TYPE exporter_proxy_app_last_update_timestamp_seconds gauge\n"]
    lines += [f'exporter_proxy_app_last_update_timestamp_seconds{{app="app{number:06}",source="127.0.0.1:6554"}} 1700000000.{number % 1000:03}\n'
              for number in range(20_000 if case.quick else 120_000)]
    body = "".join(lines)
    case.check(case.proxy.ask("PUT", "/apps/chained/metrics", body)[0] == 200, "it is not taken")
    first, waits = None, []
    end = time.monotonic() + (4 if case.quick else 20)
    while time.monotonic() < end:
        with swarm.connect(case.proxy.http) as stream:
            began = time.monotonic()
            stream.sendall(b"GET /metrics HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n")
            stream.recv(1)
            if first is None:
                first = time.monotonic() - began
            else:
                waits.append(time.monotonic() - began)
            swarm.hear(stream)
    waits.sort()
    return f"{len(body) / 1e6:.1f} MB of a chained proxy's own metrics, and a scraper in a loop", \
        f"the first scrape began after {first * 1000:.0f} ms, {len(waits)} later ones after {waits[len(waits) // 2] * 1000:.1f} ms in the median, " \
        f"{waits[-1] * 1000:.0f} ms at worst"


@row("unread scrapes of many events", memory=BESIDE, settings={"events.post_rate": "1000000/s"},
     environment={"MALLOC_MMAP_THRESHOLD_": "131072"})
def many_events(case):
    padding = "x" * 8_000
    posts = [b"POST /event?n=%d&padding=%s HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % (number, padding.encode())
             for number in range(2_000 if case.quick else 10_000)]
    swarm.pipelined(case.proxy.http, posts)
    before = case.proxy.memory()
    case.proxy.forget_peak()
    streams = [unread(case, f"/metrics?peek=true&own=false", f"peek{number}") for number in range(200)]
    time.sleep(3)
    grown = case.proxy.peak() - before
    case.check(grown < 64, f"the unread scrapes made memory grow by {grown:.0f} MiB")
    swarm.close_all(streams)
    return f"{len(posts):,} events of 8 kB, then 200 scrapes that read nothing, each of 8 MiB of them", f"{grown:.0f} MiB more for all of them"


@row("clients that half close and clients that hang up", memory=96)
def half(case):
    case.proxy.ask("PUT", "/apps/a/metrics", "".join(f"half_{number} 1\n" for number in range(1_000)))
    count = case.so_many(2_000, 500)
    heard = swarm.converse(case.proxy.http, [SCRAPE] * count)
    whole = sum(isinstance(what, bytes) and what.count(b"half_") == 1_000 for what in heard)
    case.check(whole == count, f"{count - whole} that had sent their end of file got no whole answer")
    for _ in range(count):
        with swarm.connect(case.proxy.http) as stream:
            stream.sendall(SCRAPE)
    return f"{count:,} scrapers that send their end of file before they read, and as many that hang up at once", f"{whole:,} whole answers"
