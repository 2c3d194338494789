#include "ps/checkpointing.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

constexpr size_t kStepBytes = 256U << 10U;  // of rows, between two requests
constexpr size_t kBlockBytes = 128U << 10U;
constexpr absl::Duration kLookAgain = absl::Milliseconds(2);  // at a disk that is behind

size_t RowBytes(const TableStore& table) { return sizeof(Id) + (table.dim() + table.state_width()) * sizeof(float); }

ErrorCode CodeOf(const absl::Status& status) { return absl::IsDataLoss(status) ? ErrorCode::DAMAGED : ErrorCode::STORAGE; }

}  // namespace

// ------------------------------------------------------------------------------------------------------------ writing

MaybeRefusal Checkpointing::Cut(wire::CutCheckpoint::Reader request, uint64_t view) {
  const uint64_t number = request.getNumber();
  if (io_ == nullptr) return Refusal{ErrorCode::STORAGE, "cutCheckpoint", "this shard writes no checkpoints"};
  if (view != ownership_.view().number) {
    return Refusal{ErrorCode::STALE_VIEW, "view", fmt::format("{}; this shard has {}", view, ownership_.view().number)};
  }
  if (request.getClusterId() != ownership_.view().cluster_id) {
    return Refusal{ErrorCode::CONFLICT, "cutCheckpoint.clusterId", "is of another cluster"};
  }
  if (write_.has_value() && number == write_->number) return std::nullopt;
  if (number == 0 || (write_.has_value() && number < write_->number)) {
    return Refusal{ErrorCode::CONFLICT, "cutCheckpoint.number",
                   fmt::format("{}; this shard has made {}", number, write_.has_value() ? write_->number : 0)};
  }
  Write write;
  write.number = number;
  for (const TableNumber table : request.getTables()) {
    if (tables_.WasDropped(table)) continue;
    write.tables.push_back(tables_.Share(table));
    if (write.tables.back() != nullptr) continue;
    return Refusal{ErrorCode::UNKNOWN_TABLE, "cutCheckpoint.tables", fmt::format("no table {}", table)};
  }
  if (write_.has_value()) EndWalk();
  std::vector<uint8_t> wanted(ownership_.view().partitions(), 0);
  for (PartitionNumber p = 0; p < wanted.size(); ++p) {
    if (ownership_.role(p) != CopyRole::kPrimary) continue;
    write.partitions.push_back(p);
    wanted[p] = new_.contains(p) ? TableStore::kAllRows : 1;
  }
  new_.clear();
  for (const auto& table : write.tables) write.full &= table->BeginCut(number, request.getBase(), wanted);
  const std::string folder(request.getFolder().cStr(), request.getFolder().size());
  io_->BeginFile(folder, fmt::format("shard-{:03}-{:016x}", ownership_.self(), self_.incarnation),
                 {.cluster_id = ownership_.view().cluster_id,
                  .checkpoint = number,
                  .view = ownership_.view().number,
                  .shard = ownership_.self()});
  write_ = std::move(write);
  next_timer_ = absl::InfinitePast();
  return std::nullopt;
}

MaybeRefusal Checkpointing::Ask(uint64_t number, RowFileSummary* file) const {
  if (!write_.has_value() || write_->number != number) {
    return Refusal{ErrorCode::STORAGE, "getCheckpoint", fmt::format("this shard has made no cut {}, or gave it up", number)};
  }
  if (!write_->result.has_value()) return Refusal{ErrorCode::NOT_YET, "getCheckpoint", "it is being written"};
  if (!write_->result->ok()) {
    const absl::Status& status = write_->result->status();
    return Refusal{CodeOf(status), "getCheckpoint", std::string(status.message())};
  }
  *file = **write_->result;
  file->full = write_->full;
  return std::nullopt;
}

void Checkpointing::KeepAsked(const Message& message) {
  const bool known = std::any_of(asked_.begin(), asked_.end(), [&](const Message& asked) {
    return asked.from() == message.from() && asked.envelope().getRequestId() == message.envelope().getRequestId();
  });
  if (!known) asked_.push_back(message.Share());
}

