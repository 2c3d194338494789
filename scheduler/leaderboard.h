#ifndef MARQUEE_SCHEDULER_LEADERBOARD_H_
#define MARQUEE_SCHEDULER_LEADERBOARD_H_

// What a sweep ends with: its configurations by their validation metric beside the baselines and the figures that the sweep
// file compares them with, as JSON for programs and as tables for people (scheduler/report.h makes a page of it). A
// configuration that ran with several seeds is one row: the means over its finished trials, with their standard deviations (of
// a sample: n - 1).

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/evaluation.h"
#include "dataset/split.h"
#include "scheduler/coordinator.h"
#include "scheduler/metric_goal.h"
#include "scheduler/sweep.h"

namespace marquee {

// Every hyper-parameter of a trial, resolved, under dotted names: numbers, true or false, text, lists of these.
nlohmann::ordered_json ParametersOf(const TrialConfig& config);

// "two_tower", "ranking" ...
std::string_view KindWord(ModelConfig::Kind kind);

// "finished", "stopped" ...
std::string_view StatusWord(TrialStatus status);

class Leaderboard {
 public:
  struct Data {
    std::string name;
    bool synthetic = false;
    uint64_t checksum = 0;                        // of the data file
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
  std::string Text() const;

  // One kind of model's configurations, best first, below the baselines that have its metrics. Cells are text: figures with
  // four decimals, "-" for one that is not there.
  struct Row {
    std::string name;
    const Coordinator::TrialView* trial = nullptr;  // with means over its seeds; nullptr: a baseline
    std::string validation;
    std::vector<std::string> test;        // a cell for each of the table's metrics
    std::vector<std::string> references;  // and for each of its references
  };
  struct Table {
    ModelConfig::Kind kind = ModelConfig::Kind::kTwoTower;
    std::string word;                     // "two_tower"
    MetricGoal goal;                      // of validation
    std::vector<std::string> metrics;     // of test
    std::vector<std::string> references;  // "SOURCE METRIC", in the order of the board
    std::vector<Row> rows;
  };
  std::vector<Table> Tables() const;

  const Data& data() const { return data_; }
  // Every trial of a configuration; its name is that of the first.
  const std::vector<Coordinator::TrialView>& SeedsOf(const std::string& configuration) const {
    return seeds_.at(configuration);
  }

 private:
  bool Better(const Coordinator::TrialView& a, const Coordinator::TrialView& b) const;
  Coordinator::TrialView Summarize(const std::vector<Coordinator::TrialView>& seeds) const;
  Table TableOf(ModelConfig::Kind kind) const;
  std::vector<std::string> ReferencesOf(ModelConfig::Kind kind) const;
  std::string ReferenceCell(const std::string& configuration, const std::string& reference) const;
  static std::string TextOf(const Table& table);

  Data data_;
  std::vector<Baseline> baselines_;
  std::string metric_;
  bool maximize_;
  std::map<std::string, std::vector<ReferenceFigures>> references_;   // by configuration
  std::map<std::string, std::vector<Coordinator::TrialView>> seeds_;  // trials by their configuration's name
  std::vector<Coordinator::TrialView> trials_;                        // one for each configuration, with the means
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LEADERBOARD_H_
