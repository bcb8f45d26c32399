"""Sends the metrics of two applications to the proxy's Unix socket as Cap'n Proto messages.

usage: test_send_unix_socket_capnp.py [PATH]
"""

import socket
import sys

from inbound import send

path = sys.argv[1] if len(sys.argv) > 1 else "/var/run/exporter-proxy-receiver.sock"
send(socket.AF_UNIX, path, ["foo_bar_unix_app0", "foo_bar_unix_app1"])
