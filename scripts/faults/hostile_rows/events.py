"""What clients that are strangers can do with one-shot events."""

import collections
import http.client
import http.server
import json
import threading
import time

from . import swarm
from .bench import row
from .proxy import Proxy

# Another machine, as far as the proxy can tell: Linux has all of 127.0.0.0/8 on its loopback device.
STRANGER = "127.0.0.2"


class Client:
    """One connection from an address, with many requests in a row."""

    def __init__(self, case, address):
        self.connection = http.client.HTTPConnection(*case.proxy.http, timeout=30, source_address=(address, 0))

    def ask(self, method, path, agent="stranger"):
        self.connection.request(method, path, headers={"user-agent": agent})
        response = self.connection.getresponse()
        return response, response.read().decode()

    def close(self):
        self.connection.close()


def samples(text):
    return [line for line in text.splitlines() if line.startswith("events_to_metrics{")]


@row("a flood of posted events", memory=64)
def flood(case):
    prometheus = Client(case, "127.0.0.1")
    for _ in range(2):
        prometheus.ask("GET", "/metrics", "Prometheus")
    prometheus.ask("POST", "/event?kind=real")
    posts = [b"POST /event?kind=flood&n=%d HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % number for number in range(20_000)]
    statuses = swarm.pipelined(case.proxy.http, posts, STRANGER)
    taken, refused = statuses.count(200), statuses.count(429)
    case.check(taken + refused == len(posts), f"other answers: {set(statuses)}")
    case.check(refused > 5_000, f"only {refused} were refused")
    last, _ = Client(case, "127.0.0.1").ask("POST", "/event?kind=real&second=true")
    case.check(last.status == 200, f"another client's event got {last.status}")
    scrapes = []
    while not scrapes or scrapes[-1]:
        scrapes.append(samples(prometheus.ask("GET", "/metrics?own=false", "Prometheus")[1]))
        case.check(len(scrapes[-1]) <= 5_000, f"a scrape had {len(scrapes[-1])} events")
    prometheus.close()
    real = [sample for scrape in scrapes for sample in scrape if "real" in sample]
    case.check(len(real) == 2, f"the events of others arrived {len(real)} times instead of twice")
    return "20,000 events posted by one address as fast as it can, beside one event of another before and one after them", \
        f"{taken:,} taken, {refused:,} answered with 429; both events of the other arrived; at most {max(map(len, scrapes)):,} in a scrape"


class EventServer(http.server.ThreadingHTTPServer):
    """A polled server that shows one event, with its time, once it has one."""

    daemon_threads = True
    shown = ""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Shown)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def show(self, kind):
        self.shown = f'events_to_metrics{{kind="{kind}"}} 1 {time.time_ns() // 1_000_000}\n'


