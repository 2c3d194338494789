#ifndef MARQUEE_SCHEDULER_PROCESS_PLAN_H_
#define MARQUEE_SCHEDULER_PROCESS_PLAN_H_

// Which programs a cluster file asks for, and with which arguments. Where they run is for a launch engine to arrange.

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/cluster_config.h"

namespace marquee {

struct ProcessPlan {
  enum class Role { kServer, kWorker };
  Role role = Role::kServer;
  std::string name;     // of the member
  std::string host;     // of the cluster file
  std::string program;  // path on this machine
  std::vector<std::string> arguments;
  std::vector<std::string> files;  // that it reads: absolute paths
  uint32_t threads = 1;            // of OpenMP and BLAS
};

// Path of a program that comes with this one: beside it, or in ../libexec/marquee.
absl::StatusOr<std::string> FindProgram(const std::string& name);

// What all servers and workers of a cluster are told.
struct ProcessInputs {
  std::string cluster_file;
  std::string cluster_folder;  // that paths in the file are relative to; empty: its own
  std::string data_file;
  std::string scheduler;     // endpoint
  std::string trace_folder;  // where they write where their time goes; empty: they do not
};

// The servers and workers of a cluster file.
absl::StatusOr<std::vector<ProcessPlan>> PlanProcesses(const ClusterConfig& config, const ProcessInputs& inputs);

// The environment variables that say how many threads a process may use, as NAME=VALUE.
std::vector<std::string> ThreadVariables(uint32_t threads);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PROCESS_PLAN_H_
