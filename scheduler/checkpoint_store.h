#ifndef MARQUEE_SCHEDULER_CHECKPOINT_STORE_H_
#define MARQUEE_SCHEDULER_CHECKPOINT_STORE_H_

// Where the coordinator's checkpoints are. Implemented over files (scheduler/checkpoint_files.h), and in memory by tests. Not
// thread-safe.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/manifest.h"

namespace marquee {

// From where a trial can go on.
struct TrialCheckpoint {
  struct File {
    std::string path;
    uint64_t checkpoint = 0;
  };
  uint64_t number = 0;
  uint64_t cluster_id = 0;
  std::vector<File> files;  // those of the full checkpoint first
  std::string state;        // scheduler/trial_state.h
};

class CheckpointStore {
 public:
  virtual ~CheckpointStore() = default;

  struct Attempt {
    uint64_t number = 0;
    std::string folder;  // for the shards
  };
  // A new one, of a number that was never used.
  virtual absl::StatusOr<Attempt> Begin() = 0;
  // It is one from now on. Older ones that are no longer needed are removed: `unfinished` names the trials that may still go on
  // from theirs.
  virtual absl::Status Commit(const CheckpointManifest& manifest, const std::set<std::string>& unfinished) = 0;
  // The newest that has the trial with this configuration, and that looks whole; none if there is none. Unavailable if one
  // cannot be read at the moment, which says nothing of what is in it: the trial waits, and does not begin anew.
  virtual absl::StatusOr<std::optional<TrialCheckpoint>> Newest(const std::string& trial, const std::string& spec,
                                                                uint64_t cluster_id) = 0;
  // It turned out to be damaged: it is not to be had any more.
  virtual void Refuse(uint64_t number, const std::string& reason) = 0;
  // A shard could not read it, and it may be whole: for whoever looks.
  virtual void CouldNotRead(uint64_t number, const std::string& reason) = 0;
  // An attempt did not come to its end: likewise.
  virtual void GaveUp(const std::string& reason) = 0;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CHECKPOINT_STORE_H_
