#!/usr/bin/env python3
"""A stand-in for Kubo's RPC, with answers of the documented shape and peers of every kind.

    kubo.py [--token TOKEN] [--peers N]

It prints the port that it listens on. POST /api/v0/swarm/peers?verbose=true answers; GET is 405, as with the real one, and
without the token it is 403.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AGENTS = ["kubo/0.40.0/", 'evil"} 1\n# TYPE x counter\nx{a="', "\u001b[31mred", "x" * 5000, "others", "", "go-ipfs/0.4.18/", "hydra"]


def connection(n):
    protocols = ["/ipfs/bitswap/1.2.0", "/ipfs/kad/1.0.0", f"/made/up/{n}\\\n"]
    return {
        "Addr": f"/ip4/203.0.113.{n % 250}/tcp/4001",
        "Peer": f"12D3KooWpeer{n // 2}",
        "Latency": "n/a" if n % 3 == 0 else f"{n}.5ms",
        "Direction": n % 2 + 1,
        "Muxer": "/yamux/1.0.0",
        "Streams": None if n % 4 == 0 else [{"Protocol": "/ipfs/kad/1.0.0"}, {"Protocol": ""}],
        "Identify": {
            "ID": f"12D3KooWpeer{n // 2}",
            "PublicKey": "CAES",
            "Addresses": None if n % 5 == 0 else [f"/dns4/peer{n}.example/udp/4001/quic-v1"],
            "AgentVersion": AGENTS[n // 2 % len(AGENTS)],
            "Protocols": protocols,
        },
    }


class Rpc(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(405, "405 - Method Not Allowed\n")

    def do_POST(self):
        options = self.server.options
        if options.token and self.headers.get("Authorization") != f"Bearer {options.token}":
            self.answer(403, "403 - Forbidden\n")
        elif self.path != "/api/v0/swarm/peers?verbose=true":
            self.answer(404, "404 page not found\n")
        else:
            self.answer(200, json.dumps({"Peers": [connection(n) for n in range(options.peers)] or None}) + "\n")

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--token")
    parser.add_argument("--peers", type=int, default=32)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Rpc)
    server.options = parser.parse_args()
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
