#include "dataset/dataset.h"

#include <capnp/serialize.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <kj/exception.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataset/dataset_file.h"
#include "dataset/dataset_reader.h"

namespace marquee {

// Owns the mapped bytes and the message reader over them.
struct Dataset::Mapping {
  void* address = MAP_FAILED;
  size_t bytes = 0;
  uint64_t checksum = 0;
  std::unique_ptr<capnp::FlatArrayMessageReader> message;

  ~Mapping() {
    message.reset();
    if (address != MAP_FAILED) munmap(address, bytes);
  }

  absl::Status Map(const std::string& path) {
    const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return absl::NotFoundError(fmt::format("{}: cannot open: {}", path, std::strerror(errno)));
    struct stat status {};
    const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    if (regular && status.st_size >= static_cast<off_t>(sizeof(DataFileHeader))) {
      bytes = static_cast<size_t>(status.st_size);
      address = mmap(nullptr, bytes, PROT_READ, MAP_SHARED, descriptor, 0);
    }
    close(descriptor);
    if (address != MAP_FAILED) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format("{}: not a marquee data file: make one with `wrangle`", path));
  }

  absl::Status CheckHeader(const std::string& path) {
    DataFileHeader header;
    std::memcpy(&header, address, sizeof(header));
    if (header.magic != kDataFileMagic) {
      return absl::InvalidArgumentError(fmt::format("{}: not a marquee data file: make one with `wrangle`", path));
    }
    if (header.version != kDataFileVersion) {
      return absl::InvalidArgumentError(
          fmt::format("{}: data file of version {}; this program reads version {}: wrangle it again", path, header.version,
                      kDataFileVersion));
    }
    if (header.content_bytes != bytes - sizeof(header) || header.content_bytes % sizeof(capnp::word) != 0) {
      return absl::InvalidArgumentError(fmt::format("{}: {} bytes of content; its header says {}: truncated?", path,
                                                    bytes - sizeof(header), header.content_bytes));
    }
    checksum = XXH3_64bits(content(), header.content_bytes);
    if (checksum == header.checksum) return absl::OkStatus();
    return absl::DataLossError(
        fmt::format("{}: checksum {:016x}; its header says {:016x}: the file is damaged", path, checksum, header.checksum));
  }

  const std::byte* content() const { return static_cast<const std::byte*>(address) + sizeof(DataFileHeader); }

  file::DataFile::Reader Root() {
    const size_t words = (bytes - sizeof(DataFileHeader)) / sizeof(capnp::word);
    capnp::ReaderOptions options;
    options.traversalLimitInWords = 4 * words + 1024;  // every list is walked once or twice, whatever the size of the file
    message = std::make_unique<capnp::FlatArrayMessageReader>(
        kj::arrayPtr(reinterpret_cast<const capnp::word*>(content()), words), options);
    return message->getRoot<file::DataFile>();
  }
};

Dataset::Dataset() = default;
Dataset::~Dataset() = default;

const Column* Dataset::column(std::string_view name) const {
  for (const std::unique_ptr<Column>& column : columns_) {
    if (column->name() == name) return column.get();
  }
  return nullptr;
}

uint64_t Dataset::checksum() const { return mapping_->checksum; }

absl::StatusOr<std::shared_ptr<const Dataset>> Dataset::Open(const std::string& path) {
  auto mapping = std::make_unique<Mapping>();
  if (absl::Status status = mapping->Map(path); !status.ok()) return status;
  if (absl::Status status = mapping->CheckHeader(path); !status.ok()) return status;
  try {
    absl::StatusOr<std::shared_ptr<Dataset>> data = DatasetReader::Read(mapping->Root());
    if (!data.ok()) return absl::InvalidArgumentError(fmt::format("{}: {}", path, std::string(data.status().message())));
    (*data)->mapping_ = std::move(mapping);
    return *std::move(data);
  } catch (const kj::Exception& exception) {
    return absl::InvalidArgumentError(fmt::format("{}: malformed: {}", path, exception.getDescription().cStr()));
  }
}

}  // namespace marquee
