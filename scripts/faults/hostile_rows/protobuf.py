"""What one client can hand in as protobuf: bodies that grow as text, cost much for each byte, or are broken."""

import random
import struct
import time

from .bench import row

MIB = 1 << 20
WAYS = ("http", "one", "health", "own", "tcp", "unix")
# As for large texts: for a machine that is busy.
WAIT = 1.0
TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def field(number, payload):
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def family(name, kind, metrics):
    message = field(1, name.encode()) + varint(3 << 3) + varint(kind) + metrics
    return varint(len(message)) + message


GAUGE, HISTOGRAM = 1, 4


def push(case, body, expected, app="odd"):
    status, answer = case.proxy.ask("PUT", f"/apps/{app}/metrics", body, patience=120, headers={"Content-Type": TYPE})
    case.check(status in expected, f"{status} {answer[:200]!r}")
    return status


def native(label, spans, deltas):
    """A native histogram with these spans of an offset and a length, and so many buckets of one observation each."""
    positive = b"".join(field(12, b"\x08" + varint(offset << 1) + b"\x10" + varint(length)) for offset, length in spans)
    histogram = varint(1 << 3) + varint(deltas) + varint(5 << 3) + varint(3 << 1) + positive + field(13, b"\x02" + b"\x00" * (deltas - 1))
    return field(4, field(1, field(1, b"n") + field(2, label)) + field(7, histogram))


@row("protobuf: metrics without anything", ways=WAYS, wait=WAIT, memory=700)
def empty(case):
    """Two bytes a metric, as text as long as a name: refused by the limit on the text."""
    count = MIB if case.quick else 7 * MIB
    body = family("n" * 200, GAUGE, b"\x22\x00" * count)
    began = time.monotonic()
    push(case, body, (400, 413))
    # Few enough for the limit, but all the same series.
    push(case, family("n", GAUGE, b"\x22\x00" * 50_000), (400,))
    return f"{len(body) / MIB:.0f} MiB of {count:,} metrics of two bytes each, with a name of 200 bytes", \
        f"refused after {time.monotonic() - began:.1f} s"


@row("protobuf: native histograms with very many buckets", ways=WAYS, wait=WAIT, memory=700)
def buckets(case):
    many = 100_000 if case.quick else 1_000_000
    body = family("wide", HISTOGRAM, native(b"a", [(1, 1)] * many, many))
    first = push(case, body, (200, 400, 413))
    # Spans that name more buckets than there are counts.
    push(case, family("lying", HISTOGRAM, native(b"a", [(0, 4_000_000_000)], 10)), (400,))
    push(case, family("far", HISTOGRAM, native(b"a", [(2_000_000_000, 5), (2_000_000_000, 5)], 10)), (200, 400))
    fleet = family("small", HISTOGRAM, b"".join(native(b"%d" % n, [(0, 4)], 4) for n in range(20_000 if case.quick else 100_000)))
    began = time.monotonic()
    push(case, fleet, (200,))
    case.proxy.ask("DELETE", "/apps/odd", patience=120)
    return f"{many:,} buckets in one histogram ({first}), spans of four billion buckets, and {len(fleet) / MIB:.0f} MiB of small histograms", \
        f"the small ones are stored after {time.monotonic() - began:.1f} s"


@row("protobuf: broken messages", ways=WAYS, wait=WAIT)
def broken(case):
    """Whatever is cut off or damaged is refused or taken as something else, and others stay as they are."""
    push(case, family("good", GAUGE, field(4, field(2, b"\x09" + struct.pack("<d", 7)))), (200,), app="good")
    whole = family("c", HISTOGRAM, native(b"a", [(0, 3)], 3)) + family("d", GAUGE, field(4, field(2, b"\x09" + struct.pack("<d", 1.5))))
    odd = [b"\xff" * 20, b"\x05", b"\x80" * 12, varint(1 << 62), b"\x03\x0b\x0c\x0b", varint(6) + field(1, b"x") + varint(3 << 3) + b"\x63"]
    dice, refused = random.Random(1), 0
    for _ in range(200 if case.quick else 4_000):
        damaged = bytearray(whole)
        for _ in range(dice.randrange(1, 4)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        odd.append(bytes(damaged[: dice.randrange(1, len(damaged) + 1)]))
    for body in odd:
        refused += push(case, body, (200, 400, 413, 415)) != 200
    case.check(case.proxy.text("/apps/good/metrics") == "# TYPE good gauge\ngood 7\n", "what was stored has changed")
    case.proxy.ask("DELETE", "/apps/odd")
    return f"{len(odd):,} bodies that are cut off or damaged", f"{refused:,} refused, the others are whole messages still; other apps are as they were"
