"""Sends the metrics of two applications to the proxy's Unix socket as Cap'n Proto messages.

usage: test_send_unix_socket_capnp.py [PATH]

Without a path the socket is looked for where a proxy of the same user makes it.
"""

import os
import pathlib
import socket
import stat
import sys

from inbound import send

NAME = "exporter-proxy-receiver.sock"


def is_private(directory):
    """True if only this user can write in the directory: another user could listen in the proxy's place."""
    try:
        about = os.lstat(directory)
    except OSError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and stat.S_IMODE(about.st_mode) == 0o700


def listens(path):
    """True if a program listens there: a killed proxy leaves its socket behind."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        return connection.connect_ex(str(path)) == 0


def usual_path():
    """Returns the first of the usual places where a proxy listens, or else the first one."""
    places = [pathlib.Path("/var/run", NAME)]
    if runtime := os.environ.get("XDG_RUNTIME_DIR"):
        places.append(pathlib.Path(runtime, NAME))
    private = pathlib.Path(os.environ.get("TMPDIR") or "/tmp", f"exporter-proxy-{os.geteuid()}")
    if is_private(private):
        places.append(private / NAME)
    return str(next((path for path in places if listens(path)), places[0]))


path = sys.argv[1] if len(sys.argv) > 1 else usual_path()
send(socket.AF_UNIX, path, ["foo_bar_unix_app0", "foo_bar_unix_app1"])
