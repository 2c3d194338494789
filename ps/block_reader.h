#ifndef MARQUEE_PS_BLOCK_READER_H_
#define MARQUEE_PS_BLOCK_READER_H_

// Reads the wanted blocks of a checkpoint's row files, one after the other.
//
// Errors: DataLoss for a file that is damaged or missing in a folder that is there; all others say that nothing can be said of
// the file (no permission, a broken disk, a folder that is not there because its file system is not mounted). Not thread-safe.

#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "checkpoint/file_system.h"
#include "ps/checkpoint_io.h"

namespace marquee {

class BlockReader {
 public:
  // `files` must outlive the reader.
  BlockReader(FileSystem& files, CheckpointIo::Files wanted) : files_(files), wanted_(std::move(wanted)) {}

  // None after the last one.
  absl::StatusOr<std::optional<RowBlock>> Next();

 private:
  absl::Status Open(const CheckpointIo::Files::File& file);

  FileSystem& files_;
  const CheckpointIo::Files wanted_;
  size_t file_ = 0;
  size_t block_ = 0;
  std::unique_ptr<RowFileReader> reader_;  // of the file
};

}  // namespace marquee

#endif  // MARQUEE_PS_BLOCK_READER_H_
