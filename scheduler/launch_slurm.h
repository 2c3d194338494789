#ifndef MARQUEE_SCHEDULER_LAUNCH_SLURM_H_
#define MARQUEE_SCHEDULER_LAUNCH_SLURM_H_

// launcher: slurm. The scheduler runs inside a Slurm job, and every process is a step of it (srun).
//
// Servers and workers go round the job's nodes by their order in the cluster file. A step that Slurm cannot start on its node,
// or that ended right after its start there, is tried on the next one: a job that was submitted with --no-kill goes on when a
// node is lost. Without --no-kill Slurm itself ends and requeues the job then.
//
// A step's input ends when the scheduler asks the process to stop. A scheduler that is killed ends the job's script, and Slurm
// ends the steps with the job.

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"
#include "scheduler/host_command.h"
#include "scheduler/launch_engine.h"

namespace marquee {

struct SlurmNode {
  std::string name;
  std::string address;  // that processes on it listen on
};

struct SlurmAllocation {
  std::vector<SlurmNode> nodes;  // at least one
  std::string own_address;       // of the machine that the scheduler is on
};

// Of the job that this process is part of. An error says how to be part of one.
absl::StatusOr<SlurmAllocation> ReadSlurmAllocation();

// The nodes of what `scontrol --oneliner show node` prints.
absl::StatusOr<std::vector<SlurmNode>> ParseSlurmNodes(const std::string& text);

class SlurmEngine : public LaunchEngine {
 public:
  static absl::StatusOr<std::unique_ptr<LaunchEngine>> Create(const SlurmConfig& config);
  // `srun`: its path.
  SlurmEngine(SlurmConfig config, std::vector<SlurmNode> nodes, std::string srun);

  LaunchCommand CommandFor(const ProcessPlan& plan) override;
  LaunchEnd Judge(const ProcessPlan& plan, const ProcessEnd& end) override;

 private:
  size_t& NodeOf(const ProcessPlan& plan);

  const SlurmConfig config_;
  const std::vector<SlurmNode> nodes_;
  const std::string srun_;
  std::map<std::string, size_t> node_of_;       // by the process's name
  std::map<ProcessPlan::Role, size_t> placed_;  // processes that have been given a node
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_LAUNCH_SLURM_H_
