#ifndef MARQUEE_SCHEDULER_LEADERBOARD_H_
#define MARQUEE_SCHEDULER_LEADERBOARD_H_

// What a sweep ends with: its configurations by their validation metric beside the baselines, as JSON for programs and as
// tables for people. A configuration that ran with several seeds is one row: the means over its finished trials, with their
// standard deviations (of a sample: n - 1).

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/evaluation.h"
#include "dataset/split.h"
#include "scheduler/coordinator.h"
#include "scheduler/sweep.h"

namespace marquee {

class Leaderboard {
 public:
  struct Data {
    std::string name;
    bool synthetic = false;
    uint64_t ratings = 0, users = 0, movies = 0;  // movies that have ratings: the candidates
    std::string split;
    uint64_t split_checksum = 0;
    uint64_t train = 0, validation = 0, test = 0;  // examples
  };
  static Data Describe(const Dataset& data, const Split& split);

  // Sorts the configurations: by kind of model, then by validation metric, best first; those that were stopped, and those that
  // did not finish, come last.
  Leaderboard(Data data, std::vector<Baseline> baselines, const Sweep& sweep, std::vector<Coordinator::TrialView> trials);

  std::string Json() const;
  // A table for each kind of model.
  std::string Table() const;

 private:
  std::string MetricOf(const TrialConfig& config) const;
  bool Better(const Coordinator::TrialView& a, const Coordinator::TrialView& b) const;
  std::string TableOf(ModelConfig::Kind kind) const;
  Coordinator::TrialView Summarize(const std::vector<Coordinator::TrialView>& seeds) const;
  std::vector<std::string> CellsOf(const Coordinator::TrialView& trial, const std::string& metric,
                                   const std::vector<std::string>& columns) const;

  Data data_;
  std::vector<Baseline> baselines_;
  std::string metric_;
  bool maximize_;
  std::map<std::string, std::vector<Coordinator::TrialView>> seeds_;  // trials by their configuration's name
  std::vector<Coordinator::TrialView> trials_;                        // one for each configuration, with the means
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LEADERBOARD_H_
