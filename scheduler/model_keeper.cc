#include "scheduler/model_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace marquee {
namespace {

constexpr uint64_t kStepBytes = 512U << 10U;  // well below the smallest bound on messages that a cluster may have

uint64_t RowsOfStep(uint32_t dim) { return std::max<uint64_t>(1, kStepBytes / (sizeof(Id) + uint64_t{dim} * sizeof(float))); }

capnp::Data::Reader BytesOf(const void* data, size_t bytes) { return {static_cast<const kj::byte*>(data), bytes}; }

}  // namespace

absl::Status ModelKeeper::Advance(absl::Time now, Outbox& outbox) {
  if (writer_ == nullptr || view_ != context_.view.number) {
    if (!Begin()) return absl::OkStatus();
    Ask(now, outbox);
  }
  while (context_.status.ok() && !done() && context_.shards.Finished(broadcast_)) {
    if (absl::Status status = TakeIn(); !status.ok()) return status;
    if (context_.status.ok() && !done()) Ask(now, outbox);
  }
  return absl::OkStatus();
}

bool ModelKeeper::Begin() {
  context_.shards.Forget(std::exchange(broadcast_, 0));
  view_ = context_.view.number;
  table_ = 0;
  shard_ = PrimaryFrom(0);
  partition_ = 0;
  slot_ = 0;
  writer_ = nullptr;  // gives up what an earlier walk has written
  absl::StatusOr<std::unique_ptr<ModelWriter>> writer = context_.models->Create(trial_);
  if (!context_.Keep(writer.status())) return false;
  writer_ = *std::move(writer);
  return BeginTable();
}

// Those of a lost server are primary of nothing, and one that has just joined need not know the tables yet.
uint32_t ModelKeeper::PrimaryFrom(uint32_t shard) const {
  const std::vector<ShardIndex>& primaries = context_.view.primaries;
  while (shard < context_.view.shards.size() && std::find(primaries.begin(), primaries.end(), shard) == primaries.end())
    ++shard;
  return shard;
}

bool ModelKeeper::BeginTable() { return table_ == tables_.size() || context_.Keep(writer_->BeginTable(tables_[table_])); }

absl::Status ModelKeeper::TakeIn() {
  if (absl::Status status = context_.shards.Result(broadcast_); !status.ok()) return status;
  const ShardRequests::Scanned scanned = context_.shards.TakeScanned(broadcast_);
  context_.shards.Forget(broadcast_);
  const bool ahead = std::pair(scanned.partition, scanned.slot) > std::pair(partition_, slot_);
  if (scanned.weights.size() != scanned.ids.size() * tables_[table_].dim || !ahead) {
    return absl::InternalError(fmt::format("shard {} answers a scan of {} with rows of another dim, or does not go on",
                                           context_.view.shards[shard_], tables_[table_].name));
  }
  if (!scanned.ids.empty() && !context_.Keep(writer_->AddRows(scanned.ids, scanned.weights))) return absl::OkStatus();
  partition_ = scanned.partition;
  slot_ = scanned.slot;
  if (partition_ < context_.view.partitions()) return absl::OkStatus();
  partition_ = 0;
  slot_ = 0;
  shard_ = PrimaryFrom(shard_ + 1);
  if (shard_ < context_.view.shards.size()) return absl::OkStatus();
  shard_ = PrimaryFrom(0);
  ++table_;
  BeginTable();
  return absl::OkStatus();
}

void ModelKeeper::Ask(absl::Time now, Outbox& outbox) {
  broadcast_ = context_.shards.StartSome(
      {shard_}, context_.view, 0,
      [this](uint32_t, wire::Envelope::Body::Builder body) {
        wire::ScanTable::Builder scan = body.initScanTable();
        scan.setTable(tables_[table_].number);
        scan.setPartition(partition_);
        scan.setSlot(slot_);
        scan.setEnd(context_.view.partitions());
        scan.setLimit(static_cast<uint32_t>(RowsOfStep(tables_[table_].dim)));
      },
      now, outbox);
}

