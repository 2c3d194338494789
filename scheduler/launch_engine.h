#ifndef MARQUEE_SCHEDULER_LAUNCH_ENGINE_H_
#define MARQUEE_SCHEDULER_LAUNCH_ENGINE_H_

// How one process of the cluster is started: on this machine, over ssh, as a step of a Slurm job. An engine turns a plan into a
// command of this machine and says what the command's end means; running it, and when to run it again, is the launcher's work.
//
// The command stands for the process: it lasts as long, its output is the process's, and it passes on how the process ended.

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/cluster_config.h"
#include "scheduler/process_plan.h"

namespace marquee {

struct LaunchCommand {
  std::string program;                   // a path
  std::vector<std::string> arguments;    // without the program's name in front
  std::vector<std::string> environment;  // NAME=VALUE, in the place of ours of these names
  // The command's input stays open for as long as the process is wanted, and its end asks the process to stop. Without, SIGTERM
  // to the command asks it.
  bool lifeline = false;
};

struct ProcessEnd {
  int exit_code = -1;  // -1: by a signal
  absl::Duration lasted;
};

struct LaunchEnd {
  enum class Kind {
    kOfProcess,    // to be started again, but not for ever if it ends right after each start
    kUnreachable,  // the engine could not reach the place, or lost it
    kHopeless,     // it cannot run in this place, however often it is tried
  };
  Kind kind = Kind::kOfProcess;
  std::string explanation;  // beside how the command ended; may be empty
};

class LaunchEngine {
 public:
  virtual ~LaunchEngine() = default;
  // Asked before each start.
  virtual LaunchCommand CommandFor(const ProcessPlan& plan) = 0;
  // Told of each end that nobody asked for.
  virtual LaunchEnd Judge(const ProcessPlan& plan, const ProcessEnd& end) = 0;
};

// The engine that a cluster file asks for; none with launcher: external. An error names a program of this machine that it needs
// and that is not there.
absl::StatusOr<std::unique_ptr<LaunchEngine>> MakeLaunchEngine(const ClusterConfig& config);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCH_ENGINE_H_
