"""Records pages with real Prometheus servers, directly and through the proxy, and compares what they have then."""

import collections
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

from lib.exposition_exporters import free_port
from lib.exposition_pages import at_time

# How long anything may take that is expected to happen.
TIMEOUT = 120

# Often enough to be done soon, and seldom enough for two servers that scrape some hundred targets on two cores.
INTERVAL = "4s"

# Alone and merged, polled and pushed. All are compared with "direct".
WAYS = ["polled alone", "polled merged", "pushed alone", "pushed merged"]

# Series that Prometheus makes of a scrape itself.
OF_SCRAPES = {"up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_samples_post_metric_relabeling", "scrape_series_added"}

# Labels of the targets, which differ from way to way.
OF_TARGETS = {"job", "instance", "way_", "page_", "target_"}


class Pages(http.server.ThreadingHTTPServer):
    """Serves the pages, as they were at the start."""

    daemon_threads = True

    def handle_error(self, *_):
        """A client that goes away is no fault."""

    request_queue_size = 1024

    def __init__(self, pages, now):
        super().__init__(("127.0.0.1", 0), Handler)
        self.pages = [(at_time(page, now), page.kind) for page in pages]
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers with one page, whatever is accepted."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body, kind = self.server.pages[int(self.path.strip("/"))]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keeps quiet."""


class Program:
    """A running program with a log."""

    def __init__(self, arguments, directory, name):
        self.log = pathlib.Path(directory) / f"{name}.log"
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("EXPORTER_PROXY", "RUST_LOG"))}
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(list(map(str, arguments)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()

    def says(self, pattern):
        """The match of a line of the log."""

        def found():
            if self.child.poll() is not None:
                raise AssertionError(f"{self.child.args[0]} ended: {self.log.read_text(errors='replace')[-2000:]}")
            return re.search(pattern, self.log.read_text(errors="replace"))

        return until(f"{self.child.args[0]} logs {pattern}", found)


def until(what, condition):
    end = time.monotonic() + TIMEOUT
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {TIMEOUT} s in vain until {what}")
        time.sleep(0.05)
    return found


def proxy(binary, directory, name, settings):
    """A proxy on a free port, and that port's address."""
    config = pathlib.Path(directory) / f"{name}.toml"
    settings = {
        "exporter.scrape_expose_endpoint": "127.0.0.1:0",
        "receiver.receive_on_unix_socket": False,
        "receiver.receive_on_tcp_socket": False,
        "exposition.app_label": "page_",
        **settings,
    }
    config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in settings.items()))
    return Program([binary, "--config", config], directory, name)