class Shown(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.shown.encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain; version=0.0.4")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Polling(Proxy):
    """A proxy that polls a server of events twice a second."""

    def defaults(self):
        self.server = EventServer()
        url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        return {
            **super().defaults(),
            "poll_external.poll_other_scrape_endpoints": True,
            "poll_external.other_scrape_endpoints": [{"url": url, "name": "server", "interval": "500ms", "events": ["events_to_metrics"]}],
        }

    def remove(self):
        super().remove()
        self.server.shutdown()


def recorded(case, kind):
    """Waits until the polled event is in the log."""
    case.until(f"the event {kind} was polled", lambda: f'kind="{kind}"' in case.proxy.text("/events") or f'"{kind}"' in case.proxy.text("/events?format=json"))


@row("a flood of posts beside polled events", memory=64, start=Polling)
def flood_beside_polls(case):
    prometheus = Client(case, "127.0.0.1")
    for _ in range(2):
        prometheus.ask("GET", "/metrics", "Prometheus")
    case.proxy.server.show("polled-1")
    recorded(case, "polled-1")
    posts = [b"POST /event?kind=flood&n=%d HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n" % number for number in range(20_000)]
    statuses = swarm.pipelined(case.proxy.http, posts, STRANGER)
    taken, refused = statuses.count(200), statuses.count(429)
    case.check(taken + refused == len(posts) and refused > 5_000, f"{taken} taken, {refused} refused, all answers: {set(statuses)}")
    case.proxy.server.show("polled-2")
    recorded(case, "polled-2")
    scrapes = []
    while not scrapes or scrapes[-1]:
        scrapes.append(samples(prometheus.ask("GET", "/metrics?own=false", "Prometheus")[1]))
    prometheus.close()
    polled = [sample for scrape in scrapes for sample in scrape if "polled-" in sample]
    case.check(len(polled) == 2, f"the polled events arrived {len(polled)} times instead of twice")
    return "20,000 events posted by one address as fast as it can, beside one polled event before and one after them", \
        f"{taken:,} taken, {refused:,} answered with 429; both polled events arrived"


@row("a flood of scrapers' names", memory=64)
def names(case):
    prometheus = Client(case, "127.0.0.1")
    for _ in range(2):
        prometheus.ask("GET", "/metrics", "Prometheus")
    stranger = Client(case, STRANGER)
    for number in range(1_100):
        stranger.ask("GET", "/metrics?own=false", f"name{number}")
    stranger.close()
    prometheus.ask("POST", "/event?kind=real")
    text = prometheus.ask("GET", "/metrics", "Prometheus")[1]
    prometheus.close()
    case.check(len(samples(text)) == 1, "the scraper that comes regularly did not get the event")
    case.check("name1" not in text, "a stranger's name is in /metrics")
    later = Client(case, "127.0.0.1")
    case.check(len(samples(later.ask("GET", "/metrics", "later")[1])) == 1, "a new scraper of another address did not get the event")
    later.close()
    page = case.proxy.text("/events?format=json").count('"scraper":')
    case.check(page <= 64 + 3, f"{page} scrapers are known")
    return "1,100 scrapes by one address, each under another name", \
        f"{page} scrapers known, none of the names in /metrics; a regular scraper and a new one of another address got the next event"


@row("a flood of idempotency keys", memory=64, settings={"events.post_rate": "1000000/s"})
def idempotency_keys(case):
    count = 20_000 if case.quick else 150_000
    head = b"POST /event?kind=key HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nidempotency-key: flood-%d\r\n\r\n"
    statuses = swarm.pipelined(case.proxy.http, [head % number for number in range(count)], STRANGER)
    case.check(set(statuses) == {200}, f"other answers: {set(statuses)}")
    other = Client(case, "127.0.0.1")
    ids = []
    for _ in range(2):
        other.connection.request("POST", "/event?kind=other", headers={"idempotency-key": "other"})
        ids.append(json.loads(other.connection.getresponse().read())["id"])
    other.close()
    case.check(ids[0] == ids[1], f"a repeated request of another client made a second event: {ids}")
    return f"{count:,} events posted by one address, each with an idempotency key of its own", \
        "all were taken; a repeated request of another address made one event"


@row("posts from thousands of addresses", memory=64)
def addresses(case):
    count = 2_000 if case.quick else 20_000
    statuses = collections.Counter()
    for number in range(count):
        client = Client(case, f"127.1.{number // 250}.{number % 250 + 1}")
        statuses[client.ask("POST", "/event?kind=address")[0].status] += 1
        client.close()
    case.check(set(statuses) <= {200, 429} and statuses[200] >= min(count, 16_384), f"answers: {dict(statuses)}")
    other = Client(case, "127.0.0.1")
    status = other.ask("POST", "/event?kind=real")[0].status
    other.close()
    # Beyond 16,384 addresses, one without a count of its own shares one.
    case.check(status == 200, f"another client's event got {status}")
    return f"one event from each of {count:,} addresses", f"{statuses[200]:,} taken, {statuses[429]:,} answered with 429; another client's was taken"
