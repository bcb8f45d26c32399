# Control messages of a peer link, one after another in the standard (unpacked) stream framing, on the first bidirectional stream, which
# the dialling peer opens. Metrics are transferred as HTTP/1.1 on streams of their own.

@0xa738ef95e431e1de;

struct LinkMessage {
  union {
    register @0 :Register;
    # Proxy to bridge: registration. Repeated from time to time on the same link.

    registered @1 :Registered;
    # Bridge to proxy: the last registration is accepted.

    refused @2 :Text;
    # Bridge to proxy: the last registration is refused, with the reason.

    delivered @3 :UInt64;
    # Scraper to proxy: the response to the scrape with this number has reached its reader.

    goodbye @4 :Text;
    # Either peer: the sender closes the link, with the reason.

    sharedKey @5 :SharedKey;
    # Bridge to proxy: another proxy is connected with the same key.

    aliasLost @6 :AliasLost;
    # Bridge to proxy: another key has registered the alias, which is scraped there from now on.

    aliasReturned @7 :Text;
    # Bridge to proxy: the alias belongs to this proxy again.
  }
  # A message of a later version, with another member, is ignored.
}

struct Register {
  alias @0 :Text;
  # The name of this proxy in requests to the bridge.

  service @1 :Text;
  hostname @2 :Text;

  proof @3 :Data;
  # HMAC-SHA256 with the shared secret; its input is described in docs/p2p.md.
}

struct Registered {
  updated @0 :Bool;
  # True if the registration changed something at the bridge.
}

struct SharedKey {
  alias @0 :Text;
  address @1 :Text;
  # Of the receiving proxy, as seen by the bridge.

  otherAlias @2 :Text;
  otherAddress @3 :Text;
  # Of the other proxy.
}

struct AliasLost {
  alias @0 :Text;

  key @1 :Data;
  address @2 :Text;
  # The public key and the address of the proxy that has the alias now.
}