// ----------------------------------------------------------------------------------------------------------- loading

absl::Status ModelLoader::Open() {
  if (context_.models == nullptr) return absl::FailedPreconditionError("start_from: this scheduler keeps no models");
  absl::StatusOr<std::unique_ptr<ModelReader>> reader = context_.models->Open(model_);
  if (!reader.ok()) return reader.status();
  for (const ModelReader::Table& kept : (*reader)->tables()) {
    const auto target = std::find_if(tables_.begin(), tables_.end(),
                                     [&](const TableDefinition& table) { return table.model_name() == kept.name; });
    if (target == tables_.end()) {
      return absl::InvalidArgumentError(
          fmt::format("start_from: {}: has a table '{}', which this trial's model has not", model_, kept.name));
    }
    if (target->dim != kept.dim) {
      return absl::InvalidArgumentError(fmt::format("start_from: {}: its table '{}' has dim {}; this trial's has {}", model_,
                                                    kept.name, kept.dim, target->dim));
    }
    targets_.push_back(&*target);
  }
  reader_ = *std::move(reader);
  return absl::OkStatus();
}

absl::Status ModelLoader::Advance(absl::Time now, Outbox& outbox) {
  if (reader_ == nullptr) {
    if (absl::Status status = Open(); !status.ok()) return status;
  }
  if (broadcast_ != 0 && view_ != context_.view.number) Send(now, outbox);
  while (!done() && context_.shards.Finished(broadcast_)) {
    if (absl::Status status = context_.shards.Result(broadcast_); !status.ok()) return status;
    context_.shards.Forget(std::exchange(broadcast_, 0));
    if (done()) break;
    if (absl::Status status = ReadStep(now, outbox); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status ModelLoader::ReadStep(absl::Time now, Outbox& outbox) {
  Rows rows;
  const TableDefinition& table = *targets_[table_];
  if (absl::Status status = reader_->Read(table_, RowsOfStep(table.dim), &rows.ids, &rows.weights); !status.ok()) return status;
  if (rows.ids.empty()) {
    ++table_;
  } else {
    sent_ = std::move(rows);
    sent_to_ = &table;
    Send(now, outbox);
  }
  return absl::OkStatus();
}

void ModelLoader::Send(absl::Time now, Outbox& outbox) {
  const TableDefinition& table = *sent_to_;
  const Rows& rows = sent_;
  context_.shards.Forget(broadcast_);
  view_ = context_.view.number;
  std::map<uint32_t, Rows> by_shard;
  size_t most = 0;
  for (size_t i = 0; i < rows.ids.size(); ++i) {
    Rows& of_shard = by_shard[context_.view.primaries[PartitionOf(rows.ids[i], context_.view.partition_bits())]];
    of_shard.ids.push_back(rows.ids[i]);
    const auto weights = rows.weights.begin() + static_cast<ptrdiff_t>(i * table.dim);
    of_shard.weights.insert(of_shard.weights.end(), weights, weights + table.dim);
    most = std::max(most, of_shard.ids.size());
  }
  std::vector<uint32_t> shards;
  for (const auto& [shard, of_shard] : by_shard) shards.push_back(shard);
  broadcast_ = context_.shards.StartSome(
      shards, context_.view, most * (sizeof(Id) + table.dim * sizeof(float)),
      [&](uint32_t shard, wire::Envelope::Body::Builder body) {
        const Rows& of_shard = by_shard.at(shard);
        wire::LoadRows::Builder load = body.initLoadRows();
        load.setTable(table.number);
        load.setDim(table.dim);
        load.setCount(static_cast<uint32_t>(of_shard.ids.size()));
        load.setType(wire::ElementType::FLOAT32);
        load.setIds(BytesOf(of_shard.ids.data(), of_shard.ids.size() * sizeof(Id)));
        load.setWeights(BytesOf(of_shard.weights.data(), of_shard.weights.size() * sizeof(float)));
      },
      now, outbox);
}

}  // namespace marquee
