#ifndef MARQUEE_PS_TABLE_SET_H_
#define MARQUEE_PS_TABLE_SET_H_

// The tables of one shard. Table numbers are never used again, so a dropped one stays refused. Not thread-safe.

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "common/table.h"
#include "ps/ended_numbers.h"
#include "ps/refusal.h"
#include "ps/table_store.h"

namespace marquee {

class TableSet {
 public:
  // Before there are rows: tables may be created before the first view says how many partitions there are.
  void SetPartitionBits(uint32_t partition_bits);

  // All or none. A table that is there already with the same definition is fine.
  MaybeRefusal Create(const std::vector<TableDefinition>& definitions);
  // Those that are not there are only marked as dropped.
  void Drop(const std::vector<TableNumber>& numbers);

  TableStore* Find(TableNumber number) const;  // nullptr if there is none
  // Likewise; it goes on living when it is dropped here.
  std::shared_ptr<TableStore> Share(TableNumber number) const;
  bool WasDropped(TableNumber number) const { return dropped_.Has(number); }
  // Drops all below but those.
  void Retain(TableNumber below, const std::set<uint64_t>& kept);
  const std::map<TableNumber, std::shared_ptr<TableStore>>& all() const { return tables_; }
  void ClearPartition(PartitionNumber partition);

 private:
  MaybeRefusal Check(const TableDefinition& definition) const;

  uint32_t partition_bits_ = 0;
  std::map<TableNumber, std::shared_ptr<TableStore>> tables_;
  EndedNumbers dropped_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_TABLE_SET_H_