std::vector<Message> Checkpointing::TakeAsked() {
  const bool writing = write_.has_value() && !write_->result.has_value();
  return writing ? std::vector<Message>() : std::exchange(asked_, {});
}

void Checkpointing::WriteMore() {
  Write& write = *write_;
  if (auto written = io_->TakeWritten(); written.has_value()) {
    EndWalk();
    write.result = *std::move(written);
    return;
  }
  size_t bytes = 0;
  while (write.walking && bytes < kStepBytes && io_->HasRoom()) {
    if (write.table == write.tables.size() || write.partitions.empty()) {
      EndWalk();
      io_->Finish();
      break;
    }
    TableStore& table = *write.tables[write.table];
    const PartitionNumber partition = write.partitions[write.partition];
    RowImages rows;
    const bool more = table.ReadCut(partition, std::max<size_t>(1, kBlockBytes / RowBytes(table)), &rows);
    bytes += rows.ids.size() * RowBytes(table);
    if (!rows.ids.empty()) {
      io_->Add({.partition = partition,
                .table = table.definition().number,
                .dim = table.dim(),
                .state_width = table.state_width(),
                .ids = std::move(rows.ids),
                .values = std::move(rows.values)});
    }
    if (more) continue;
    if (++write.partition < write.partitions.size()) continue;
    write.partition = 0;
    ++write.table;
  }
}

void Checkpointing::EndWalk() {
  for (const auto& table : write_->tables) table->EndCut();
  write_->tables.clear();
  write_->walking = false;
}

void Checkpointing::Fail(absl::Status status) {
  EndWalk();
  io_->GiveUp();
  write_->result = std::move(status);
}

uint64_t Checkpointing::kept_bytes() const {
  uint64_t bytes = 0;
  if (!write_.has_value()) return 0;
  for (const auto& table : write_->tables) bytes += table->cut_bytes();
  return bytes;
}

// ------------------------------------------------------------------------------------------------------------ reading

MaybeRefusal Checkpointing::Restore(const Message& message, bool* answered) {
  const uint64_t view = message.envelope().getView();
  if (io_ == nullptr) return Refusal{ErrorCode::STORAGE, "restoreRows", "this shard reads no checkpoints"};
  // Asked again under each view until all shards have answered under one: a late copy of the request must not undo what was
  // trained since.
  if (view != ownership_.view().number) {
    return Refusal{ErrorCode::STALE_VIEW, "view", fmt::format("{}; this shard has {}", view, ownership_.view().number)};
  }
  for (const Reading& reading : readings_) {
    if (reading.request.from() == message.from() &&
        reading.request.envelope().getRequestId() == message.envelope().getRequestId()) {
      return std::nullopt;
    }
  }
  Reading reading{.request = message.Share(), .tables = {}};
  const wire::RestoreRows::Reader request = message.envelope().getBody().getRestoreRows();
  bool all_restored = true;
  for (const auto table : request.getTables()) {
    if (tables_.Find(table.getTo()) == nullptr && !tables_.WasDropped(table.getTo())) {
      return Refusal{ErrorCode::NOT_YET, "restoreRows.tables", fmt::format("no table {} yet", table.getTo())};
    }
    const auto restored = restored_in_.find(table.getTo());
    all_restored &= restored != restored_in_.end() && restored->second == view;
    reading.tables[table.getFrom()] = table.getTo();
  }
  *answered = all_restored;
  if (all_restored) return std::nullopt;
  readings_.push_back(std::move(reading));
  next_timer_ = absl::InfinitePast();
  return std::nullopt;
}

