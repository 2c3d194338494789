#include "ps/block_reader.h"

#include <fmt/format.h>

#include <utility>

namespace marquee {

absl::Status BlockReader::Open(const CheckpointIo::Files::File& file) {
  auto reader = RowFileReader::Open(files_, file.path, wanted_.cluster_id, file.checkpoint);
  if (reader.ok()) {
    reader_ = *std::move(reader);
    block_ = 0;
    return absl::OkStatus();
  }
  if (!absl::IsNotFound(reader.status())) return reader.status();
  const std::string folder = file.path.substr(0, file.path.rfind('/'));
  const absl::Status listed = files_.List(folder).status();
  if (listed.ok()) return absl::DataLossError(reader.status().message());
  return absl::UnavailableError(fmt::format("{}; is it mounted here?", std::string(listed.message())));
}

absl::StatusOr<std::optional<RowBlock>> BlockReader::Next() {
  for (; file_ < wanted_.files.size(); ++file_) {
    if (reader_ == nullptr) {
      if (absl::Status status = Open(wanted_.files[file_]); !status.ok()) return status;
    }
    while (block_ < reader_->blocks().size()) {
      const RowFileReader::Place& place = reader_->blocks()[block_++];
      if (!wanted_.partitions.contains(place.partition) || !wanted_.tables.contains(place.table)) continue;
      absl::StatusOr<RowBlock> block = reader_->Read(place);
      if (!block.ok()) return block.status();
      return *std::move(block);
    }
    reader_ = nullptr;
  }
  return std::optional<RowBlock>();
}

}  // namespace marquee
