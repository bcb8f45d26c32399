# The message that applications send to the receivers, one after another in the standard (unpacked) stream framing.

@0xfb4ded7f739d5651;

struct InboundMetrics {
  # All that one application has to say; it replaces what that application said before.

  appName @0 :Text;
  # The name under which the metrics are kept: 1 to 255 bytes of UTF-8 without control characters.

  data @1 :Text;
  # Metrics in the Prometheus text format. Left unset or empty, the application stays listed with no series.
}
