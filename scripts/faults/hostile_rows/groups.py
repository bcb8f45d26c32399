"""What clients of Pushgateway's API can do."""

import struct
import time

from . import swarm
from .bench import row
from .http import BESIDE, KEPT, status, unread

KIB, MIB = 1 << 10, 1 << 20


def put(path, body=b"a 1\n", headers=b"", method=b"PUT"):
    """A request that closes its connection."""
    head = b"%s %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n%s\r\n" % (method, path.encode(), len(body), headers)
    return head + body


def checksum(data):
    """The masked CRC-32C of a snappy frame."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def snappy_bomb(unpacked):
    """Snappy frames of number signs: each has 64 KiB in 3 KB."""
    # A literal of one byte, then copies of 64 bytes from one byte before.
    block = b"\x80\x80\x04" + b"\x00#" + b"\xfe\x01\x00" * 1023 + b"\xfa\x01\x00"
    frame = b"\x00" + struct.pack("<I", len(block) + 4)[:3] + struct.pack("<I", checksum(b"#" * (64 * KIB))) + block
    return b"\xff\x06\x00\x00sNaPpY" + frame * (unpacked // (64 * KIB))


# What is sent, and the status that it gets.
WRONG = {
    "no job": (put("/metrics/job//a/b"), 400),
    "a label without a value": (put("/metrics/job/x/a"), 400),
    "a path of 20,000 labels": (put("/metrics/job/x" + "/a/b" * 15_000), 200),
    "a path of 9,000 labels and a sample of 9,000 labels": (
        put("/metrics/job/wide" + "".join(f"/l{n}/" for n in range(9_000)), b"a{" + b",".join(b'm%d="1"' % n for n in range(9_000)) + b"} 1\n"), 400),
    "an odd path of 60 kB": (put("/metrics/job/x" + "/a" * 29_999), 400),
    "a path of 70 kB": (put("/metrics/job/x" + "/a" * 35_000), 431),
    "base64 that is none": (put("/metrics/job@base64/" + "!" * 60_000), 400),
    "a path that is no UTF-8": (put("/metrics/job/%ff"), 400),
    "a reserved label": (put("/metrics/job/x/__name__/b"), 400),
    "no text": (put("/metrics/job/x", bytes(range(256))), 400),
    "a timestamp": (put("/metrics/job/x", b"a 1 1\n"), 400),
    "no end of the line": (put("/metrics/job/x", b"a 1"), 400),
    "protobuf that is cut off": (put("/metrics/job/x", b"\xff\xff\xff\xff\x0f", b"content-type: application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited\r\n"), 400),
    "snappy that is none": (put("/metrics/job/x", b"abc", b"content-encoding: snappy\r\n"), 400),
    "a snappy bomb": (put("/metrics/job/x", snappy_bomb(256 * MIB), b"content-encoding: snappy\r\n"), 413),
    "an age that is none": (put("/metrics/job/x", b"a 1\n", b"x-expire-after: -5m\r\n"), 400),
    "labels that make a text a thousand times as long": (put("/metrics/job/x/l/" + "v" * 50_000, b"".join(b'a{n="%d"} 1\n' % n for n in range(50_000))), 413),
    "another method": (put("/metrics/job/x", method=b"PATCH"), 405),
}


# Forty bombs of 12 MiB hold the 256 MiB of receiver.max_inflight_bytes; beside them are 200 paths of 60 kB with their labels.
@row("groups: requests that are wrong", memory=576)
def wrong(case):
    case.proxy.ask("PUT", "/metrics/job/kept", "a 1\n")
    got = {name: status(swarm.converse(case.proxy.http, [request], half_close=False)[0]) for name, (request, _) in WRONG.items()}
    for name, (_, expected) in WRONG.items():
        case.check(got[name] == expected, f"{name}: {got[name]} instead of {expected}")
    many = [request for name, (request, _) in WRONG.items() if "thousand" not in name] * case.so_many(40, 5)
    heard = swarm.converse(case.proxy.http, many, half_close=False)
    case.check(not any(isinstance(what, TimeoutError) for what in heard), "somebody was left waiting")
    case.check('a{job="kept",instance=""} 1\n' in case.proxy.text("/metrics"), "what was stored before has changed")
    return f"{len(WRONG)} kinds of wrong pushes to groups, then {len(many):,} at once", \
        f"{', '.join(f'{name} {got[name]}' for name in WRONG)}; earlier data intact"


@row("groups: many, each deleted again", memory=256)
def many(case):
    count, began = case.so_many(20_000, 4_000), time.monotonic()
    requests = [put(f"/metrics/job/many/n/{n}", b"a 1\nb 2\n") for n in range(count)]
    heard = [status(what) for start in range(0, count, 1_000) for what in swarm.converse(case.proxy.http, requests[start:start + 1_000], half_close=False)]
    pushed = time.monotonic() - began
    case.check(heard == [200] * count, f"{count - heard.count(200)} pushes failed")
    case.check(case.proxy.ask("GET", "/api/v1/metrics")[0] == 200, "the list of groups failed")
    began = time.monotonic()
    case.check(case.proxy.ask("PUT", "/api/v1/admin/wipe")[0] == 202, "the wipe failed")
    wiped = time.monotonic() - began
    case.check('job="many"' not in case.proxy.text("/metrics?own=false"), "a group is left")
    return f"{count:,} groups, each on a connection of its own, then one wipe", f"pushed in {pushed:.1f} s, deleted in {wiped:.1f} s"


@row("groups: pushes that fail", memory=160)
def failing(case):
    """Each failure is written into its group; a thousand clients do nothing else."""
    case.proxy.ask("POST", "/metrics/job/wide", "".join(f"family_{n} 1\n" for n in range(5_000)))
    refused = [put("/metrics/job/wide", b"a 1 1\n", method=b"POST"), put("/metrics/job/wide", b'b{__x="1"} 1\n')]
    count = case.so_many(4_000, 600)
    heard = []
    for start in range(0, count, 200):
        heard += [status(what) for what in swarm.converse(case.proxy.http, (refused * 100)[:min(200, count - start)], half_close=False)]
    case.check(heard == [400] * count, f"answers {set(heard)}")
    text = case.proxy.text("/metrics")
    case.check('family_4999{job="wide",instance=""} 1\n' in text, "the group lost a family")
    return f"{count:,} pushes that fail to a group of 5,000 families", "400 each; the group keeps its families and has the time of the last failure"


@row("groups: one that only grows", memory=384, settings={"receiver.max_message_bytes": "1MiB"})
def growing(case):
    answers = []
    for push in range(case.so_many(60, 20)):
        body = "".join(f"grows_{push}_{n} 1\n" for n in range(12_000))
        answers.append(case.proxy.ask("POST", "/metrics/job/grows", body)[0])
        if answers[-1] != 200:
            break
    case.check(answers[-1] == 413 and set(answers[:-1]) == {200}, f"answers {answers}")
    case.check('grows_0_0{job="grows",instance=""} 1\n' in case.proxy.text("/metrics"), "the group is gone")
    return "pushes that add 12,000 families each to one group", f"413 after {len(answers) - 1} of them, at four times max_message_bytes; the group stays"


# The text of the group counts for each of them, although they share it. Without optimization they take half a minute.
@row("groups: unread lists of a large one", quick=False, memory=BESIDE, environment={"MALLOC_MMAP_THRESHOLD_": "131072"})
def unread_lists(case):
    """Each client that does not read its list keeps a piece of it, and the text that the rest is made from."""
    body = "".join(f'large{{number="{n}",padding="{"x" * 100}"}} {n}\n' for n in range(30_000))
    case.check(case.proxy.ask("PUT", "/metrics/job/large", body)[0] == 200, "the group is not taken")
    whole = len(case.proxy.ask("GET", "/api/v1/metrics")[1]) / MIB
    streams = []
    for number in range(case.so_many(200, 100)):
        streams.append(unread(case, "/api/v1/metrics"))
        # One piece is written after the other: each client waits for its own.
        streams[-1].settimeout(swarm.PATIENCE)
        case.check(streams[-1].recv(1) == b"H", f"client {number} gets no answer")
    case.until("a list is closed", lambda: case.proxy.own("exporter_proxy_http_stalled_closed_total") > 0, 120)
    kept = case.proxy.own("exporter_proxy_http_stalled_bytes") / MIB
    closed = case.proxy.own("exporter_proxy_http_stalled_closed_total")
    case.check(0 < kept <= KEPT, f"stalled responses keep {kept:.0f} MiB")
    swarm.close_all(streams)
    return f"{len(streams)} lists of a group of {len(body) / MIB:.1f} MiB that nobody reads, {whole:.1f} MiB each", \
        f"{closed:.0f} closed, the longest stalled first; the others keep {kept:.0f} MiB"
