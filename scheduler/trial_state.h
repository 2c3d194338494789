#ifndef MARQUEE_SCHEDULER_TRIAL_STATE_H_
#define MARQUEE_SCHEDULER_TRIAL_STATE_H_

// Where a trial stands between two steps, beside its rows: what a checkpoint keeps of it (as JSON). A value type.

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/id.h"
#include "scheduler/coordinator.h"
#include "scheduler/training_chunks.h"

namespace marquee {

struct TrialState {
  struct Table {
    TableNumber number = 0;
    std::string name;  // without the trial's prefix
    uint32_t dim = 0;
  };
  std::vector<Table> tables;
  TrainingChunks::Progress chunks;
  uint32_t trained_epochs = 0;                       // after which validation comes next
  std::vector<std::pair<double, double>> losses;     // by epoch: their sum, and of how many examples
  std::vector<TrialResult::Validation> validations;  // those before
  uint64_t repeated_examples = 0;
  double seconds = 0;
  double trained_seconds = 0;

  std::string ToJson() const;
  // DataLoss where the text is something else.
  static absl::StatusOr<TrialState> FromJson(const std::string& text);
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_TRIAL_STATE_H_
