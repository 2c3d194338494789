#include "common/view.h"

#include <fmt/format.h>

#include <bit>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

namespace marquee {

uint32_t View::partition_bits() const {
  return primaries.empty() ? 0 : static_cast<uint32_t>(std::countr_zero(primaries.size()));
}

absl::Status View::Validate() const {
  if (number == 0) return absl::InvalidArgumentError("view.number: is 0; views are numbered from 1");
  if (!std::has_single_bit(primaries.size()) || primaries.size() > kMaxPartitions) {
    return absl::InvalidArgumentError(
        fmt::format("view.primaries: {} partitions; must be a power of two of at most {}", primaries.size(), kMaxPartitions));
  }
  if (changed.size() != primaries.size()) {
    return absl::InvalidArgumentError(
        fmt::format("view.changed: {} entries for {} partitions", changed.size(), primaries.size()));
  }
  absl::flat_hash_set<std::string> seen;
  for (const std::string& shard : shards) {
    if (shard.empty()) return absl::InvalidArgumentError("view.shards: an empty endpoint");
    if (!seen.insert(shard).second) return absl::InvalidArgumentError(fmt::format("view.shards: {} twice", shard));
  }
  for (const ShardIndex primary : primaries) {
    if (primary >= shards.size()) {
      return absl::InvalidArgumentError(fmt::format("view.primaries: shard {} of {}", primary, shards.size()));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<View> View::FromWire(wire::View::Reader reader) {
  if (reader.getPrimaries().size() > kMaxPartitions) {
    return absl::InvalidArgumentError(
        fmt::format("view.primaries: {} partitions; at most {}", reader.getPrimaries().size(), kMaxPartitions));
  }
  View view;
  view.number = reader.getNumber();
  view.cluster_id = reader.getClusterId();
  for (const auto shard : reader.getShards()) view.shards.emplace_back(shard.cStr(), shard.size());
  for (const auto primary : reader.getPrimaries()) view.primaries.push_back(primary);
  for (const auto changed : reader.getChanged()) view.changed.push_back(changed);
  if (absl::Status status = view.Validate(); !status.ok()) return status;
  return view;
}

void View::ToWire(wire::View::Builder builder) const {
  builder.setNumber(number);
  builder.setClusterId(cluster_id);
  auto shard_list = builder.initShards(static_cast<uint32_t>(shards.size()));
  for (uint32_t i = 0; i < shards.size(); ++i) shard_list.set(i, shards[i].c_str());
  auto primary_list = builder.initPrimaries(partitions());
  for (uint32_t i = 0; i < partitions(); ++i) primary_list.set(i, primaries[i]);
  auto changed_list = builder.initChanged(static_cast<uint32_t>(changed.size()));
  for (uint32_t i = 0; i < changed.size(); ++i) changed_list.set(i, changed[i]);
}

View MakeEvenView(uint64_t number, uint64_t cluster_id, std::vector<std::string> shards, uint32_t partitions) {
  View view;
  view.number = number;
  view.cluster_id = cluster_id;
  view.shards = std::move(shards);
  view.changed.assign(partitions, number);
  for (uint32_t i = 0; i < partitions; ++i) view.primaries.push_back(i % static_cast<uint32_t>(view.shards.size()));
  return view;
}

}  // namespace marquee
