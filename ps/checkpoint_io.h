#ifndef MARQUEE_PS_CHECKPOINT_IO_H_
#define MARQUEE_PS_CHECKPOINT_IO_H_

// What a shard has done with files, without waiting for them: one is written at a time, and one list of them read at a time.
// The `ps` program does it on a thread (ps/checkpoint_thread.h); tests do it at once.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "checkpoint/row_file.h"

namespace marquee {

class CheckpointIo {
 public:
  virtual ~CheckpointIo() = default;

  // ---- writing. A file that was begun and not finished is given up by the next one, and by GiveUp.
  virtual void BeginFile(const std::string& folder, const std::string& name, const RowFileHeader& header) = 0;
  // Whether the disk keeps up: blocks that are added nevertheless take memory.
  virtual bool HasRoom() const = 0;
  virtual void Add(RowBlock block) = 0;
  virtual void Finish() = 0;
  virtual void GiveUp() = 0;
  // Once: the finished file, or why it failed, also before it was finished.
  virtual std::optional<absl::StatusOr<RowFileSummary>> TakeWritten() = 0;

  // ---- reading
  struct Files {
    struct File {
      std::string path;
      uint64_t checkpoint = 0;
    };
    std::vector<File> files;
    uint64_t cluster_id = 0;
    std::set<PartitionNumber> partitions;  // blocks of others are passed over
    std::set<TableNumber> tables;          // likewise
  };
  // What was being read before is given up.
  virtual void BeginReading(Files files) = 0;
  virtual void StopReading() = 0;
  // In the order of the files. Nothing while it is not read yet, and after the end.
  virtual std::optional<RowBlock> NextBlock() = 0;
  // Once: all blocks were taken, or why there are no more.
  virtual std::optional<absl::Status> TakeRead() = 0;
};

}  // namespace marquee

#endif  // MARQUEE_PS_CHECKPOINT_IO_H_
