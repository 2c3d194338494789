#include "scheduler/placement.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <numeric>
#include <optional>

namespace marquee {
namespace {

constexpr size_t kMostInARound = 1024;
constexpr double kTolerance = 0.1;    // of the mean: nobody is asked for less
constexpr double kWorthAStep = 1.01;  // times what is moved: the difference that it lessens, more than by rounding
constexpr double kEven = 0.1;         // of each weight is shared evenly: partitions count a little, however little they hold

// Shares, with a sum of 1.
std::vector<double> SharesOf(const std::vector<double>& weights, uint32_t partitions) {
  const double even = 1.0 / partitions;
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (weights.size() != partitions || !(sum > 0)) return std::vector<double>(partitions, even);
  std::vector<double> shares;
  for (const double weight : weights) shares.push_back((1 - kEven) * weight / sum + kEven * even);
  return shares;
}

// How much each shard has of something that steps move between shards.
class Spread {
 public:
  explicit Spread(const Placement& placement) : able_(placement.able), held_(placement.able.size(), 0) {}

  void Add(ShardIndex shard, double share) {
    if (shard != kNoShard) held_[shard] += share;
  }
  void Move(ShardIndex from, ShardIndex to, double share) {
    held_[from] -= share;
    held_[to] += share;
  }
  double held(ShardIndex shard) const { return held_[shard]; }

  // How much better it is with the share on the other shard; 0 if it is not, or not by enough to be worth a step.
  double Gain(ShardIndex from, ShardIndex to, double share) const {
    const double difference = held_[from] - held_[to];
    if (kWorthAStep * share >= difference || (held_[from] <= (1 + kTolerance) * mean_ && held_[to] >= (1 - kTolerance) * mean_))
      return 0;
    return share * (difference - share);
  }
  // To be called when all is added: what is fair.
  void SetMean() {
    const auto able = std::count(able_.begin(), able_.end(), true);
    mean_ = able == 0 ? 0 : std::accumulate(held_.begin(), held_.end(), 0.0) / static_cast<double>(able);
  }
  // Able shards, those with the least first.
  std::vector<ShardIndex> Emptiest() const {
    std::vector<ShardIndex> shards;
    for (ShardIndex shard = 0; shard < held_.size(); ++shard) {
      if (able_[shard]) shards.push_back(shard);
    }
    std::stable_sort(shards.begin(), shards.end(), [this](ShardIndex a, ShardIndex b) { return held_[a] < held_[b]; });
    return shards;
  }

 private:
  const std::vector<bool>& able_;
  std::vector<double> held_;
  double mean_ = 0;
};

bool IsAble(const Placement& placement, ShardIndex shard) { return shard != kNoShard && placement.able[shard]; }

// 0: cannot be the two shards of a partition; 1: on one host; 2: as it should be.
int Fit(const Placement& placement, ShardIndex primary, ShardIndex other) {
  if (placement.server_of[primary] == placement.server_of[other] || placement.apart.contains({primary, other})) return 0;
  return placement.host_of[primary] == placement.host_of[other] ? 1 : 2;
}

int BestFit(const Placement& placement, ShardIndex primary) {
  int best = 0;
  for (ShardIndex shard = 0; shard < placement.able.size(); ++shard) {
    if (placement.able[shard]) best = std::max(best, Fit(placement, primary, shard));
  }
  return best;
}

Spread BytesHeld(const Placement& placement, const std::vector<double>& bytes) {
  Spread spread(placement);
  const View& view = *placement.view;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    spread.Add(view.primaries[p], bytes[p]);
    spread.Add(view.fills[p] != kNoShard ? view.fills[p] : view.backups[p], bytes[p]);
  }
  spread.SetMean();
  return spread;
}

// Another shard for the partition's second copy: of those that fit best, the one that holds least; kNoShard if none fits.
ShardIndex EmptiestFor(const Placement& placement, const Spread& spread, PartitionNumber partition) {
  const View& view = *placement.view;
  ShardIndex best = kNoShard;
  int best_fit = 0;
  for (ShardIndex shard = 0; shard < placement.able.size(); ++shard) {
    if (!placement.able[shard] || shard == view.backups[partition]) continue;
    const int fit = Fit(placement, view.primaries[partition], shard);
    if (fit < best_fit || fit == 0 || (fit == best_fit && spread.held(shard) >= spread.held(best))) continue;
    best = shard;
    best_fit = fit;
  }
  return best;
}

struct Step {
  PartitionNumber partition = 0;
  ShardIndex from = kNoShard;
  ShardIndex to = kNoShard;
};

// Adds steps of the greatest gain, one after the other, while there are any. `possible` says whether a partition that has no
// step yet can go to a shard, and from where.
std::vector<Step> Improve(Spread& spread, const std::vector<double>& shares, std::vector<Step> taken,
                          const std::function<std::optional<Step>(PartitionNumber, ShardIndex emptiest)>& possible) {
  std::vector<bool> moved(shares.size(), false);
  for (const Step& step : taken) moved[step.partition] = true;
  while (taken.size() < kMostInARound) {
    std::optional<Step> best;
    double best_gain = 0;
    for (const ShardIndex emptiest : spread.Emptiest()) {
      for (PartitionNumber p = 0; p < shares.size(); ++p) {
        const std::optional<Step> step = moved[p] ? std::nullopt : possible(p, emptiest);
        if (!step.has_value()) continue;
        const double gain = spread.Gain(step->from, step->to, shares[p]);
        if (gain > best_gain) {
          best = step;
          best_gain = gain;
        }
      }
      if (best.has_value()) break;
    }
    if (!best.has_value()) break;
    spread.Move(best->from, best->to, shares[best->partition]);
    moved[best->partition] = true;
    taken.push_back(*best);
  }
  return taken;
}

std::vector<Refill> ToRefills(const std::vector<Step>& steps) {
  std::vector<Refill> refills;
  for (const Step& step : steps) refills.push_back({.partition = step.partition, .to = step.to});
  return refills;
}

}  // namespace

