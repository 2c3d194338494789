#ifndef MARQUEE_SCHEDULER_CHECKPOINTS_H_
#define MARQUEE_SCHEDULER_CHECKPOINTS_H_

// Makes checkpoints of the trials that run (docs/checkpoints.md): leases no training until all that was leased is trained and
// acknowledged, has every shard note its cut, lets the trials go on, and writes the manifest once all files are there. One at a
// time; one that does not come about is given up and counted, and the trials go on.
//
// A state machine without I/O but for the store; driven by Advance. Not thread-safe.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "scheduler/checkpoint_store.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/trial_run.h"

namespace marquee {

class Checkpoints {
 public:
  // The context must outlive the object; so must the store, if there is one.
  Checkpoints(CoordinatorContext& context, CheckpointStore* store) : context_(context), store_(store) {}

  // As soon as may be, whatever the interval.
  void Request() { requested_ = true; }
  // `runs` are those that run now; `unfinished` names all trials without a result. `may_cut`: no view is under way, under which
  // the cut would have to be given up.
  void Advance(const std::vector<TrialRun*>& runs, const std::set<std::string>& unfinished, bool may_cut, absl::Time now,
               Outbox& outbox);
  bool under_way() const { return stage_ != Stage::kIdle; }
  // The runs end, and what shards were asked is forgotten.
  void StartOver(absl::Time now);
  absl::Time next_timer() const;
  // Of what would be lost with all memory: zero if nothing is trained, or nothing can be saved.
  absl::Duration unsaved(absl::Time now) const {
    return unsaved_since_ == absl::InfinitePast() ? absl::ZeroDuration() : now - unsaved_since_;
  }

  absl::StatusOr<std::optional<TrialCheckpoint>> Newest(const std::string& trial, const std::string& spec) const {
    if (store_ == nullptr) return std::optional<TrialCheckpoint>();
    return store_->Newest(trial, spec, context_.numbers.cluster_id);
  }
  void CouldNotRead(uint64_t number, const std::string& reason) { store_->CouldNotRead(number, reason); }
  void Refuse(uint64_t number, const std::string& reason) { store_->Refuse(number, reason); }

 private:
  enum class Stage { kIdle, kPausing, kCutting, kWriting };

  void Begin(const std::vector<TrialRun*>& runs, absl::Time now);
  void Cut(const std::vector<TrialRun*>& runs, absl::Time now, Outbox& outbox);
  void LeaveOutEnded(const std::vector<TrialRun*>& runs);
  void AskForFiles(absl::Time now, Outbox& outbox);
  void Commit(const std::set<std::string>& unfinished, absl::Time now);
  void GiveUp(const std::vector<TrialRun*>& runs, const std::string& reason, absl::Time now);
  static void ResumeAll(const std::vector<TrialRun*>& runs);

  CoordinatorContext& context_;
  CheckpointStore* store_;
  Stage stage_ = Stage::kIdle;
  bool requested_ = false;
  absl::Time due_ = absl::InfinitePast();            // the next one; InfinitePast: since the first run
  absl::Time unsaved_since_ = absl::InfinitePast();  // what was trained since; InfinitePast: nothing
  absl::Time began_;
  absl::Time deadline_ = absl::InfiniteFuture();
  CheckpointManifest manifest_;
  std::string folder_;
  uint64_t base_ = 0;        // the last one that was committed; 0: none by this scheduler
  uint32_t since_full_ = 0;  // how many build on the last full one
  uint64_t view_ = 0;
  std::vector<uint32_t> shards_;
  std::vector<TableNumber> tables_;
  BroadcastNumber broadcast_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CHECKPOINTS_H_
