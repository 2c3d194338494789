#ifndef MARQUEE_SCHEDULER_SWEEP_H_
#define MARQUEE_SCHEDULER_SWEEP_H_

// Which trials to run: the `models` and `sweep` sections, expanded. docs/configuration.md lists keys, ranges and defaults.
//
//     models:
//       retrieval: {kind: two_tower, dim: 32, ...}        # common/trial_config.h
//     sweep:
//       method: grid                                      # or random, or asha
//       models: [retrieval]                               # default: all
//       parameters:                                       # every combination of these for each model, or draws from them
//         dim: {values: [32, 64]}
//         optimizer.learning_rate: {values: [0.1, 0.01]}
//       seeds: 3                                          # each configuration runs so often
//       workers_per_trial: 1
//       consistency: {mode: async}
//       split: {test: 0.25, validation: 0.05, seed: 42}
//       seed: 1
//       chunk_batches: 4
//       metric: {name: top_100, goal: maximize}           # default: top_100 and rmse, by the model's kind
//
// or, in the place of `models`, a list: `trials: [{name: small, model: retrieval, set: {dim: 16}}]`, where an entry may have
// figures to be compared with: `reference: {report: {top_100: 0.2}}`.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/trial_config.h"
#include "scheduler/asha.h"
#include "scheduler/coordinator.h"

namespace marquee {

// What someone else reached, as results show it beside a trial's own figures.
struct ReferenceFigures {
  std::string source;
  std::map<std::string, double> metrics;
};

struct Sweep {
  std::vector<TrialConfig> trials;  // names are unique; all have the same split and consistency
  std::optional<AshaOptions> asha;
  KeepModels keep = KeepModels::kBest;
  std::map<std::string, std::vector<ReferenceFigures>> references;  // by the configuration's name
  uint32_t workers_per_trial = 1;
  uint32_t chunk_batches = 4;
  std::string metric;  // by which trials are ranked; empty: DefaultMetric of each one's kind
  bool maximize = true;
  std::string data_file;  // absolute; empty if no file names one
};

// Reads the cluster file's `data`, `models` and `sweep` sections, those of `sweep_file` (may be empty) before them. Errors name
// file, line, key, value and what is allowed.
absl::StatusOr<Sweep> LoadSweep(const std::string& cluster_file, const std::string& sweep_file);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SWEEP_H_
