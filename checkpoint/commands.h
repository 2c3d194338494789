#ifndef MARQUEE_CHECKPOINT_COMMANDS_H_
#define MARQUEE_CHECKPOINT_COMMANDS_H_

// What `marquee checkpoint list` and `marquee checkpoint verify` do. `folder` is a folder of checkpoints, as the scheduler
// writes it.

#include <string>

#include "absl/status/statusor.h"
#include "checkpoint/file_system.h"

namespace marquee {

// A table of the checkpoints, newest last. NotFound if there are none.
absl::StatusOr<std::string> ListCheckpoints(FileSystem& files, const std::string& folder);

struct CheckpointsVerified {
  std::string text;  // a line for each checkpoint: good, or what is wrong with it
  bool all_good = true;
};
// Reads every byte of all of them. NotFound if there are none.
absl::StatusOr<CheckpointsVerified> VerifyCheckpoints(FileSystem& files, const std::string& folder);

}  // namespace marquee

#endif  // MARQUEE_CHECKPOINT_COMMANDS_H_
