#ifndef MARQUEE_SCHEDULER_TRIAL_RUN_H_
#define MARQUEE_SCHEDULER_TRIAL_RUN_H_

// One attempt at a trial, from its first session to its tables' end:
//
//     tables [-> loading] -> training -> barrier -> validation -> test [-> keeping] -> cleaning -> over
//                              ^________________________|
//
// Training goes on after a validation that was not the last, unless successive halving or early stopping ends it. Each step
// waits for its own condition in Advance; a failure leads from anywhere to cleaning. The trial's workers each have a session;
// one that is lost is closed on all shards before its chunks are leased again, and its rank is free for another worker.
//
// While it trains it notes where it stands before it says anything that hangs on it (CoordinatorContext::Note), so that another
// scheduler's run takes over: of a validation, the test or keeping what was done is done again, from the same rows.
//
// Requests of workers come through the On... calls, which fill the reply's body or say why not. Knows no socket, clock or file.

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "scheduler/checkpoint_store.h"
#include "scheduler/clock_table.h"
#include "scheduler/coordinator_context.h"
#include "scheduler/evaluation_chunks.h"
#include "scheduler/metric_goal.h"
#include "scheduler/model_keeper.h"
#include "scheduler/row_restorer.h"
#include "scheduler/saved_progress.h"
#include "scheduler/training_chunks.h"
#include "scheduler/trial_state.h"
#include "scheduler/trial_tables.h"

namespace marquee {

class TrialRun {
 public:
  // `context` and `config` must outlive the run.
  // `wants` says whether a model with these validation metrics is to be kept.
  using WantsModel = std::function<bool(const std::map<std::string, double>& validation)>;
  // With a `checkpoint` it goes on from there.
  TrialRun(CoordinatorContext& context, const TrialConfig& config, std::string spec, uint64_t number, WantsModel wants,
           absl::Time now, std::optional<TrialCheckpoint> checkpoint = std::nullopt);

  // A run of a scheduler before this one, which noted it: goes on with its sessions, tables and chunks. The context's members
  // and view are those of that time. An error says why it cannot, before anything is sent; nothing may be done with the object
  // then.
  absl::Status TakeOver(const SavedTrial& saved, absl::Time now, Outbox& outbox);

  // ---- workers
  // Ranks that no worker has, to be given by AddWorker; none once the trial needs no more work.
  std::vector<uint32_t> FreeRanks() const;
  void AddWorker(MemberRecord& worker, uint32_t rank, absl::Time now, Outbox& outbox);
  // The worker's session ends: it died, or another process has its name.
  void LoseWorker(const std::string& worker, absl::Time now, Outbox& outbox);

  // ---- requests. Sessions must be of this run: see HasSession.
  // False for sessions of other runs, and for those whose worker must not go on.
  bool HasSession(uint64_t session) const { return Find(session) != nullptr; }
  // False while the session is not yet open on all shards, or is being closed.
  bool FillAssignment(uint64_t session, wire::TrialAssignment::Builder builder) const;
  MaybeRejection OnDefineTables(wire::DefineTables::Reader reader, wire::Envelope::Body::Builder reply, absl::Time now,
                                Outbox& outbox);
  MaybeRejection OnGetWork(wire::GetWork::Reader reader, uint64_t request_id, wire::Work::Builder reply, absl::Time now);
  MaybeRejection OnTick(wire::Tick::Reader reader, wire::Clocks::Builder reply, Outbox& outbox);
  MaybeRejection OnEvaluated(wire::Evaluated::Reader reader);
  // Tells the worker the clocks once more, since messages that nobody asked for may be lost.
  void OnHeartbeat(uint64_t session, Outbox& outbox) const;
  // The trial cannot go on. The first reason counts.
  void Fail(std::string reason);

