"""What senders on the TCP and the Unix socket can do."""

import contextlib
import json
import random
import socket
import struct
import time

from . import swarm
from .bench import row

MIB = 1 << 20


def capnp(app, data):
    """A well-formed InboundMetrics message (https://capnproto.org/encoding.html)."""
    texts = [text.encode() + b"\0" for text in (app, data)]
    padded = [text + bytes(-len(text) % 8) for text in texts]
    root = struct.pack("<II", 0, 2 << 16)
    first = struct.pack("<II", 1 | (1 << 2), 2 | (len(texts[0]) << 3))
    second = struct.pack("<II", 1 | ((len(padded[0]) // 8) << 2), 2 | (len(texts[1]) << 3))
    body = root + first + second + padded[0] + padded[1]
    return struct.pack("<II", 0, len(body) // 8) + body


def framed(*segments):
    """Segments of any content in the standard framing."""
    table = struct.pack("<I", len(segments) - 1) + b"".join(struct.pack("<I", len(segment) // 8) for segment in segments)
    return table + bytes(-len(table) % 8) + b"".join(segments)


def words(*values):
    return b"".join(struct.pack("<Q", value) for value in values)


GOOD = capnp("kept", "kept 1\n")
MALFORMED_JSON = {
    "cut off": b'{"kept":"bad',
    "cut off in an escape": b'{"kept":"bad\\u00',
    "no JSON": b"GET / HTTP/1.1\r\n\r\n",
    "an array at the top": b'["kept"]',
    "a number for a value": b'{"kept":7}',
    "an object for a value": b'{"kept":{"a":"b"}}',
    "a number among lines": b'{"kept":["bad 1",2]}',
    "no such escape": b'{"kept":"\\x"}',
    "no UTF-8": b'{"kept":"\xff\xfe"}',
    "half a surrogate": b'{"kept":7,"x":"\\ud800"',
    "a bare control character": b'{"kept":"a\nb"}',
    "an empty name": b'{"":"bad 1"}',
    "a name of 300 bytes": b'{"' + b"n" * 300 + b'":"bad 1"}',
    "100,000 brackets": b'{"kept":' + b"[" * 100_000,
    "100,000 braces": b'{"kept":' + b'{"a":' * 100_000,
    "300,000 keys": b"{" + b",".join(b'"k%d":0' % number for number in range(300_000)) + b"}",
    "a number of 1 MiB": b'{"kept":' + b"1" * MIB + b"}",
    "a NUL behind a brace": b"{\0\0\0\0\0\0\0",
}
MALFORMED_CAPNP = {
    "cut off in the table": GOOD[:6],
    "cut off in the text": GOOD[:-8],
    "16,777,216 segments": struct.pack("<I", 0xFFFFFF) + bytes(60),
    "512 segments of 32 GiB": struct.pack("<I", 511) + struct.pack("<I", 0xFFFFFFFF) * 512,
    "513 segments": struct.pack("<I", 512) + bytes(4 * 513 + 4),
    "a segment of 32 GiB": struct.pack("<II", 0, 0xFFFFFFFF),
    "an empty message": struct.pack("<II", 0, 0),
    "a far pointer into segment 4,294,967,295": framed(words(2 | (0xFFFFFFFF << 32))),
    "a far pointer to itself": framed(words(2)),
    "a double far pointer to itself": framed(words(6, 6, 6)),
    "a text beyond the end": framed(words(2 << 48, 1 | (500 << 2) | (2 << 32) | (4_000 << 35), 0)),
    "a text of 512 MiB": framed(words(2 << 48, 1 | (2 << 32) | (0x1FFFFFFF << 35), 0)),
    "a struct that holds itself": framed(words(1 << 48, 0xFFFFFFFC | (1 << 48))),
    "a list of structs for a text": framed(words(2 << 48, 1 | (7 << 32) | (0x1FFFFFFF << 35), 0, 0)),
    "zero-sized structs without end": framed(words(2 << 48, 1 | (7 << 32), 0x1FFFFFFF << 2, 0)),
    "a name that is no UTF-8": GOOD.replace(b"kept\0", b"\xff\xfept\0"),
    "no final NUL": GOOD.replace(b"kept 1\n\0", b"kept 1\nx"),
    "a capability": framed(words(1 << 48, 3)),
}


def both(case):
    return (("tcp", case.proxy.tcp), ("unix", case.proxy.unix))


def keep(case):
    """Stores what must still be there afterwards."""
    swarm.say(case.proxy.tcp, b'{"kept":"kept 1"}')


def stored(case, family):
    """How many series have a name that begins so."""
    return sum(line.startswith(family) for line in case.proxy.text("/metrics?own=false").splitlines())


def forget(case, way, count):
    for number in range(count):
        case.proxy.ask("DELETE", f"/apps/{way}{number}")


def check_kept(case):
    case.check(case.proxy.text("/apps/kept/metrics") == "kept 1\n", "what was stored before has changed")


@row("malformed JSON and Cap'n Proto", memory=64)
def malformed(case):
    keep(case)
    untold, spoken = [], []
    for _, address in both(case):
        for name, payload in MALFORMED_JSON.items():
            before = case.proxy.own("exporter_proxy_rejected_total")
            told = swarm.say(address, payload)
            lines = told.decode().splitlines()
            if payload.startswith((b"GET ", b"POST ")):
                refused = told.startswith(b"HTTP/1.1 400 ") and b"exporter.scrape_expose_endpoint" in told
            else:
                refused = bool(lines) and all("error" in json.loads(line) for line in lines)
            if payload[1:2] != b"\0" and not refused:
                untold.append(name)
            case.check(case.proxy.own("exporter_proxy_rejected_total") > before, f"{name} was not counted")
        for name, payload in MALFORMED_CAPNP.items():
            before = case.proxy.own("exporter_proxy_rejected_total")
            told = swarm.say(address, payload)
            if told:
                spoken.append(name)
            case.check(case.proxy.own("exporter_proxy_rejected_total") > before or name == "an empty message", f"{name} was not counted")
    case.check(not untold, f"nobody was told about {untold}")
    case.check(not spoken, f"a sender of Cap'n Proto was written to: {spoken}")
    check_kept(case)
    names = "; ".join(MALFORMED_JSON) + "; as Cap'n Proto: " + "; ".join(MALFORMED_CAPNP)
    return f"each of these over TCP and Unix: {names}", "every one refused and counted, senders of JSON told in one line, earlier data intact"


@row("senders outside receiver.allow", settings={"receiver.allow": ["127.0.0.1"]})
def not_allowed(case):
    keep(case)
    before = case.proxy.own("exporter_proxy_rejected_total")
    count = case.so_many(3_000, 300)
    streams = []
    for _ in range(count):
        stream = swarm.connect(case.proxy.tcp, source="127.0.0.2")
        stream.sendall(b'{"kept":"bad 1"}')
        streams.append(stream)
    told = swarm.hear(streams[0])
    case.check(b"receiver.allow" in told, f"the answer does not name the key: {told!r}")
    left = count - swarm.closed_within(streams, 30)[0]
    case.check(not left, f"{left} connections are still open")
    swarm.close_all(streams)
    rejected = case.proxy.own("exporter_proxy_rejected_total") - before
    case.check(rejected == count, f"{rejected} of {count} were counted")
    check_kept(case)
    return f"{count} senders of an address that is not allowed, which stay", "every one refused and counted, and closed within a second"


@row("garbage", memory=64)
def garbage(case):
    keep(case)
    dice, count = random.Random(7), case.so_many(2_000, 300)
    payloads = [dice.randbytes(1 << dice.randrange(17)) for _ in range(count)]
    payloads += [GOOD[:8] + dice.randbytes(len(GOOD) - 8) for _ in range(count)]
    payloads += [b'{"a' + dice.randbytes(dice.randrange(2_000)) for _ in range(count)]
    for _, address in both(case):
        heard = swarm.converse(address, payloads)
        case.check(not any(isinstance(what, TimeoutError) for what in heard), "somebody was left waiting")
    check_kept(case)
    rejected = case.proxy.own("exporter_proxy_rejected_total")
    return f"{len(payloads):,} clients with random bytes, with and without a good beginning, on each of TCP and Unix", \
        f"{rejected:,.0f} refusals counted, no more than 5 lines in 10 s logged for each listener"


@row("a message of 1 GiB", memory=64)
def gigabyte(case):
    keep(case)
    for way, address in both(case):
        _, told = swarm.flood(address, b'{"kept":"', b"x" * MIB, 1 << 30)
        case.check(b"max_message_bytes" in told, f"{way}: the refusal was not told but {told!r}")
        declared = struct.pack("<II", 0, 1 << 27)
        _, told = swarm.flood(address, declared, b"x" * MIB, 1 << 30)
        case.check(told == b"", f"{way}: a sender of Cap'n Proto was told {told!r}")
    refused = case.proxy.own("exporter_proxy_rejected_total", reason="too_large")
    case.check(refused == 4, f"{refused:.0f} of 4 were refused as too large")
    check_kept(case)
    return "1 GiB as JSON and as Cap'n Proto, over TCP and Unix", \
        "JSON refused at 16 MiB, Cap'n Proto at its header; what goes on coming within the next second is thrown away, so that the sender " \
        "can read why, then the connection is closed"


@row("a bomb of keys", memory=128, settings={"receiver.max_inflight_bytes": "16MiB"})
def keys(case):
    text = b"{" + b'"":0,' * 200_000
    streams = [swarm.connect(case.proxy.tcp) for _ in range(case.so_many(200, 100))]
    for stream in streams:
        stream.setblocking(False)
        try:
            stream.send(text)
        except BlockingIOError:
            pass
    end = time.monotonic() + (5 if case.quick else 30)
    sent = [0] * len(streams)
    while time.monotonic() < end:
        for number, stream in enumerate(streams):
            try:
                sent[number] += stream.send(text[: len(text) // 8 * 5])
            except (BlockingIOError, ConnectionError):
                pass
        time.sleep(0.01)
    swarm.close_all(streams)
    return f"{len(streams)} unfinished objects of hundreds of thousands of five-byte entries, with 16 MiB for half-received messages", \
        "they wait for memory; what is noted about each entry counts as well"


@row("half-received messages that use up the budget", memory=110,
     settings={"receiver.max_inflight_bytes": "32MiB", "receiver.max_message_bytes": "8MiB"})
def budget(case):
    streams, piece = [], b"x" * (256 * 1024)
    for _, address in both(case):
        for number in range(100):
            stream = swarm.connect(address)
            stream.sendall(b'{"held%d":"' % number)
            stream.setblocking(False)
            streams.append(stream)
    end = time.monotonic() + (4 if case.quick else 10)
    while time.monotonic() < end:
        for stream in streams:
            try:
                stream.send(piece)
            except (BlockingIOError, ConnectionError):
                pass
        time.sleep(0.01)
    # A small message in two pieces must not wait for those who hold the memory.
    began = time.monotonic()
    small = [swarm.connect(address) for _, address in both(case)]
    for number, stream in enumerate(small):
        stream.sendall(b'{"small%d":"' % number)
    time.sleep(0.2)
    for stream in small:
        stream.sendall(b'small 1"}')
        stream.shutdown(socket.SHUT_WR)
        stream.settimeout(5)
        try:
            case.check(stream.recv(100) == b"", "a small message was refused")
        except TimeoutError:
            case.faults.append("a small message waited for the budget")
    took = time.monotonic() - began
    swarm.close_all(streams + small)
    return "200 clients in the middle of messages of 8 MiB, with 32 MiB for half-received messages", \
        f"they wait for memory; a small message in two pieces took {took:.1f} s"


@row("stalled messages that hold the memory of others", memory=110,
     settings={"receiver.max_inflight_bytes": "32MiB", "receiver.max_message_bytes": "8MiB"})
def held(case):
    keep(case)
    streams = []
    for _, address in both(case):
        for number in range(20):
            stream = swarm.connect(address, patience=0.2)
            # Those beyond the memory are not read to the end.
            with contextlib.suppress(OSError):
                stream.sendall(b'{"held%d":"' % number + b"x" * (7 * MIB))
            streams.append(stream)
    large = b"".join(b'large{n="%d"} 1\n' % number for number in range(60_000))
    began = time.monotonic()
    status, _ = case.proxy.ask("PUT", "/apps/large/metrics", large, patience=50)
    took = time.monotonic() - began
    case.check(status == 200, f"a push of a megabyte was answered {status}")
    case.check(took < 25, f"a push of a megabyte waited {took:.1f} s")
    case.check(case.proxy.own("exporter_proxy_rejected_total", reason="stalled") > 0, "none was dropped")
    swarm.close_all(streams)
    case.proxy.ask("DELETE", "/apps/large")
    check_kept(case)
    return f"{len(streams)} clients that stop after 7 MiB of a message, with 32 MiB for half-received messages, then a push of a megabyte", \
        f"stored after {took:.1f} s; the largest stalled messages were dropped for it"


@row("clients that stall inside a message", settings={"receiver.idle_timeout": 1})
def stalled(case):
    keep(case)
    answers = []
    streams = []
    for _, address in both(case):
        for _ in range(case.so_many(500, 200)):
            stream = swarm.connect(address)
            stream.sendall(b'{"kept":"ba')
            streams.append(stream)
    closed, last = swarm.closed_within(streams, 20)
    case.check(closed == len(streams), f"{len(streams) - closed} are still open")
    case.check(last < 10, f"the last one was closed after {last:.1f} s")
    answers.append(f"all {closed} closed, the last after {last:.1f} s")
    dribbling = [swarm.connect(address) for _, address in both(case)]
    began, lasted = time.monotonic(), None
    while lasted is None and time.monotonic() - began < 20:
        for stream in dribbling:
            try:
                stream.send(b'{"kept":"' if time.monotonic() - began < 0.1 else b"x")
            except OSError:
                lasted = time.monotonic() - began
        time.sleep(0.25)
    case.check(lasted is not None and lasted < 15, f"a client that dribbles was let go on for {lasted} s")
    answers.append(f"those that dribble a byte at a time closed after {lasted or 0:.1f} s")
    swarm.close_all(streams + dribbling)
    check_kept(case)
    return "clients that stop after eleven bytes, and two that go on a byte at a time, with idle_timeout = 1", "; ".join(answers)


def half_messages(case, address, source, another):
    """3,000 of them from one address, each opened again when it is closed, each with a byte from time to time: none of another is kept out."""
    def half(number):
        stream = swarm.connect(address, source=source)
        # An earlier message makes no difference.
        with contextlib.suppress(OSError):
            stream.sendall((b'{"whole":"whole 1"}' if number % 2 else b"") + b'{"kept":"ba')
        return stream

    between = swarm.connect(address, source=another)
    between.sendall(b'{"between":"between 0"}')
    case.until("a whole message is stored", lambda: case.proxy.ask("GET", "/apps/between")[0] == 200)
    streams = [half(number) for number in range(case.so_many(3_000, 2_500))]
    renewed, messages, end = 0, 0, time.monotonic() + (2 if case.quick else 10)
    # In each round an eighth of them goes on, so that both programs do not only send and read bytes.
    while time.monotonic() < end:
        for number, stream in enumerate(streams):
            if swarm.is_closed(stream):
                stream.close()
                streams[number] = half(number)
                renewed += 1
            elif number % 8 == messages % 8:
                with contextlib.suppress(OSError):
                    stream.send(b"x")
        messages += 1
        between.sendall(b'{"between":"between %d"}' % messages)
    last = f"between {messages}\n"
    case.until("the last whole message is stored", lambda: case.proxy.text("/apps/between/metrics") == last)
    case.check(not swarm.is_closed(between), "a connection between two messages was closed")
    case.check(renewed > 0, "none was closed, so there was no shortage")
    swarm.close_all([between, *streams])
    case.proxy.ask("DELETE", "/apps/between")
    return len(streams), renewed


@row("half-sent messages of one address", memory=128)
def half_sent(case):
    keep(case)
    over_tcp = half_messages(case, case.proxy.tcp, "127.0.0.2", "127.0.0.3")
    # All of one user are of one address there.
    over_unix = half_messages(case, case.proxy.unix, None, None)
    case.check(case.proxy.own("exporter_proxy_rejected_total", reason="stalled") > 0, "none was counted")
    check_kept(case)
    return f"{over_tcp[0]:,} connections from one address with half a message each, to TCP and then to the Unix socket, on which a byte follows " \
        "from time to time, each opened again when it was closed", \
        f"{over_tcp[1]:,} and {over_unix[1]:,} closed, the oldest first; one between two messages stayed"


@row("idle connections that hold every seat", memory=96)
def idle(case):
    addresses = [address for _, address in both(case)] + [case.proxy.http]
    count = case.so_many(2_048 * 3, 2_048 * 3) // 3
    streams = [swarm.connect(address) for address in addresses for _ in range(count)]
    began, newcomers = time.monotonic(), 100
    for number in range(newcomers):
        for _, address in both(case):
            told = swarm.say(address, b'{"newcomer":"newcomer %d"}' % number)
            case.check(told == b"", f"newcomer {number} was told {told!r}")
        case.check(case.proxy.ask("GET", "/healthz")[0] == 200, f"newcomer {number} was not answered")
    took = time.monotonic() - began
    case.check(f"newcomer {newcomers - 1}\n" in case.proxy.text("/apps/newcomer/metrics"), "the last newcomer's message is lost")
    swarm.close_all(streams)
    return f"{count:,} idle connections on each of TCP, Unix and HTTP, then {newcomers} newcomers on each", \
        f"each newcomer served, {took / newcomers * 1000:.1f} ms for the three of them; the longest idle made room"


@row("an active sender among idle ones", settings={"exporter.concurrent_requests": 16}, ways=())
def active(case):
    """Whoever sends whole messages now and then is not the longest idle one."""
    for way, address in both(case):
        sender = swarm.connect(address)
        sender.sendall(b'{"active":"active 0"}')
        case.until("the first message is stored", lambda: case.proxy.ask("GET", "/apps/active")[0] == 200)
        idle = []
        for number in range(1, 101):
            sender.sendall(b'{"active":"active %d"}' % number)
            case.until("the message is stored", lambda: f"active {number}\n" == case.proxy.text("/apps/active/metrics"), 3)
            idle.append(swarm.connect(address))
            if swarm.is_closed(sender):
                case.faults.append(f"{way}: the active sender had to go after {number} newcomers")
                break
            sender.setblocking(True)
        # Without evictions this would show nothing. Meanwhile the sender goes on, or it would be the one that idles.
        def gone():
            sender.sendall(b'{"active":"active 101"}')
            return sum(map(swarm.is_closed, idle)) >= len(idle) - 16

        case.until(f"{way}: those that idle have to go", gone)
        case.check(not swarm.is_closed(sender), f"{way}: the active sender had to go in the end")
        swarm.close_all([sender, *idle])
        case.proxy.ask("DELETE", "/apps/active")
    return "one sender of a whole message now and then, while a hundred newcomers idle, with 16 seats, over TCP and Unix", "the active one kept its seat"


@row("2,000 busy connections at once", memory=192)
def busy(case):
    answers = []
    for way, address in both(case):
        count = case.so_many(2_000, 2_000)
        streams = []
        for number in range(count):
            stream = swarm.connect(address)
            stream.sendall(b'{"%s%d":"busy_%s%d' % (way.encode(), number, way.encode(), number))
            streams.append(stream)
        began = time.monotonic()
        for stream in streams:
            stream.sendall(b' 1"}')
        case.until(f"{way}: all {count} are stored", lambda: stored(case, f"busy_{way}") == count)
        answers.append(f"{way}: all {count:,} stored, {time.monotonic() - began:.1f} s after the last byte")
        swarm.close_all(streams)
        forget(case, way, count)
    return "2,000 connections with half a message each, then the other halves", "; ".join(answers)


@row("more busy clients than seats", settings={"exporter.concurrent_requests": 64}, ways=("scrape", "http"), memory=48)
def crowded(case):
    answers = []
    for way, address in both(case):
        count, streams = 600, []
        for number in range(count):
            stream = swarm.connect(address)
            stream.sendall(b'{"%s%d":"crowd_%s%d' % (way.encode(), number, way.encode(), number))
            streams.append(stream)
        time.sleep(1)
        for stream in streams:
            stream.sendall(b' 1"}')
            stream.shutdown(socket.SHUT_WR)
        case.until(f"{way}: all are stored", lambda: stored(case, f"crowd_{way}") == count)
        found = stored(case, f"crowd_{way}")
        answers.append(f"{way}: {found} of {count} stored")
        swarm.close_all(streams)
        forget(case, way, count)
    return "600 clients with half a message each on 64 seats, then the other halves", "; ".join(answers) + "; they had waited for a seat"


@row("5,000 messages at once", memory=128)
def thousands(case):
    answers = []
    for way, address in both(case):
        count = case.so_many(5_000, 2_500)
        payloads = [b'{"%s%d":"many_%s%d 1"}' % (way.encode(), number, way.encode(), number) for number in range(count)]
        began = time.monotonic()
        heard = swarm.converse(address, payloads)
        wrong = [what for what in heard if what != b""]
        case.check(not wrong, f"{way}: {len(wrong)} were not taken, such as {wrong[:1]}")
        found = stored(case, f"many_{way}")
        case.check(found == count, f"{way}: {count - found} were lost")
        answers.append(f"{way}: {found:,} of {count:,} stored in {time.monotonic() - began:.1f} s")
        forget(case, way, count)
    return "5,000 clients (2,500 in quick mode) that connect, send, end and listen, all at the same time", "; ".join(answers)


@row("resets", memory=64)
def resets(case):
    keep(case)
    count, dice = case.so_many(9_000, 2_000), random.Random(3)
    beginnings = [b"", b"{", b'{"kept":"ba', GOOD[:20], b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", b"GET /me", b"garbage"]
    for way, address in both(case) + (("http", case.proxy.http),):
        waiting = []
        for number in range(count // 3):
            stream = swarm.connect(address)
            try:
                stream.sendall(dice.choice(beginnings))
            except OSError:
                pass
            waiting.append(stream)
            if len(waiting) > 50:
                swarm.reset(waiting.pop(dice.randrange(50)))
        for stream in waiting:
            swarm.reset(stream)
    check_kept(case)
    return f"{count:,} connections that end in a reset, at every stage, over TCP, Unix and HTTP", "each of them one failed connection; earlier data intact"


@row("a sender that does not read what it is told")
def deaf(case):
    keep(case)
    answers = []
    for way, address in both(case):
        with swarm.connect(address) as stream:
            stream.settimeout(20)
            began = time.monotonic()
            for _ in range(100):
                stream.sendall(b'{"kept":7}' * 1_000)
            stream.sendall(b'{"heard":"heard 1"}')
            case.until(f"{way}: the last message is stored", lambda: case.proxy.ask("GET", "/apps/heard")[0] == 200)
            answers.append(f"{way}: {time.monotonic() - began:.1f} s")
        case.proxy.ask("DELETE", "/apps/heard")
    check_kept(case)
    return "100,000 wrong messages and a good one, without reading a word of the errors", f"the good one is stored: {', '.join(answers)}"


@row("an object of 200,000 wrong entries", memory=160)
def wrong_entries(case):
    keep(case)
    text = b'{"good":"good 1"' + b"".join(b',"wrong%d":%d' % (number, number) for number in range(200_000)) + b"}"
    began = time.monotonic()
    streams = []
    for _, address in both(case) * 4:
        stream = swarm.connect(address)
        stream.sendall(text)
        streams.append(stream)
    case.until("the good one is stored", lambda: case.proxy.ask("GET", "/apps/good")[0] == 200)
    for stream in streams:
        stream.shutdown(socket.SHUT_WR)
    took = time.monotonic() - began
    case.until("all are counted", lambda: case.proxy.own("exporter_proxy_rejected_total", reason="bad_value") >= 8 * 200_000, patience=120)
    swarm.close_all(streams)
    check_kept(case)
    return f"eight times {len(text) / MIB:.1f} MiB at once with 200,000 apps each whose metrics are numbers", f"each refused and counted, the one good app stored after {took:.1f} s"
