# What the two ends of a peer link tell each other, one message after another in the standard (unpacked) stream framing, on
# the first bidirectional stream that the end that dialled opens. Metrics themselves go as HTTP/1.1 on streams of their own.

@0xa738ef95e431e1de;

struct LinkMessage {
  union {
    register @0 :Register;
    # A proxy to a bridge: this is who I am. Repeated from time to time on the same link.

    registered @1 :Registered;
    # The bridge's consent to the last registration.

    refused @2 :Text;
    # The bridge's refusal of the last registration, and why.

    delivered @3 :UInt64;
    # Whoever scrapes to whoever is scraped: the answer to the scrape of this number has reached its reader.

    goodbye @4 :Text;
    # Either end: I am leaving on purpose, and why.

    sharedKey @5 :SharedKey;
    # A bridge to a proxy: another proxy is connected with the same key.

    aliasLost @6 :AliasLost;
    # A bridge to a proxy: another key has registered the alias, which is scraped there from now on.

    aliasReturned @7 :Text;
    # A bridge to a proxy: the alias is its own again.
  }
  # A message of a later version, with another member, is ignored.
}

struct Register {
  alias @0 :Text;
  # The name under which the bridge is asked for this proxy.

  service @1 :Text;
  hostname @2 :Text;

  proof @3 :Data;
  # HMAC-SHA256 under the shared secret; docs/p2p.md says over what.
}

struct Registered {
  updated @0 :Bool;
  # Whether the bridge has learned something new from it.
}

struct SharedKey {
  alias @0 :Text;
  address @1 :Text;
  # Of the proxy that is told, as the bridge sees it.

  otherAlias @2 :Text;
  otherAddress @3 :Text;
  # Of the other proxy.
}

struct AliasLost {
  alias @0 :Text;

  key @1 :Data;
  address @2 :Text;
  # The public key, and the address, of the proxy that has the alias now.
}
