"""OpenMetrics 2.0: what one client can push in it, and what scrapers that ask for it cost."""

import socket
import time

from . import swarm
from .bench import row

MIB = 1 << 20
WAYS = ("http", "one", "health", "own", "tcp", "unix")
# As for large texts: for a machine that is busy.
WAIT = 1.0
TYPE = "application/openmetrics-text; version=2.0.0"
OPENMETRICS_1 = "application/openmetrics-text; version=1.0.0"


def push(case, body, expected, kind=TYPE):
    status, answer = case.proxy.ask("PUT", "/apps/odd/metrics", body, patience=120, headers={"Content-Type": kind})
    case.check(status in expected, f"{status} {answer[:200]!r}")
    return status


@row("OpenMetrics 2.0: bodies that are large in every way", ways=WAYS, wait=WAIT, memory=700)
def bodies(case):
    part = 4 if case.quick else 1
    buckets = ",".join(f"{bound}:1" for bound in range(400_000 // part))
    exemplars = "".join(f' # {{id="{n}"}} {n} {n}' for n in range(300_000 // part))
    odd = {
        "a histogram with very many buckets": f"# TYPE h histogram\nh {{count:1,sum:1,bucket:[{buckets},+Inf:1]}}\n# EOF\n",
        "a counter with very many exemplars": f"# TYPE c counter\nc 1{exemplars}\n# EOF\n",
        "very many families": "".join(f"m{n} 1\n" for n in range(1_000_000 // part)) + "# EOF\n",
        "lines without a meaning": "{\n" * (4_000_000 // part) + "# EOF\n",
        "a composite value without an end": "# TYPE h histogram\nh {" + "bucket:[" * (1_000_000 // part) + "\n# EOF\n",
    }
    began = time.monotonic()
    outcomes = {what: push(case, body, (200, 400, 413)) for what, body in odd.items()}
    case.proxy.ask("DELETE", "/apps/odd", patience=120)
    return ", ".join(odd), f"{sorted(outcomes.values())} after {time.monotonic() - began:.1f} s"


@row("OpenMetrics 2.0: scrapers that do not read", ways=WAYS, wait=WAIT, memory=768)
def unread(case):
    """The names of families are in memory for each of them, and count with what stalled responses keep: 256 MiB, and the app beside it."""
    families = 20_000 if case.quick else 100_000
    gauges = "# TYPE sizes gaugehistogram\n" + "".join(f'sizes_bucket{{le="{n}.0"}} 1\n' for n in range(families)) + 'sizes_bucket{le="+Inf"} 1\n'
    body = gauges + "sizes_gcount 1\nsizes_gsum 1\n" + "".join(f"family_of_a_usual_length_{n} 1\n" for n in range(families)) + "# EOF\n"
    push(case, body, (200,), OPENMETRICS_1)
    streams = []
    for _ in range(60):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        stream.connect(case.proxy.http)
        stream.sendall(f"GET /metrics?own=false HTTP/1.1\r\nhost: x\r\naccept: {TYPE}\r\n\r\n".encode())
        streams.append(stream)
    time.sleep(2)
    kept = case.proxy.own("exporter_proxy_http_stalled_bytes") / MIB
    case.check(kept <= 300, f"stalled responses keep {kept:.0f} MiB")
    status, text = case.proxy.ask("GET", "/metrics?own=false", headers={"Accept": TYPE}, patience=120)
    case.check(status == 200 and text.endswith(b"# EOF\n"), f"{status}, {text[-40:]!r}")
    swarm.close_all(streams)
    case.proxy.ask("DELETE", "/apps/odd", patience=120)
    return f"60 scrapes of {families:,} families and a gauge histogram of {families:,} buckets", f"{kept:.0f} MiB are kept for them"
