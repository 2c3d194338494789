#include "common/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"

namespace marquee {

namespace {

template <typename Values, typename List>
void Copy(const Values& values, List list) {
  for (uint32_t i = 0; i < list.size(); ++i) list.set(i, values[i]);
}

}  // namespace

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
  for (const auto& [name, list] : {std::pair("backups", &backups), std::pair("fills", &fills)}) {
    if (list->size() != primaries.size()) {
      return absl::InvalidArgumentError(
          fmt::format("view.{}: {} entries for {} partitions", name, list->size(), primaries.size()));
    }
    for (const ShardIndex shard : *list) {
      if (shard == kNoShard || shard < shards.size()) continue;
      return absl::InvalidArgumentError(fmt::format("view.{}: shard {} of {}", name, shard, shards.size()));
    }
  }
  if (processes.size() != shards.size()) {
    return absl::InvalidArgumentError(fmt::format("view.processes: {} entries for {} shards", processes.size(), shards.size()));
  }
  if (fresh.size() != primaries.size()) {
    return absl::InvalidArgumentError(fmt::format("view.fresh: {} entries for {} partitions", fresh.size(), primaries.size()));
  }
  for (size_t p = 0; p < primaries.size(); ++p) {
    if (backups[p] != primaries[p] && fills[p] != primaries[p] && (backups[p] == kNoShard || backups[p] != fills[p])) continue;
    return absl::InvalidArgumentError(fmt::format("view: partition {}: primary {}, backup {}, fill {}; no two may be one", p,
                                                  primaries[p], backups[p], fills[p]));
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
  for (const auto backup : reader.getBackups()) view.backups.push_back(backup);
  for (const auto fill : reader.getFills()) view.fills.push_back(fill);
  for (const auto fresh : reader.getFresh()) view.fresh.push_back(fresh);
  for (const auto process : reader.getProcesses()) view.processes.push_back(process);
  if (absl::Status status = view.Validate(); !status.ok()) return status;
  return view;
}

void View::ToWire(wire::View::Builder builder) const {
  builder.setNumber(number);
  builder.setClusterId(cluster_id);
  auto shard_list = builder.initShards(static_cast<uint32_t>(shards.size()));
  for (uint32_t i = 0; i < shards.size(); ++i) shard_list.set(i, shards[i].c_str());
  Copy(primaries, builder.initPrimaries(partitions()));
  Copy(changed, builder.initChanged(static_cast<uint32_t>(changed.size())));
  Copy(backups, builder.initBackups(static_cast<uint32_t>(backups.size())));
  Copy(fills, builder.initFills(static_cast<uint32_t>(fills.size())));
  Copy(fresh, builder.initFresh(static_cast<uint32_t>(fresh.size())));
  Copy(processes, builder.initProcesses(static_cast<uint32_t>(processes.size())));
}

std::vector<std::string> EndpointsLeft(const View& before, const View& now) {
  std::vector<std::string> left;
  for (const std::string& endpoint : before.shards) {
    if (std::find(now.shards.begin(), now.shards.end(), endpoint) == now.shards.end()) left.push_back(endpoint);
  }
  return left;
}

ShardIndex NextServersShard(ShardIndex primary, const std::vector<uint32_t>& server_of, const std::vector<bool>& alive) {
  const auto place_of = [&](ShardIndex shard) {
    return std::count(server_of.begin(), server_of.begin() + shard, server_of[shard]);
  };
  const uint32_t servers = 1 + *std::max_element(server_of.begin(), server_of.end());
  for (uint32_t step = 1; step < servers; ++step) {
    const uint32_t server = (server_of[primary] + step) % servers;
    std::vector<ShardIndex> there;
    for (ShardIndex shard = 0; shard < server_of.size(); ++shard) {
      if (server_of[shard] == server && alive[shard]) there.push_back(shard);
    }
    if (!there.empty()) return there[static_cast<size_t>(place_of(primary)) % there.size()];
  }
  return kNoShard;
}

View MakeEvenView(uint64_t number, uint64_t cluster_id, std::vector<std::string> shards, uint32_t partitions,
                  std::vector<uint64_t> processes, const std::vector<uint32_t>& server_of, int replication) {
  View view;
  view.number = number;
  view.cluster_id = cluster_id;
  view.shards = std::move(shards);
  view.processes = std::move(processes);
  view.processes.resize(view.shards.size(), 0);
  view.changed.assign(partitions, number);
  view.backups.assign(partitions, kNoShard);
  view.fills.assign(partitions, kNoShard);
  view.fresh.assign(partitions, number);
  const std::vector<bool> alive(view.shards.size(), true);
  for (uint32_t i = 0; i < partitions; ++i) {
    view.primaries.push_back(i % static_cast<uint32_t>(view.shards.size()));
    if (replication > 1) view.backups[i] = NextServersShard(view.primaries[i], server_of, alive);
  }
  return view;
}

}  // namespace marquee
