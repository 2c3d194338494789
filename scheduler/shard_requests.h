#ifndef MARQUEE_SCHEDULER_SHARD_REQUESTS_H_
#define MARQUEE_SCHEDULER_SHARD_REQUESTS_H_

// Asks all shards, or some, for one thing each (a broadcast) and resends until every one has answered. Whoever started a
// broadcast looks whether it is finished; nothing calls back. No I/O of its own.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "checkpoint/row_file.h"
#include "common/id.h"
#include "common/message.h"
#include "common/view.h"

namespace marquee {

using BroadcastNumber = uint64_t;  // from 1; 0: none

class ShardRequests {
 public:
  // Answers to a process before this one must not be taken for answers to this one.
  ShardRequests(Identity self, absl::Duration resend_after)
      : self_(std::move(self)), resend_after_(resend_after), last_request_(MixId(self_.incarnation) >> 16U) {}

  // Sends each shard its request. `fill` writes the body for the shard of that index. `view` goes into the header.
  using Fill = std::function<void(uint32_t shard, wire::Envelope::Body::Builder body)>;
  BroadcastNumber Start(const std::vector<std::string>& endpoints, uint64_t view, const Fill& fill, absl::Time now,
                        Outbox& outbox);
  // All shards of a view that are alive.
  BroadcastNumber StartAlive(const View& view, const std::vector<bool>& alive, const Fill& fill, absl::Time now,
                             Outbox& outbox);
  // The shards of these indexes only. `bytes` is the size of the arrays in one request.
  BroadcastNumber StartSome(const std::vector<uint32_t>& shards, const View& view, size_t bytes, const Fill& fill,
                            absl::Time now, Outbox& outbox);

  // The shard of this endpoint is gone: what all shards were asked does not wait for it. What only some were asked does, until
  // whoever asked gives it up.
  void Excuse(const std::string& endpoint);

  // While it holds, nothing that all shards were asked is finished: a shard that was excused may serve until the others have a
  // view without it.
  void Hold(bool hold) { hold_ = hold; }

  // Every shard has answered. Also true of a number that was forgotten.
  bool Finished(BroadcastNumber number) const;
  // OK, or the first shard's refusal by index, with its endpoint. Of a finished broadcast.
  absl::Status Result(BroadcastNumber number) const;
  // What `describeTables` brought: table numbers by shard.
  std::vector<std::vector<TableNumber>> Tables(BroadcastNumber number) const;
  // What `scanTable` of a single shard brought.
  struct Scanned {
    std::vector<Id> ids;
    std::vector<float> weights;  // ids.size() x dim
    uint32_t partition = 0;      // where to go on
    uint64_t slot = 0;
  };
  Scanned TakeScanned(BroadcastNumber number);
  // What `getFills` brought, by the view that was asked with.
  struct Fills {
    std::vector<PartitionNumber> filled;                // partitions whose copies are whole
    std::vector<std::pair<uint32_t, uint32_t>> silent;  // a shard, and one with copies of it that does not answer it
  };
  Fills FillsOf(BroadcastNumber number) const;
  // What `getPartitions` brought.
  struct PartitionWeight {
    PartitionNumber partition = 0;
    uint64_t rows = 0;   // pulled and pushed since it came to its shard
    uint64_t bytes = 0;  // of its rows
  };
  std::vector<PartitionWeight> PartitionsOf(BroadcastNumber number) const;
  // What `getCheckpoint` brought, in the order of shards.
  std::vector<RowFileSummary> FilesOf(BroadcastNumber number) const;
  // No more resending; late answers are ignored.
  void Forget(BroadcastNumber number);
  void ForgetAll();

  // A message with the body of a reply. False if it answers nothing that was asked.
  bool OnReply(const Message& message);
  void OnTimer(absl::Time now, Outbox& outbox);
  // May be of a request that was answered since.
  absl::Time next_timer() const;

 private:
  struct Request {
    BroadcastNumber broadcast = 0;
    uint32_t shard = 0;
    std::string endpoint;
    uint64_t view = 0;
    OutgoingMessagePtr message;
  };
  struct Broadcast {
    uint32_t open = 0;  // requests without an answer
    bool to_all = false;
    Fills fills;
    std::vector<PartitionWeight> partitions;
    std::map<uint32_t, absl::Status> refusals;
    std::vector<std::vector<TableNumber>> tables;
    Scanned scanned;
    std::map<uint32_t, RowFileSummary> files;  // by shard
  };
  void Ask(BroadcastNumber number, uint32_t shard, const std::string& endpoint, uint64_t view, size_t bytes, const Fill& fill,
           absl::Time now, Outbox& outbox);

  Identity self_;
  bool hold_ = false;
  absl::Duration resend_after_;
  uint64_t last_request_;
  BroadcastNumber last_broadcast_ = 0;
  std::map<uint64_t, Request> requests_;
  std::deque<std::pair<absl::Time, uint64_t>> resends_;  // when, and which request, in order; answered ones too, for a while
  std::map<BroadcastNumber, Broadcast> broadcasts_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SHARD_REQUESTS_H_
