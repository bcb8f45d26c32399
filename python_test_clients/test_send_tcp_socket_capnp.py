"""Sends the metrics of two applications to the proxy's TCP receiver as Cap'n Proto messages.

usage: test_send_tcp_socket_capnp.py [HOST PORT]
"""

import socket
import sys

from inbound import send

host, port = sys.argv[1:3] if len(sys.argv) > 2 else ("127.0.0.1", "6554")
send(socket.AF_INET, (host, int(port)), ["foo_bar_tcp_app0", "foo_bar_tcp_app1"])