  // ---- progress
  void Advance(absl::Time now, Outbox& outbox);
  bool over() const { return phase_ == Phase::kOver; }
  bool failed() const { return !failure_.empty(); }
  const std::string& failure() const { return failure_; }
  // It failed because it could not go on from its checkpoint; 0: it did not.
  uint64_t bad_checkpoint() const { return bad_checkpoint_; }
  // Then: whether that was because a shard could not read it, and it may be whole.
  bool could_not_read() const { return could_not_read_; }
  // All rows of its tables are being copied, by a walk that a newer view makes begin anew.
  bool walks_rows() const { return phase_ == Phase::kLoading || phase_ == Phase::kKeeping; }
  // It has its result, and its model is kept where that was wanted.
  bool complete() const { return complete_; }
  // Successive halving has ended it.
  bool halted() const { return halted_; }
  // Of a run that is over, or whose tables are about to be dropped.
  StateStore::Trial Outcome() const;
  std::set<uint64_t> sessions() const;       // of workers that were not lost
  std::set<uint64_t> open_sessions() const;  // that may be open on shards
  void FillView(absl::Time now, Coordinator::TrialView* view) const;
  uint64_t number() const { return number_; }
  // What a shard that joins has to know: sessions that are opening or open, and tables.
  std::vector<uint64_t> sessions_of_shards() const;
  const std::vector<TableDefinition>& tables() const;
  const std::string& name() const { return config_.name; }
  const std::string& spec() const { return spec_; }

  // ---- checkpoints
  // It has rows that its training made, and may go on from them.
  bool may_be_saved() const { return phase_ >= Phase::kTraining && phase_ < Phase::kCleaning && !failed(); }
  // No training is leased until Resume. Quiet: all that was leased is trained, reported and acknowledged.
  void Pause() { chunks_.Pause(); }
  // While the cut is made: a validation may end meanwhile, and training would go on.
  void Stop() { chunks_.Stop(); }
  void Resume() { chunks_.Resume(); }
  bool quiet() const { return phase_ != Phase::kTraining || chunks_.quiet(); }
  // Where it stands, while it is quiet.
  TrialState State(absl::Time now) const;

 private:
  enum class Phase { kTables, kLoading, kTraining, kBarrier, kValidation, kTest, kKeeping, kCleaning, kOver };

  // What a getWork was answered, to be repeated if it is asked again.
  struct WorkAnswer {
    enum class Kind { kWait, kTrain, kBarrier, kEvaluate } kind = Kind::kWait;
    TrainingChunks::Lease train;
    EvaluationChunks::Lease evaluate;
    uint64_t evaluation = 0;
    bool test = false;
  };
  struct Session {
    enum class State { kOpening, kOpen, kClosing, kClosed } state = State::kOpening;
    uint64_t number = 0;
    std::string worker;
    uint64_t incarnation = 0;  // of the worker
    uint32_t rank = 0;
    BroadcastNumber broadcast = 0;  // that opens or closes it
    bool lost = false;              // its worker is gone: its chunks are to be released
    bool trained = false;           // has ever had a chunk
    bool drained = false;
    uint64_t clock = 0;
    uint64_t examples = 0;
    double loss_sum = 0;
    uint64_t work_request = 0;  // the newest getWork
    WorkAnswer answer;
    uint64_t given = 0;          // training chunks so far
    TrainingChunks::Lease last;  // of them
  };

  const Session* Find(uint64_t session) const;  // nullptr for one whose worker must not go on
  Session* Find(uint64_t session);
  absl::Status GoOnFrom(const std::string& state, absl::Time now);
  absl::Status AddSession(const SavedTrial::Session& saved);
  void GoOnWith(Session& session, absl::Time now, Outbox& outbox);
  SavedTrial::Session Save(const Session& session) const;
  void Note();
  void NoteOutcome();
  TrialResult Result() const;
  bool Synchronous() const { return config_.consistency.mode == ConsistencyConfig::Mode::kSynchronous; }

