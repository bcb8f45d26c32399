#!/usr/bin/env python3
"""A client of the monitoring stream, version 3, that takes nothing on trust.

    monitor_client.py HOST:PORT --count N [--ask A,B] [--app NAME] [--kinds A,B] [--strict] [--seconds S]

It follows the stream, checks every rule that a server must keep, and prints one JSON object a message; the exit code is 1
with a reason on standard error as soon as a rule is broken. Its handshake is that of the client of 2022, without any question,
unless `--ask` names kinds of events to ask for. `--strict` also refuses what that client could not read: an event with neither
a bitswap_message nor a connection_event, at which it drops the connection, and multiaddresses newer than it. It stops after N messages, at one about the app NAME, or once each of
the kinds A and B has come; more than S seconds are a failure.

Only the standard library is used, and nothing of the program under test.
"""

import argparse
import json
import re
import socket
import struct
import sys
import time
import zlib

HELLO = b'{"version":3}'
MAX_FRAME = 8 << 20
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d)\Z")
TOO_NEW = {"quic-v1", "webtransport", "webrtc-direct", "webrtc", "sni", "certhash"}
OURS = {"app_update": {"app", "source", "bytes"}, "app_expired": {"app"}, "one_shot": {"metric", "labels", "value"}, "poll": {"endpoint", "up", "seconds"}}


class Broken(Exception):
    """A rule that the server broke."""


def need(holds, rule, *found):
    if not holds:
        raise Broken(f"{rule}: {found}")


def read_exactly(stream, length):
    data = bytearray()
    while len(data) < length:
        piece = stream.recv(length - len(data))
        if not piece:
            return None if not data else need(False, "the stream ends between frames", bytes(data[:40]))
        data += piece
    return bytes(data)


def read_frame(stream):
    head = read_exactly(stream, 4)
    if head is None:
        return None
    (length,) = struct.unpack(">I", head)
    need(length <= MAX_FRAME, "a frame has at most 8 MiB", length)
    payload = read_exactly(stream, length)
    need(payload is not None, "a frame is whole", length)
    return payload


def unpack(payload):
    need(payload[:3] == b"\x1f\x8b\x08", "a payload is gzip", payload[:10])
    member = zlib.decompressobj(wbits=31)
    text = member.decompress(payload)
    need(member.eof and not member.unused_data, "a payload is exactly one gzip member", len(member.unused_data))
    need(text.endswith(b"\n") and text.count(b"\n") == 1, "a payload is one line", text[-40:])
    return text


def no_twins(pairs):
    keys = [key for key, _ in pairs]
    need(len(keys) == len(set(keys)), "no key comes twice", keys)
    return dict(pairs)


def check_address(address, strict):
    need(isinstance(address, str), "a multiaddress is a string", address)
    if strict:
        need(not TOO_NEW & set(address.split("/")), "a multiaddress of 2022", address)


def check_cid(cid):
    need(isinstance(cid, dict) and set(cid) == {"/"} and isinstance(cid["/"], str), 'a CID is {"/": text}', cid)


def check_connection(event, strict):
    check_address(event["remote"], strict)
    need(event["connection_event_type"] in (0, 1), "connected or disconnected", event)


def check_message(message, strict):
    for key in ("wantlist_entries", "blocks", "block_presences", "connected_addresses"):
        need(isinstance(message[key], list), "arrays are never null", key, message[key])
    need(isinstance(message["full_wantlist"], bool), "full_wantlist is a flag", message)
    for entry in message["wantlist_entries"]:
        check_cid(entry["Cid"])
        need(entry["WantType"] in (0, 1) and isinstance(entry["Priority"], int), "an entry wants a block or a have", entry)
        need(all(isinstance(entry[flag], bool) for flag in ("Cancel", "SendDontHave")), "flags are flags", entry)
    for cid in message["blocks"]:
        check_cid(cid)
    for presence in message["block_presences"]:
        check_cid(presence["cid"])
        need(presence["block_presence_type"] in (0, 1), "have or don't have", presence)
    for address in message["connected_addresses"]:
        check_address(address, strict)


def check(text, strict, last):
    message = json.loads(text, object_pairs_hook=no_twins)
    need(isinstance(message, dict) and set(message) == {"event"}, "one key, event", list(message))
    event = message["event"]
    need(TIMESTAMP.match(event["timestamp"]), "an RFC 3339 time with nanoseconds", event["timestamp"])
    need(isinstance(event["peer"], str), "a peer is a string", event["peer"])
    need(isinstance(event["seq"], int) and isinstance(event["monitor"], str), "seq and monitor stand inside event", event)
    need(last is None or event["seq"] > last, "seq grows", last, event["seq"])
    kinds = [kind for kind in (*OURS, "bitswap_message", "connection_event") if kind in event]
    need(len(kinds) == 1, "one kind of event", list(event))
    kind = kinds[0]
    if kind == "connection_event":
        check_connection(event[kind], strict)
    elif kind == "bitswap_message":
        check_message(event[kind], strict)
    else:
        need(not strict, "nothing that the client of 2022 does not know", kind)
        need(OURS[kind] <= set(event[kind]), "all keys of the kind", event[kind])
    return event


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("server")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--ask", help="kinds of events to ask for in the handshake")
    parser.add_argument("--app", help="stop at a message about this app")
    parser.add_argument("--kinds", help="stop when each of these has come")
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    host, port = options.server.rsplit(":", 1)
    deadline = time.monotonic() + options.seconds
    stream = socket.create_connection((host, int(port)), timeout=10)
    stream.settimeout(options.seconds)
    # Both sides speak at once, so the server's first frame must come before ours is sent.
    hello = read_frame(stream)
    need(hello == HELLO, "the server's first frame is its version, uncompressed", hello)
    ours = HELLO if options.ask is None else json.dumps({"version": 3, "events": options.ask.split(",")}).encode()
    stream.sendall(struct.pack(">I", len(ours)) + ours)
    seen, last = 0, None
    wanted = set(options.kinds.split(",")) if options.kinds else {None}
    while seen < options.count and time.monotonic() < deadline:
        payload = read_frame(stream)
        need(payload is not None, "the server goes on")
        event = check(unpack(payload), options.strict, last)
        last = event["seq"]
        seen += 1
        print(json.dumps(event), flush=True)
        wanted -= set(event)
        if not wanted:
            return
        if options.app and any(part.get("app") == options.app for part in event.values() if isinstance(part, dict)):
            return
    need(seen >= options.count, "enough messages in time", seen)


if __name__ == "__main__":
    try:
        main()
    except (Broken, OSError, KeyError, ValueError, zlib.error) as error:
        sys.exit(f"broken: {error!r}")
