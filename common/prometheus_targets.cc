#include "common/prometheus_targets.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"

namespace marquee {
namespace {

struct Process {
  std::string role;
  std::string name;
  std::string host;
  uint16_t metrics_port = 0;
};

std::vector<Process> ProcessesOf(const ClusterConfig& config) {
  const SchedulerPlace& scheduler = config.scheduler;
  std::vector<Process> processes = {{"scheduler", "scheduler", scheduler.host, scheduler.metrics_port}};
  for (const ServerPlace& place : config.servers) processes.push_back({"server", place.name, place.host, place.metrics_port});
  for (const WorkerPlace& place : config.workers) processes.push_back({"worker", place.name, place.host, place.metrics_port});
  return processes;
}

absl::StatusOr<nlohmann::json> EndpointsOf(const std::string& run) {
  if (run.empty()) return nlohmann::json::object();
  const std::string path = (std::filesystem::path(run) / "endpoints.json").string();
  std::ifstream file(path);
  if (!file) return absl::NotFoundError(fmt::format("{}: cannot be read: no sweep runs in this folder", path));
  nlohmann::json endpoints = nlohmann::json::parse(file, nullptr, false);
  if (endpoints.is_object()) return endpoints;
  return absl::DataLossError(fmt::format("{}: is not what a scheduler writes", path));
}

std::string Address(const Process& process) {
  const bool version_6 = process.host.find(':') != std::string::npos;
  return fmt::format("{}:{}", version_6 ? fmt::format("[{}]", process.host) : process.host, process.metrics_port);
}

// Empty if it is not known.
std::string MetricsAddress(const Process& process, const nlohmann::json& endpoints) {
  if (process.metrics_port != 0) return Address(process);
  const auto entry = endpoints.find(process.name);
  if (entry == endpoints.end() || !entry->is_object()) return "";
  const auto metrics = entry->find("metrics");
  return metrics != entry->end() && metrics->is_string() ? metrics->get<std::string>() : "";
}

std::string WhatToDo(const std::string& run) {
  if (run.empty()) return "give it one, or name the folder of a running sweep with --run";
  return fmt::format("and it is not among those that run in {}: give it one, or wait until it does", run);
}

}  // namespace

absl::StatusOr<std::string> PrometheusTargets(const ClusterConfig& config, const std::string& file, const std::string& run) {
  const absl::StatusOr<nlohmann::json> endpoints = EndpointsOf(run);
  if (!endpoints.ok()) return endpoints.status();
  nlohmann::ordered_json targets = nlohmann::ordered_json::array();
  for (const Process& process : ProcessesOf(config)) {
    const std::string address = MetricsAddress(process, *endpoints);
    if (address.empty()) {
      return absl::InvalidArgumentError(fmt::format("{}: '{}' has no metrics_port; {}", file, process.name, WhatToDo(run)));
    }
    targets.push_back(
        {{"targets", {address}},
         {"labels", {{"cluster", config.name}, {"role", process.role}, {"name", process.name}, {"host", process.host}}}});
  }
  return targets.dump(2) + "\n";
}

}  // namespace marquee