def toml(value):
    """A value as TOML, whose scalars and arrays are JSON's."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def get(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=TIMEOUT) as answer:
        return json.load(answer)


def all_answered(address):
    """True once each endpoint has been polled."""
    return all(app["last_update"] or app["status"] == "fault" for app in get(address, "/apps?format=json")["apps"])


def push(address, page, body):
    """Pushes a page, and gives why it was refused, if it was."""
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT)
    with contextlib.closing(connection):
        connection.request("PUT", f"/apps/{urllib.parse.quote(page.name, safe='')}/metrics", body, {"Content-Type": page.kind})
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return None if answer.status == 200 else f"{answer.status}: {text.strip()}"


# ------------------------------------------------------------------------------------------------------------------ recording


def scrape_configs(pages, source, polled, pushed):
    """One job for each way, with a target for each page where pages are scraped alone."""

    def job(way, targets):
        common = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "metrics_path": "/metrics"}
        return {"job_name": way, **common, "static_configs": [{"targets": [address], "labels": {"way_": way, **labels}} for address, labels in targets]}

    def direct(number, page):
        return {"__metrics_path__": f"/{number}", "page_": page.name, "target_": page.name}

    def alone(page):
        return {"__param_app": page.name, "__param_own": "false", "target_": page.name}

    return [
        job("direct", [(source, direct(*numbered)) for numbered in enumerate(pages)]),
        job("polled alone", [(polled, alone(page)) for page in pages]),
        job("polled merged", [(polled, {"__param_own": "false"})]),
        job("pushed alone", [(pushed, alone(page)) for page in pages]),
        job("pushed merged", [(pushed, {"__param_own": "false"})]),
    ]


def prometheus(path, directory, name, configs):
    config = pathlib.Path(directory) / f"{name}.yml"
    # JSON is YAML.
    config.write_text(json.dumps({"scrape_configs": configs, "storage": {"exemplars": {"max_exemplars": 100_000}}}))
    address = f"127.0.0.1:{free_port()}"
    data = pathlib.Path(directory) / f"{name}-data"
    arguments = [path, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={address}", "--enable-feature=exemplar-storage"]
    return Program(arguments, directory, name), address


def version(path):
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    return re.search(r"version (\d+\.\d+)", said.stdout + said.stderr).group(1)


Recorded = collections.namedtuple("Recorded", "series exemplars errors keeps_bounds")


class Scrapes:
    """What became of each target. Prometheus shows the outcome of a scrape before it has written the samples, and those of one scrape are
    written before the next one ends: so a target is done with an outcome when a later one is shown. A timeout is no outcome, for it says that
    this machine is busy.
    """

    def __init__(self):
        self.shown, self.ended, self.errors = {}, {}, {}

    def see(self, targets):
        """Takes what Prometheus shows now. True once each target is done."""
        for target in targets:
            labels = target["labels"]
            key = labels["way_"], labels.get("target_")
            now = target["lastScrape"], target["health"], target["lastError"]
            before, self.shown[key] = self.shown.get(key), now
            if before and before[0] != now[0] and self.counts(before):
                self.ended[key] = before
        self.errors = {key: error for key, (_, health, error) in self.ended.items() if health == "down"}
        return bool(targets) and len(self.ended) == len(targets)

    @staticmethod
    def counts(outcome):
        _, health, error = outcome
        return health != "unknown" and not (health == "down" and "deadline exceeded" in error)


def record(address, keeps_bounds):
    """Everything that a Prometheus has recorded, once each target is done."""
    scrapes = Scrapes()

    def all_done():
        with contextlib.suppress(OSError):
            return scrapes.see(get(address, "/api/v1/targets?state=active")["data"]["activeTargets"])

    until(f"{address} has scraped every target", all_done)
    errors = scrapes.errors
    series, exemplars = (collections.defaultdict(dict) for _ in range(2))
    for way in ["direct", *WAYS]:
        matching = urllib.parse.quote(f'{{way_="{way}"}}')
        for one in get(address, f"/api/v1/query?query={matching}[5m]")["data"]["result"]:
            labels = one["metric"]
            if labels.get("__name__") in OF_SCRAPES and labels.keys() <= OF_TARGETS | {"__name__"}:
                continue
            series[way, labels.get("page_")][stripped(labels)] = [(round(at * 1000), value) for at, value in one["values"]]
        now = time.time()
        for one in get(address, f"/api/v1/query_exemplars?query={matching}&start={now - 300}&end={now + 5}")["data"] or []:
            labels = one["seriesLabels"]
            exemplars[way, labels.get("page_")][stripped(labels)] = one["exemplars"]
    return Recorded(series, exemplars, errors, keeps_bounds)


def stripped(labels):
    return tuple(sorted((name, value) for name, value in labels.items() if name not in OF_TARGETS))


# ------------------------------------------------------------------------------------------------------------------ comparing


def canonical(labels):
    """Labels with bounds as numbers. Prometheus before 3.0 keeps them as they are written: `1` in text, `1.0` in OpenMetrics."""
    return tuple((name, number(value) if name in ("le", "quantile") else value) for name, value in labels)


def number(text):
    with contextlib.suppress(ValueError):
        return repr(float(text) + 0.0)
    return text


def values(samples, times):
    """The samples that bear a time of the page, and the values of the others, which bear that of their scrape."""
    return {(at, value) if at in times else value for at, value in samples}


def shown(labels):
    name = dict(labels).get("__name__", "")
    return name + "{" + ",".join(f"{key}={value[:60]!r}" for key, value in labels if key != "__name__") + "}"


def differences(direct, other, times):
    """What one way recorded otherwise than the direct one, as texts."""
    for labels in direct.keys() | other.keys():
        if labels not in other:
            yield f"lacks {shown(labels)} = {values(direct[labels], times)}"
        elif labels not in direct:
            yield f"adds {shown(labels)} = {values(other[labels], times)}"
        elif (one := values(direct[labels], times)) != (two := values(other[labels], times)):
            yield f"{shown(labels)}: {two} instead of {one}"


def exemplars_of(series, times):
    """The exemplars of a page, with the times that the page gives them."""

    def facts(labels, exemplar):
        at = round(float(exemplar["timestamp"]) * 1000)
        return canonical(labels), tuple(sorted(exemplar["labels"].items())), exemplar["value"], at if at in times else None

    return {facts(labels, exemplar) for labels, exemplars in series.items() for exemplar in exemplars}


def faults_of(page, recorded, times, refused):
    """All differences of one page, by way."""
    for way in WAYS:
        alone = way.endswith("alone")
        if page.not_polled or way.startswith("pushed") and refused:
            continue
        if error := recorded.errors.get((way, page.name if alone else None)):
            yield way, f"the scrape failed: {error}"
            continue
        one, two = recorded.series["direct", page.name], recorded.series[way, page.name]
        if recorded.keeps_bounds or page.bounds_as_they_are:
            one, two = ({canonical(labels): samples for labels, samples in series.items()} for series in (one, two))
        for text in differences(one, two, times):
            if not (page.left_out and text.startswith("lacks ")):
                yield way, text
        if alone and not page.no_exemplars:
            one, two = (exemplars_of(recorded.exemplars[which, page.name], times) for which in ("direct", way))
            if one != two:
                yield way, f"exemplars {sorted(two - one)} instead of {sorted(one - two)}"


def report(name, pages, recorded, times, refused):
    """Prints the outcome of one server. Returns how many pages differ."""
    differing, equal, series = 0, 0, 0
    for page in pages:
        if error := recorded.errors.get(("direct", page.name)):
            print(f"   {page.name}: not compared, this Prometheus refuses it: {error[:150]}")
            continue
        found = list(faults_of(page, recorded, times[page.name], refused.get(page.name)))
        if (why := refused.get(page.name)) and not page.not_pushed:
            found.append(("pushed", f"refused with {why}"))
        if not found:
            for exception in dict.fromkeys(page.exceptions()):
                print(f"   {page.name}: equal, but: {exception}")
            equal, series = equal + 1, series + len(recorded.series["direct", page.name])
            continue
        differing += 1
        print(f"   {page.name}: DIFFERS")
        for way, text in found[:12]:
            print(f"      {way}: {text[:400]}")
        if len(found) > 12:
            print(f"      and {len(found) - 12} more")
    print(f"{name}: {equal} expositions with {series} series are equal in all ways, {differing} differ\n", flush=True)
    return differing


def compare(binary, servers, pages):
    """Records the pages with these servers and compares. Returns how many pages differ, over all servers."""
    now = int(time.time() * 1000)
    source = Pages(pages, now)
    address = f"127.0.0.1:{source.server_address[1]}"
    times = {page.name: {now - 1000 * int(ago) for ago in re.findall(rb"\{-(\d+)s\}", page.body)} for page in pages}
    with tempfile.TemporaryDirectory(prefix="compare-") as directory, contextlib.ExitStack() as stack:
        endpoints = [{"url": f"http://{address}/{number}", "name": page.name} for number, page in enumerate(pages)]
        polling = {"poll_external.poll_other_scrape_endpoints": True, "poll_external.other_scrape_endpoints": endpoints, "poll_external.client_timeout": "5s"}
        polled = stack.enter_context(proxy(binary, directory, "polled", polling)).says(r"serving http://(\S+)").group(1)
        pushed = stack.enter_context(proxy(binary, directory, "pushed", {})).says(r"serving http://(\S+)").group(1)
        refused = {page.name: push(pushed, page, at_time(page, now)) for page in pages}
        until("each page was polled", lambda: all_answered(polled))
        configs = scrape_configs(pages, address, polled, pushed)
        started = []
        for path in servers:
            name = f"Prometheus {version(path)}"
            program, at = prometheus(path, directory, name.replace(" ", "-"), configs)
            stack.enter_context(program)
            started.append((name, at))
        return sum(report(name, pages, record(at, name.startswith("Prometheus 2.")), times, refused) for name, at in started)