std::vector<Refill> MissingCopies(const Placement& placement) {
  const View& view = *placement.view;
  const std::vector<double> bytes = SharesOf(placement.bytes, view.partitions());
  Spread spread = BytesHeld(placement, bytes);
  std::vector<Refill> missing;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (view.backups[p] != kNoShard || view.fills[p] != kNoShard) continue;
    const ShardIndex to = EmptiestFor(placement, spread, p);
    if (to == kNoShard) continue;
    spread.Add(to, bytes[p]);
    missing.push_back({.partition = p, .to = to});
  }
  return missing;
}

std::vector<PartitionNumber> Handovers(const Placement& placement) {
  const View& view = *placement.view;
  const std::vector<double> load = SharesOf(placement.load, view.partitions());
  Spread spread(placement);
  for (PartitionNumber p = 0; p < view.partitions(); ++p) spread.Add(view.primaries[p], load[p]);
  spread.SetMean();
  std::vector<Step> steps;
  const auto may = [&](PartitionNumber p) { return IsAble(placement, view.backups[p]) && view.fills[p] == kNoShard; };
  for (PartitionNumber p = 0; p < view.partitions() && steps.size() < kMostInARound; ++p) {
    if (placement.able[view.primaries[p]] || !may(p)) continue;
    steps.push_back({.partition = p, .from = view.primaries[p], .to = view.backups[p]});
    spread.Move(view.primaries[p], view.backups[p], load[p]);
  }
  steps = Improve(spread, load, std::move(steps), [&](PartitionNumber p, ShardIndex emptiest) -> std::optional<Step> {
    if (view.backups[p] != emptiest || !may(p) || !placement.able[view.primaries[p]]) return std::nullopt;
    return Step{.partition = p, .from = view.primaries[p], .to = emptiest};
  });
  std::vector<PartitionNumber> partitions;
  for (const Step& step : steps) partitions.push_back(step.partition);
  return partitions;
}

std::vector<Refill> Refills(const Placement& placement) {
  const View& view = *placement.view;
  const std::vector<double> bytes = SharesOf(placement.bytes, view.partitions());
  Spread spread = BytesHeld(placement, bytes);
  const auto may = [&](PartitionNumber p) { return view.backups[p] != kNoShard && view.fills[p] == kNoShard; };
  std::vector<Step> steps;
  for (PartitionNumber p = 0; p < view.partitions() && steps.size() < kMostInARound; ++p) {
    if (!may(p)) continue;
    const ShardIndex primary = view.primaries[p];
    const bool fits = Fit(placement, primary, view.backups[p]) >= BestFit(placement, primary);
    if (placement.able[view.backups[p]] && fits) continue;
    const ShardIndex to = EmptiestFor(placement, spread, p);
    if (to == kNoShard) continue;
    steps.push_back({.partition = p, .from = view.backups[p], .to = to});
    spread.Move(view.backups[p], to, bytes[p]);
  }
  return ToRefills(Improve(spread, bytes, std::move(steps), [&](PartitionNumber p, ShardIndex emptiest) -> std::optional<Step> {
    if (!may(p) || !placement.able[view.backups[p]] || view.primaries[p] == emptiest) return std::nullopt;
    const int fit = Fit(placement, view.primaries[p], emptiest);
    if (fit == 0 || fit < Fit(placement, view.primaries[p], view.backups[p])) return std::nullopt;
    return Step{.partition = p, .from = view.backups[p], .to = emptiest};
  }));
}

std::vector<Refill> Relocations(const Placement& placement) {
  const View& view = *placement.view;
  const std::vector<double> bytes = SharesOf(placement.bytes, view.partitions());
  const std::vector<double> load = SharesOf(placement.load, view.partitions());
  std::vector<double> both;
  for (PartitionNumber p = 0; p < view.partitions(); ++p) both.push_back((bytes[p] + load[p]) / 2);
  Spread spread(placement);
  for (PartitionNumber p = 0; p < view.partitions(); ++p) spread.Add(view.primaries[p], both[p]);
  spread.SetMean();
  const auto may = [&](PartitionNumber p) { return view.backups[p] == kNoShard && view.fills[p] == kNoShard; };
  std::vector<Step> steps;
  for (PartitionNumber p = 0; p < view.partitions() && steps.size() < kMostInARound; ++p) {
    if (placement.able[view.primaries[p]] || !may(p)) continue;
    const std::vector<ShardIndex> emptiest = spread.Emptiest();
    if (emptiest.empty()) break;
    steps.push_back({.partition = p, .from = view.primaries[p], .to = emptiest.front()});
    spread.Move(view.primaries[p], emptiest.front(), both[p]);
  }
  return ToRefills(Improve(spread, both, std::move(steps), [&](PartitionNumber p, ShardIndex emptiest) -> std::optional<Step> {
    if (!may(p) || view.primaries[p] == emptiest || !placement.able[view.primaries[p]]) return std::nullopt;
    return Step{.partition = p, .from = view.primaries[p], .to = emptiest};
  }));
}

}  // namespace marquee
