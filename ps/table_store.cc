#include "ps/table_store.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace marquee {
namespace {

constexpr size_t kCacheBytes = 16U << 10U;  // of the nearest cache, for the rows of one group
constexpr size_t kLeastInGroup = 8;

size_t GroupFor(size_t bytes_used, size_t most) { return std::clamp(kCacheBytes / bytes_used, kLeastInGroup, most); }

}  // namespace

TableStore::TableStore(TableDefinition definition, uint32_t partition_bits)
    : definition_(std::move(definition)),
      partition_bits_(partition_bits),
      initial_values_(definition_),
      updater_(definition_.optimizer, definition_.dim),
      layout_(definition_.dim, RowUpdater::StateWidth(definition_.optimizer.kind, definition_.dim)),
      pull_group_(GroupFor(definition_.dim * sizeof(float), kMostInGroup)),
      push_group_(GroupFor(layout_.row_bytes(), kMostInGroup)) {
  const size_t partitions = size_t{1} << partition_bits;
  partitions_.reserve(partitions);
  for (size_t i = 0; i < partitions; ++i) partitions_.emplace_back(layout_, arena_);
}

uint64_t TableStore::rows() const {
  uint64_t rows = 0;
  for (const RowStore& partition : partitions_) rows += partition.rows();
  return rows;
}

uint64_t TableStore::bytes() const {
  uint64_t bytes = 0;
  for (const RowStore& partition : partitions_) bytes += partition.bytes();
  return bytes;
}

// Fills in lookups[i] for ids[i]. The row may be another's with the same tag, and is on its way into the cache.
void TableStore::LookUp(absl::Span<const Id> ids, size_t bytes_used, Lookup* lookups) const {
  for (size_t i = 0; i < ids.size(); ++i) {
    Lookup& lookup = lookups[i];
    lookup.mixed = MixId(ids[i]);
    lookup.partition = PartitionOfMixed(lookup.mixed, partition_bits_);
    partitions_[lookup.partition].PrefetchIndex(lookup.mixed);
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    Lookup& lookup = lookups[i];
    lookup.row = partitions_[lookup.partition].Candidate(lookup.mixed);
    if (lookup.row) lookup.row.Prefetch(bytes_used);
  }
}

void TableStore::Gather(absl::Span<const Id> ids, float* values) const {
  const size_t bytes = dim() * sizeof(float);
  Lookup lookups[kMostInGroup];
  while (!ids.empty()) {
    const absl::Span<const Id> group = ids.subspan(0, pull_group_);
    LookUp(group, sizeof(Id) + bytes, lookups);
    for (size_t i = 0; i < group.size(); ++i, values += dim()) {
      Row row = lookups[i].row;
      if (row && row.id() != group[i]) row = partitions_[lookups[i].partition].Find(lookups[i].mixed, group[i]);
      if (row) {
        std::memcpy(values, row.weights(), bytes);
      } else {
        initial_values_.Fill(group[i], absl::MakeSpan(values, dim()));
      }
    }
    ids.remove_prefix(group.size());
  }
}

uint64_t TableStore::Apply(absl::Span<const Id> ids, const float* gradients, float learning_rate,
                           absl::Span<const uint8_t> skip) {
  uint64_t created = 0;
  Lookup lookups[kMostInGroup];
  while (!ids.empty()) {
    const absl::Span<const Id> group = ids.subspan(0, push_group_);
    LookUp(group, layout_.row_bytes(), lookups);
    for (size_t i = 0; i < group.size(); ++i, gradients += dim()) {
      const Lookup& lookup = lookups[i];
      if (!skip.empty() && skip[lookup.partition] != 0) continue;
      Row row = lookup.row;
      if (!row || row.id() != group[i]) row = partitions_[lookup.partition].Find(lookup.mixed, group[i]);
      if (!row) {
        row = Create(lookup, group[i]);
        ++created;
      }
      updater_.Update(row.weights(), row.state(layout_), gradients, learning_rate);
    }
    ids.remove_prefix(group.size());
  }
  return created;
}

Row TableStore::Create(const Lookup& lookup, Id id) {
  const Row row = partitions_[lookup.partition].Insert(lookup.mixed, id);
  initial_values_.Fill(id, absl::MakeSpan(row.weights(), dim()));
  updater_.InitializeState(row.state(layout_));
  return row;
}

bool TableStore::FitsBudget(absl::Span<const absl::Span<const Id>> lists, absl::Span<const uint8_t> skip) const {
  const uint64_t budget = definition_.memory_budget_bytes;
  if (budget == 0) return true;
  std::vector<uint64_t> more(partitions_.size(), 0);
  const auto fits = [&] {
    uint64_t bytes = 0;
    for (size_t i = 0; i < partitions_.size(); ++i) bytes += partitions_[i].BytesWith(more[i]);
    return bytes <= budget;
  };
  for (const absl::Span<const Id> ids : lists) {
    for (const Id id : ids) ++more[PartitionOf(id, partition_bits_)];
  }
  if (fits()) return true;

  std::fill(more.begin(), more.end(), 0);
  absl::flat_hash_set<Id> created;
  for (const absl::Span<const Id> ids : lists) {
    for (const Id id : ids) {
      const uint64_t mixed = MixId(id);
      const PartitionNumber partition = PartitionOfMixed(mixed, partition_bits_);
      if (!skip.empty() && skip[partition] != 0) continue;
      if (!partitions_[partition].Find(mixed, id) && created.insert(id).second) ++more[partition];
    }
  }
  return created.empty() || fits();
}

void TableStore::ForEachRow(const std::function<void(const RowView&)>& visit) const {
  for (const RowStore& partition : partitions_) {
    for (uint64_t slot = 0; slot < partition.rows(); ++slot) {
      const Row row = partition.RowAt(slot);
      visit({.id = row.id(),
             .weights = absl::MakeConstSpan(row.weights(), dim()),
             .state = absl::MakeConstSpan(row.state(layout_), layout_.state_width())});
    }
  }
}

}  // namespace marquee
