#ifndef MARQUEE_SCHEDULER_VIEW_CHANGES_H_
#define MARQUEE_SCHEDULER_VIEW_CHANGES_H_

// Makes the views that follow the first one, so that trials go on when servers are lost, come and go: promotes the backups of
// what a lost one was primary of, takes in a server that comes as a new process or was added, has second copies filled where
// there is none, names those that are whole backups, does without one that its primary does not reach, and moves partitions
// from shard to shard (scheduler/rebalancing.h). With replication 1 the loss of a primary is the setup's matter
// (scheduler/shard_setup.h).
//
// A partition changes its primary by plan in this way: the old primary is asked to yield it, serves it no more, and answers
// once its backup has all that it has done; then a view is made in which the two have changed their roles. Any newer view puts
// an end to a yield, so that one that does not come about in time is taken back by a view like the one before.
//
// One view is installed at a time; it is saved before it is sent. No I/O of its own. Not thread-safe.

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/table.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/placement.h"
#include "scheduler/rebalancing.h"
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
  // `may_move` says whether views may be made now that nothing but a plan asks for.
  ViewChanges(CoordinatorContext& context, std::function<ShardKnowledge()> knowledge, std::function<bool()> may_move)
      : context_(context),
        knowledge_(std::move(knowledge)),
        may_move_(std::move(may_move)),
        rebalancing_(context.options.replication) {}

  // The setup has installed a view in which every server is there: the next ones follow it.
  void Begin();
  // A scheduler before this one has made the context's view, and may not have come to install it: it is made anew. All shards
  // are told what goes on. False if a server is gone with rows that nobody else has.
  bool TakeOver(absl::Time now, Outbox& outbox);
  // The setup starts over.
  void End();
  // The context's wanted servers are others than before.
  void OnWanted() { rebalancing_.Begin(); }
  // Whether a shard of the server has any copy by the newest view, or may have.
  bool Holds(const std::string& server) const;
  // Partitions are without a primary for a moment, or a view is under way.
  bool changing() const { return stage_ == Stage::kYielding || stage_ == Stage::kInstalling; }
  // Takes back what the server had. False if rows went with it that nobody else has: every trial has to start over.
  bool LoseServer(const std::string& name, absl::Time now, Outbox& outbox);
  void Advance(absl::Time now, Outbox& outbox);
  // When filling is looked at again.
  absl::Time next_timer() const;

 private:
  enum class Stage { kOff, kIdle, kInstalling, kJoining, kAsking, kWeighing, kYielding };

  bool Step(absl::Time now, Outbox& outbox);
  bool TakeIn(absl::Time now, Outbox& outbox);
  bool MayJoin(const std::string& server) const;
  uint32_t PlaceFor(const std::string& server, size_t shards);
  void FreePlace(uint32_t server);
  // Its place in the view needs an endpoint, and nobody listens there.
  void NameGone(ShardIndex shard) { next_.shards[shard] = fmt::format("gone:{}", shard); }
  void TellJoined(absl::Time now, Outbox& outbox);
  bool AssignFills(absl::Time now);
  Placement PlacementNow() const;
  bool DropSilent(const std::vector<std::pair<uint32_t, uint32_t>>& silent, absl::Time now);
  void TakeAnswers(const ShardRequests::Fills& fills, absl::Time now, Outbox& outbox);
  bool NameBackups(const std::vector<PartitionNumber>& filled);
  bool AllWantedAreReady() const;
  bool Rebalance(absl::Time now, Outbox& outbox);
  void Weigh(absl::Time now, Outbox& outbox);
  void AskToYield(std::vector<PartitionNumber> partitions, absl::Time now, Outbox& outbox);
  bool AfterYield(absl::Time now, Outbox& outbox);
  void HandOver();
  std::vector<ShardIndex> Primaries() const;
  void Install(absl::Time now, Outbox& outbox);
  void AskForFills(absl::Time now, Outbox& outbox);
  std::vector<uint32_t> ShardsOf(uint32_t server) const;
  bool IsReady(ShardIndex shard) const { return context_.alive[shard] && ready_[shard]; }

  CoordinatorContext& context_;
  std::function<ShardKnowledge()> knowledge_;
  std::function<bool()> may_move_;
  Rebalancing rebalancing_;
  std::vector<PartitionNumber> yielding_;  // that are asked for
  absl::Time yield_deadline_ = absl::InfiniteFuture();
  absl::Time move_again_ = absl::InfinitePast();  // not before
  Stage stage_ = Stage::kOff;
  View next_;                 // the newest view that was made; the context's, or being installed
  bool has_fills_ = false;    // it has copies that are being filled
  std::vector<bool> coming_;  // by shard: of a new process, which the view that is being installed names first
  std::vector<bool> ready_;   // by shard: it knows tables and sessions
  std::map<std::pair<ShardIndex, ShardIndex>, absl::Time> shunned_;  // primary and copy: not filled before that time
  std::vector<uint32_t> joining_;                                    // shards that are being told
  std::vector<BroadcastNumber> broadcasts_;
  absl::Time ask_again_ = absl::InfinitePast();
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_VIEW_CHANGES_H_
