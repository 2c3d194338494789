#ifndef MARQUEE_TESTS_SIMULATION_SIM_WORKER_H_
#define MARQUEE_TESTS_SIMULATION_SIM_WORKER_H_

// A simulated `worker` process: the real client, link and progress, and in place of a model the ledger. Does what the program
// does, in its order: defines tables, trains leased chunks with the next step's pull under way, reports ticks, drains at the
// barrier, evaluates, starts over when its session is lost.

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/trial_config.h"
#include "tests/simulation/ledger.h"
#include "tests/simulation/random.h"
#include "tests/simulation/world.h"
#include "worker/client/client.h"
#include "worker/client/scheduler_link.h"
#include "worker/progress.h"

namespace marquee::simulation {

// What all workers of a run share.
struct SimWorkerOptions {
  std::map<std::string, TrialConfig> trials;  // by name
  ClientOptions client;
  absl::Duration shortest_compute = absl::Milliseconds(1);
  absl::Duration longest_compute = absl::Milliseconds(50);
  uint32_t most_rows = 6;  // of a table in a step, at least 1
  uint32_t pool = 24;      // ids that all share; smaller is more contention
  bool prefetch = true;
};

// The names of the tables of every trial, and how wide they are.
inline constexpr uint32_t kDims[] = {3, 5};
std::string TableName(size_t table);

// What a trial's validation gives after so many epochs: in thousandths, so that sums over chunks are exact.
double ScoreAfter(const std::string& trial, uint32_t epochs);

// What workers find out for whoever looks after the run.
struct TrialNews {
  std::map<std::string, uint64_t> newest_trial;     // number by name
  std::map<uint64_t, uint32_t> epochs;              // by trial: how many were begun
  std::set<uint64_t> evaluated;                     // trials: since then sessions do not count steps from the same start
  std::map<uint64_t, uint64_t> furthest_pull;       // by session: the highest step whose rows were asked for
  std::map<uint64_t, std::vector<uint64_t>> peers;  // sessions by trial
  uint64_t steps = 0;
  uint64_t duplicates = 0;  // of workers that were killed
  uint64_t staleness_checks = 0;
  uint64_t sessions_lost = 0;
};

class SimWorker : public Process {
 public:
  // All that is referred to must outlive the worker. `bound_holds`: no worker has been lost so far, so that all of a trial's
  // sessions count their steps from the same start.
  SimWorker(World& world, Ledger& ledger, const SimWorkerOptions& options, TrialNews& news, uint64_t seed, Identity self,
            Peer scheduler, std::function<bool()> bound_holds);
  ~SimWorker() override;

  void OnMessage(const std::string& endpoint, const Message& message, absl::Time now, Outbox& outbox) override;
  void OnTimer(absl::Time now, Outbox& outbox) override;
  absl::Time next_timer() const override;

  bool finished() const { return link_.shutdown(); }
  // Called when the scheduler takes this process for one that another has replaced, as a late `register` of the process before
  // can make it believe.
  void on_exit(std::function<void()> exit) { exit_ = std::move(exit); }
  uint64_t duplicates() const { return client_.counters().duplicates_acknowledged; }
  // Empty if nothing is under way any more.
  std::string CheckQuiet() const;

 private:
  struct Rows {
    size_t table = 0;     // index
    std::vector<Id> ids;  // the pushed ones first, then those that are only read
    size_t pushed = 0;
    std::vector<float> values;
  };
  struct Step {
    uint64_t clock = 0;
    TrainChunk chunk;  // begin and end are the step's own
    std::vector<Rows> rows;
    Client::PullNumber pull = 0;
    uint64_t acknowledged_at_pull = 0;
    bool read = false;                             // its rows are there
    absl::Time computed = absl::InfiniteFuture();  // when its gradients will be
  };
  struct Pending {
    uint64_t last_push = 0;
    Ledger::AttemptNumber attempt = 0;
  };
  enum class Doing { kNothing, kDefining, kTraining, kDraining, kEvaluating };

  void Work(absl::Time now, Outbox& outbox);
  bool Act(absl::Time now, Outbox& outbox);  // true if something was done, and there may be more
  void BeginSession(absl::Time now, Outbox& outbox);
  void EndSession(absl::Time now, Outbox& outbox);
  void ForgetPulls();
  void CheckSession(absl::Time now, Outbox& outbox);
  void ReportProgress(absl::Time now, Outbox& outbox);
  bool TakeWork(absl::Time now, Outbox& outbox);
  void TakeItem(const WorkItem& item, absl::Time now, Outbox& outbox);

  bool Train(absl::Time now, Outbox& outbox);
  void Plan();
  std::vector<Rows> PlanRows(uint64_t clock);
  bool StartPull(Step& step, absl::Time now, Outbox& outbox);
  bool FinishPull(Step& step, absl::Time now, Outbox& outbox);
  bool PullRows(std::vector<Rows>& rows, Client::PullNumber& pull, absl::Time now, Outbox& outbox);
  void Push(Step& step, absl::Time now, Outbox& outbox);
  void CheckRows(const std::vector<Rows>& rows, uint64_t acknowledged_before, std::optional<uint64_t> step);
  bool MayPull(uint64_t clock) const;
  bool IsMyTurn(uint64_t clock) const;
  uint64_t Slack() const { return static_cast<uint64_t>(config_->consistency.staleness); }
  // Whether steps of the trial's sessions can be compared, and must be in step.
  bool CountsInStep() const {
    return config_->consistency.mode != ConsistencyConfig::Mode::kAsync && bound_holds_() &&
           !news_.evaluated.contains(link_.assignment()->trial);
  }
  bool Synchronous() const { return config_->consistency.mode == ConsistencyConfig::Mode::kSynchronous; }
  bool Evaluate(absl::Time now, Outbox& outbox);

  World& world_;
  Ledger& ledger_;
  const SimWorkerOptions& options_;
  TrialNews& news_;
  Random random_;
  Identity self_;
  Peer scheduler_;
  std::function<bool()> bound_holds_;
  std::function<void()> exit_;
  Client client_;
  SchedulerLink link_;

  // Of the session.
  Doing doing_ = Doing::kNothing;
  const TrialConfig* config_ = nullptr;
  Progress progress_;
  std::vector<TrainChunk> chunks_;  // leased, not planned to the end
  std::deque<Step> steps_;          // at most two: one computes while the other is read
  std::deque<Pending> pending_;
  uint64_t planned_ = 0;
  bool at_barrier_ = false;
  bool drained_reported_ = false;
  EvaluationChunk evaluation_;
  std::vector<Rows> evaluation_rows_;
  Client::PullNumber evaluation_pull_ = 0;
  uint64_t acknowledged_at_evaluation_ = 0;
  absl::Time worked_ = absl::InfinitePast();  // when it last looked what there is to do
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_SIM_WORKER_H_
