#ifndef MARQUEE_SCHEDULER_REBALANCING_H_
#define MARQUEE_SCHEDULER_REBALANCING_H_

// Says, round after round, what is to be moved once other servers are to hold the partitions than before, or one has come back,
// until all is where it should be (scheduler/placement.h). Partitions are weighed first: by the bytes of their rows, and by how
// many rows of them are pulled and pushed between two looks.
//
// With one copy of each partition, one that moves has two meanwhile: the new one is filled, becomes the backup, takes over, and
// the old one goes. Not thread-safe.

#include <cstdint>
#include <map>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/placement.h"
#include "scheduler/shard_requests.h"

namespace marquee {

class Rebalancing {
 public:
  explicit Rebalancing(int replication) : replication_(replication) {}

  // Others may hold copies now than before: all is looked at again.
  void Begin();
  void End() { needed_ = false; }
  bool needed() const { return needed_; }

  // When the partitions are to be weighed next; InfiniteFuture once they are.
  absl::Time next_look() const { return needed_ ? next_look_ : absl::InfiniteFuture(); }
  void TakeWeights(const std::vector<ShardRequests::PartitionWeight>& weights, uint32_t partitions, absl::Time now);

  // One kind of step at a time, of those that can be made by the view of the placement. Its weights are filled in. All empty:
  // there is nothing left to do, and nothing is needed any more.
  struct Round {
    std::vector<PartitionNumber> handovers;
    std::vector<PartitionNumber> superfluous;  // whose backup is to go
    std::vector<Refill> refills;
  };
  Round Next(Placement placement);

 private:
  Round NextOfSingle(const Placement& placement);

  const int replication_;
  bool needed_ = false;
  absl::Time next_look_ = absl::InfinitePast();
  std::vector<uint64_t> rows_before_;  // pulled and pushed by the first look, by partition; empty: there was none
  std::vector<double> bytes_, load_;
  std::map<PartitionNumber, ShardIndex> moving_;  // with one copy of each: where to
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_REBALANCING_H_
