#ifndef MARQUEE_PS_OWNERSHIP_H_
#define MARQUEE_PS_OWNERSHIP_H_

// Which partitions this shard owns by the newest view, and whether a message's view is good for them. Not thread-safe.

#include <cstdint>
#include <vector>

#include "common/view.h"
#include "ps/refusal.h"

namespace marquee {

class Ownership {
 public:
  const View& view() const { return view_; }  // number 0: none yet

  // Takes a newer view in which this shard has the index `self`; the same one again is fine. Refuses an older one
  // (staleView), one with another number of partitions or with the same number and another content (conflict), and one of
  // another cluster (notYet: the server hears of it from the scheduler as well, and starts over). `lost` receives the
  // partitions whose rows are void here: those owned before that were another's since.
  MaybeRefusal Install(View view, ShardIndex self, std::vector<PartitionNumber>* lost);

  // The oldest message view that is good for each partition; kNotOwned where it is another shard's.
  static constexpr uint64_t kNotOwned = UINT64_MAX;
  const std::vector<uint64_t>& oldest_view() const { return oldest_view_; }

 private:
  View view_;
  ShardIndex self_ = 0;
  std::vector<uint64_t> oldest_view_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_OWNERSHIP_H_
