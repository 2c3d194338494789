#ifndef MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_
#define MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_

// Copies what the coordinator knows and counts into the process's metrics. Used by the thread that drives the coordinator.

#include <map>
#include <set>
#include <string>

#include "absl/time/time.h"
#include "common/metrics.h"
#include "common/transport.h"
#include "common/transport_metrics.h"
#include "scheduler/cluster_follower.h"
#include "scheduler/coordinator.h"

namespace marquee {

class SchedulerMetrics {
 public:
  explicit SchedulerMetrics(Metrics& metrics) : metrics_(metrics), transport_(metrics) {}

  // A request was handled.
  void Handled(wire::Envelope::Body::Which request, absl::Duration took);
  // About once a second.
  void Update(const Coordinator& coordinator, const Transport& transport, absl::Time now);
  // Likewise: what has become of edits of the cluster file.
  void Update(const ClusterFollower& follower, const Coordinator& coordinator);

 private:
  void UpdateTrials(const std::vector<Coordinator::TrialView>& trials);
  void UpdateMembers(const Coordinator& coordinator);

  Metrics& metrics_;
  TransportMetrics transport_;
  Coordinator::Counters before_;
  uint64_t refused_before_ = 0;
  std::set<std::string> running_;  // trials with metrics of their own
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_
