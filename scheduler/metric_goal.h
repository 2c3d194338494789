#ifndef MARQUEE_SCHEDULER_METRIC_GOAL_H_
#define MARQUEE_SCHEDULER_METRIC_GOAL_H_

// By which metric of validation a trial is compared with others, and which way. Pure.

#include <map>
#include <optional>
#include <string>

#include "common/trial_config.h"

namespace marquee {

struct MetricGoal {
  std::string metric;
  bool maximize = true;

  // `metric` is the sweep's; empty: that of the trial's kind of model and protocol.
  static MetricGoal Of(const TrialConfig& config, const std::string& metric, bool maximize) {
    if (!metric.empty()) return {.metric = metric, .maximize = maximize};
    const std::string by_kind(DefaultMetric(config.model.kind, config.split.protocol));
    return {.metric = by_kind, .maximize = LargerIsBetter(by_kind)};
  }

  // The metric's value, turned so that larger is better; nothing if it is not there.
  std::optional<double> Score(const std::map<std::string, double>& metrics) const {
    const auto found = metrics.find(metric);
    if (found == metrics.end()) return std::nullopt;
    return maximize ? found->second : -found->second;
  }
};

// Trials of one kind of model are compared with each other: the kind's number.
inline std::string GroupOf(const TrialConfig& config) { return std::to_string(static_cast<int>(config.model.kind)); }

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_METRIC_GOAL_H_
