#include "scheduler/process_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

namespace marquee {
namespace {

std::string PortText(uint32_t port) { return port == 0 ? "free" : fmt::format("{}", port); }

std::string PortsText(const ServerPlace& place) {
  if (place.port == 0 || place.shards == 1) return PortText(place.port);
  return fmt::format("{}-{}", place.port, place.port + place.shards - 1);
}

size_t WidestName(const ClusterConfig& config) {
  size_t width = std::string_view("scheduler").size();
  for (const ServerPlace& server : config.servers) width = std::max(width, server.name.size());
  for (const WorkerPlace& worker : config.workers) width = std::max(width, worker.name.size());
  return width;
}

std::string_view LauncherText(ClusterConfig::Launcher launcher) {
  switch (launcher) {
    case ClusterConfig::Launcher::kLocal:
      return "started by the scheduler";
    case ClusterConfig::Launcher::kSsh:
      return "started by the scheduler over ssh";
    case ClusterConfig::Launcher::kSlurm:
      return "steps of a Slurm job";
    case ClusterConfig::Launcher::kExternal:
      return "started by others";
    case ClusterConfig::Launcher::kKubernetes:
      return "pods";
  }
  return "";
}

}  // namespace

std::string ProcessList(const ClusterConfig& config) {
  std::string text =
      fmt::format("Cluster {}: {} servers, {} workers, {}; {} partitions, {} of each row; {}\n", config.name,
                  config.servers.size(), config.workers.size(), LauncherText(config.launcher), config.partitions,
                  config.replication == 1 ? "one copy" : "two copies", config.curve ? "encrypted" : "not encrypted");
  const size_t width = WidestName(config);
  const auto add = [&](std::string_view name, std::string_view program, std::string_view ports, std::string_view metrics,
                       std::string_view host) {
    text += fmt::format("{:<{}}  {:<9}  {:<11}  {:<7}  {}\n", name, width, program, ports, metrics, host);
  };
  add("NAME", "PROGRAM", "PORTS", "METRICS", "HOST");
  add("scheduler", "scheduler", PortText(config.scheduler.port), PortText(config.scheduler.metrics_port),
      config.scheduler.host);
  for (const ServerPlace& server : config.servers) {
    add(server.name, "ps", PortsText(server), PortText(server.metrics_port), server.host);
  }
  for (const WorkerPlace& worker : config.workers) add(worker.name, "worker", "-", PortText(worker.metrics_port), worker.host);
  text.pop_back();
  return text;
}

}  // namespace marquee
