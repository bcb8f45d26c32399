"""What a name server that does not answer does to everybody."""

import os
import shutil
import socket
import subprocess
import time

from .bench import LEFT_OUT, row
from .polls import INTERVAL, Target, endpoint, good, lateness, up
from .proxy import Proxy

# More than the 512 threads that blocking work has in all.
NAMES = 700
# The threads that lookups may have: of names whose last lookup was quick, of others, and of bridges and engines.
LOOKUPS = 128 + 64 + 32
# Where the name server listens; resolv.conf has no ports.
SERVER = ("127.0.53.53", 53)


def name_server():
    """A name server that takes queries and answers none."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        server.bind(SERVER)
    except OSError:
        server.close()
        raise
    return server


def within(resolv, nsswitch):
    """What goes before a command that is to have these two files in place of the system's. The command keeps the process id."""
    script = 'mount --bind "$1" /etc/resolv.conf && { ! [ -e /etc/nsswitch.conf ] || mount --bind "$2" /etc/nsswitch.conf; } && shift 2 && exec "$@"'
    user = [] if os.geteuid() == 0 else ["--map-root-user"]
    return ["unshare", *user, "--mount", "sh", "-c", script, "sh", resolv, nsswitch]


class DeadNames(Proxy):
    """A proxy that polls hundreds of names and one address, where the only name server does not answer."""

    @classmethod
    def is_possible(cls):
        if shutil.which("unshare") is None or not os.path.exists("/etc/resolv.conf"):
            return False
        try:
            name_server().close()
        except OSError:
            return False
        return subprocess.run([*within("/dev/null", "/dev/null"), "true"], capture_output=True).returncode == 0

    def defaults(self):
        self.server = name_server()
        files = {"resolv.conf": f"nameserver {SERVER[0]}\n", "nsswitch.conf": "hosts: files dns\n"}
        for name, text in files.items():
            (self.folder / name).write_text(text)
        self.within = within(*(self.folder / name for name in files))
        self.target = Target(good).start()
        named = [{"url": f"http://host{n}.example./", "name": f"named {n}", "interval": INTERVAL, "timeout": 2} for n in range(NAMES)]
        return {
            **super().defaults(),
            "poll_external.poll_other_scrape_endpoints": True,
            "poll_external.other_scrape_endpoints": [*named, endpoint("by address", self.target)],
        }

    def remove(self):
        super().remove()
        self.target.listener.close()
        self.server.close()


# A scrape that waited for a lookup would take ten seconds.
def dead(case):
    threads, end = 0, time.monotonic() + (6 if case.quick else 60)
    while time.monotonic() < end:
        threads = max(threads, case.proxy.threads())
        time.sleep(0.1)
    late = lateness(case.proxy.target)
    case.check(late < INTERVAL / 2, f"the endpoint with an address was polled {late * 1000:.0f} ms off its time")
    case.check(up(case.proxy, "by address") == 1 and up(case.proxy, "named 0") == 0, "poll_up does not say which endpoints are up")
    # The threads that serve connections, the main one, and some for what scrapes and pushes need.
    others = (os.cpu_count() or 1) + 24
    case.check(128 <= threads <= LOOKUPS + others, f"{threads} threads")
    return f"{NAMES} polled names and a name server that does not answer, beside an endpoint with an address", \
        f"{threads} threads at most; the endpoint with an address is polled at the worst {late * 1000:.0f} ms off its time"


if DeadNames.is_possible():
    row("names: a name server that does not answer", start=DeadNames, wait=2.0, memory=64, kept_files=LOOKUPS)(dead)
else:
    LEFT_OUT.append(("names: a name server that does not answer", f"unshare --mount, and a free UDP port {SERVER[1]} of {SERVER[0]}"))
