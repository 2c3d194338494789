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

// Path of a program of this machine that PATH leads to. `package` is the Debian package that has it, for the error.
absl::StatusOr<std::string> FindInPath(const std::string& name, const std::string& package);

// The text as one word for the shell, whatever is in it.
std::string ShellWord(const std::string& text);

// The servers and workers of a cluster file.
absl::StatusOr<std::vector<ProcessPlan>> PlanProcesses(const ClusterConfig& config, const std::string& cluster_file,
                                                       const std::string& data_file, const std::string& scheduler);

// The environment variables that say how many threads a process may use, as NAME=VALUE.
std::vector<std::string> ThreadVariables(uint32_t threads);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_PROCESS_PLAN_H_
