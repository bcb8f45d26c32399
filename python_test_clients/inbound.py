"""Shared code of the two senders: builds the sample messages and writes them to a connected socket."""

import pathlib
import socket
import sys

import capnp

capnp.remove_import_hook()
SCHEMA = pathlib.Path(__file__).resolve().parent.parent / "schema" / "inbound_metrics.capnp"
InboundMetrics = capnp.load(str(SCHEMA)).InboundMetrics


def sample(app):
    """Returns the metrics of a sample application as a Cap'n Proto message."""
    name = f"http_requests_total_{app}"
    lines = [
        f"# HELP {name} Requests answered, by method and status code.",
        f"# TYPE {name} counter",
        f'{name}{{method="post",code="200"}} 1027',
        f'{name}{{method="post",code="400"}}    3',
    ]
    return InboundMetrics.new_message(appName=app, data="\n".join(lines) + "\n")


def send(family, address, apps):
    """Sends one message for each application over one connection."""
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(address)
        except OSError as error:
            sys.exit(f"cannot connect to {address}: {error}; is the proxy running?")
        for app in apps:
            connection.sendall(sample(app).to_bytes())
    print(f"sent the metrics of {', '.join(apps)} to {address}")
