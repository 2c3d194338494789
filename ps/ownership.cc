#include "ps/ownership.h"

#include <fmt/format.h>

#include <utility>

namespace marquee {

MaybeRefusal Ownership::Install(View view, ShardIndex self, std::vector<PartitionNumber>* lost) {
  if (self >= view.shards.size()) {
    return Refusal{ErrorCode::MALFORMED, "installView.you", fmt::format("shard {} of {}", self, view.shards.size())};
  }
  if (view.number < view_.number) {
    return Refusal{ErrorCode::STALE_VIEW, "installView.number",
                   fmt::format("{}; this shard has {}", view.number, view_.number)};
  }
  if (view.number == view_.number) {
    if (view == view_ && self == self_) return std::nullopt;
    return Refusal{ErrorCode::CONFLICT, "installView", fmt::format("another view of number {} is installed", view.number)};
  }
  if (view_.number != 0 && view.cluster_id != view_.cluster_id) {
    return Refusal{
        ErrorCode::NOT_YET, "installView.clusterId",
        fmt::format("{:x}; this shard serves cluster {:x} until its server starts over", view.cluster_id, view_.cluster_id)};
  }
  if (view_.number != 0 && view.partitions() != view_.partitions()) {
    return Refusal{ErrorCode::CONFLICT, "installView.primaries",
                   fmt::format("{} partitions; the cluster was made with {}", view.partitions(), view_.partitions())};
  }

  std::vector<uint64_t> oldest(view.partitions(), kNotOwned);
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    if (view.primaries[p] == self) oldest[p] = view.changed[p];
    const bool owned = !oldest_view_.empty() && oldest_view_[p] != kNotOwned;
    if (owned && (oldest[p] == kNotOwned || view.changed[p] > view_.number)) lost->push_back(p);
  }
  view_ = std::move(view);
  self_ = self;
  oldest_view_ = std::move(oldest);
  return std::nullopt;
}

}  // namespace marquee
