#ifndef MARQUEE_COMMON_VIEW_H_
#define MARQUEE_COMMON_VIEW_H_

// The numbered map partition -> primary shard, backup shard and copy being filled, made by the scheduler alone. Newer numbers
// win. A value type.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/id.h"
#include "schemas/wire.capnp.h"

namespace marquee {

using ShardIndex = uint32_t;

inline constexpr ShardIndex kNoShard = 0xffffffffU;
inline constexpr uint32_t kMaxPartitions = 1U << 16U;

struct View {
  uint64_t number = 0;  // 0: none yet
  uint64_t cluster_id = 0;
  std::vector<std::string> shards;    // endpoint of each shard
  std::vector<uint64_t> processes;    // incarnation of each shard's server
  std::vector<ShardIndex> primaries;  // of each partition; the size is a power of two
  std::vector<uint64_t> changed;      // view number in which each partition last changed its primary
  std::vector<ShardIndex> backups;    // second copy of each partition, or kNoShard
  std::vector<ShardIndex> fills;  // the shard that is being filled to become it, or kNoShard; beside a backup: to replace it
  std::vector<uint64_t> fresh;    // view number in which each partition last began empty

  uint32_t partitions() const { return static_cast<uint32_t>(primaries.size()); }
  uint32_t partition_bits() const;  // log2(partitions())

  // Refuses a number of 0, a partition count that is no power of two or over kMaxPartitions, lists of unlike length, a shard
  // index that names no shard, two roles of one partition for one shard, and an empty or repeated endpoint.
  static absl::StatusOr<View> FromWire(wire::View::Reader reader);
  void ToWire(wire::View::Builder builder) const;
  absl::Status Validate() const;

  bool operator==(const View&) const = default;
};

// Endpoints of `before` that `now` has no more: connections to them may go.
std::vector<std::string> EndpointsLeft(const View& before, const View& now);

// Spreads `partitions` (a power of two) evenly over the shards, round robin, so that each number of shards keeps its balance;
// all of them empty. `server_of` says which server a shard is of: backups are on the next server, if there are several and
// `replication` is 2.
View MakeEvenView(uint64_t number, uint64_t cluster_id, std::vector<std::string> shards, uint32_t partitions,
                  std::vector<uint64_t> processes = {}, const std::vector<uint32_t>& server_of = {}, int replication = 1);

// The shard for a second copy of what `primary` holds, of those that are alive: on the next server after the primary's that has
// one, at the same place among its server's shards as far as possible. kNoShard if only the primary's own server is alive.
ShardIndex NextServersShard(ShardIndex primary, const std::vector<uint32_t>& server_of, const std::vector<bool>& alive);

}  // namespace marquee

#endif  // MARQUEE_COMMON_VIEW_H_
