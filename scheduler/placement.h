#ifndef MARQUEE_SCHEDULER_PLACEMENT_H_
#define MARQUEE_SCHEDULER_PLACEMENT_H_

// Where copies of partitions are to be, and what has to be moved for it: nothing stays on shards that are to hold nothing; the
// two copies of a partition are on different servers, and on different hosts where there are any; shards hold about as many
// bytes and serve about as many rows as each other.
//
// Two kinds of steps lead there, so that there are never fewer whole copies than before. A handover makes the second copy the
// first and the first the second: nothing is copied. A refill makes another second copy, and then does without the one that was
// there. Every step lowers what it is made for (what lies on the wrong shards, or the spread of bytes, or that of load), so
// that a sequence of rounds comes to an end; each round looks at the view as it is then. A greedy search, one step at a time.
//
// Pure functions.

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/view.h"

namespace marquee {

struct Placement {
  const View* view = nullptr;
  std::vector<uint32_t> server_of;                    // by shard
  std::vector<std::string> host_of;                   // by shard
  std::vector<bool> able;                             // by shard: it may hold copies
  std::set<std::pair<ShardIndex, ShardIndex>> apart;  // a primary and a shard that do not reach each other
  // By partition, of any unit; only their shares count. Empty: all the same.
  std::vector<double> bytes;
  std::vector<double> load;
};

struct Refill {
  PartitionNumber partition = 0;
  ShardIndex to = kNoShard;
};

// Where second copies of partitions are to be that have neither a backup nor a copy that is being filled: on the shard with the
// fewest bytes of another host, else of another server. Those for which there is neither are left out.
std::vector<Refill> MissingCopies(const Placement& placement);

// Partitions whose backup is to become the primary.
std::vector<PartitionNumber> Handovers(const Placement& placement);
// Partitions whose backup is to be on another shard. Those without one, or with a copy that is being filled, are left alone.
std::vector<Refill> Refills(const Placement& placement);
// With one copy of each partition: those that are to be on another shard.
std::vector<Refill> Relocations(const Placement& placement);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PLACEMENT_H_
