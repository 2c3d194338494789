#ifndef MARQUEE_PS_SESSIONS_H_
#define MARQUEE_PS_SESSIONS_H_

// The sessions that may push, and what each partition has applied of them (ps/dedup.h).
//
// Session numbers are never used again, so a closed one stays refused: a late copy of its `openSession` must not bring it back.
// Not thread-safe.

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/id.h"
#include "ps/dedup.h"
#include "ps/ended_numbers.h"
#include "ps/refusal.h"

namespace marquee {

class Sessions {
 public:
  // Opening again with the same trial is fine, closing again too. A number of 0 is malformed.
  MaybeRefusal Open(uint64_t session, uint64_t trial);
  MaybeRefusal Close(uint64_t session);
  void CloseAll();
  // Closes all below but those.
  void Retain(uint64_t below, const std::set<uint64_t>& kept);

  // Trial of an open session; nullptr if it is not open.
  const uint64_t* TrialOf(uint64_t session) const;
  // Open, or closed since.
  bool IsKnown(uint64_t session) const { return open_.contains(session) || closed_.Has(session); }
  size_t open() const { return open_.size(); }

  // The windows of an open session, by partition.
  using Windows = std::vector<PushWindow>;
  Windows& WindowsOf(uint64_t session, size_t partitions);

  // The partition is not this shard's any more: its windows went with it.
  void ClearPartition(PartitionNumber partition);

  struct Session {
    uint64_t trial;
    Windows windows;  // empty until the first push
  };
  const std::map<uint64_t, Session>& sessions() const { return open_; }

 private:
  std::map<uint64_t, Session> open_;
  EndedNumbers closed_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_SESSIONS_H_
