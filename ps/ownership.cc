#include "ps/ownership.h"

#include <fmt/format.h>

#include <utility>

namespace marquee {
namespace {

CopyRole RoleOf(const View& view, PartitionNumber partition, ShardIndex shard) {
  if (view.primaries[partition] == shard) return CopyRole::kPrimary;
  if (view.backups[partition] == shard) return CopyRole::kBackup;
  return view.fills[partition] == shard ? CopyRole::kFilling : CopyRole::kNone;
}

}  // namespace

// Whether the rows that are here are good for the role that the next view gives.
bool Ownership::Keeps(const View& next, PartitionNumber partition, CopyRole role) const {
  if (view_.number == 0 || next.fresh[partition] > view_.number) return false;
  const CopyRole before = roles_[partition];
  switch (role) {
    case CopyRole::kNone:
      return false;
    case CopyRole::kPrimary:
      // Only whole copies become backups, and only backups primaries, though this shard may have missed a view. A primary that
      // was deposed in between missed what its successor has done.
      // One that has yielded and did not hear that another took over was needed for all that that one acknowledged.
      return before == CopyRole::kBackup || before == CopyRole::kFilling ||
             (before == CopyRole::kPrimary && (next.changed[partition] <= view_.number || yielded(partition)));
    case CopyRole::kBackup:
      return before == CopyRole::kBackup || before == CopyRole::kFilling ||
             (before == CopyRole::kPrimary && yielded(partition));
    case CopyRole::kFilling:
      return before == CopyRole::kFilling && next.changed[partition] <= view_.number;
  }
  return false;
}

bool Ownership::HandedOver(const View& before, const View& now, PartitionNumber partition) {
  const ShardIndex old = before.primaries[partition];
  return now.backups[partition] == old && now.processes[old] == before.processes[old];
}

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
  std::vector<CopyRole> roles(view.partitions(), CopyRole::kNone);
  for (PartitionNumber p = 0; p < view.partitions(); ++p) {
    roles[p] = RoleOf(view, p, self);
    if (roles[p] == CopyRole::kPrimary) oldest[p] = view.changed[p];
    const bool had = !roles_.empty() && roles_[p] != CopyRole::kNone;
    if (had && !Keeps(view, p, roles[p])) lost->push_back(p);
  }
  yielded_.clear();
  view_ = std::move(view);
  self_ = self;
  roles_ = std::move(roles);
  oldest_view_ = std::move(oldest);
  return std::nullopt;
}

}  // namespace marquee
