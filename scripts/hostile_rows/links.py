"""What clients of a bridge can do to others that scrape the same proxy."""

import time

from . import others, swarm
from .bench import row
from .http import KEPT, BESIDE, MIB, unread
from .proxy import Bridge


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
