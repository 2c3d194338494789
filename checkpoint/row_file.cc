#include "checkpoint/row_file.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace marquee {
namespace {

constexpr std::string_view kMagic = "MQROWS1\n";
constexpr uint32_t kHeaderKind = 1;
constexpr uint32_t kRowsKind = 2;
constexpr uint32_t kIndexKind = 3;
constexpr size_t kFrameHead = sizeof(uint32_t) + 2 * sizeof(uint64_t);  // kind, bytes of the payload, checksum
constexpr size_t kTail = sizeof(uint64_t);                              // offset of the index
constexpr size_t kPlaceBytes = 3 * sizeof(uint64_t);
constexpr size_t kBufferBytes = 1U << 20U;
constexpr uint64_t kMaxFrameBytes = 1U << 30U;
constexpr uint64_t kReadBytes = 4U << 20U;

// Little-endian, as everything that marquee writes; the machines it runs on are.
template <typename T>
void Put(std::string& text, const T& value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(T));
}

template <typename T>
void PutAll(std::string& text, const std::vector<T>& values) {
  text.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

// Takes values off the front of a payload whose checksum is good; false where it is too short.
class Cutter {
 public:
  explicit Cutter(std::string_view text) : text_(text) {}

  template <typename T>
  bool Take(T* value) {
    if (text_.size() < sizeof(T)) return false;
    std::memcpy(value, text_.data(), sizeof(T));
    text_.remove_prefix(sizeof(T));
    return true;
  }
  template <typename T>
  bool TakeAll(uint64_t count, std::vector<T>* values) {
    if (count > text_.size() / sizeof(T)) return false;
    values->resize(count);
    if (count > 0) std::memcpy(values->data(), text_.data(), count * sizeof(T));
    text_.remove_prefix(count * sizeof(T));
    return true;
  }
  bool empty() const { return text_.empty(); }

 private:
  std::string_view text_;
};

// Of a frame: it also covers what the frame is and where it stands. `key` is the file's.
uint64_t ChecksumOf(uint64_t key, uint32_t kind, uint64_t offset, std::string_view payload) {
  std::string head;
  Put(head, uint64_t{kind});
  Put(head, offset);
  Put(head, uint64_t{payload.size()});
  const uint64_t of_head = XXH3_64bits_withSeed(head.data(), head.size(), key);
  return XXH3_64bits_withSeed(payload.data(), payload.size(), of_head);
}

absl::Status Damaged(const std::string& path, uint64_t offset, std::string_view what) {
  return absl::DataLossError(fmt::format("{}: at byte {}: {}", path, offset, what));
}

std::string HeaderPayload(const RowFileHeader& header) {
  std::string payload;
  Put(payload, header.cluster_id);
  Put(payload, header.checkpoint);
  Put(payload, header.view);
  Put(payload, header.shard);
  return payload;
}

std::string PathOf(const std::string& folder, const std::string& name) { return folder + "/" + name; }

}  // namespace

// ---------------------------------------------------------------------------------------------------------- writing

struct RowFileWriter::State {
  ~State() { XXH3_freeState(checksum); }
  FileSystem& files;
  std::string folder;
  std::string name;
  std::string temporary;
  std::unique_ptr<FileSystem::Writer> file;
  XXH3_state_t* checksum = XXH3_createState();
  uint64_t key = 0;
  uint64_t offset = 0;  // of what comes next
  std::string buffer;
  std::vector<RowFileReader::Place> places;
  uint64_t rows = 0;
  bool finished = false;
};

RowFileWriter::RowFileWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}

RowFileWriter::~RowFileWriter() {
  state_->file = nullptr;
  if (!state_->finished) state_->files.Remove(state_->temporary).IgnoreError();
}

absl::StatusOr<std::unique_ptr<RowFileWriter>> RowFileWriter::Create(FileSystem& files, const std::string& folder,
                                                                     const std::string& name, const RowFileHeader& header) {
  if (absl::Status status = files.MakeFolders(folder); !status.ok()) return status;
  std::string temporary = PathOf(folder, name) + ".tmp";
  absl::StatusOr<std::unique_ptr<FileSystem::Writer>> file = files.Create(temporary);
  if (!file.ok()) return file.status();
  std::unique_ptr<State> state(new State{.files = files,
                                         .folder = folder,
                                         .name = name,
                                         .temporary = std::move(temporary),
                                         .file = *std::move(file),
                                         .buffer = {},
                                         .places = {}});
  XXH3_64bits_reset(state->checksum);
  std::unique_ptr<RowFileWriter> writer(new RowFileWriter(std::move(state)));
  if (absl::Status status = writer->Append(kMagic); !status.ok()) return status;
  const std::string payload = HeaderPayload(header);
  if (absl::Status status = writer->AddFrame(kHeaderKind, payload); !status.ok()) return status;
  writer->state_->key = ChecksumOf(0, kHeaderKind, kMagic.size(), payload);
  return writer;
}

absl::Status RowFileWriter::Append(std::string_view bytes) {
  state_->buffer.append(bytes);
  state_->offset += bytes.size();
  return state_->buffer.size() < kBufferBytes ? absl::OkStatus() : Flush();
}

