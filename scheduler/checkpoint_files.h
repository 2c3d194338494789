#ifndef MARQUEE_SCHEDULER_CHECKPOINT_FILES_H_
#define MARQUEE_SCHEDULER_CHECKPOINT_FILES_H_

// The checkpoints of a sweep in a folder (checkpoint/checkpoint_folder.h). What is wrong with one is logged, once.

#include <map>
#include <string>

#include "checkpoint/checkpoint_folder.h"
#include "scheduler/checkpoint_store.h"

namespace marquee {

class CheckpointFiles : public CheckpointStore {
 public:
  // Keeps the newest `keep`, and what these build on.
  CheckpointFiles(FileSystem& files, std::string folder, uint32_t keep)
      : files_(files), folder_path_(folder), folder_(files, std::move(folder)), keep_(keep) {}

  // FailedPrecondition if the newest one is of a format that this program does not read. It is not passed over: what was
  // trained since the one before would be lost without a word.
  absl::Status CheckFormat() const;

  absl::StatusOr<Attempt> Begin() override;
  absl::Status Commit(const CheckpointManifest& manifest, const std::set<std::string>& unfinished) override;
  absl::StatusOr<std::optional<TrialCheckpoint>> Newest(const std::string& trial, const std::string& spec,
                                                        uint64_t cluster_id) override;
  void Refuse(uint64_t number, const std::string& reason) override;
  void CouldNotRead(uint64_t number, const std::string& reason) override;
  void GaveUp(const std::string& reason) override;

 private:
  absl::StatusOr<std::set<uint64_t>> Needed(const std::set<std::string>& unfinished) const;

  FileSystem& files_;
  std::string folder_path_;
  CheckpointFolder folder_;
  uint32_t keep_;
  std::set<uint64_t> refused_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CHECKPOINT_FILES_H_
