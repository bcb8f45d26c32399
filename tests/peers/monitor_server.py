#!/usr/bin/env python3
"""A stand-in for the original monitoring server, as it was measured.

    monitor_server.py [--events N] [--version V] [--misdeed NAME] [--wait]

It prints the port that it listens on, then serves: the handshake happens in the accept loop, one client at a time, so that a
silent client keeps all others waiting; then it writes N events to each client and nothing more; with --wait not before a
line has come on standard input. A misdeed happens to the first client only: garbage, half, bomb, member (garbage in a frame),
late (one frame more, byte by byte).
"""

import argparse
import gzip
import json
import socket
import struct
import sys
import threading
import zlib

CIDS = ["bafkreigh2akiscaildc" + str(n) for n in range(40)]


def frame(payload):
    return struct.pack(">I", len(payload)) + payload


def message(n):
    event = {"timestamp": f"2026-11-21T12:53:22.{n % 10**9:09d}Z", "peer": f"12D3KooWpeer{n % 97}"}
    if n % 3 == 0:
        remote = ["/ip4/8.8.8.8/tcp/4001", "/ip4/8.8.8.8/udp/4001/quic-v1", "/ip4/8.8.8.8/udp/4001/quic-v1/webtransport/certhash/uEi"][n // 3 % 3]
        event["connection_event"] = {"remote": remote, "connection_event_type": n // 3 % 2}
    else:
        event["bitswap_message"] = {
            "wantlist_entries": [
                {"Cid": {"/": cid}, "Priority": 2147483647, "WantType": at % 2, "Cancel": at % 5 == 4, "SendDontHave": at % 3 == 0}
                for at, cid in enumerate(CIDS[: n % 10])
            ],
            "full_wantlist": n % 2 == 0,
            "blocks": [{"/": cid} for cid in CIDS[: n % 3]],
            "block_presences": [{"cid": {"/": cid}, "block_presence_type": at % 2} for at, cid in enumerate(CIDS[: n % 4])],
            "connected_addresses": ["/ip4/127.0.0.1/tcp/4001", "/dns4/a.libp2p.direct/tcp/4001/tls/sni/a.libp2p.direct/ws"],
        }
    text = json.dumps({"event": event}, separators=(",", ":")) + "\n"
    return frame(gzip.compress(text.encode(), compresslevel=6))


def bomb():
    """A frame whose member unpacks to 1 GiB."""
    deflate = zlib.compressobj(9, wbits=31)
    mib = bytes(1 << 20)
    packed = b"".join(deflate.compress(mib) for _ in range(1024))
    return frame(packed + deflate.flush())


def misbehave(client, misdeed):
    whole = message(0)
    wrong = {"garbage": b"\xff" * 64, "half": whole[: len(whole) // 2], "member": frame(b"no gzip at all"), "late": b""}
    if misdeed == "late":
        for byte in whole:
            client.sendall(bytes([byte]))
        return
    client.sendall(bomb() if misdeed == "bomb" else wrong[misdeed])


def serve(client, count, begin):
    begin.wait()
    try:
        for n in range(count):
            client.sendall(message(n))
        while client.recv(1024):
            pass
    except OSError:
        pass
    client.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1000)
    parser.add_argument("--version", type=int, default=3)
    parser.add_argument("--misdeed")
    parser.add_argument("--wait", action="store_true")
    options = parser.parse_args()
    begin = threading.Event()
    if options.wait:
        threading.Thread(target=lambda: sys.stdin.readline() and begin.set(), daemon=True).start()
    else:
        begin.set()
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    misdeed = options.misdeed
    while True:
        client, _ = listener.accept()
        try:
            client.sendall(frame(json.dumps({"version": options.version}, separators=(",", ":")).encode()))
            (length,) = struct.unpack(">I", client.recv(4, socket.MSG_WAITALL))
            hello = json.loads(client.recv(length, socket.MSG_WAITALL))
            if hello.get("version") != options.version:
                client.close()
                continue
            if misdeed:
                done, misdeed = misdeed, None
                misbehave(client, done)
                if done != "late":
                    client.close()
                    continue
        except (OSError, ValueError, struct.error):
            client.close()
            continue
        threading.Thread(target=serve, args=(client, options.events, begin), daemon=True).start()


if __name__ == "__main__":
    main()
