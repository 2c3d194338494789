#ifndef MARQUEE_WORKER_WORKER_METRICS_H_
#define MARQUEE_WORKER_WORKER_METRICS_H_

// What a worker tells Prometheus: the counters of its client and transport, and what its training steps did. Belongs to the
// worker's one thread.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "common/metrics.h"
#include "common/transport.h"
#include "common/transport_metrics.h"
#include "common/trial_config.h"
#include "worker/client/driver.h"

namespace marquee {

// Where the time of one step went.
struct StepSeconds {
  double pull = 0;  // waiting for rows
  double wait = 0;  // waiting for other workers, by the consistency mode
  double compute = 0;
  double push = 0;  // waiting for room to push, and sending
};

class WorkerMetrics {
 public:
  // Both must outlive it.
  WorkerMetrics(Metrics& metrics, const Transport& transport);

  void TrialBegins(const std::string& trial);
  void TrialEnds();

  // A step begins to compute on rows whose pull was sent when the slowest clock was `slowest_at_pull`.
  void StepBegins(const ConsistencyConfig& consistency, uint64_t clock, uint64_t slowest_at_pull);
  // A loss, gradient or score was a NaN or an infinity.
  void NotFinite() { not_finite_.Increment(); }
  void StepComputed(const StepSeconds& seconds, double mean_loss);
  void StepsAcknowledged(int steps, uint64_t examples, uint64_t clock, uint64_t slowest_clock);
  void Evaluated(uint64_t examples) { evaluated_.Increment(static_cast<double>(examples)); }

  // Copies the counters of the driver's client; does so about once a second, however often it is called.
  void Update(Driver& driver, absl::Time now);

 private:
  void CopyCounters(const Client::Counters& counters);

  Metrics& metrics_;
  const Transport& transport_;
  TransportMetrics transport_metrics_;
  prometheus::Counter& steps_;
  prometheus::Counter& examples_;
  prometheus::Counter& evaluated_;
  prometheus::Histogram& pull_seconds_;
  prometheus::Histogram& wait_seconds_;
  prometheus::Histogram& compute_seconds_;
  prometheus::Histogram& push_seconds_;
  prometheus::Counter& not_finite_;
  prometheus::Histogram& staleness_;
  prometheus::Counter& violations_;
  std::string trial_;
  prometheus::Gauge* loss_ = nullptr;  // of the trial under way
  prometheus::Gauge* clock_ = nullptr;
  prometheus::Gauge* slowest_clock_ = nullptr;
  Client::Counters copied_;
  absl::Time next_update_ = absl::InfinitePast();
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_WORKER_METRICS_H_
