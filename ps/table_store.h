#ifndef MARQUEE_PS_TABLE_STORE_H_
#define MARQUEE_PS_TABLE_STORE_H_

// One table on one shard: the rows of the partitions that the shard owns, how they start and how they are updated.
//
// Callers have checked requests: arrays have the sizes that `count` and the table's dim say, and gradients are finite. Not
// thread-safe.

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "common/initial_values.h"
#include "common/table.h"
#include "ps/optimizer.h"
#include "ps/row_marks.h"
#include "ps/row_store.h"

namespace marquee {

// Rows as they were at some moment.
struct RowImages {
  std::vector<Id> ids;
  std::vector<float> values;  // ids.size() x (dim + state width): weights, then optimizer state
};

class TableStore {
 public:
  TableStore(TableDefinition definition, uint32_t partition_bits);
  TableStore(const TableStore&) = delete;
  TableStore& operator=(const TableStore&) = delete;

  const TableDefinition& definition() const { return definition_; }
  uint32_t dim() const { return definition_.dim; }
  uint64_t rows() const;
  uint64_t bytes() const;  // of rows and indexes

  // Copies the weights of each id, in order, to `values` (ids.size() x dim). Absent rows give their initial values and stay
  // absent.
  void Gather(absl::Span<const Id> ids, float* values) const;

  // Updates the row of each id, in order, by its gradient (ids.size() x dim). Absent rows are created first. `skip` says
  // otherwise for some partitions; an empty one does not. Returns how many were created.
  enum Skip : uint8_t {
    kApply,
    kSkip,      // ids of this partition are left alone
    kOnlyRows,  // those without a row are
  };
  uint64_t Apply(absl::Span<const Id> ids, const float* gradients, float learning_rate, absl::Span<const uint8_t> skip);

  // Whether the memory budget holds after Apply of all these lists. Exact; looks the ids up only when the budget is near.
  bool FitsBudget(absl::Span<const absl::Span<const Id>> lists, absl::Span<const uint8_t> skip) const;

  // Creates the row of each id, in order, with its weights (ids.size() x dim). Rows that are there already stay as they are.
  // Returns how many were created.
  uint64_t Load(absl::Span<const Id> ids, const float* weights);

  // Rows with their state, [weights | state] for each id, as CopyRows gave them elsewhere. A row that is there is replaced.
  void RestoreRows(absl::Span<const Id> ids, const float* rows);
  uint32_t state_width() const { return layout_.state_width(); }
  uint64_t rows_in(PartitionNumber partition) const { return partitions_[partition].rows(); }
  uint64_t bytes_in(PartitionNumber partition) const {  // of its rows alone
    return rows_in(partition) * (sizeof(Id) + (dim() + state_width()) * sizeof(float));
  }
  // Of `count` slots of a partition from `slot` on.
  void CopyRows(PartitionNumber partition, uint64_t slot, uint64_t count, Id* ids, float* rows) const;

  // Where a walk over the rows goes on. Rows lie in the order of partition and slot.
  struct Cursor {
    PartitionNumber partition = 0;
    uint64_t slot = 0;
    bool operator==(const Cursor&) const = default;
  };
  // Where a walk ends that begins at a cursor and goes over at most `limit` rows of the partitions before `end`; {end, 0} if no
  // row lies further on. `rows` receives how many lie between.
  // Partitions with a 1 in `skip` are passed over; an empty one skips none.
  Cursor Ahead(Cursor from, PartitionNumber end, uint64_t limit, absl::Span<const uint8_t> skip, uint64_t* rows) const;
  // Copies ids and weights of the rows between the two.
  void Copy(Cursor from, Cursor to, absl::Span<const uint8_t> skip, Id* ids, float* weights) const;

  // Forgets the rows of a partition.
  void ClearPartition(PartitionNumber partition);

  // ---- a cut: the rows of some partitions as they are at this moment, to be read while they go on changing. What a row was is
  // kept when it is changed before it was read, so the memory of a cut is at most that of the rows not yet read.
  //
  // With a `base` of 0, or another number than that of the cut before, all rows are in it; else those that were changed since.
  // Returns whether all are. `partitions` has a 1 for each that is in it, and kAllRows where the changes are not to be trusted.
  // A cut that is under way is replaced.
  static constexpr uint8_t kAllRows = 2;
  bool BeginCut(uint64_t number, uint64_t base, absl::Span<const uint8_t> partitions);
  // Adds at most `limit` rows of a partition. False once it has none left.
  bool ReadCut(PartitionNumber partition, uint64_t limit, RowImages* rows);
  void EndCut();
  uint64_t cut_bytes() const { return cut_bytes_; }  // of rows kept for the cut

  // Each row in order of partition and insertion.
  struct RowView {
    Id id;
    absl::Span<const float> weights;
    absl::Span<const float> state;
  };
  void ForEachRow(const std::function<void(const RowView&)>& visit) const;

 private:
  struct Lookup {
    uint64_t mixed;
    PartitionNumber partition;
    Row row;  // null, or with the id's tag
  };

  // Calls use(i, lookup) for each id in order, with the index entries and rows of the ids ahead on their way into the cache.
  // `bytes_used` is how much of each row will be used.
  template <typename Use>
  void LookUp(absl::Span<const Id> ids, size_t bytes_used, const Use& use) const;
  Row Create(const Lookup& lookup, Id id);

  // Before a row that is there is changed, and after one was created.
  void BeforeChange(PartitionNumber partition, Row row);
  void AddImage(Row row, RowImages* rows) const;
  bool watches_changes() const { return changes_since_ != 0; }

  TableDefinition definition_;
  uint32_t partition_bits_;
  InitialValues initial_values_;
  RowUpdater updater_;
  RowLayout layout_;
  SlabArena arena_;
  std::vector<RowStore> partitions_;

  uint64_t changes_since_ = 0;     // number of the last cut; 0: there was none, and nobody watches
  std::vector<RowMarks> changed_;  // since then, by partition
  std::vector<RowMarks> unread_;   // rows of the cut that are still as they were
  std::vector<uint64_t> read_to_;  // slots of the cut, by partition; kNone: all of them
  std::vector<RowImages> kept_;    // what others of it were
  uint64_t cut_bytes_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_PS_TABLE_STORE_H_
