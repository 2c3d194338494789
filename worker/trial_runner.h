#ifndef MARQUEE_WORKER_TRIAL_RUNNER_H_
#define MARQUEE_WORKER_TRIAL_RUNNER_H_

// The life of a worker process: registers, takes one assignment after the other, and runs each as a TrialSession, until the
// scheduler says that the sweep is over. Uses one thread, the caller's.

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/trial_config.h"
#include "dataset/split.h"
#include "worker/trial_session.h"

namespace marquee {

class TrialRunner {
 public:
  explicit TrialRunner(WorkerContext& context);  // which must outlive it

  // OK when the sweep is over or the process is to stop; an error if the scheduler refuses this worker or has gone for good. A
  // trial's error is the trial's: it is reported to the scheduler, and the worker goes on.
  absl::Status Run();

 private:
  absl::Status WaitForAssignment();
  absl::Status RunTrial(const TrialAssignment& assignment);
  absl::StatusOr<const Split*> SplitFor(const SplitConfig& config);
  absl::Status ReportFailure(const absl::Status& failure);

  WorkerContext& context_;
  Driver& driver_;
  SplitConfig split_config_;
  std::unique_ptr<Split> split_;  // of split_config_: trials of a sweep mostly share it
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_TRIAL_RUNNER_H_
