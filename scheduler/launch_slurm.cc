#include "scheduler/launch_slurm.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <climits>
#include <cstdlib>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "scheduler/shell.h"

namespace marquee {
namespace {

// srun is told to end with these when it is Slurm that failed, and not the process.
constexpr int kSlurmFailed = 200;
constexpr int kNodeIsBusy = 201;
constexpr absl::Duration kQuick = absl::Seconds(10);

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string MachineName() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

}  // namespace

absl::StatusOr<std::vector<SlurmNode>> ParseSlurmNodes(const std::string& text) {
  std::vector<SlurmNode> nodes;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    SlurmNode node;
    for (absl::string_view field : absl::StrSplit(line, ' ')) {
      if (absl::ConsumePrefix(&field, "NodeName=")) node.name = std::string(field);
      if (absl::ConsumePrefix(&field, "NodeAddr=")) node.address = std::string(field);
    }
    if (node.name.empty() || node.address.empty()) {
      return absl::InternalError(fmt::format("scontrol show node: no NodeName and NodeAddr in '{}'", std::string(line)));
    }
    nodes.push_back(std::move(node));
  }
  if (nodes.empty()) return absl::InternalError("scontrol show node: printed no node");
  return nodes;
}

absl::StatusOr<SlurmAllocation> ReadSlurmAllocation() {
  const std::string list = Variable("SLURM_JOB_NODELIST");
  if (list.empty()) {
    return absl::FailedPreconditionError(
        "launcher 'slurm': SLURM_JOB_NODELIST is not set; the scheduler must be part of a Slurm job: start it with "
        "`sbatch deploy/slurm/marquee.sbatch`, or under `salloc`");
  }
  const absl::StatusOr<std::string> scontrol = FindInPath("scontrol", "slurm-client");
  if (!scontrol.ok()) return scontrol.status();
  const absl::StatusOr<std::string> text =
      OutputOf(fmt::format("{} --oneliner show node {}", ShellWord(*scontrol), ShellWord(list)));
  if (!text.ok()) {
    return absl::InternalError(fmt::format("scontrol show node {}: {}", list, std::string(text.status().message())));
  }
  absl::StatusOr<std::vector<SlurmNode>> nodes = ParseSlurmNodes(*text);
  if (!nodes.ok()) return nodes.status();
  SlurmAllocation allocation{.nodes = *std::move(nodes), .own_address = MachineName()};
  for (const SlurmNode& node : allocation.nodes) {
    if (node.name == Variable("SLURMD_NODENAME")) allocation.own_address = node.address;
  }
  return allocation;
}

absl::StatusOr<std::unique_ptr<LaunchEngine>> SlurmEngine::Create(const SlurmConfig& config) {
  absl::StatusOr<std::string> srun = FindInPath("srun", "slurm-client");
  if (!srun.ok()) return srun.status();
  absl::StatusOr<SlurmAllocation> allocation = ReadSlurmAllocation();
  if (!allocation.ok()) return allocation.status();
  return std::make_unique<SlurmEngine>(config, std::move(allocation->nodes), *std::move(srun));
}

SlurmEngine::SlurmEngine(SlurmConfig config, std::vector<SlurmNode> nodes, std::string srun)
    : config_(std::move(config)), nodes_(std::move(nodes)), srun_(std::move(srun)) {}

size_t& SlurmEngine::NodeOf(const ProcessPlan& plan) {
  const auto [place, fresh] = node_of_.try_emplace(plan.name, 0);
  if (fresh) place->second = placed_[plan.role]++ % nodes_.size();
  return place->second;
}

LaunchCommand SlurmEngine::CommandFor(const ProcessPlan& plan) {
  const SlurmNode& node = nodes_[NodeOf(plan)];
  const bool server = plan.role == ProcessPlan::Role::kServer;
  std::vector<std::string> arguments = {"--overlap",
                                        "--nodes=1",
                                        "--ntasks=1",
                                        "--immediate=30",

                                        "--nodelist=" + node.name,
                                        "--job-name=" + plan.name};
  const auto add = [&](const std::vector<std::string>& more) { arguments.insert(arguments.end(), more.begin(), more.end()); };
  add(config_.options);
  add(server ? config_.server_options : config_.worker_options);
  const HostCommand command{
      .programs = "", .prefix = {}, .environment = config_.environment, .more_arguments = {"--host", node.address}};
  add(command.WordsFor(plan));
  return LaunchCommand{
      .program = srun_,
      .arguments = std::move(arguments),
      .environment = {fmt::format("SLURM_EXIT_ERROR={}", kSlurmFailed), fmt::format("SLURM_EXIT_IMMEDIATE={}", kNodeIsBusy)},
      .lifeline = true};
}

LaunchEnd SlurmEngine::Judge(const ProcessPlan& plan, const ProcessEnd& end) {
  size_t& place = NodeOf(plan);
  const std::string node = nodes_[place].name;
  LaunchEnd meaning = HostCommand{}.Judge(plan, end.exit_code, node);
  // Our programs end with 0 only when they are told to; srun does when it has lost the node.
  if (end.exit_code == 0) {
    meaning = {LaunchEnd::Kind::kUnreachable, fmt::format("Slurm has lost node {}, or has ended the step", node)};
  } else if (end.exit_code == kSlurmFailed || end.exit_code == kNodeIsBusy) {
    meaning = {LaunchEnd::Kind::kUnreachable, fmt::format("Slurm cannot run a step on node {}", node)};
  }
  if (meaning.kind == LaunchEnd::Kind::kUnreachable || end.lasted < kQuick) place = (place + 1) % nodes_.size();
  if (nodes_[place].name != node) meaning.explanation += fmt::format("; next is node {}", nodes_[place].name);
  return meaning;
}

}  // namespace marquee
