#ifndef MARQUEE_COMMON_METRICS_H_
#define MARQUEE_COMMON_METRICS_H_

// The metrics of one process and the HTTP page that Prometheus reads them from. Beside it the process says how it is:
// /healthz answers 200 while the process lives, /readyz 200 once it can do its work, and until then 503 with what is missing.
//
//     Metrics metrics(kWorker);
//     absl::StatusOr<std::string> endpoint = metrics.Serve("127.0.0.1", 0);
//     prometheus::Counter& steps = metrics.Get(metric::kSteps);                  // once; keep the reference
//     prometheus::Counter& pulled = metrics.Get(metric::kClientRows, {"pull"});  // values of its labels, in their order
//     steps.Increment();
//
// Thread-safe, and so are the handles: counters and gauges are atomic numbers, histograms take a mutex for some nanoseconds. A
// handle lives as long as the Metrics, or until Remove was called for it.

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/metric_catalogue.h"

namespace marquee {

class Metrics {
 public:
  using Labels = std::vector<std::string>;

  // Makes every metric that the catalogue lists for the program; those whose labels are known start at zero.
  explicit Metrics(Program program);
  ~Metrics();

  // The one metric with these label values. To ask for one that the program does not serve, or with the wrong number of labels,
  // is a bug and ends the process.
  prometheus::Counter& Get(const CounterInfo& info, const Labels& labels = {});
  prometheus::Gauge& Get(const GaugeInfo& info, const Labels& labels = {});
  prometheus::Histogram& Get(const HistogramInfo& info, const Labels& labels = {});

  // Stops serving one, when its table or trial is gone; its handles must not be used any more. No-op if there is none.
  void Remove(const CounterInfo& info, const Labels& labels);
  void Remove(const GaugeInfo& info, const Labels& labels);
  void Remove(const HistogramInfo& info, const Labels& labels);

  // Serves http://host:port/metrics, /healthz and /readyz from threads of its own; once. Port 0 takes a free one. Returns
  // "host:port" with the port in use.
  absl::StatusOr<std::string> Serve(const std::string& host, uint16_t port);

  // What the process still waits for before it can do its work, for /readyz; empty: nothing. It is "starts" at first.
  void SetMissing(std::string_view missing);

  // What is served, in Prometheus' text format.
  std::string Text() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_METRICS_H_
