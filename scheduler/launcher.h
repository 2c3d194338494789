#ifndef MARQUEE_SCHEDULER_LAUNCHER_H_
#define MARQUEE_SCHEDULER_LAUNCHER_H_

// Starts the cluster's servers and workers, starts those again that end, ends those that are not wanted any more, and stops all
// at the end. Where and how each of them runs is an engine's business (launch_engine.h): for each process it names a command of
// this machine, which the launcher runs.
//
// A command has no way to outlive the scheduler: the kernel kills it when its parent dies. It is in a process group of its own,
// so that Ctrl-C reaches the scheduler alone, which then stops it. Its output goes to LOGS/NAME.log.
//
// Uses the thread that started it: children hang on that thread's life. Not thread-safe.

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "scheduler/launch_engine.h"
#include "scheduler/process_plan.h"

namespace marquee {

class Launcher {
 public:
  Launcher(std::unique_ptr<LaunchEngine> engine, std::string log_folder)
      : engine_(std::move(engine)), log_folder_(std::move(log_folder)) {}
  ~Launcher();  // kills what still runs
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  // What is to run from now on. Starts what does not run yet; what runs and is not among these goes on, but is not started
  // again when it ends.
  absl::Status Want(std::vector<ProcessPlan> plans, absl::Time now);

  // Ends a process that is not wanted any more: asks it to stop, and kills it if that does not help. Wanted again meanwhile, it
  // is started anew after its end.
  void Retire(const std::string& name, absl::Time now);

  struct Exit {
    std::string name;
    std::string how;             // "killed by signal 9 (Killed)", "exit code 1"
    absl::Duration restarts_in;  // when it is started again; InfiniteDuration: it is not
  };
  // Processes that ended since the last call. Starts again those whose time has come. An error if one ends right after each
  // start, time and again, or cannot be started: the cluster will not come up. What was wanted later than the first ones, and
  // what came up once and whose host cannot be reached now, is tried again for as long as it takes.
  absl::StatusOr<std::vector<Exit>> Poll(absl::Time now);

  // A process has registered with the scheduler: it can run in its place.
  void CameUp(const std::string& name);

  // No more restarts: children may go by themselves.
  void LetGo() { restart_ = false; }
  bool runs(const std::string& name) const;
  size_t running() const;
  // Asks all to stop, SIGKILL to those that are left after `grace`; returns when none is.
  void Stop(absl::Duration grace);

 private:
  struct Child {
    ProcessPlan plan;
    pid_t pid = 0;      // 0: not running
    int lifeline = -1;  // the end of a pipe which is the command's input, if the engine wants one
    absl::Time started = absl::InfinitePast();
    absl::Time restart_at = absl::InfiniteFuture();
    absl::Time kill_at = absl::InfiniteFuture();
    bool wanted = true;
    bool late = false;     // was not among the first that were wanted: the others can do without it
    bool retired = false;  // was asked to stop
    int quick_ends = 0;    // in a row
    bool came_up = false;  // ran for a while, or registered, at least once
  };

  absl::Status Spawn(Child& child, absl::Time now);
  Child* Find(const std::string& name);
  bool MayStart(const Child& child, absl::Time now) const;
  absl::StatusOr<Exit> Ended(Child& child, int wait_status, absl::Time now);
  static void AskToStop(Child& child);  // it must run
  void KillAll() const;
  void Reap();
  static void Gone(Child& child);
  static void CutLifeline(Child& child);
  std::string LogOf(const Child& child) const;

  std::unique_ptr<LaunchEngine> engine_;
  std::string log_folder_;
  std::vector<Child> children_;
  bool started_ = false;
  bool restart_ = true;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCHER_H_
