#ifndef MARQUEE_COMMON_INITIAL_VALUES_H_
#define MARQUEE_COMMON_INITIAL_VALUES_H_

// The weights of a row that was never pushed. A pure function of (seed, the table's name without its trial, id, column): the
// same on every shard, for every number of shards, however often it is asked. Immutable, so any thread may use it.

#include <cstdint>

#include "absl/types/span.h"
#include "common/id.h"
#include "common/table.h"

namespace marquee {

class InitialValues {
 public:
  explicit InitialValues(const TableDefinition& table);

  // The first weights.size() columns of the row.
  void Fill(Id id, absl::Span<float> weights) const;

 private:
  Initializer initializer_;
  uint64_t key_;  // of seed and name
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_INITIAL_VALUES_H_
