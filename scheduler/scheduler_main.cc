// The `scheduler` program: runs a sweep of trials over a cluster and ends with a leaderboard.
//
// Exit codes: 0 every trial has ended as it should; 3 some have failed; 1 the sweep could not be run; 2 the command line is
// wrong; 130 and 143 stopped by Ctrl-C or SIGTERM.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/cluster_config.h"
#include "common/command_line.h"
#include "common/log.h"
#include "common/program.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "scheduler/cluster_file.h"
#include "scheduler/cluster_follower.h"
#include "scheduler/launch_slurm.h"
#include "scheduler/planner.h"
#include "scheduler/process_list.h"
#include "scheduler/sweep.h"
#include "scheduler/sweep_runner.h"

namespace marquee {
namespace {

constexpr int kSomeFailed = 3;

constexpr const char* kExamples = R"(Examples:
  Two servers and two workers on this machine, started and stopped by the scheduler:
    scheduler --cluster deploy/local.yaml --sweep deploy/sweeps/demo.yaml --data ml-1m.mq --out runs/demo

  Go on with a sweep that was stopped, with the same files:
    scheduler --cluster deploy/local.yaml --sweep deploy/sweeps/demo.yaml --data ml-1m.mq --out runs/demo --resume

  Are the files right, and what would run:
    scheduler --cluster cluster.yaml --sweep sweep.yaml --check

SIGTERM and Ctrl-C stop the sweep, and what the scheduler has started; --resume goes on with it. Exit codes: 0 every trial has ended as it
should, 3 some have failed, 1 the sweep could not be run, 2 the command line is wrong, 130 and 143 stopped by Ctrl-C or SIGTERM.
Read on: docs/configuration.md (every key), docs/operations.md (more machines), docs/runbook.md (when something goes wrong).)";

struct Flags {
  std::string cluster;
  std::string sweep;
  std::string data;
  std::string out;
  std::optional<uint64_t> split_seed;
  bool resume = false;
  bool check = false;
  bool stay = false;
  std::string trace;
  bool plan = false;
  std::string constants = "runs/machine.json";
  bool json = false;
};

std::string DefaultOut(const Flags& flags) {
  const std::filesystem::path named_after = flags.sweep.empty() ? flags.cluster : flags.sweep;
  return (std::filesystem::path("runs") / named_after.stem()).string();
}

absl::StatusOr<std::string> DataFile(const Flags& flags, const ClusterConfig& cluster, const Sweep& sweep) {
  const std::string file = !flags.data.empty() ? flags.data : !sweep.data_file.empty() ? sweep.data_file : cluster.data_file;
  if (!file.empty()) return std::filesystem::absolute(file).string();
  return absl::InvalidArgumentError(fmt::format("{}: names no data file; give one with --data", flags.cluster));
}

// The cluster file's `plan`, or each of the sweep's models, whose steps must have been measured.
absl::StatusOr<std::vector<PlannedLoad>> LoadsToPlan(const Flags& flags, const PlanSection& section,
                                                     const MachineConstants& constants) {
  if (section.load.has_value()) return std::vector<PlannedLoad>{*section.load};
  const absl::StatusOr<Sweep> sweep = LoadSweep(flags.cluster, flags.sweep);
  if (!sweep.ok()) return sweep.status();
  std::map<std::string, PlannedLoad> loads;  // trials whose steps cost the same are planned once
  for (const TrialConfig& trial : sweep->trials) {
    const std::string key = StepKey(trial);
    const auto step = constants.steps.find(key);
    if (step == constants.steps.end()) {
      return absl::NotFoundError(
          fmt::format("{}: holds no measured steps of '{}': measure them with `train_bench --store {} "
                      "--sweep {} --data FILE`",
                      flags.constants, trial.name, flags.constants, flags.sweep.empty() ? flags.cluster : flags.sweep));
    }
    if (loads.contains(key)) continue;
    loads[key] = PlannedLoad{.step = step->second, .workers_per_trial = sweep->workers_per_trial};
    loads[key].step.name = trial.name;
  }
  std::vector<PlannedLoad> list;
  for (auto& [key, load] : loads) list.push_back(std::move(load));
  return list;
}

// What a sweep's models and the cluster file's own load will need and give.
absl::Status PrintPlan(const Flags& flags) {
  const absl::StatusOr<ClusterConfig> cluster = LoadClusterConfig(flags.cluster);
  if (!cluster.ok()) return cluster.status();
  const absl::StatusOr<PlanSection> section = LoadPlanSection(flags.cluster, *cluster);
  if (!section.ok()) return section.status();
  const absl::StatusOr<MachineConstants> constants = MachineConstants::Load(flags.constants);
  if (!constants.ok()) return constants.status();
  absl::StatusOr<std::vector<PlannedLoad>> loads = LoadsToPlan(flags, *section, *constants);
  if (!loads.ok()) return loads.status();
  std::string text;
  for (const PlannedLoad& load : *loads) {
    const absl::StatusOr<Plan> plan = MakePlan(*cluster, load, section->options, *constants);
    if (!plan.ok()) {
      return absl::Status(plan.status().code(), fmt::format("{}: {}", flags.constants, std::string(plan.status().message())));
    }
    text += flags.json ? PlanJson(*plan) + "\n" : (text.empty() ? "" : "\n") + PlanText(*cluster, load, *plan);
  }
  fmt::print("{}", text);
  return absl::OkStatus();
}

absl::StatusOr<bool> RunScheduler(const Flags& flags) {
  absl::StatusOr<ClusterFile> cluster = ClusterFile::Load(flags.cluster);
  if (!cluster.ok()) return cluster.status();
  std::string host = cluster->config().scheduler.host;
  if (cluster->config().launcher == ClusterConfig::Launcher::kSlurm && !flags.check) {
    const absl::StatusOr<SlurmAllocation> allocation = ReadSlurmAllocation();
    if (!allocation.ok()) return allocation.status();
    host = allocation->own_address;
  }
  absl::StatusOr<Sweep> sweep = LoadSweep(flags.cluster, flags.sweep);
  if (!sweep.ok()) return sweep.status();
  if (flags.split_seed.has_value()) {
    for (TrialConfig& trial : sweep->trials) trial.split.seed = *flags.split_seed;
  }
  const std::string& sweep_file = flags.sweep.empty() ? flags.cluster : flags.sweep;
  if (absl::Status status = CheckWorkers(cluster->config(), sweep->workers_per_trial, sweep_file); !status.ok()) return status;
  if (flags.check) {
    fmt::print("{}\nSweep: {} trials, {} workers for each\n", ProcessList(cluster->config()), sweep->trials.size(),
               sweep->workers_per_trial);
    return true;
  }
  const absl::StatusOr<std::string> data_file = DataFile(flags, cluster->config(), *sweep);
  if (!data_file.ok()) return data_file.status();
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(*data_file);
  if (!data.ok()) return data.status();
  const absl::StatusOr<Split> split = MakeSplit(**data, sweep->trials.front().split);
  if (!split.ok()) return split.status();
  SweepRunner runner(SweepPlan{.host = std::move(host),
                               .data_file = *data_file,
                               .out = flags.out.empty() ? DefaultOut(flags) : flags.out,
                               .resume = flags.resume,
                               .stay = flags.stay,
                               .trace = flags.trace,
                               .sweep = *std::move(sweep)},
                     *std::move(cluster), **data, *split);
  return runner.Run();
}

int ExitCode(const absl::StatusOr<bool>& all_finished) {
  if (all_finished.ok()) return *all_finished ? 0 : kSomeFailed;
  const int code = Fail("scheduler", all_finished.status());
  return StopSignal() != 0 ? 128 + StopSignal() : code;
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::StopRequested();
  marquee::CheckpointRequested();
  marquee::ReloadRequested();
  marquee::StartLog("scheduler");
  marquee::Flags flags;
  CLI::App app{"Runs a sweep of trials over a cluster of parameter servers and workers, and ends with a leaderboard.",
               "scheduler"};
  app.footer(marquee::kExamples);
  app.add_option("--cluster", flags.cluster,
                 "The cluster file: processes, and data, models and sweep unless other flags say so")
      ->required();
  app.add_option("--sweep", flags.sweep, "A file with models and sweep (and data), in the place of the cluster file's");
  app.add_option("--data", flags.data, "The data file, as `wrangle` wrote it");
  app.add_option("--out", flags.out, "The folder for state, logs and results (default: runs/ and the sweep file's name)");
  app.add_option("--split-seed", flags.split_seed, "The seed of the split, in the place of the sweep's");
  app.add_flag(
      "--resume", flags.resume,
      "Go on with the sweep in that folder: results are kept, other trials go on from their last checkpoint, or start anew");
  app.add_option(
      "--trace", flags.trace,
      "Write where the time of workers and shards goes into this file, for Perfetto. With `launcher: external`, start them "
      "with --trace-folder and use `marquee trace`");
  app.add_flag("--plan", flags.plan,
               "Print what the cluster will need and give: memory, network, CPU, examples per second and the first bottleneck");
  app.add_option("--constants", flags.constants, "With --plan: what `ps_bench --store` and `train_bench --store` measured")
      ->capture_default_str();
  app.add_flag("--json", flags.json, "With --plan: a JSON object on a line for each model");
  app.add_flag("--check", flags.check, "Read the files, print what would run, and end");
  app.add_flag(
      "--stay", flags.stay,
      "When the sweep is over, go on answering servers and workers and serving metrics, until SIGTERM: for a supervisor that "
      "starts again whatever ends");
  if (const std::optional<int> code = marquee::ParseCommandLine(app, argc, argv)) return *code;
  if (flags.plan) {
    const absl::Status status = marquee::PrintPlan(flags);
    return status.ok() ? 0 : marquee::Fail("scheduler", status);
  }
  return marquee::ExitCode(marquee::RunScheduler(flags));
}
