#ifndef MARQUEE_SCHEDULER_VIEW_CHANGES_H_
#define MARQUEE_SCHEDULER_VIEW_CHANGES_H_

// Makes the views that follow the first one, so that trials go on when a server is lost: promotes the backups of what it was
// primary of, takes in a server that comes as a new process, has second copies filled where there is none, names those that are
// whole backups, and does without one that its primary does not reach. With replication 1 it does nothing: every loss is the
// setup's matter (scheduler/shard_setup.h).
//
// One view is installed at a time; it is saved before it is sent. No I/O of its own. Not thread-safe.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/table.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/shard_requests.h"

namespace marquee {

// What a shard that joins has to know of running trials.
struct ShardKnowledge {
  struct Session {
    uint64_t number = 0;
    uint64_t trial = 0;
  };
  std::vector<TableDefinition> tables;
  std::vector<Session> sessions;  // opening or open
};

class ViewChanges {
 public:
  ViewChanges(CoordinatorContext& context, std::function<ShardKnowledge()> knowledge)
      : context_(context), knowledge_(std::move(knowledge)) {}

  // The setup has installed a view in which every server is there: the next ones follow it.
  void Begin();
  // The setup starts over.
  void End();
  // Takes back what the server had. False if rows went with it that nobody else has: every trial has to start over.
  bool LoseServer(const std::string& name, absl::Time now, Outbox& outbox);
  void Advance(absl::Time now, Outbox& outbox);
  // When filling is looked at again.
  absl::Time next_timer() const;

 private:
  enum class Stage { kOff, kIdle, kInstalling, kJoining, kAsking };

  bool Step(absl::Time now, Outbox& outbox);
  bool MayJoin(uint32_t server) const;
  bool TakeIn(absl::Time now, Outbox& outbox);
  void TellJoined(absl::Time now, Outbox& outbox);
  bool AssignFills(absl::Time now);
  bool DropSilent(const std::vector<std::pair<uint32_t, uint32_t>>& silent, absl::Time now);
  void TakeAnswers(const ShardRequests::Fills& fills, absl::Time now, Outbox& outbox);
  bool NameBackups(const std::vector<PartitionNumber>& filled);
  void Install(absl::Time now, Outbox& outbox);
  void AskForFills(absl::Time now, Outbox& outbox);
  bool HasFills() const;
  std::vector<uint32_t> ShardsOf(uint32_t server) const;
  bool IsReady(ShardIndex shard) const { return context_.alive[shard] && ready_[shard]; }

  CoordinatorContext& context_;
  std::function<ShardKnowledge()> knowledge_;
  Stage stage_ = Stage::kOff;
  View next_;                 // the newest view that was made; the context's, or being installed
  std::vector<bool> coming_;  // by shard: of a new process, which the view that is being installed names first
  std::vector<bool> ready_;   // by shard: it knows tables and sessions
  std::map<std::pair<ShardIndex, ShardIndex>, absl::Time> shunned_;  // primary and copy: not filled before that time
  std::vector<uint32_t> joining_;                                    // shards that are being told
  std::vector<BroadcastNumber> broadcasts_;
  absl::Time ask_again_ = absl::InfinitePast();
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_VIEW_CHANGES_H_
