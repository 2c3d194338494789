#include "ps/table_store.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace marquee {
namespace {

// How many ids ahead rows are fetched, and twice as many for index entries: enough to hide the misses, few enough that what
// was fetched is still in the nearest cache when it is used.
constexpr size_t kFetchedBytes = 8U << 10U;
constexpr size_t kLeastAhead = 4;
constexpr size_t kMostAhead = 32;
constexpr size_t kLookups = 128;  // a power of two over 2 x kMostAhead

void CopyRow(const float* __restrict from, size_t dim, float* __restrict to) {
  for (size_t i = 0; i < dim; ++i) to[i] = from[i];
}

size_t AheadFor(size_t bytes_used) { return std::clamp(kFetchedBytes / bytes_used, kLeastAhead, kMostAhead); }

}  // namespace

TableStore::TableStore(TableDefinition definition, uint32_t partition_bits)
    : definition_(std::move(definition)),
      partition_bits_(partition_bits),
      initial_values_(definition_),
      updater_(definition_.optimizer, definition_.dim),
      layout_(definition_.dim, StateWidth(definition_.optimizer.kind, definition_.dim)) {
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

template <typename Use>
void TableStore::LookUp(absl::Span<const Id> ids, size_t bytes_used, const Use& use) const {
  const size_t ahead = AheadFor(bytes_used);
  Lookup lookups[kLookups];
  for (size_t i = 0; i < ids.size() + 2 * ahead; ++i) {
    if (i < ids.size()) {
      Lookup& lookup = lookups[i % kLookups];
      lookup.mixed = MixId(ids[i]);
      lookup.partition = PartitionOfMixed(lookup.mixed, partition_bits_);
      partitions_[lookup.partition].PrefetchIndex(lookup.mixed);
    }
    if (i >= ahead && i < ids.size() + ahead) {
      Lookup& lookup = lookups[(i - ahead) % kLookups];
      lookup.row = partitions_[lookup.partition].Candidate(lookup.mixed);
      if (lookup.row) lookup.row.Prefetch(bytes_used);
    }
    if (i >= 2 * ahead) use(i - 2 * ahead, lookups[(i - 2 * ahead) % kLookups]);
  }
}

void TableStore::Gather(absl::Span<const Id> ids, float* values) const {
  LookUp(ids, sizeof(Id) + dim() * sizeof(float), [&](size_t i, const Lookup& lookup) {
    Row row = lookup.row;
    if (row && row.id() != ids[i]) row = partitions_[lookup.partition].Find(lookup.mixed, ids[i]);
    if (row) {
      CopyRow(row.weights(), dim(), values + i * dim());
    } else {
      initial_values_.Fill(ids[i], absl::MakeSpan(values + i * dim(), dim()));
    }
  });
}

uint64_t TableStore::Apply(absl::Span<const Id> ids, const float* gradients, float learning_rate,
                           absl::Span<const uint8_t> skip) {
  uint64_t created = 0;
  const bool watched = watches_changes();
  LookUp(ids, layout_.row_bytes(), [&](size_t i, const Lookup& lookup) {
    const uint8_t rule = skip.empty() ? uint8_t{kApply} : skip[lookup.partition];
    if (rule == kSkip) return;
    Row row = lookup.row;
    if (!row || row.id() != ids[i]) row = partitions_[lookup.partition].Find(lookup.mixed, ids[i]);
    if (!row) {
      if (rule == kOnlyRows) return;
      row = Create(lookup, ids[i]);
      ++created;
    }
    if (watched) BeforeChange(lookup.partition, row);
    updater_.Update(row.weights(), row.state(layout_), gradients + i * dim(), learning_rate);
  });
  return created;
}

uint64_t TableStore::Load(absl::Span<const Id> ids, const float* weights) {
  uint64_t created = 0;
  LookUp(ids, sizeof(Id), [&](size_t i, const Lookup& lookup) {
    if (partitions_[lookup.partition].Find(lookup.mixed, ids[i])) return;
    const Row row = Create(lookup, ids[i]);
    if (watches_changes()) BeforeChange(lookup.partition, row);
    CopyRow(weights + i * dim(), dim(), row.weights());
    ++created;
  });
  return created;
}

void TableStore::RestoreRows(absl::Span<const Id> ids, const float* rows) {
  const size_t width = dim() + state_width();
  LookUp(ids, sizeof(Id), [&](size_t i, const Lookup& lookup) {
    Row row = partitions_[lookup.partition].Find(lookup.mixed, ids[i]);
    if (!row) row = Create(lookup, ids[i]);
    if (watches_changes()) BeforeChange(lookup.partition, row);
    std::copy_n(rows + i * width, dim(), row.weights());
    std::copy_n(rows + i * width + dim(), state_width(), row.state(layout_));
  });
}

void TableStore::CopyRows(PartitionNumber partition, uint64_t slot, uint64_t count, Id* ids, float* rows) const {
  for (uint64_t i = 0; i < count; ++i) {
    const Row row = partitions_[partition].RowAt(slot + i);
    *ids++ = row.id();
    rows = std::copy_n(row.weights(), dim(), rows);
    rows = std::copy_n(row.state(layout_), state_width(), rows);
  }
}

void TableStore::ClearPartition(PartitionNumber partition) {
  partitions_[partition].Clear();
  if (!watches_changes()) return;
  changed_[partition].Clear();
  if (unread_.empty()) return;
  unread_[partition].Clear();
  kept_[partition] = RowImages();
}

// ------------------------------------------------------------------------------------------------------------- cuts

bool TableStore::BeginCut(uint64_t number, uint64_t base, absl::Span<const uint8_t> partitions) {
  const bool changes_are_known = base != 0 && changes_since_ == base;
  EndCut();
  unread_.assign(partitions_.size(), RowMarks());
  kept_.assign(partitions_.size(), RowImages());
  read_to_.assign(partitions_.size(), 0);
  changed_.resize(partitions_.size());
  bool all_full = true;
  for (PartitionNumber p = 0; p < partitions_.size(); ++p) {
    if (partitions[p] != 0) {
      const bool full = !changes_are_known || partitions[p] == kAllRows;
      all_full &= full;
      if (full) {
        unread_[p].SetFirst(partitions_[p].rows());
      } else {
        unread_[p] = std::move(changed_[p]);
      }
    }
    changed_[p].Clear();
  }
  changes_since_ = number;
  return all_full;
}

void TableStore::BeforeChange(PartitionNumber partition, Row row) {
  changed_[partition].Set(row.slot());
  if (unread_.empty() || !unread_[partition].Has(row.slot())) return;
  unread_[partition].Unset(row.slot());
  AddImage(row, &kept_[partition]);
  cut_bytes_ += sizeof(Id) + (dim() + state_width()) * sizeof(float);
}

void TableStore::AddImage(Row row, RowImages* rows) const {
  rows->ids.push_back(row.id());
  rows->values.insert(rows->values.end(), row.weights(), row.weights() + dim());
  rows->values.insert(rows->values.end(), row.state(layout_), row.state(layout_) + state_width());
}

bool TableStore::ReadCut(PartitionNumber partition, uint64_t limit, RowImages* rows) {
  if (unread_.empty()) return false;
  const uint64_t width = dim() + state_width();
  RowImages& kept = kept_[partition];
  const uint64_t from_kept = std::min<uint64_t>(limit, kept.ids.size());
  const auto first_id = kept.ids.end() - static_cast<ptrdiff_t>(from_kept);
  const auto first_value = kept.values.end() - static_cast<ptrdiff_t>(from_kept * width);
  rows->ids.insert(rows->ids.end(), first_id, kept.ids.end());
  rows->values.insert(rows->values.end(), first_value, kept.values.end());
  kept.ids.erase(first_id, kept.ids.end());
  kept.values.erase(first_value, kept.values.end());
  cut_bytes_ -= from_kept * (sizeof(Id) + width * sizeof(float));

  uint64_t& slot = read_to_[partition];  // all before are read
  slot = unread_[partition].FirstFrom(slot);
  for (uint64_t taken = from_kept; taken < limit && slot != RowMarks::kNone; ++taken) {
    unread_[partition].Unset(slot);
    AddImage(partitions_[partition].RowAt(slot), rows);
    slot = unread_[partition].FirstFrom(slot + 1);
  }
  return slot != RowMarks::kNone || !kept.ids.empty();
}

void TableStore::EndCut() {
  unread_.clear();
  kept_.clear();
  cut_bytes_ = 0;
}

TableStore::Cursor TableStore::Ahead(Cursor from, PartitionNumber end, uint64_t limit, absl::Span<const uint8_t> skip,
                                     uint64_t* rows) const {
  *rows = 0;
  for (Cursor at = from; at.partition < end; at = {.partition = at.partition + 1, .slot = 0}) {
    const uint64_t there = partitions_[at.partition].rows();
    if (at.slot >= there || (!skip.empty() && skip[at.partition] != 0)) continue;
    const uint64_t taken = std::min(there - at.slot, limit - *rows);
    *rows += taken;
    if (at.slot + taken < there) return {.partition = at.partition, .slot = at.slot + taken};
  }
  return {.partition = end, .slot = 0};
}

void TableStore::Copy(Cursor from, Cursor to, absl::Span<const uint8_t> skip, Id* ids, float* weights) const {
  for (Cursor at = from; at.partition <= to.partition && at != to; at = {.partition = at.partition + 1, .slot = 0}) {
    const uint64_t end = at.partition == to.partition ? to.slot : partitions_[at.partition].rows();
    if (!skip.empty() && at.partition < skip.size() && skip[at.partition] != 0) continue;
    for (uint64_t slot = at.slot; slot < end; ++slot) {
      const Row row = partitions_[at.partition].RowAt(slot);
      *ids++ = row.id();
      CopyRow(row.weights(), dim(), weights);
      weights += dim();
    }
  }
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
