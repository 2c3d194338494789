#ifndef MARQUEE_WORKER_TRIAL_SESSION_H_
#define MARQUEE_WORKER_TRIAL_SESSION_H_

// A worker's part in one trial, from its assignment to the end of its session: makes the model, has its tables created, trains
// the chunks that it is given, evaluates the chunks that it is given.
//
// A training step is plan -> pull -> compute -> push. The next step's pull is under way while this one computes; pushes are
// acknowledged while later steps compute. When a pull may be sent and a push made is the consistency mode's matter
// (docs/architecture.md, "Staleness"): the pull of step c waits until c <= slowest clock + staleness, so that every row that a
// step uses is fresh enough by construction; in synchronous mode a rank also pushes only after all ranks have pulled and all
// lower ones have pushed.
//
// Uses one thread, the caller's. The driver is pumped between the parts of a step, and by KeepAlive during long ones.

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/trace.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/client/driver.h"
#include "worker/client/keep_alive.h"
#include "worker/models/model.h"
#include "worker/models/training_order.h"
#include "worker/progress.h"
#include "worker/worker_metrics.h"

namespace marquee {

// What a worker process has for all its sessions. Everything referred to must outlive them.
struct WorkerContext {
  Driver& driver;
  KeepAlive& keep_alive;
  const Dataset& data;
  WorkerMetrics& metrics;
  TraceTrack* trace = nullptr;  // what its thread does; null: nothing is traced
  std::string device = "auto";
  absl::Duration orphan_after = absl::Seconds(60);  // the scheduler silent for so long: give up
  absl::Time started;                               // silence counts from here, if it has never been heard
  const std::atomic<bool>& stop;                    // true: end at the next step

  // Stopped, told to shut down, or orphaned.
  bool Leaving() const;
};

class TrialSession {
 public:
  // `context` and `split` must outlive the session.
  TrialSession(WorkerContext& context, TrialAssignment assignment, TrialConfig config, const Split& split);
  ~TrialSession();

  // Returns when the scheduler says that the session is done, or it was lost, or the process is to stop: then, as far as a
  // moment allows, with all that it has pushed acknowledged and reported, so that nobody trains it again. An error is the
  // trial's: the model does not fit the data, a loss is not finite, a shard refused a push for good.
  absl::Status Run();

 private:
  struct PlannedStep;

  bool Over() const;  // nothing more to do here: the session is lost, or the process is leaving
  absl::Status Pump(absl::Duration timeout);
  template <typename Condition>
  absl::Status WaitUntil(Condition condition);

  // What this thread has done since `begin`, for the trace.
  void Trace(std::string_view name, absl::Time begin, TraceArguments arguments = {}) const;

  absl::Status Work();
  absl::Status LeaveInOrder();
  absl::Status PrepareModel();
  absl::Status CreateTables();
  absl::StatusOr<std::optional<WorkItem>> NextWork();

  absl::Status Train(const TrainChunk& chunk);
  absl::StatusOr<std::unique_ptr<PlannedStep>> PlanStep();
  absl::Status StartPull(Step& step, uint64_t& pull);
  absl::Status FinishPull(uint64_t pull);
  bool MayPull(uint64_t clock) const;
  bool IsMyTurn(uint64_t clock) const;
  absl::Status ComputeAndPush(PlannedStep& step);
  absl::Status Prefetch();
  absl::Status AddChunk(const TrainChunk& chunk);
  absl::Status TakeNextChunk();
  void ReportPulled();
  void ReportProgress();
  absl::Status WaitForAcknowledgements();

  absl::Status Evaluate(const EvaluationChunk& chunk);
  absl::Status PullNow(Step& step);

  WorkerContext& context_;
  Driver& driver_;
  const TrialAssignment assignment_;
  const TrialConfig config_;
  const Split& split_;

  std::unique_ptr<Model> model_;
  std::optional<TrainingOrder> order_;
  std::vector<TableNumber> numbers_;  // of the model's tables

  std::vector<TrainChunk> chunks_;  // leased, not yet planned to the end; the first one is being planned
  std::unique_ptr<PlannedStep> prefetched_;
  std::optional<WorkItem> set_aside_;  // work that came while a chunk's successor was asked for
  uint64_t steps_planned_ = 0;         // = the clock of the next step to plan
  Progress progress_;
  bool at_barrier_ = false;
  bool drained_reported_ = false;
  std::optional<uint64_t> evaluation_;  // whose rows the model holds
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_TRIAL_SESSION_H_
