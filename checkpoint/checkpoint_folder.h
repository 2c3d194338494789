#ifndef MARQUEE_CHECKPOINT_CHECKPOINT_FOLDER_H_
#define MARQUEE_CHECKPOINT_CHECKPOINT_FOLDER_H_

// A folder of checkpoints:
//
//     FOLDER/checkpoint-000042/shard-003-5f1c...      rows of one shard (checkpoint/row_file.h), written by its server
//     FOLDER/checkpoint-000042/MANIFEST               written last, by the scheduler
//
// A folder without a MANIFEST is no checkpoint: one that is being written, or never was finished. Errors name the file:
// DataLoss for one that is damaged or missing. Not thread-safe.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/file_system.h"
#include "checkpoint/manifest.h"

namespace marquee {

class CheckpointFolder {
 public:
  // `files` must outlive the object.
  CheckpointFolder(FileSystem& files, std::string folder) : files_(files), folder_(std::move(folder)) {}

  std::string FolderOf(uint64_t number) const;
  std::string ManifestOf(uint64_t number) const;

  // Numbers of those that have a manifest, in order; none if there is no such folder.
  absl::StatusOr<std::vector<uint64_t>> List() const;
  // Higher than all that there are, unfinished ones included.
  absl::StatusOr<uint64_t> NextNumber() const;

  absl::StatusOr<CheckpointManifest> Load(uint64_t number) const;
  // The checkpoint and those that it builds on, the full one first.
  absl::StatusOr<std::vector<CheckpointManifest>> Chain(uint64_t number) const;
  // Whether all files of a chain are there with their sizes, headers and indexes. Rows are checked when they are read.
  absl::Status Look(const std::vector<CheckpointManifest>& chain) const;
  // Reads every byte of the chain.
  absl::Status Verify(const std::vector<CheckpointManifest>& chain) const;

  // Makes it a checkpoint. Its files must be there.
  absl::Status Commit(const CheckpointManifest& manifest);
  // It is none from the first step on.
  absl::Status Remove(uint64_t number);
  // Removes all others but those that these build on, and what is unfinished.
  absl::Status RemoveAllBut(const std::set<uint64_t>& kept);

 private:
  absl::StatusOr<std::vector<uint64_t>> Numbers() const;  // of folders, finished or not

  FileSystem& files_;
  std::string folder_;
};

}  // namespace marquee

#endif  // MARQUEE_CHECKPOINT_CHECKPOINT_FOLDER_H_
