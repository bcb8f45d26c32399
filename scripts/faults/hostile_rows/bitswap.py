"""What peers can do to the Bitswap monitor. The rows are there if their client is, which is built with the feature `bitswap`."""

import os
import pathlib
import re
import subprocess
import tempfile

from .bench import row
from .proxy import Proxy

PEERS = pathlib.Path(__file__).resolve().parents[3] / "target/release/examples/bitswap_peers"


def is_built_in(binary):
    """True unless the program was built without the monitor; their client may be left from another build."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "EXPORTER_PROXY__BITSWAP__ENABLED": "true"}
        checked = subprocess.run([binary, "check"], cwd=folder, env=environment, capture_output=True, text=True)
        return "built without the Bitswap monitor" not in checked.stdout + checked.stderr


class Monitor(Proxy):
    """A proxy with a Bitswap monitor of at most 256 connections."""

    def defaults(self):
        return {
            **super().defaults(),
            "bitswap.enabled": True,
            "bitswap.listen": ["/ip4/127.0.0.1/tcp/0"],
            "bitswap.key_file": str(self.folder / "bitswap.key"),
            "bitswap.monitor_name": "north",
            "bitswap.max_peers": 256,
        }

    def started(self):
        super().started()
        self.bitswap = self.says(r"monitoring Bitswap on (\S+)")[1]


def peers(case, act, count, seconds, per_second=0):
    """Runs peers, and gives how many connected and how many messages they sent."""
    address = case.proxy.bitswap.partition("/p2p/")[0]
    told = subprocess.run([PEERS, address, act, str(count), str(seconds), str(per_second)], capture_output=True, text=True, timeout=seconds + 120)
    found = re.search(r"(\d+) connected, (\d+) failed, (\d+) lost, (\d+) messages", told.stdout)
    case.check(found, f"the peers ended: {told.stdout} {told.stderr[-500:]}")
    return [int(number) for number in found.groups()] if found else [0] * 4


def still_served(case):
    """Another peer is served as before."""
    before = case.proxy.own("bitswap_messages_received")
    _, _, _, sent = peers(case, "load", 1, 3, 10)
    case.until("the messages of another peer are counted", lambda: case.proxy.own("bitswap_messages_received") >= before + sent)


def refused(case, reason):
    return int(case.proxy.own("exporter_proxy_rejected_total", source="bitswap: north", reason=reason))


def hostile(name, act, count, seconds, reason, memory):
    """A row of many peers with one act, each refused for this reason."""

    @row(f"Bitswap: {name}", start=Monitor, memory=memory)
    def run(case):
        _, _, _, messages = peers(case, act, count, seconds)
        times = refused(case, reason)
        case.check(times > 0, f"no refusal is counted as {reason}")
        still_served(case)
        return f"{count} peers for {seconds} s: {name}", f"{messages:,} sent, {times:,} refused as {reason}; another peer is served"


if PEERS.exists():
    hostile("messages of more than 4 MiB", "oversized", 20, 10, "too_large", 64)
    hostile("bytes that are no message", "garbage", 20, 10, "malformed", 64)
    # 256 MiB of incomplete messages, and the windows of the connections.
    hostile("half messages of 4 MiB on eight streams each", "half", 40, 15, "busy", 512)
    hostile("as many streams as possible", "streams", 40, 10, "too_many_streams", 64)

    @row("Bitswap: endless wantlists", start=Monitor, memory=192)
    def endless(case):
        connected, _, _, messages = peers(case, "endless", 10, 15)
        entries = case.proxy.own("wantlist_entries_received")
        case.check(entries >= 91_000 * (messages - 10), f"only {entries:,.0f} entries of {messages} messages are counted")
        still_served(case)
        return "10 peers for 15 s: wantlists of 91,000 entries without a pause", f"{connected} connected, {messages} messages, {entries:,.0f} entries counted"

    @row("Bitswap: 10,000 connections", start=Monitor, memory=192)
    def connections(case):
        count = case.so_many(10_000, 1_000)
        connected, failed, lost, _ = peers(case, "idle", count, 60 if not case.quick else 20)
        open_ones = case.proxy.own("plugin_metric_export_wiretap_connections")
        case.check(open_ones <= 256, f"{open_ones:.0f} connections are open")
        case.check(refused(case, "too_many_connections") > 0, "no connection was refused")
        still_served(case)
        return f"{count:,} peers that connect and send nothing, of which 256 may stay", \
            f"{connected:,} came through their handshake, {failed:,} not; {lost:,} were closed again"
