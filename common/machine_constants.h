#ifndef MARQUEE_COMMON_MACHINE_CONSTANTS_H_
#define MARQUEE_COMMON_MACHINE_CONSTANTS_H_

// What pulls, pushes and steps cost on one kind of machine: `ps_bench --store` and `train_bench --store` measure it and write
// it to a file, and `scheduler --plan` (scheduler/planner.h) reckons with it.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/table.h"
#include "common/trial_config.h"

namespace marquee {

// Seconds of one core that one side of an operation takes: so much for each request, each row, and each value of a row.
struct OperationCost {
  double request = 0;
  double row = 0;
  double value = 0;

  double Seconds(double requests, double rows, double values) const { return requests * request + rows * row + values * value; }
};

// A table of a model, as the model uses it.
struct TableUse {
  std::string name;
  uint32_t dim = 0;
  uint32_t state = 0;        // floats of optimizer state in a row (StateWidth)
  double rows = 0;           // there are
  double rows_per_step = 0;  // a step pulls and pushes, each once
};

// A step of one worker: one batch.
struct StepCost {
  std::string name;         // of the configuration
  double examples = 0;      // in the batch
  double seconds = 0;       // of one core: planning, forward and backward
  double busy_seconds = 0;  // likewise, while each other core of the machine does the same
  std::vector<TableUse> tables;
};

struct MachineConstants {
  uint32_t cores = 0;
  OperationCost shard_pull, shard_push;    // of a shard
  OperationCost copy_push;                 // what a second copy adds, on both servers together
  OperationCost client_pull, client_push;  // of the thread that trains
  OperationCost io_pull, io_push;          // of a worker's other threads
  double row_overhead_bytes = 0;           // index and unused slots, of one row
  std::map<std::string, StepCost> steps;   // by StepKey

  bool has_operations() const { return cores > 0; }

  // An empty one if the file is not there. Errors name file and field.
  static absl::StatusOr<MachineConstants> Load(const std::string& path);
  absl::Status Save(const std::string& path) const;
};

// Names the configurations whose steps cost the same: all of `config` but its name, seed, number of epochs and learning rate.
std::string StepKey(const TrialConfig& config);

}  // namespace marquee

#endif  // MARQUEE_COMMON_MACHINE_CONSTANTS_H_
