// Pushes with the C++ library prometheus-cpp.
//
//     push_client HOST PORT

#include <prometheus/counter.h>
#include <prometheus/gateway.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdio>
#include <memory>

int main(int count, char **arguments) {
  if (count != 3) {
    std::fputs("usage: push_client HOST PORT\n", stderr);
    return 2;
  }
  prometheus::Gateway gateway(arguments[1], arguments[2], "cpp", {{"zone", "d"}});
  auto registry = std::make_shared<prometheus::Registry>();
  auto &counters = prometheus::BuildCounter().Name("cpp_total").Help("A counter.").Register(*registry);
  counters.Add({{"kind", "a"}}).Increment(6);
  auto &histograms = prometheus::BuildHistogram().Name("cpp_seconds").Help("A histogram.").Register(*registry);
  histograms.Add({}, prometheus::Histogram::BucketBoundaries{0.1, 1}).Observe(0.5);
  gateway.RegisterCollectable(registry);
  int pushed = gateway.Push();
  int added = gateway.PushAdd();
  prometheus::Gateway other(arguments[1], arguments[2], "cpp_deleted");
  other.RegisterCollectable(registry);
  int once = other.Push();
  int deleted = other.Delete();
  std::printf("%d %d %d %d\n", pushed, added, once, deleted);
  return pushed == 200 && added == 200 && once == 200 && deleted == 202 ? 0 : 1;
}