void Checkpointing::ReadMore() {
  Reading& reading = readings_.front();
  if (!reading.begun) {
    reading.begun = true;
    const wire::RestoreRows::Reader request = reading.request.envelope().getBody().getRestoreRows();
    CheckpointIo::Files files;
    files.cluster_id = request.getClusterId();
    for (const auto file : request.getFiles()) {
      files.files.push_back(
          {.path = std::string(file.getPath().cStr(), file.getPath().size()), .checkpoint = file.getCheckpoint()});
    }
    for (PartitionNumber p = 0; p < ownership_.view().partitions(); ++p) {
      if (ownership_.role(p) != CopyRole::kNone) files.partitions.insert(p);
    }
    for (const auto& [from, to] : reading.tables) files.tables.insert(from);
    io_->BeginReading(std::move(files));
  }
  for (size_t bytes = 0; bytes < kStepBytes;) {
    const std::optional<RowBlock> block = io_->NextBlock();
    if (!block.has_value()) break;
    bytes += block->values.size() * sizeof(float);
    if (MaybeRefusal refusal = Apply(*block, reading)) {
      io_->StopReading();
      return EndReading(std::move(refusal));
    }
  }
  const std::optional<absl::Status> read = io_->TakeRead();
  if (!read.has_value()) return;
  if (!read->ok()) return EndReading(Refusal{CodeOf(*read), "restoreRows.files", std::string(read->message())});
  for (const auto& [from, to] : reading.tables) restored_in_[to] = ownership_.view().number;
  EndReading(std::nullopt);
}

MaybeRefusal Checkpointing::Apply(const RowBlock& block, const Reading& reading) const {
  const auto to = reading.tables.find(block.table);
  if (to == reading.tables.end()) return std::nullopt;
  TableStore* const table = tables_.Find(to->second);
  if (table == nullptr) return std::nullopt;  // dropped meanwhile
  if (block.dim != table->dim() || block.state_width != table->state_width()) {
    return Refusal{ErrorCode::DAMAGED, "restoreRows.files",
                   fmt::format("rows of {} + {} for table {}, which has {} + {}", block.dim, block.state_width,
                               table->definition().name, table->dim(), table->state_width())};
  }
  for (const Id id : block.ids) {
    if (PartitionOf(id, ownership_.view().partition_bits()) == block.partition) continue;
    return Refusal{ErrorCode::DAMAGED, "restoreRows.files",
                   fmt::format("row {} of table {} is not of partition {} of {}", id, block.table, block.partition,
                               ownership_.view().partitions())};
  }
  table->RestoreRows(block.ids, block.values.data());
  return std::nullopt;
}

void Checkpointing::EndReading(MaybeRefusal refusal) {
  restored_.push_back({.request = std::move(readings_.front().request), .refusal = std::move(refusal)});
  readings_.pop_front();
}

// -------------------------------------------------------------------------------------------------- views and time

void Checkpointing::OnView(const std::vector<PartitionNumber>& lost) {
  std::erase_if(restored_in_, [&](const auto& entry) { return tables_.Find(entry.first) == nullptr; });
  // Roles have changed: who asked does so again under the new view.
  if (!readings_.empty()) {
    if (readings_.front().begun) io_->StopReading();
    readings_.clear();
  }
  if (!write_.has_value() || write_->result.has_value()) return;
  const bool ours = std::all_of(write_->partitions.begin(), write_->partitions.end(), [&](PartitionNumber p) {
    return ownership_.role(p) == CopyRole::kPrimary && std::find(lost.begin(), lost.end(), p) == lost.end();
  });
  // What was not written before is gone.
  if (!ours && write_->walking) Fail(absl::AbortedError("a partition of it went to another shard"));
}

void Checkpointing::OnTimer(absl::Time now) {
  if (write_.has_value() && !write_->result.has_value()) WriteMore();
  if (!readings_.empty()) ReadMore();
  const bool writing = write_.has_value() && !write_->result.has_value();
  next_timer_ = absl::InfiniteFuture();
  if (writing || !readings_.empty()) next_timer_ = now + kLookAgain;
  if (writing && write_->walking && io_->HasRoom()) next_timer_ = now;
}

}  // namespace marquee