absl::Status RowFileWriter::Flush() {
  XXH3_64bits_update(state_->checksum, state_->buffer.data(), state_->buffer.size());
  const absl::Status status = state_->file->Append(state_->buffer);
  state_->buffer.clear();
  return status;
}

absl::Status RowFileWriter::AddFrame(uint32_t kind, const std::string& payload) {
  std::string head;
  Put(head, kind);
  Put(head, uint64_t{payload.size()});
  Put(head, ChecksumOf(state_->key, kind, state_->offset, payload));
  if (absl::Status status = Append(head); !status.ok()) return status;
  return Append(payload);
}

absl::Status RowFileWriter::Add(const RowBlock& block) {
  std::string payload;
  Put(payload, block.partition);
  Put(payload, block.table);
  Put(payload, block.dim);
  Put(payload, block.state_width);
  Put(payload, uint64_t{block.ids.size()});
  PutAll(payload, block.ids);
  PutAll(payload, block.values);
  state_->places.push_back(
      {.offset = state_->offset, .bytes = kFrameHead + payload.size(), .partition = block.partition, .table = block.table});
  state_->rows += block.ids.size();
  return AddFrame(kRowsKind, payload);
}

absl::StatusOr<RowFileSummary> RowFileWriter::Finish() {
  const uint64_t index_at = state_->offset;
  std::string payload;
  for (const RowFileReader::Place& place : state_->places) {
    Put(payload, place.offset);
    Put(payload, place.bytes);
    Put(payload, place.partition);
    Put(payload, place.table);
  }
  if (absl::Status status = AddFrame(kIndexKind, payload); !status.ok()) return status;
  std::string tail;
  Put(tail, index_at);
  if (absl::Status status = Append(tail); !status.ok()) return status;
  if (absl::Status status = Flush(); !status.ok()) return status;
  if (absl::Status status = state_->file->Sync(); !status.ok()) return status;
  state_->file = nullptr;
  if (absl::Status status = state_->files.Rename(state_->temporary, PathOf(state_->folder, state_->name)); !status.ok()) {
    return status;
  }
  state_->finished = true;
  if (absl::Status status = state_->files.SyncFolder(state_->folder); !status.ok()) return status;
  return RowFileSummary{
      .name = state_->name, .bytes = state_->offset, .checksum = XXH3_64bits_digest(state_->checksum), .rows = state_->rows};
}

// ---------------------------------------------------------------------------------------------------------- reading

absl::StatusOr<std::unique_ptr<RowFileReader>> RowFileReader::Open(FileSystem& files, const std::string& path,
                                                                   uint64_t cluster_id, uint64_t checkpoint) {
  absl::StatusOr<std::unique_ptr<FileSystem::Reader>> file = files.Open(path);
  if (!file.ok()) return file.status();
  std::unique_ptr<RowFileReader> reader(new RowFileReader(path, *std::move(file)));
  if (absl::Status status = reader->ReadHeader(cluster_id, checkpoint); !status.ok()) return status;
  if (absl::Status status = reader->ReadIndex(); !status.ok()) return status;
  return reader;
}

// The payload of a frame of `bytes` in all, whose place is known.
absl::StatusOr<std::string> RowFileReader::ReadFrame(uint32_t kind, uint64_t offset, uint64_t bytes) {
  if (bytes < kFrameHead || bytes > kMaxFrameBytes || offset > file_->size() || bytes > file_->size() - offset) {
    return Damaged(path_, offset, fmt::format("{} bytes are expected here; the file has {} in all", bytes, file_->size()));
  }
  absl::StatusOr<std::string> frame = file_->Read(offset, bytes);
  if (!frame.ok()) return frame.status();
  if (frame->size() != bytes) return Damaged(path_, offset, fmt::format("{} bytes of {}", frame->size(), bytes));
  uint32_t found_kind = 0;
  uint64_t size = 0;
  uint64_t checksum = 0;
  Cutter head(*frame);
  head.Take(&found_kind);
  head.Take(&size);
  head.Take(&checksum);
  const std::string_view payload = std::string_view(*frame).substr(kFrameHead);
  if (found_kind != kind || size != payload.size()) {
    return Damaged(
        path_, offset,
        fmt::format("a part of kind {} with {} bytes; kind {} with {} is expected", found_kind, size, kind, payload.size()));
  }
  const uint64_t expected = ChecksumOf(key_, kind, offset, payload);
  if (checksum != expected) {
    return Damaged(path_, offset,
                   fmt::format("the checksum of {} bytes is {:016x}; {:016x} was written", payload.size(), expected, checksum));
  }
  return std::string(payload);
}

