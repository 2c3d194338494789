#ifndef MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_
#define MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_

// Copies what the coordinator knows and counts into the process's metrics. Used by the thread that drives the coordinator.

#include <map>
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
  struct Shown {
    absl::Time last_seen;    // running
    std::string validation;  // the metric's name; empty: none yet
  };

  void UpdateTrials(const std::vector<Coordinator::TrialView>& trials, absl::Time now);
  void ShowTrial(const Coordinator::TrialView& trial, absl::Time now);
  // What is not true any more of a trial that has ended. Whether nothing is left of it.
  bool HideTrial(const std::string& name, const Shown& shown, absl::Time now);
  void UpdateMembers(const Coordinator& coordinator);

  Metrics& metrics_;
  TransportMetrics transport_;
  Coordinator::Counters before_;
  uint64_t refused_before_ = 0;
  std::map<std::string, Shown> shown_;  // trials with metrics of their own, by name
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SCHEDULER_METRICS_H_
