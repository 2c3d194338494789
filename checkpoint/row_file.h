#ifndef MARQUEE_CHECKPOINT_ROW_FILE_H_
#define MARQUEE_CHECKPOINT_ROW_FILE_H_

// One shard's rows in a checkpoint. docs/checkpoints.md has the format: a header, blocks of rows, an index of them, each with a
// checksum that also covers where in which file it stands, so that a part that was torn, flipped, moved or brought from another
// file is seen when it is read.
//
// Errors name the path, the offset, and what was found and expected there: DataLoss for a file that is not what was written,
// others are the file system's. Not thread-safe.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "checkpoint/file_system.h"
#include "common/id.h"

namespace marquee {

struct RowFileHeader {
  uint64_t cluster_id = 0;
  uint64_t checkpoint = 0;  // its number
  uint64_t view = 0;        // of the cluster, at the cut
  uint32_t shard = 0;       // its index in the view

  bool operator==(const RowFileHeader&) const = default;
};

// Rows of one table in one partition.
struct RowBlock {
  PartitionNumber partition = 0;
  TableNumber table = 0;
  uint32_t dim = 0;
  uint32_t state_width = 0;
  std::vector<Id> ids;
  std::vector<float> values;  // ids.size() x (dim + state_width): weights, then optimizer state

  bool operator==(const RowBlock&) const = default;
};

struct RowFileSummary {
  std::string name;  // in the checkpoint's folder
  uint64_t bytes = 0;
  uint64_t checksum = 0;  // XXH3 of all of it
  uint64_t rows = 0;
  bool full = true;  // false: rows that were not changed since the checkpoint before are left out

  bool operator==(const RowFileSummary&) const = default;
};

// Written under a temporary name, and there under its own one once Finish has returned OK. Given up before, it leaves nothing.
class RowFileWriter {
 public:
  // `files` must outlive the writer. Makes the folder where it is missing.
  static absl::StatusOr<std::unique_ptr<RowFileWriter>> Create(FileSystem& files, const std::string& folder,
                                                               const std::string& name, const RowFileHeader& header);
  ~RowFileWriter();
  RowFileWriter(const RowFileWriter&) = delete;
  RowFileWriter& operator=(const RowFileWriter&) = delete;

  // At most kMaxBlockBytes of rows.
  static constexpr uint64_t kMaxBlockBytes = 16U << 20U;
  absl::Status Add(const RowBlock& block);
  // `full` of the summary is the caller's to say.
  absl::StatusOr<RowFileSummary> Finish();

 private:
  struct State;
  explicit RowFileWriter(std::unique_ptr<State> state);
  absl::Status AddFrame(uint32_t kind, const std::string& payload);
  absl::Status Append(std::string_view bytes);
  absl::Status Flush();

  std::unique_ptr<State> state_;
};

class RowFileReader {
 public:
  struct Place {
    uint64_t offset = 0;
    uint64_t bytes = 0;
    PartitionNumber partition = 0;
    TableNumber table = 0;
  };

  // Checks the header against what is expected (cluster and number), and the index; of blocks, each when it is read.
  static absl::StatusOr<std::unique_ptr<RowFileReader>> Open(FileSystem& files, const std::string& path, uint64_t cluster_id,
                                                             uint64_t checkpoint);

  const RowFileHeader& header() const { return header_; }
  const std::vector<Place>& blocks() const { return blocks_; }  // in the order of the file
  absl::StatusOr<RowBlock> Read(const Place& place);

 private:
  RowFileReader(std::string path, std::unique_ptr<FileSystem::Reader> file) : path_(std::move(path)), file_(std::move(file)) {}
  absl::Status ReadHeader(uint64_t cluster_id, uint64_t checkpoint);
  absl::Status ReadIndex();
  absl::StatusOr<std::string> ReadFrame(uint32_t kind, uint64_t offset, uint64_t bytes);

  std::string path_;
  std::unique_ptr<FileSystem::Reader> file_;
  RowFileHeader header_;
  uint64_t key_ = 0;          // of this file
  uint64_t first_block_ = 0;  // offset
  std::vector<Place> blocks_;
};

// Reads every byte and every row. `summary` is what was said of the file when it was written.
absl::Status VerifyRowFile(FileSystem& files, const std::string& path, uint64_t cluster_id, uint64_t checkpoint,
                           const RowFileSummary& summary);

}  // namespace marquee

#endif  // MARQUEE_CHECKPOINT_ROW_FILE_H_