absl::Status RowFileReader::ReadHeader(uint64_t cluster_id, uint64_t checkpoint) {
  absl::StatusOr<std::string> magic = file_->Read(0, kMagic.size());
  if (!magic.ok()) return magic.status();
  if (*magic != kMagic) return Damaged(path_, 0, "this is no file of a checkpoint of this version");
  const uint64_t bytes = kFrameHead + HeaderPayload({}).size();
  absl::StatusOr<std::string> payload = ReadFrame(kHeaderKind, kMagic.size(), bytes);
  if (!payload.ok()) return payload.status();
  Cutter cutter(*payload);
  cutter.Take(&header_.cluster_id);
  cutter.Take(&header_.checkpoint);
  cutter.Take(&header_.view);
  cutter.Take(&header_.shard);
  if (header_.cluster_id != cluster_id) {
    return Damaged(path_, kMagic.size(),
                   fmt::format("the file is of cluster {:016x}; this one is {:016x}", header_.cluster_id, cluster_id));
  }
  if (header_.checkpoint != checkpoint) {
    return Damaged(path_, kMagic.size(),
                   fmt::format("the file is of checkpoint {}; {} is expected", header_.checkpoint, checkpoint));
  }
  key_ = ChecksumOf(0, kHeaderKind, kMagic.size(), *payload);
  first_block_ = kMagic.size() + bytes;
  return absl::OkStatus();
}

absl::Status RowFileReader::ReadIndex() {
  const uint64_t size = file_->size();
  if (size < first_block_ + kFrameHead + kTail) return Damaged(path_, size, "the file ends before its index");
  absl::StatusOr<std::string> tail = file_->Read(size - kTail, kTail);
  if (!tail.ok()) return tail.status();
  uint64_t index_at = 0;
  Cutter(*tail).Take(&index_at);
  if (index_at < first_block_ || index_at > size - kTail - kFrameHead) {
    return Damaged(path_, size - kTail, fmt::format("the index is said to be at byte {} of {}", index_at, size));
  }
  absl::StatusOr<std::string> payload = ReadFrame(kIndexKind, index_at, size - kTail - index_at);
  if (!payload.ok()) return payload.status();
  if (payload->size() % kPlaceBytes != 0) return Damaged(path_, index_at, "the index is no list of blocks");
  Cutter cutter(*payload);
  uint64_t next = first_block_;
  while (!cutter.empty()) {
    Place place;
    cutter.Take(&place.offset);
    cutter.Take(&place.bytes);
    cutter.Take(&place.partition);
    cutter.Take(&place.table);
    if (place.offset != next || place.bytes > index_at - next) return Damaged(path_, index_at, "the index has a gap");
    next += place.bytes;
    blocks_.push_back(place);
  }
  if (next != index_at) return Damaged(path_, index_at, "the index does not name all blocks");
  return absl::OkStatus();
}

absl::StatusOr<RowBlock> RowFileReader::Read(const Place& place) {
  absl::StatusOr<std::string> payload = ReadFrame(kRowsKind, place.offset, place.bytes);
  if (!payload.ok()) return payload.status();
  RowBlock block;
  uint64_t count = 0;
  Cutter cutter(*payload);
  const bool whole = cutter.Take(&block.partition) && cutter.Take(&block.table) && cutter.Take(&block.dim) &&
                     cutter.Take(&block.state_width) && cutter.Take(&count) && cutter.TakeAll(count, &block.ids);
  const uint64_t width = uint64_t{block.dim} + block.state_width;
  if (!whole || (width != 0 && count > UINT64_MAX / width) || !cutter.TakeAll(count * width, &block.values) ||
      !cutter.empty() || block.partition != place.partition || block.table != place.table) {
    return Damaged(path_, place.offset, "the block's size is not that of its rows");
  }
  return block;
}

absl::Status VerifyRowFile(FileSystem& files, const std::string& path, uint64_t cluster_id, uint64_t checkpoint,
                           const RowFileSummary& summary) {
  absl::StatusOr<std::unique_ptr<RowFileReader>> reader = RowFileReader::Open(files, path, cluster_id, checkpoint);
  if (!reader.ok()) return reader.status();
  uint64_t rows = 0;
  for (const RowFileReader::Place& place : (*reader)->blocks()) {
    absl::StatusOr<RowBlock> block = (*reader)->Read(place);
    if (!block.ok()) return block.status();
    rows += block->ids.size();
  }
  absl::StatusOr<std::unique_ptr<FileSystem::Reader>> file = files.Open(path);
  if (!file.ok()) return file.status();
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  XXH3_64bits_reset(state.get());
  for (uint64_t offset = 0; offset < (*file)->size(); offset += kReadBytes) {
    absl::StatusOr<std::string> bytes = (*file)->Read(offset, kReadBytes);
    if (!bytes.ok()) return bytes.status();
    XXH3_64bits_update(state.get(), bytes->data(), bytes->size());
  }
  const uint64_t checksum = XXH3_64bits_digest(state.get());
  if ((*file)->size() != summary.bytes || checksum != summary.checksum || rows != summary.rows) {
    return Damaged(path, 0,
                   fmt::format("{} bytes, {} rows, checksum {:016x}; the manifest names {}, {} and {:016x}", (*file)->size(),
                               rows, checksum, summary.bytes, summary.rows, summary.checksum));
  }
  return absl::OkStatus();
}

}  // namespace marquee
