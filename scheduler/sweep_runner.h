#ifndef MARQUEE_SCHEDULER_SWEEP_RUNNER_H_
#define MARQUEE_SCHEDULER_SWEEP_RUNNER_H_

// Runs a sweep over a cluster from its state to its leaderboard: connects the coordinator to ZeroMQ, the clock, the state on
// disk and the launcher, and shows how it goes (scheduler/status_page.h). One thread, the caller's. What it leaves in the
// output folder:
//
//     state.db, lock        the state, for --resume
//     logs/NAME.log         of each server and worker (launcher: local)
//     running-cluster.yaml  the cluster file as it is in use (likewise): what servers and workers read
//     endpoints.json        {name: {"metrics": "host:port", "listens": [endpoint, ...]}} of all processes, while the sweep
//                           runs; the scheduler's has "status" as well
//     models/TRIAL/         kept models
//     checkpoints/          of running trials, if the cluster file asks for them
//     trace/                what processes wrote of their time, with a trace file asked for
//     leaderboard.json, report.html      at the end

#include <memory>
#include <optional>
#include <string>

#include "common/metrics.h"
#include "common/transport.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "scheduler/checkpoint_files.h"
#include "scheduler/cluster_file.h"
#include "scheduler/cluster_follower.h"
#include "scheduler/coordinator.h"
#include "scheduler/leaderboard.h"
#include "scheduler/model_folder.h"
#include "scheduler/report.h"
#include "scheduler/scheduler_metrics.h"
#include "scheduler/state_store.h"
#include "scheduler/status_model.h"
#include "scheduler/status_page.h"
#include "scheduler/sweep.h"
#include "scheduler/sweep_progress.h"

namespace marquee {

struct SweepPlan {
  std::string host;  // that the scheduler listens on
  std::string data_file;
  std::string out;  // folder
  bool resume = false;
  bool stay = false;  // answer members and serve metrics after the end, until the process is asked to stop
  std::string trace;  // a file: where the run's time goes; empty: nothing is traced
  Sweep sweep;
};

class SweepRunner {
 public:
  // `data` and `split` must outlive the runner.
  SweepRunner(SweepPlan plan, ClusterFile cluster, const Dataset& data, const Split& split);
  ~SweepRunner();

  // True if every trial has ended as it should, false if some have failed. Cancelled if the process was asked to stop: the
  // state stays. Any other error means that the sweep cannot go on.
  absl::StatusOr<bool> Run();

 private:
  absl::Status OpenState();
  absl::Status CheckStarts() const;
  absl::Status Listen();
  absl::Status ServeStatus();
  absl::Status StartCoordinator();
  absl::Status StartProcesses();
  absl::Status RunTrials();
  // Waits for messages for a moment, and does what is due.
  absl::Status Pump();
  absl::Status PollProcesses();
  void TellLauncher();
  void UpdateStatus(absl::Time now);
  void DismissMembers();
  absl::Status WriteEndpoints();
  absl::Status BeginTrace();
  void EndTrace();
  ReportSources Sources(const Leaderboard& leaderboard, const std::vector<Coordinator::TrialView>& trials);
  void AddExamples(const Leaderboard& leaderboard, ReportSources& sources);
  absl::StatusOr<bool> Finish();
  absl::StatusOr<bool> FinishAndStay();
  void RemoveEndpoints();
  absl::Status WriteFile(const std::string& name, const std::string& text) const;
  std::string PathOf(const std::string& name) const;

  const SweepPlan plan_;
  ClusterFile cluster_;
  const Dataset& data_;
  const Split& split_;
  SweepProgress progress_;
  std::unique_ptr<SqliteStateStore> store_;
  ModelFolder models_;
  std::unique_ptr<CheckpointFiles> checkpoints_;
  Metrics metrics_;
  SchedulerMetrics scheduler_metrics_;
  TransportContext transport_context_;
  std::unique_ptr<Transport> transport_;
  std::string endpoint_;
  std::string metrics_endpoint_;
  std::string status_endpoint_;
  std::unique_ptr<Coordinator> coordinator_;
  StatusModel status_;
  std::unique_ptr<StatusPage> status_page_;
  std::unique_ptr<ClusterFollower> processes_;
  absl::Time next_update_ = absl::InfinitePast();
  absl::Time next_metrics_ = absl::InfinitePast();
  absl::Time next_status_ = absl::InfinitePast();
  uint64_t refused_tokens_ = 0;  // that were told as events
  View view_;                    // that the connections are of
  std::string endpoints_written_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_SWEEP_RUNNER_H_
