#ifndef MARQUEE_PS_OWNERSHIP_H_
#define MARQUEE_PS_OWNERSHIP_H_

// What this shard is to each partition by the newest view, and whether a message's view is good for them. Not thread-safe.

#include <cstdint>
#include <set>
#include <vector>

#include "common/view.h"
#include "ps/refusal.h"

namespace marquee {

enum class CopyRole : uint8_t {
  kNone,
  kPrimary,
  kBackup,   // has all that the primary has acknowledged, and is told of everything
  kFilling,  // is being filled to become the backup
};

class Ownership {
 public:
  const View& view() const { return view_; }  // number 0: none yet
  ShardIndex self() const { return self_; }
  CopyRole role(PartitionNumber partition) const { return view_.number == 0 ? CopyRole::kNone : roles_[partition]; }

  // This shard serves these partitions no more as their primary, until there is a newer view: another copy may take over
  // (docs/architecture.md, "Moves").
  void Yield(const std::vector<PartitionNumber>& partitions) { yielded_.insert(partitions.begin(), partitions.end()); }
  bool yielded(PartitionNumber partition) const { return yielded_.contains(partition); }
  // Whether the shard that became the partition's primary between these views did so because the one before had yielded it:
  // that one serves nothing any more, and stays as a copy.
  static bool HandedOver(const View& before, const View& now, PartitionNumber partition);

  // Takes a newer view in which this shard has the index `self`; the same one again is fine. Refuses an older one
  // (staleView), one with another number of partitions or with the same number and another content (conflict), and one of
  // another cluster (notYet: the server hears of it from the scheduler as well, and starts over). `lost` receives the
  // partitions whose rows here are void: those that are another's now, that began anew, or that this shard is to be filled
  // with.
  MaybeRefusal Install(View view, ShardIndex self, std::vector<PartitionNumber>* lost);

  // The oldest message view that is good for each partition; kNotOwned where another shard is its primary.
  static constexpr uint64_t kNotOwned = UINT64_MAX;
  const std::vector<uint64_t>& oldest_view() const { return oldest_view_; }

 private:
  bool Keeps(const View& next, PartitionNumber partition, CopyRole role) const;

  View view_;
  ShardIndex self_ = 0;
  std::vector<CopyRole> roles_;
  std::vector<uint64_t> oldest_view_;
  std::set<PartitionNumber> yielded_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_OWNERSHIP_H_
