#ifndef MARQUEE_BENCH_STEP_COSTS_H_
#define MARQUEE_BENCH_STEP_COSTS_H_

// Measures what a training step of a model costs a worker besides its talk with servers, for common/machine_constants.h.

#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/machine_constants.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"

namespace marquee {

// Plans and computes steps of the worker's own model on one thread for about `seconds`, after a few to warm up; the median
// counts. Rows of tables are counted over the first epoch. `busy_seconds` is left for a second measurement.
absl::StatusOr<StepCost> MeasureStepCost(const TrialConfig& config, const Dataset& data, const Split& split, double seconds);

// The same steps, for as long as `go_on` says after each; calls `warm` once the first few are computed.
absl::Status ComputeSteps(const TrialConfig& config, const Dataset& data, const Split& split, const std::function<void()>& warm,
                          const std::function<bool()>& go_on);

}  // namespace marquee

#endif  // MARQUEE_BENCH_STEP_COSTS_H_
