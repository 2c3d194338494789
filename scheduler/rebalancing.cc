#include "scheduler/rebalancing.h"

#include <utility>

namespace marquee {
namespace {

constexpr absl::Duration kBetweenLooks = absl::Seconds(1);

}  // namespace

void Rebalancing::Begin() {
  needed_ = true;
  next_look_ = absl::InfinitePast();
  rows_before_.clear();
}

void Rebalancing::TakeWeights(const std::vector<ShardRequests::PartitionWeight>& weights, uint32_t partitions, absl::Time now) {
  std::vector<uint64_t> rows(partitions, 0);
  bytes_.assign(partitions, 0);
  for (const ShardRequests::PartitionWeight& weight : weights) {
    if (weight.partition >= partitions) continue;
    rows[weight.partition] = weight.rows;
    bytes_[weight.partition] = static_cast<double>(weight.bytes);
  }
  if (rows_before_.empty()) {
    rows_before_ = std::move(rows);
    next_look_ = now + kBetweenLooks;
    return;
  }
  load_.assign(partitions, 0);
  for (uint32_t p = 0; p < partitions; ++p) {
    // One that another shard serves since then is counted from its beginning there.
    load_[p] = static_cast<double>(rows[p] >= rows_before_[p] ? rows[p] - rows_before_[p] : rows[p]);
  }
  next_look_ = absl::InfiniteFuture();
}

Rebalancing::Round Rebalancing::Next(Placement placement) {
  placement.bytes = bytes_;
  placement.load = load_;
  Round round;
  if (replication_ == 1) {
    round = NextOfSingle(placement);
  } else {
    round.handovers = Handovers(placement);
    if (round.handovers.empty()) round.refills = Refills(placement);
  }
  needed_ = !round.handovers.empty() || !round.superfluous.empty() || !round.refills.empty();
  return round;
}

Rebalancing::Round Rebalancing::NextOfSingle(const Placement& placement) {
  const View& view = *placement.view;
  Round round;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    const ShardIndex backup = view.backups[p];
    if (backup == kNoShard) continue;
    const auto moving = moving_.find(p);
    const bool takes_over = moving != moving_.end() && moving->second == backup && placement.able[backup];
    (takes_over ? round.handovers : round.superfluous).push_back(p);
  }
  if (!round.handovers.empty()) round.superfluous.clear();
  if (!round.handovers.empty() || !round.superfluous.empty()) return round;
  round.refills = Relocations(placement);
  moving_.clear();
  for (const Refill& refill : round.refills) moving_[refill.partition] = refill.to;
  return round;
}

}  // namespace marquee
