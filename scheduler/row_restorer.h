#ifndef MARQUEE_SCHEDULER_ROW_RESTORER_H_
#define MARQUEE_SCHEDULER_ROW_RESTORER_H_

// Has all shards read the rows of a trial's tables from a checkpoint: each what it has a copy of. Asked again under each new
// view until all have answered under one. A state machine, driven by Advance; not thread-safe.

#include <cstdint>
#include <vector>

#include "common/table.h"
#include "scheduler/checkpoint_store.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/trial_state.h"

namespace marquee {

class RowRestorer {
 public:
  // All must outlive the restorer. `tables` as the shards have them now, `saved` as they were.
  RowRestorer(CoordinatorContext& context, const TrialCheckpoint& checkpoint, const std::vector<TrialState::Table>& saved,
              const std::vector<TableDefinition>& tables)
      : context_(context), checkpoint_(checkpoint), saved_(saved), tables_(tables) {}
  ~RowRestorer() { context_.shards.Forget(broadcast_); }
  RowRestorer(const RowRestorer&) = delete;
  RowRestorer& operator=(const RowRestorer&) = delete;

  // An error says why the trial cannot go on from this checkpoint: Unavailable if a shard could not read it, which says nothing
  // of what is in it.
  absl::Status Advance(absl::Time now, Outbox& outbox);
  bool done() const { return done_; }

 private:
  absl::Status Match();
  void Ask(absl::Time now, Outbox& outbox);

  CoordinatorContext& context_;
  const TrialCheckpoint& checkpoint_;
  const std::vector<TrialState::Table>& saved_;
  const std::vector<TableDefinition>& tables_;
  std::vector<std::pair<TableNumber, TableNumber>> numbers_;  // in the files, and now
  uint64_t view_ = 0;
  BroadcastNumber broadcast_ = 0;
  bool done_ = false;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_ROW_RESTORER_H_
