#ifndef MARQUEE_SCHEDULER_PLANNER_H_
#define MARQUEE_SCHEDULER_PLANNER_H_

// What a cluster will need and give, before it is there: memory, network and CPU of its servers and workers, examples per
// second, and what limits them first. Reckons with measured costs (common/machine_constants.h); docs/planning.md gives the
// equations. Pure.
//
// A cluster file may say what is to be planned for, in the place of the sweep's models:
//
//     plan:
//       cores_per_host: 32          # default: the measured machine's
//       network_gbit: 25            # of each host; default 10
//       servers_per_host: 1         # in the place of the hosts of `servers`
//       workers_per_host: 4         # likewise
//       workers_per_trial: 1000     # default: all
//       batch_size: 8192            # examples in a step
//       step_seconds: 0.05          # of one core, for planning, forward and backward
//       tables:
//         - {name: users, rows: 1000000000, dim: 64, optimizer: adagrad, rows_per_step: 8000}

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"
#include "common/machine_constants.h"

namespace marquee {

// What is to be planned for.
struct PlannedLoad {
  StepCost step;
  uint32_t workers_per_trial = 1;
};

struct PlanOptions {
  double cores_per_host = 0;  // 0: the measured machine's
  double network_gbit = 10;
  uint32_t servers_per_host = 0;  // 0: as the cluster file says
  uint32_t workers_per_host = 0;
};

struct PlanSection {
  PlanOptions options;
  std::optional<PlannedLoad> load;  // none: the sweep's models
};

// The `plan` section of a cluster file; an empty one if there is none.
absl::StatusOr<PlanSection> LoadPlanSection(const std::string& cluster_file, const ClusterConfig& cluster);

// One thing that may limit the rate.
struct Limit {
  std::string what;                // "workers", "shards", "CPU of 10.0.0.1", "network of worker host 3"
  double examples_per_second = 0;  // of the whole cluster, if this alone limited it
};

struct Plan {
  std::string name;                    // of the load
  double memory_bytes_per_server = 0;  // the fullest, of rows
  double examples_per_second = 0;      // of all workers together
  double examples_per_second_per_trial = 0;
  double steps_per_second = 0;  // of all workers together
  // At that rate:
  double shard_use = 0;                  // of a shard's core, 0 to 1
  double worker_use = 0;                 // of a worker's thread, 0 to 1
  double server_in = 0, server_out = 0;  // bytes per second of a server with the average number of shards
  double worker_in = 0, worker_out = 0;
  std::vector<Limit> limits;  // the first bottleneck first
};

// InvalidArgument if the constants lack what is needed.
absl::StatusOr<Plan> MakePlan(const ClusterConfig& cluster, const PlannedLoad& load, const PlanOptions& options,
                              const MachineConstants& constants);

std::string PlanText(const ClusterConfig& cluster, const PlannedLoad& load, const Plan& plan);
std::string PlanJson(const Plan& plan);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PLANNER_H_
