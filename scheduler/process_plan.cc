#include "scheduler/process_plan.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

namespace marquee {

absl::StatusOr<std::string> FindProgram(const std::string& name) {
  std::error_code error;
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) return absl::InternalError(fmt::format("/proc/self/exe: {}", error.message()));
  const std::filesystem::path folder = self.parent_path();
  for (const std::filesystem::path& path : {folder / name, folder.parent_path() / "libexec" / "marquee" / name}) {
    if (access(path.c_str(), X_OK) == 0) return path.string();
  }
  return absl::NotFoundError(fmt::format("program '{}': neither in {} nor in ../libexec/marquee of it", name, folder.string()));
}

absl::StatusOr<std::vector<ProcessPlan>> PlanProcesses(const ClusterConfig& config, const ProcessInputs& inputs) {
  const absl::StatusOr<std::string> ps = FindProgram("ps");
  if (!ps.ok()) return ps.status();
  const absl::StatusOr<std::string> worker = FindProgram("worker");
  if (!worker.ok()) return worker.status();
  std::vector<ProcessPlan> plans;
  const auto common = [&](const std::string& name) {
    std::vector<std::string> arguments{"--cluster", inputs.cluster_file, "--name", name, "--scheduler", inputs.scheduler};
    if (!inputs.cluster_folder.empty()) arguments.insert(arguments.end(), {"--cluster-folder", inputs.cluster_folder});
    if (!inputs.trace_folder.empty()) arguments.insert(arguments.end(), {"--trace-folder", inputs.trace_folder});
    return arguments;
  };
  for (const ServerPlace& place : config.servers) {
    plans.push_back(ProcessPlan{.role = ProcessPlan::Role::kServer,
                                .name = place.name,
                                .host = place.host,
                                .program = *ps,
                                .arguments = common(place.name),
                                .files = {inputs.cluster_file},
                                .threads = 1});
  }
  for (const WorkerPlace& place : config.workers) {
    plans.push_back(ProcessPlan{.role = ProcessPlan::Role::kWorker,
                                .name = place.name,
                                .host = place.host,
                                .program = *worker,
                                .arguments = common(place.name),
                                .files = {inputs.cluster_file, inputs.data_file},
                                .threads = place.threads});
    std::vector<std::string>& arguments = plans.back().arguments;
    arguments.insert(arguments.end(), {"--data", inputs.data_file});
  }
  return plans;
}

std::vector<std::string> ThreadVariables(uint32_t threads) {
  return {fmt::format("OMP_NUM_THREADS={}", threads), fmt::format("OPENBLAS_NUM_THREADS={}", threads)};
}

}  // namespace marquee
