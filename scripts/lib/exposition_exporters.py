"""Expositions of the exporters that Debian packages, each asked once on a port of its own."""

import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

from lib.exposition_pages import OPENMETRICS, TEXT, Page

# How long an exporter may take until it answers.
START_TIMEOUT = 15

# How each is started: `{port}` is its port, `{dir}` an empty directory, and the path is what it is asked for.
EXPORTERS = {
    "prometheus-node-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-apache-exporter": (["--telemetry.endpoint=/metrics", "--web.listen-address=127.0.0.1:{port}", "--scrape_uri=http://127.0.0.1:1/"], "/metrics"),
    "prometheus-mysqld-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-postgres-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-redis-exporter": (["-web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-blackbox-exporter": (["--web.listen-address=127.0.0.1:{port}", "--config.file={dir}/blackbox.yml"], "/probe?module=tcp&target=127.0.0.1:{port}"),
    "prometheus-process-exporter": (["-web.listen-address=127.0.0.1:{port}", "-procnames=python3,sh,bash"], "/metrics"),
    "prometheus-nginx-exporter": (["-web.listen-address=127.0.0.1:{port}", "-nginx.scrape-uri=http://127.0.0.1:1/", "-nginx.retries=0"], "/metrics"),
    "prometheus-bind-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-bird-exporter": (["-web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-elasticsearch-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-frr-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-haproxy-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-ipmi-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-libvirt-exporter": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-mongodb-exporter": (["-web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-postfix-exporter": (["--web.listen-address=127.0.0.1:{port}", "--postfix.logfile_path={dir}/mail.log"], "/metrics"),
    "prometheus-snmp-exporter": (["--web.listen-address=127.0.0.1:{port}", "--config.file={dir}/snmp.yml"], "/metrics"),
    "prometheus-squid-exporter": (["-listen", "127.0.0.1:{port}"], "/metrics"),
    "prometheus-varnish-exporter": (["-web.listen-address", "127.0.0.1:{port}", "-exit-on-errors=false"], "/metrics"),
    "prometheus-pushgateway": (["--web.listen-address=127.0.0.1:{port}"], "/metrics"),
    "prometheus-mqtt-exporter": (["--listen-address=127.0.0.1:{port}"], "/metrics"),
    "ha_cluster_exporter": (["--address=127.0.0.1", "--port={port}"], "/metrics"),
    "prometheus": (["--web.listen-address=127.0.0.1:{port}", "--config.file={dir}/prometheus.yml", "--storage.tsdb.path={dir}/data"], "/metrics"),
}

FILES = {
    "blackbox.yml": "modules:\n  tcp:\n    prober: tcp\n",
    "prometheus.yml": "global: {}\n",
    "mail.log": "",
    "snmp.yml": "default:\n  walk: [1.3.6.1.2.1.2]\n",
}

ENVIRONMENT = {"DATA_SOURCE_NAME": "user:secret@(127.0.0.1:1)/", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def captured():
    """The pages of all exporters that are installed, in both formats where an exporter has both."""
    pages = []
    for program in EXPORTERS:
        path = shutil.which(program)
        if path is None:
            print(f"skipped: {program} is not installed")
            continue
        pages += ask(program, path)
    return pages


def ask(program, path):
    arguments, url = EXPORTERS[program]
    with tempfile.TemporaryDirectory(prefix="exporter-") as directory:
        for name, text in FILES.items():
            with open(f"{directory}/{name}", "w") as file:
                file.write(text)
        port = free_port()
        fill = lambda text: text.format(port=port, dir=directory)  # noqa: E731
        child = subprocess.Popen(
            [path, *map(fill, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT, cwd=directory
        )
        try:
            return formats(program, child, f"http://127.0.0.1:{port}{fill(url)}")
        finally:
            child.kill()
            child.wait()


def formats(program, child, url):
    text = fetch(child, url, TEXT)
    if text is None:
        print(f"skipped: {program} does not run here without its service")
        return []
    pages = [Page(f"{program}, text", *text)]
    openmetrics = fetch(child, url, OPENMETRICS)
    if openmetrics and openmetrics[1].startswith("application/openmetrics-text"):
        pages.append(Page(f"{program}, OpenMetrics", *openmetrics))
    return pages


def fetch(child, url, accept):
    """The body and its media type, once the exporter answers."""
    end = time.monotonic() + START_TIMEOUT
    while time.monotonic() < end and child.poll() is None:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=START_TIMEOUT) as answer:
                return answer.read(), answer.headers["Content-Type"]
        except urllib.error.HTTPError:
            return None
        except OSError:
            time.sleep(0.05)
    return None
