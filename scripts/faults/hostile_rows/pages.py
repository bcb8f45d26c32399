"""What clients of the status page can do."""

import json
import socket
import threading
import time

from . import swarm
from .bench import row

# A scrape of everything would include the 10,000 apps themselves.
WAYS = ("http", "one", "health", "tcp", "unix")

PAGE = {"accept": "text/html"}
# Pages and listings of so many apps; 500 of them are shown on a page.
APPS = 10_000
# Clients that ask in a loop.
CLIENTS = 8


def fill(case):
    """Pushes apps, of which every hundredth has a fault."""
    text = lambda number: f"m {number}\n" + ("not a sample\n" if number % 100 == 0 else "")
    apps = json.dumps({f"app{number:06}": text(number) for number in range(APPS)}).encode()
    swarm.say(case.proxy.tcp, apps)
    case.until("the apps are stored", lambda: case.proxy.own("exporter_proxy_apps") >= APPS)


def in_a_loop(case, path, headers):
    """Clients that each ask for another path each time; how many answers they got."""
    stop, asked, wrong = threading.Event(), [0], []

    def loop(client):
        number = 0
        while not stop.is_set():
            number += 1
            status, body = case.proxy.ask("GET", path(client, number), headers=headers)
            asked[0] += 1
            if status != 200 or b"app0" not in body:
                wrong.append(f"{status}, {len(body)} bytes")

    clients = [threading.Thread(target=loop, args=(number,)) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    end = time.monotonic() + (4 if case.quick else 20)
    while time.monotonic() < end:
        # Each update is another version.
        case.proxy.ask("PUT", "/apps/app000001/metrics", f"m {time.monotonic()}\n")
        time.sleep(0.02)
    stop.set()
    for client in clients:
        client.join()
    case.check(not wrong, f"other answers: {wrong[:3]}")
    case.check(asked[0] >= CLIENTS, f"only {asked[0]} answers")
    return asked[0]


@row("status pages with changing searches", ways=WAYS, memory=96)
def pages(case):
    fill(case)
    asked = in_a_loop(case, lambda client, number: f"/?q=app00{client}{number % 10}&sort=age", PAGE)
    return f"{APPS:,} apps, one of which is updated fifty times a second, and {CLIENTS} clients that ask for the status page in a loop, each time with another search", \
        f"{asked} whole pages"


@row("listings with changing searches", ways=WAYS, memory=96)
def searches(case):
    fill(case)
    asked = in_a_loop(case, lambda client, number: f"/apps?q=app00{client}{number % 10}", {})
    return f"the same, and {CLIENTS} clients that ask for /apps?q= in a loop, each time with another search", f"{asked} whole listings"


@row("streams of the status page", ways=WAYS, memory=64)
def streams(case):
    fill(case)
    opened, refused = [], 0
    for _ in range(32):
        stream = swarm.connect(case.proxy.http, source="127.0.0.2")
        stream.sendall(b"GET /ui/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        head = stream.recv(12)
        if head == b"HTTP/1.1 200":
            opened.append(stream)
        else:
            refused += head == b"HTTP/1.1 503"
            stream.close()
    case.check(len(opened) == 8 and refused == 24, f"{len(opened)} were opened, {refused} refused")
    other = swarm.connect(case.proxy.http)
    other.sendall(b"GET /ui/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
    case.check(other.recv(12) == b"HTTP/1.1 200", "another client got no stream")
    end = time.monotonic() + (5 if case.quick else 20)
    while time.monotonic() < end:
        case.proxy.ask("PUT", "/apps/app000001/metrics", f"m {time.monotonic()}\n")
        time.sleep(0.02)
    heard = b""
    other.settimeout(10)
    try:
        while b"\ndata: " not in heard:
            heard += other.recv(4_096)
    except socket.timeout:
        case.check(False, "the other client's stream says nothing")
    swarm.close_all([*opened, other])
    return f"32 streams of one client that reads nothing, with {APPS:,} apps, one of which is updated fifty times a second", \
        f"{len(opened)} opened, {refused} refused; another client has a stream that says that something has changed"
