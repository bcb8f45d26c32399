"""Everybody else: a process that goes on scraping and pushing, and notes how it was served."""

import http.client
import multiprocessing
import socket
import time

# The ways in and out that are tried in turn.
ALL = ("scrape", "http", "tcp", "unix")
# Ways out that are only tried where a row says so: what they ask for.
PATHS = {"one": "/metrics?app=witness_http&own=false", "health": "/healthz", "own": "/metrics?only=own"}
# A small app of a proxy behind a bridge.
THROUGH = ("through",)
# A proxy that a bridge scrapes over HyperDHT.
BY_KEY = ("by key",)
# Between two tries.
PAUSE = 0.02
# After which somebody counts as not served.
PATIENCE = 20


def receive(stream, payload):
    """Sends a message, ends, and waits until the proxy has taken it, which it shows by ending too."""
    with stream:
        stream.settimeout(PATIENCE)
        stream.sendall(payload)
        stream.shutdown(socket.SHUT_WR)
        told = stream.recv(4096)
        assert told == b"", f"the proxy said {told!r}"


def try_once(way, number, addresses):
    text = f"witness_{way} {number}"
    if way == "tcp":
        receive(socket.create_connection(addresses["tcp"], PATIENCE), f'{{"witness_tcp":"{text}"}}'.encode())
        return
    if way == "unix":
        stream = socket.socket(socket.AF_UNIX)
        stream.settimeout(PATIENCE)
        stream.connect(addresses["unix"])
        receive(stream, f'{{"witness_unix":"{text}"}}'.encode())
        return
    connection = http.client.HTTPConnection(*addresses["http"], timeout=PATIENCE)
    try:
        if way == "http":
            connection.request("PUT", "/apps/witness_http/metrics", text)
        elif way == "through":
            connection.request("GET", "/scrape/north/apps/small/metrics")
        elif way == "by key":
            connection.request("GET", "/scrape/north/metrics")
        else:
            connection.request("GET", PATHS.get(way, "/metrics"))
        response = connection.getresponse()
        body = response.read()
        assert response.status == 200, f"{response.status} {body[:100]!r}"
        if way == "one":
            assert b"witness_http " in body, f"the scrape lacks what was pushed: {body[:100]!r}"
        assert way not in ("scrape", "own") or b"exporter_proxy_apps" in body, "the scrape lacks the proxy's own metrics"
    finally:
        connection.close()


def work(ways, addresses, stop, out):
    served = {way: [0, 0.0, []] for way in ways}
    faults, number = [], 0
    while not stop.is_set():
        number += 1
        for way in ways:
            began = time.monotonic()
            try:
                try_once(way, number, addresses)
                served[way][0] += 1
            except Exception as why:  # whatever it is, somebody was not served
                faults.append(f"{way}: {type(why).__name__}: {why}")
            took = time.monotonic() - began
            served[way][1] = max(served[way][1], took)
            served[way][2].append(took)
        time.sleep(PAUSE)
    out.send((served, faults))


class Others:
    """Runs beside a row. A process, not a thread: the row must not slow them down itself."""

    def __init__(self, proxy, ways):
        context = multiprocessing.get_context("fork")
        self.stop = context.Event()
        self.out, inner = context.Pipe(duplex=False)
        addresses = {"http": proxy.http, "tcp": proxy.tcp, "unix": proxy.unix}
        self.child = context.Process(target=work, args=(ways, addresses, self.stop, inner), daemon=True)
        self.child.start()

    def finish(self):
        """What each way was served, as `{way: (times, worst, each one's time)}`, and what failed."""
        self.stop.set()
        served, faults = self.out.recv() if self.out.poll(PATIENCE * 5) else ({}, ["everybody else hangs"])
        self.child.join(1)
        if self.child.is_alive():
            self.child.kill()
        return served, faults
