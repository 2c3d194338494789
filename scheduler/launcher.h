#ifndef MARQUEE_SCHEDULER_LAUNCHER_H_
#define MARQUEE_SCHEDULER_LAUNCHER_H_

// Starts the cluster's servers and workers on this machine (launcher: local), starts those again that end, ends those that are
// not wanted any more, and stops all at the end.
//
// A child has no way to outlive the scheduler: the kernel kills it when its parent dies. It is in a process group of its own,
// so that Ctrl-C reaches the scheduler alone, which then stops it. Its output goes to LOGS/NAME.log.
//
// Uses the thread that started it: children hang on that thread's life. Not thread-safe.

#include <sys/types.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster_config.h"

namespace marquee {

// One program to run, and how.
struct ProcessPlan {
  std::string name;  // of the member
  std::string program;
  std::vector<std::string> arguments;
  uint32_t threads = 1;  // of OpenMP and BLAS
};

class Launcher {
 public:
  explicit Launcher(std::string log_folder) : log_folder_(std::move(log_folder)) {}
  ~Launcher();  // kills what still runs
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // What is to run from now on. Starts what does not run yet; what runs and is not among these goes on, but is not started
  // again when it ends.
  absl::Status Want(std::vector<ProcessPlan> plans, absl::Time now);

  // Ends a process that is not wanted any more: SIGTERM, and SIGKILL if that does not help. Wanted again meanwhile, it is
  // started anew after its end.
  void Retire(const std::string& name, absl::Time now);

  struct Exit {
    std::string name;
    std::string how;             // "killed by signal 9 (Killed)", "exit code 1"
    absl::Duration restarts_in;  // when it is started again; InfiniteDuration: it is not
  };
  // Processes that ended since the last call. Starts again those whose time has come. An error if one ends right after each
  // start, time and again, or cannot be started: the cluster will not come up.
  absl::StatusOr<std::vector<Exit>> Poll(absl::Time now);

  // No more restarts: children may go by themselves.
  void LetGo() { restart_ = false; }
  bool runs(const std::string& name) const;
  size_t running() const;
  // SIGTERM to all, SIGKILL to those that are left after `grace`; returns when none is.
  void Stop(absl::Duration grace);

 private:
  struct Child {
    ProcessPlan plan;
    pid_t pid = 0;  // 0: not running
    absl::Time started = absl::InfinitePast();
    absl::Time restart_at = absl::InfiniteFuture();
    absl::Time kill_at = absl::InfiniteFuture();
    bool wanted = true;
    bool retired = false;  // was told to end
    int quick_ends = 0;    // in a row
  };

  absl::Status Spawn(Child& child, absl::Time now);
  Exit Ended(Child& child, int wait_status, absl::Time now);
  Child* Find(const std::string& name);
  void SignalAll(int signal) const;
  void Reap();

  std::string log_folder_;
  std::vector<Child> children_;
  bool restart_ = true;
};

// Path of a program that comes with this one: beside it, or in ../libexec/marquee.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// What all servers and workers of a cluster are told.
struct ProcessInputs {
  std::string cluster_file;
  std::string cluster_folder;  // that paths in the file are relative to
  std::string data_file;
  std::string scheduler;     // endpoint
  std::string trace_folder;  // where they write where their time goes; empty: they do not
};

// The servers and workers of a cluster file.
absl::StatusOr<std::vector<ProcessPlan>> PlanProcesses(const ClusterConfig& config, const ProcessInputs& inputs);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCHER_H_
