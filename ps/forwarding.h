#ifndef MARQUEE_PS_FORWARDING_H_
#define MARQUEE_PS_FORWARDING_H_

// A primary's side of replication (docs/architecture.md, "Two copies"): what it has done goes to the copies of its partitions
// in one numbered stream for each shard that has some; replies wait until those have done it as well; leases say how long this
// shard may serve without hearing from them; and copies that are being made are filled.
//
// A part of the shard's state machine. Not thread-safe.

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "common/message.h"
#include "ps/ownership.h"
#include "ps/refusal.h"
#include "ps/sessions.h"
#include "ps/table_set.h"

namespace marquee {

struct ReplicationOptions {
  // A primary serves while its backup has answered something that was sent less than this ago.
  absl::Duration lease = absl::Seconds(2);
  // How much longer than a lease a promoted backup waits, since its clock may run faster: a share of the lease.
  double clock_drift = 0.1;
  absl::Duration resend_after = absl::Milliseconds(200);
  absl::Duration retry_after = absl::Milliseconds(10);  // what a copy has refused for now
  size_t max_unanswered_bytes = 64U << 20U;             // of one stream; pushes wait above it
  size_t fill_bytes = 256U << 10U;                      // of rows in one entry
  size_t fill_ahead_bytes = 1U << 20U;                  // unanswered, of a copy being filled
};

class Forwarding {
 public:
  // All must outlive the object.
  Forwarding(Identity self, ReplicationOptions options, const Ownership& ownership, const Sessions& sessions,
             const TableSet& tables)
      : self_(std::move(self)), options_(options), ownership_(ownership), sessions_(sessions), tables_(tables) {}

  // The ownership has a newer view than `before`.
  void OnView(const View& before, absl::Time now, Outbox& outbox);

  // Whether the partitions that have rows in a request may be served now (notYet), and whether streams have room for a push.
  MaybeRefusal CheckLeases(absl::Span<const uint32_t> rows_of_partition, absl::Time now) const;
  MaybeRefusal CheckRoom(absl::Span<const uint32_t> rows_of_partition) const;
  // This shard was a backup until now: it does not serve before the old primary's lease has run out for sure.
  void ServeFrom(PartitionNumber partition, absl::Time time) { serve_from_[partition] = time; }

  // This shard has yielded these partitions (Ownership::Yield). The reply is sent once their copies have all that was done to
  // them.
  void Yield(absl::Span<const uint32_t> yielded, const Peer& to, OutgoingMessagePtr reply, Outbox& outbox) {
    Wait(yielded, 0, to, std::move(reply), outbox);
  }

  // The session was closed: what it still waits for it is not told any more.
  void CloseSession(uint64_t session);

  // What was applied, and the reply to it, which is sent once all copies have applied it too. `applied` has a 1 for each
  // partition that has done so now; `touched`, for each that the request has rows of.
  void Push(wire::Push::Reader push, absl::Span<const uint8_t> applied, absl::Span<const uint32_t> touched, const Peer& to,
            OutgoingMessagePtr reply, absl::Time now, Outbox& outbox);
  void Load(wire::LoadRows::Reader load, absl::Span<const uint32_t> touched, const Peer& to, OutgoingMessagePtr reply,
            absl::Time now, Outbox& outbox);

  // A copy's answer: `forwarded`, or an error.
  void OnReply(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const;

  // Partitions whose copies, by this view, are whole.
  std::vector<PartitionNumber> Filled() const;
  // Shards with a copy that have answered nothing for some leases: only a view without them lets this shard go on.
  std::vector<ShardIndex> Silent(absl::Time now) const;
  size_t waiting_replies() const { return waiting_.size(); }
  size_t unanswered_bytes() const;

 private:
  struct Entry {
    uint64_t number = 0;
    uint64_t request_id = 0;
    OutgoingMessagePtr message;
    size_t bytes = 0;
    // An answer may be to any of the times that it was sent: it says nothing of later than the first.
    absl::Time first_sent = absl::InfiniteFuture();
  };
  struct Stream {
    uint64_t began = 0;  // view
    absl::Time begun = absl::InfinitePast();
    uint64_t next = 1;  // number of the next entry
    std::deque<Entry> unanswered;
    size_t bytes = 0;
    absl::Time sent = absl::InfinitePast();      // the last message
    absl::Time answered = absl::InfinitePast();  // when that was sent which was answered last
    absl::Time progress = absl::InfinitePast();  // the last answer that moved the stream on, or the last time of sending again
    bool refused = false;                        // whether the copy was asked for more than it took
    absl::Time retry = absl::InfiniteFuture();   // of what was refused
    std::map<uint64_t, absl::Time> renewals;     // when each was sent, by request id; those without an answer
    uint64_t applied() const { return unanswered.empty() ? next - 1 : unanswered.front().number - 1; }
  };
  struct Fill {
    std::map<TableNumber, uint64_t> walked;  // slots
    uint64_t whole_at = 0;                   // number of the entry with the windows; 0: not sent
  };
  struct Waiting {
    Peer to;
    OutgoingMessagePtr reply;
    uint64_t session = 0;  // of a push
    std::vector<PartitionNumber> partitions;
    std::map<ShardIndex, uint64_t> numbers;  // what each copy has to reach
  };

  bool Continues(ShardIndex copy, const View& before) const;
  // The copies whose answers an acknowledgement and the lease need: the backup, and one that is being filled once it may be
  // named in its place. And those that are told of everything.
  using Copies = absl::InlinedVector<ShardIndex, 2>;
  Copies RequiredCopies(PartitionNumber partition) const;
  Copies ToldCopies(PartitionNumber partition) const;
  std::set<ShardIndex> ToldCopies(absl::Span<const uint32_t> touched) const;
  void Require(PartitionNumber partition, std::map<ShardIndex, uint64_t>* numbers);

  template <typename FillBody>
  void Append(ShardIndex to, size_t bytes, const FillBody& fill, absl::Time now, Outbox& outbox);
  OutgoingMessagePtr NewForward(ShardIndex to, uint64_t number, size_t bytes);
  void Readdress(Entry& entry);
  void SendEntry(ShardIndex to, Stream& stream, Entry& entry, absl::Time now, Outbox& outbox);
  static std::optional<absl::Time> SentAt(const Stream& stream, uint64_t request_id);
  void SendAgain(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox);
  void Probe(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox);
  void Renew(ShardIndex to, Stream& stream, absl::Time now, Outbox& outbox);
  void Wait(absl::Span<const uint32_t> touched, uint64_t session, const Peer& to, OutgoingMessagePtr reply, Outbox& outbox);
  absl::Time DueAt(const Stream& stream) const;
  bool Done(const Waiting& waiting) const;
  void ReleaseReplies(Outbox& outbox);

  void FillMore(absl::Time now, Outbox& outbox);
  bool FillStep(PartitionNumber partition, ShardIndex to, Fill& fill, absl::Time now, Outbox& outbox);
  void SendRows(PartitionNumber partition, const TableStore& table, uint64_t slot, uint64_t count, ShardIndex to,
                absl::Time now, Outbox& outbox);
  void SendWindows(PartitionNumber partition, ShardIndex to, Fill& fill, absl::Time now, Outbox& outbox);

  Identity self_;
  ReplicationOptions options_;
  const Ownership& ownership_;
  const Sessions& sessions_;
  const TableSet& tables_;
  uint64_t last_request_ = 0;
  std::map<ShardIndex, Stream> streams_;
  std::map<PartitionNumber, Fill> fills_;
  std::map<PartitionNumber, absl::Time> serve_from_;
  std::deque<Waiting> waiting_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_FORWARDING_H_
