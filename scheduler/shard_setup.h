#ifndef MARQUEE_SCHEDULER_SHARD_SETUP_H_
#define MARQUEE_SCHEDULER_SHARD_SETUP_H_

// Brings all shards to a state in which trials may start: waits until every server is there, makes a new view and saves it,
// installs it, closes the sessions and drops the tables of trials that are no more. Started again whenever a server was lost.

#include <set>

#include "scheduler/coordinator_context.h"

namespace marquee {

class ShardSetup {
 public:
  explicit ShardSetup(CoordinatorContext& context) : context_(context) {}

  bool ready() const { return stage_ == Stage::kReady; }

  // A scheduler before this one has set them up, and trials run: there is nothing to be done.
  void TakeOver() { stage_ = Stage::kReady; }
  // A server is gone, or came as a new process. `open_sessions` may still be open on some shards.
  void StartOver(const std::set<uint64_t>& open_sessions);
  // Looks what can be done next.
  void Advance(absl::Time now, Outbox& outbox);

 private:
  enum class Stage { kWaiting, kInstalling, kClosing, kDescribing, kDropping, kReady };

  bool Step(absl::Time now, Outbox& outbox);  // false when there is something to wait for
  bool InstallView(absl::Time now, Outbox& outbox);
  void CloseNextSession(absl::Time now, Outbox& outbox);
  void Describe(absl::Time now, Outbox& outbox);
  void DropTables(absl::Time now, Outbox& outbox);
  BroadcastNumber Ask(const ShardRequests::Fill& fill, absl::Time now, Outbox& outbox);

  CoordinatorContext& context_;
  Stage stage_ = Stage::kWaiting;
  View next_view_;
  BroadcastNumber broadcast_ = 0;
  std::set<uint64_t> to_close_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SHARD_SETUP_H_
