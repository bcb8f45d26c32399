# The message that applications send to the receivers, one after another in the standard (unpacked) stream framing.

@0xfb4ded7f739d5651;

struct InboundMetrics {
  # The complete metrics of one application, replacing its previous ones.

  appName @0 :Text;
  # The name of the application: 1 to 255 bytes of UTF-8 without control characters.

  data @1 :Text;
  # Metrics in the Prometheus text format. If unset or empty, the application stays listed without series.
}
