"""What clients of a bridge can do to others that scrape the same proxy."""

import time

from . import others, swarm
from .bench import row
from .http import KEPT, BESIDE, MIB, unread
from .proxy import Bridge, HyperdhtBridge, Proxy


def large(case):
    """An app of 2.9 MB behind the bridge; how much it is."""
    body = "".join(f'large_metric{{number="{number}",padding="{"x" * 40}"}} {number}\n' for number in range(38_000))
    assert case.proxy.behind.ask("PUT", "/apps/large/metrics", body)[0] == 200
    return len(body)


@row("readers of a bridge that stop", start=Bridge, ways=others.THROUGH, memory=BESIDE)
def stopped(case):
    size = large(case)
    streams = [unread(case, "/scrape/north/metrics?own=false") for _ in range(40)]
    time.sleep(3 if case.quick else 30)
    swarm.close_all(streams)
    return f"40 scrapes of {size / 1e6:.1f} MB through a bridge that read nothing", "the bridge has taken them from the link, and others share it"


@row("readers of a bridge that stop, renewed", start=Bridge, ways=others.THROUGH, memory=KEPT + BESIDE,
     environment={"MALLOC_MMAP_THRESHOLD_": "131072"})
def renewed(case):
    size, streams, count = large(case), [], 0
    end = time.monotonic() + (5 if case.quick else 30)
    while time.monotonic() < end:
        streams.append(unread(case, "/scrape/north/metrics?own=false"))
        count += 1
        time.sleep(0.1)
    swarm.close_all(streams)
    return f"ten such scrapes a second, {count} of {size / 1e6:.1f} MB in all", f"together they keep at most {KEPT} MiB in the bridge"


@row("readers of a bridge that have their answer and stay", start=Bridge, ways=others.THROUGH, memory=64)
def staying(case):
    streams = []
    for _ in range(case.so_many(400, 200)):
        stream = swarm.connect(case.proxy.http)
        stream.sendall(b"GET /scrape/north/apps/small/metrics HTTP/1.1\r\nhost: x\r\n\r\n")
        stream.recv(4_096)
        streams.append(stream)
    time.sleep(2)
    swarm.close_all(streams)
    return f"{len(streams)} connections that scraped a proxy through a bridge and then idle", "others found streams of the link free"


def handshakes(case):
    """A proxy registers each second meanwhile, and a new one comes."""
    rate, seconds = 800, 10 if case.quick else 30
    registrations = "exporter_proxy_p2p_registrations_total"
    before = case.proxy.behind.own(registrations, result="unchanged")
    flood = case.proxy.node("handshakes.js", case.proxy.bootstrap, case.proxy.key, rate, seconds)
    time.sleep(seconds / 2)
    began = time.monotonic()
    late = Proxy(case.binary, {
        "p2p.enabled": True, "p2p.key_file": str(case.proxy.folder / "late.key"), "p2p.alias": "late", "p2p.secret": case.proxy.SECRET,
        "p2p.bridges": [f"hyperdht://{case.proxy.key}"], "hyperdht.bootstrap": [case.proxy.bootstrap],
    })
    try:
        case.until("a new proxy registers", lambda: late.own(registrations, result="updated") > 0, 60)
        took = time.monotonic() - began
        sent, answered = map(int, flood.stdout.read().split())
        flood.wait()
        again = case.proxy.behind.own(registrations, result="unchanged") - before
        lost = case.proxy.behind.own(registrations, result="unreachable")
        case.check(again > 0 and lost == 0, f"{again:.0f} registrations of a known proxy went well, {lost:.0f} did not")
    finally:
        late.remove()
    return f"{sent:,} handshakes of as many keys in {seconds} s over HyperDHT, none of which went on", \
        f"{answered:,} answered; a known proxy registered {again:.0f} times meanwhile, a new one after {took:.1f} s"


if HyperdhtBridge.is_installed():
    row("handshakes over HyperDHT that do not go on", start=HyperdhtBridge, ways=others.BY_KEY, memory=BESIDE)(handshakes)
