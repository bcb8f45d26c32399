"""What clients of a bridge can do to others that scrape the same proxy."""

import itertools
import re
import socket
import subprocess
import threading
import time

from . import others, swarm
from .bench import LEFT_OUT, row
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


REGISTRATIONS = "exporter_proxy_p2p_registrations_total"


def registering(case, name, secret, port=None):
    """A proxy with a key of its own that registers with the bridge, or with whatever listens on another port."""
    return Proxy(case.binary, {
        "p2p.enabled": True, "p2p.key_file": str(case.proxy.folder / f"{name}.key"), "p2p.alias": name, "p2p.secret": secret,
        "p2p.bridges": [f"quic://{case.proxy.quic_key}@127.0.0.1:{port or case.proxy.quic_port}"],
    })


@row("wrong secrets from the address of others", start=Bridge, ways=others.THROUGH)
def wrong_secrets(case):
    """Several proxies with wrong secrets and ever new keys, restarted as fast as they can, and a new one with the right secret."""
    end, names, refused = time.monotonic() + (5 if case.quick else 60), itertools.count(), []

    def neighbor():
        while time.monotonic() < end:
            proxy = registering(case, f"wrong{next(names)}", "2" * 64)
            try:
                proxy.says("the bridge refused to register")
                refused.append(time.monotonic())
            finally:
                proxy.remove()

    neighbors = [threading.Thread(target=neighbor) for _ in range(4)]
    for thread in neighbors:
        thread.start()
    took = []
    try:
        case.until("the neighbors are refused", lambda: len(refused) >= 15)
        while time.monotonic() < end:
            began = time.monotonic()
            late = registering(case, f"late{len(took)}", case.proxy.SECRET)
            try:
                case.until("a new proxy registers", lambda: late.own(REGISTRATIONS, result="updated") > 0, 10)
                took.append(time.monotonic() - began)
            finally:
                late.remove()
            time.sleep(0.2)
    finally:
        for thread in neighbors:
            thread.join()
    case.check(took and max(took) < 5, f"a new proxy needed up to {max(took, default=0):.1f} s")
    return f"{len(refused)} registrations with wrong secrets, each with a new key, from one address", \
        f"all refused; {len(took)} new proxies with the right secret behind that address registered within {max(took, default=0):.1f} s each, start included"


@row("links that never register", quick=False, start=Bridge, ways=others.THROUGH, memory=128, needs="silent_links")
def silent(case):
    """More links than may wait for their registration, and a new proxy that comes meanwhile."""
    # Longer than each may stay.
    count, seconds = 1_200, 15
    command = [case.example("silent_links"), f"127.0.0.1:{case.proxy.quic_port}", str(count), str(seconds)]
    silent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    began = time.monotonic()
    late = registering(case, "late", case.proxy.SECRET)
    try:
        case.until("a new proxy registers", lambda: late.own(REGISTRATIONS, result="updated") > 0, 10)
        took = time.monotonic() - began
        told, _ = silent.communicate(timeout=seconds + 120)
    finally:
        silent.kill()
        late.remove()
    connected = int(re.search(r"(\d+) connected", told)[1])
    closed = {why: int(times) for times, why in re.findall(r"(\d+) closed: (.*)", told)}
    crowded, late_ones = (closed.get(why, 0) for why in ("too many links that have not registered", "no control message received within 10 s"))
    gone = sum(times for why, times in closed.items() if not why.startswith("not opened"))
    # One that is closed for another before it knows that its handshake is complete counts as not opened.
    case.check(connected > count * 0.8, f"{connected} of {count} links opened: {told}")
    case.check(gone == connected, f"{connected - gone} links stay open: {closed}")
    # A machine that is busy with their handshakes loses packets.
    case.check(crowded + late_ones > connected * 0.8, f"other reasons: {closed}")
    return f"{connected:,} links, each with a key of its own, that send nothing for {seconds} s after the last", \
        f"{', '.join(f'{times:,} closed: {why}' for why, times in closed.items())}; a new proxy registered after {took:.1f} s, start included"


@row("a first packet from an unverified address", start=Bridge, ways=others.THROUGH)
def unverified(case):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
        sink.bind(("127.0.0.1", 0))
        sink.settimeout(10)
        captured = registering(case, "captured", case.proxy.SECRET, sink.getsockname()[1])
        try:
            packet = sink.recv(2_048)
        finally:
            captured.remove()
    count, sent, received, seconds = 50, 0, 0, 3 if case.quick else 15
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
    for sender in sockets:
        sender.setblocking(False)
        sent += sender.sendto(packet, ("127.0.0.1", case.proxy.quic_port))
        # All have one connection id: those that come together count as one.
        time.sleep(0.02)
    # As long as a handshake would be repeated.
    time.sleep(seconds)
    for sender in sockets:
        while True:
            try:
                received += len(sender.recv(65_536))
            except BlockingIOError:
                break
        sender.close()
    case.check(0 < received <= 3 * sent, f"{received} bytes were sent for {sent}")
    return f"{count} first packets of {len(packet)} bytes, each from another port, and no more", \
        f"{received / sent:.2f} times the bytes within {seconds} s"


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


def unknown_calls(case):
    """A proxy registers each second meanwhile."""
    clients, seconds = 32, 6 if case.quick else 30
    before = case.proxy.behind.own(REGISTRATIONS, result="unchanged")
    flood = case.proxy.node("unknown-calls.js", case.proxy.bootstrap, case.proxy.key, clients, seconds)
    told, _ = flood.communicate(timeout=seconds + 60)
    connections, calls, refused, others_of_them = map(int, told.split())
    again = case.proxy.behind.own(REGISTRATIONS, result="unchanged") - before
    lost = case.proxy.behind.own(REGISTRATIONS, result="unreachable")
    case.check(connections > clients, f"{connections} connections of {clients} clients were closed")
    case.check(0 < refused <= 16 * connections, f"{refused} refusals on {connections} connections")
    case.check(others_of_them == 0, f"{others_of_them} calls got another answer")
    case.check(again > 0 and lost == 0, f"{again:.0f} registrations of a known proxy went well, {lost:.0f} did not")
    return f"{calls:,} calls of unknown methods over HyperDHT from {clients} clients that come again with a new key", \
        f"{connections:,} connections closed after at most 16 refusals each; a known proxy registered {again:.0f} times meanwhile"


if HyperdhtBridge.is_installed():
    row("calls of unknown methods over HyperDHT", start=HyperdhtBridge, ways=others.BY_KEY, memory=BESIDE)(unknown_calls)
    row("handshakes over HyperDHT that do not go on", start=HyperdhtBridge, ways=others.BY_KEY, memory=BESIDE)(handshakes)
else:
    LEFT_OUT.append(("... over HyperDHT", "the Node peers that scripts/test --all installs"))