  // Steps of Advance; true if the phase has moved on.
  bool Step(absl::Time now, Outbox& outbox);
  void AdvanceSessions();
  void FinishClosing(Session& session);
  bool AllDrained() const;
  uint32_t planned_epochs() const { return static_cast<uint32_t>(config_.model.epochs); }
  uint32_t NextValidation(uint32_t after) const;
  void AfterTables();
  void TrainOn();
  void StartEvaluation(bool test);
  void FinishEvaluation(absl::Time now);
  void AfterValidation(absl::Time now);
  bool StopsEarly(double score);
  void FinishKeeping(absl::Time now);
  void Complete(absl::Time now);
  void StartCleaning(absl::Time now, Outbox& outbox);
  void Lose(Session& session, absl::Time now, Outbox& outbox);
  void Open(Session& session, absl::Time now, Outbox& outbox);
  void Close(Session& session, absl::Time now, Outbox& outbox);
  bool UpdateIdle();  // true if anybody's clock has another base now
  // Tells workers of clocks that they wait for. One of them, whose reply says it, may be left out.
  void NotifyClocks(uint64_t left_out, Outbox& outbox);
  void SendClocks(const Session& session, Outbox& outbox) const;

  WorkAnswer ChooseWork(Session& session, absl::Time now);
  MaybeRejection Answer(Session& session, uint64_t taken, absl::Time now);
  static void FillWork(const WorkAnswer& answer, wire::Work::Builder reply);
  void FillClocks(const Session& session, wire::Clocks::Builder builder) const;
  // A tick, read once: a malformed one must not be found out when half of it is counted.
  struct TickData {
    uint64_t session = 0;
    uint64_t clock = 0;
    uint64_t pulled = 0;
    uint64_t examples = 0;
    double loss_sum = 0;
    bool drained = false;
    struct Chunk {
      uint64_t number = 0;
      uint64_t next = 0;
    };
    std::vector<Chunk> chunks;
  };
  static TickData ReadTick(wire::Tick::Reader reader);
  MaybeRejection CheckTick(const TickData& tick) const;
  bool CountTick(const TickData& tick, Session& session);  // true if a chunk is finished
  MaybeRejection ReadSums(wire::Evaluated::Reader reader, MetricSums* sums) const;
  double ExamplesPerSecond(absl::Time now) const;

  CoordinatorContext& context_;
  const TrialConfig& config_;
  const std::string spec_;
  const uint64_t number_;
  absl::Time started_;
  absl::Time now_;  // as it was told last

  Phase phase_ = Phase::kTables;
  std::string failure_;
  bool complete_ = false;
  std::map<uint64_t, Session> sessions_;
  TrialTables tables_;
  TrainingChunks chunks_;
  ClockTable clocks_;
  uint64_t told_changes_ = 0;  // of clocks_, when workers were last told
  int losses_without_progress_ = 0;
  bool taken_over_ = false;

  uint32_t trained_epochs_ = 0;  // to their end, or at the barrier that is to come
  MetricGoal goal_;
  std::optional<double> best_;  // validation so far; larger is better
  int validations_since_best_ = 0;
  bool halted_ = false;

  WantsModel wants_;
  std::optional<ModelLoader> loader_;
  std::optional<TrialCheckpoint> checkpoint_;
  TrialState saved_;  // of the checkpoint
  std::optional<RowRestorer> restorer_;
  uint64_t bad_checkpoint_ = 0;
  bool could_not_read_ = false;
  std::optional<ModelKeeper> keeper_;

  std::optional<EvaluationChunks> evaluation_;
  uint64_t evaluations_ = 0;
  struct EpochLoss {
    double sum = 0;
    double examples = 0;
  };
  std::vector<EpochLoss> losses_;
  absl::Duration trained_for_;                  // without the time of validations
  std::optional<absl::Time> training_started_;  // since the last of them
  absl::Time ended_;
  TrialResult result_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_TRIAL_RUN_H_
