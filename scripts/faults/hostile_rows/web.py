"""What clients can do to a port with TLS and users. Each row has such a proxy of its own, beside that of everybody else."""

import base64
import http.client
import pathlib
import ssl
import statistics
import time

from . import swarm
from .bench import row
from .proxy import Proxy

FIXTURES = pathlib.Path(__file__).resolve().parents[3] / "tests/fixtures/web_config"
# Hash of "secret" at the lowest cost.
HASH = "$2b$04$NdtBAEROJw2PmgWIkNLiw.gcPkgCoTsZhYmTrDjN2M7PF100NR./u"
# The worst that a scrape of a known user may take meanwhile.
MOST = 1.0


def start(case, text):
    """A proxy with this web configuration."""
    folder = pathlib.Path(case.proxy.folder)
    for name in ("server.pem", "server-key.pem"):
        (folder / name).write_bytes((FIXTURES / name).read_bytes())
    (folder / "web.yml").write_text(text)
    return Proxy(case.binary, {"http.web_config_file": str(folder / "web.yml")})


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def scrape(proxy, headers, tls=None):
    """Status and seconds of one scrape on a connection of its own."""
    began = time.monotonic()
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    connection = kind(*proxy.http, timeout=20, **({"context": tls} if tls else {}))
    try:
        connection.request("GET", "/metrics", headers=headers)
        response = connection.getresponse()
        response.read()
        return response.status, time.monotonic() - began
    finally:
        connection.close()


@row("a flood of wrong passwords", memory=64)
def passwords(case):
    """Each another one, so that none is in the cache, at the usual cost."""
    usual = (FIXTURES / "users.yml").read_text()
    proxy = start(case, f"{usual}  carol: {HASH}\n")
    try:
        known = {"authorization": basic("carol", "secret")}
        scrape(proxy, known)
        count, statuses, times = case.so_many(3_000, 1_000), {}, []
        for number in range(0, count, 100):
            requests = [f"GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: {basic('alice', number + n)}\r\nconnection: close\r\n\r\n".encode()
                        for n in range(100)]
            for heard in swarm.converse(proxy.http, requests):
                status = heard[9:12].decode() if isinstance(heard, bytes) else repr(heard)
                statuses[status] = statuses.get(status, 0) + 1
            status, took = scrape(proxy, known)
            case.check(status == 200, f"a known user got {status}")
            times.append(took)
        case.check(set(statuses) <= {"401", "429", "503"}, f"other answers: {statuses}")
        case.check(max(times) < MOST, f"a known user waited {max(times):.1f} s")
        return f"{count:,} requests, each with another wrong password, 100 at a time", \
            f"{statuses}; scrapes of a known user: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms"
    finally:
        proxy.remove()


@row("a flood of wrong tokens", memory=64)
def tokens(case):
    """Of the greatest length, among a hundred tables."""
    folder = pathlib.Path(case.proxy.folder)
    tables = []
    for number in range(100):
        path = folder / f"{number}.token"
        path.write_text(f"token-{number}\n")
        tables.append(f'{{ token_file = "{path}", roles = ["scrape"] }}')
    proxy = Proxy(case.binary, environment={"EXPORTER_PROXY__HTTP__ACCESS": f"[{', '.join(tables)}]"})
    try:
        count, statuses, times = case.so_many(10_000, 3_000), {}, []
        for number in range(0, count, 100):
            requests = [f"GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {'a' * 8_100}{number + n}\r\nconnection: close\r\n\r\n".encode()
                        for n in range(100)]
            for heard in swarm.converse(proxy.http, requests):
                status = heard[9:12].decode() if isinstance(heard, bytes) else repr(heard)
                statuses[status] = statuses.get(status, 0) + 1
            status, took = scrape(proxy, {"authorization": "Bearer token-99"})
            case.check(status == 200, f"a known token got {status}")
            times.append(took)
        case.check(set(statuses) == {"401"}, f"other answers: {statuses}")
        case.check(max(times) < MOST, f"a known token waited {max(times):.1f} s")
        return f"{count:,} requests, each with another wrong token of 8 kB, 100 at a time, among 100 tables", \
            f"all 401; scrapes with a known token: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms"
    finally:
        proxy.remove()


@row("slow TLS handshakes", memory=64)
def handshakes(case):
    proxy = start(case, "tls_server_config: {cert_file: server.pem, key_file: server-key.pem}\n")
    try:
        trust = ssl.create_default_context(cafile=FIXTURES / "server.pem")
        streams, count, times = [], case.so_many(1_500, 600), []
        for number in range(count):
            stream = swarm.connect(proxy.http)
            if number % 2:
                stream.sendall(b"\x16\x03\x01\x02\x00\x01")
            streams.append(stream)
            if number % 100 == 0:
                status, took = scrape(proxy, {}, trust)
                case.check(status == 200, f"a scrape got {status}")
                times.append(took)
        closed, last = swarm.closed_within(streams, 20)
        case.check(closed == count, f"{count - closed} are still open after 20 s")
        case.check(max(times) < MOST, f"a scrape waited {max(times):.1f} s")
        swarm.close_all(streams)
        return f"{count:,} clients that stop before or within the handshake", \
            f"all closed, the last after {last:.0f} s; scrapes: median {statistics.median(times) * 1000:.0f} ms, worst {max(times) * 1000:.0f} ms"
    finally:
        proxy.remove()
