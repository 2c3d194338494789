#ifndef MARQUEE_PS_FOLLOWING_H_
#define MARQUEE_PS_FOLLOWING_H_

// A copy's side of replication (docs/architecture.md, "Two copies"): takes the entries of each primary's stream in their order,
// each once, and does what the primary has done.
//
// A part of the shard's state machine. Not thread-safe.

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "common/message.h"
#include "ps/ownership.h"
#include "ps/refusal.h"
#include "ps/sessions.h"
#include "ps/table_set.h"

namespace marquee {

class Following {
 public:
  // All must outlive the object.
  Following(const Ownership& ownership, Sessions& sessions, TableSet& tables, uint64_t max_rows)
      : ownership_(ownership), sessions_(sessions), tables_(tables), max_rows_(max_rows) {}

  // Takes an entry, or sees that it was taken before or that others are missing before it. `next` receives the number that is
  // waited for. A refusal changes nothing: staleView and viewAhead where the two shards' views differ, notYet for a table or
  // session that the scheduler has not told this shard of yet; the primary sends the entry again.
  MaybeRefusal Take(const Message& message, absl::Time now, uint64_t* next);

  // Entries of the view before are refused from now on.
  void OnView();

  // When this shard last answered that one; InfinitePast if never.
  absl::Time LastAnswer(ShardIndex primary) const;
  // The partition's copy begins anew.
  void ClearPartition(PartitionNumber partition) { whole_.erase(partition); }
  // A copy that is being filled is whole: it was told so.
  bool IsWhole(PartitionNumber partition) const { return whole_.contains(partition); }

 private:
  struct Stream {
    uint64_t incarnation = 0;  // of the sender
    uint64_t began = 0;        // view
    uint64_t next = 1;
    std::map<uint64_t, Message> ahead;  // of this view, by number: what came before what it follows
    size_t ahead_bytes = 0;
    absl::Time answered = absl::InfinitePast();
  };

  MaybeRefusal TakeInOrder(Stream& stream, wire::Forward::Reader forward);
  void KeepAhead(Stream& stream, uint64_t number, const Message& message);
  MaybeRefusal Apply(wire::Forward::Reader forward);
  bool ApplyAhead(const Message& message);
  MaybeRefusal ApplyPush(wire::ForwardedPush::Reader forwarded);
  MaybeRefusal ApplyLoad(wire::LoadRows::Reader load);
  MaybeRefusal ApplyRows(wire::FilledRows::Reader rows);
  MaybeRefusal ApplyWindows(wire::FilledWindows::Reader windows);
  // What an entry of the table's rows may do in each partition: all, nothing, or only change what is there.
  std::vector<uint8_t> RulesFor(absl::Span<const uint8_t> wanted) const;
  // Whether this shard has a copy of the partition that the entry which is applied concerns.
  bool Concerns(PartitionNumber partition) const;

  const Ownership& ownership_;
  Sessions& sessions_;
  TableSet& tables_;
  uint64_t max_rows_;
  std::map<ShardIndex, Stream> streams_;
  std::set<PartitionNumber> whole_;
  // Of the entry that is being applied.
  ShardIndex sender_ = kNoShard;
  uint64_t made_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_PS_FOLLOWING_H_
