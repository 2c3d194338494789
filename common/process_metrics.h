#ifndef MARQUEE_COMMON_PROCESS_METRICS_H_
#define MARQUEE_COMMON_PROCESS_METRICS_H_

// What the process itself uses (process_cpu_seconds_total ...), read from /proc whenever Prometheus asks. Part of Metrics.

#include <prometheus/collectable.h>

#include <vector>

#include "common/metric_catalogue.h"

namespace marquee {

class ProcessMetrics : public prometheus::Collectable {
 public:
  static bool Has(const MetricInfo& info);

  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_PROCESS_METRICS_H_
