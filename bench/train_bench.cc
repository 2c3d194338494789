// Examples per second of training through the cluster (scheduler, server and workers as real processes on loopback), and of the
// same model in plain LibTorch in one process on the same cores. The two take turns, and the median of each is printed with
// their ratio.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/child_process.h"
#include "bench/step_costs.h"
#include "bench/train_bench_local.h"
#include "common/machine_constants.h"
#include "common/program.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "scheduler/sweep.h"
#include "worker/models/compute_device.h"

namespace marquee {
namespace {

namespace fs = std::filesystem;

struct Flags {
  std::string data;
  int cores = 2;
  int repeats = 3;
  int epochs = 2;
  double local_seconds = 8;
  bool json = false;
  std::string store;
  std::string sweep;
  bool check_plan = false;
  std::string compute;  // in a child: the name of the trial
};

struct BenchModel {
  std::string name;
  std::string body;  // the `model` section without its epochs
};

const std::vector<BenchModel>& Models() {
  static const auto& models = *new std::vector<BenchModel>{
      {"two_tower",
       "kind: two_tower, dim: 64, query: {features: [user_id]}, candidate: {features: [movie_id]}, "
       "loss: {kind: in_batch_softmax, logq: true, accidental_hits: remove}, "
       "optimizer: {kind: adagrad, learning_rate: 0.1}, batch_size: 8192"},
      {"ranking",
       "kind: ranking, dim: 64, tower: {features: [user_id, movie_id], layers: [256, 128, 64]}, "
       "loss: {kind: squared_error}, optimizer: {kind: adagrad, learning_rate: 0.05}, batch_size: 8192"},
  };
  return models;
}

struct Measurement {
  std::string model;
  double cluster = 0;  // examples per second
  double local = 0;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// A folder that goes with its object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "marquee-train-bench-XXXXXX").string();
    path_ = mkdtemp(pattern.data()) != nullptr ? pattern : "";
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

fs::path ProgramFolder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

// Runs a program that stands beside this one, to its end; its output goes to `log`.
absl::Status RunProgram(const std::string& program, const std::vector<std::string>& arguments, const fs::path& log) {
  std::vector<std::string> words = {(ProgramFolder() / program).string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return absl::InternalError("fork failed");
  if (pid == 0) {
    if (freopen(log.c_str(), "a", stdout) == nullptr || freopen(log.c_str(), "a", stderr) == nullptr) _exit(126);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::ifstream file(log);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    return absl::InternalError(fmt::format("{} failed:\n{}", program, text));
  }
  return absl::OkStatus();
}

void WriteFile(const fs::path& path, const std::string& text) { std::ofstream(path) << text; }

// The files of a run, in `folder`.
void WriteClusterFiles(const BenchModel& model, const Flags& flags, const fs::path& folder) {
  WriteFile(folder / "cluster.yaml", fmt::format("cluster:\n"
                                                 "  launcher: local\n"
                                                 "  servers: {{count: 1, shards: 1}}\n"
                                                 "  workers: {{count: {}, threads: 1, device: cpu}}\n",
                                                 flags.cores));
  WriteFile(folder / "sweep.yaml", fmt::format("models:\n"
                                               "  bench: {{{}, epochs: {}}}\n"
                                               "sweep: {{method: grid, models: [bench], workers_per_trial: {}}}\n",
                                               model.body, flags.epochs, flags.cores));
}

absl::StatusOr<double> ClusterExamplesPerSecond(const BenchModel& model, const Flags& flags, const fs::path& data) {
  const TemporaryFolder folder;
  WriteClusterFiles(model, flags, folder.path());
  const fs::path out = folder.path() / "out";
  absl::Status run = RunProgram("scheduler",
                                {"--cluster", (folder.path() / "cluster.yaml").string(), "--sweep",
                                 (folder.path() / "sweep.yaml").string(), "--data", data.string(), "--out", out.string()},
                                folder.path() / "log");
  if (!run.ok()) return run;
  std::ifstream file(out / "leaderboard.json");
  const nlohmann::json board = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
  if (board.is_discarded()) return absl::InternalError("the scheduler left no leaderboard");
  return board["trials"][0]["examples_per_second"].get<double>();
}

absl::StatusOr<Measurement> Measure(const BenchModel& model, const Flags& flags, const fs::path& data_file,
                                    const Dataset& data) {
  absl::StatusOr<TrialConfig> config =
      ParseTrialConfig(fmt::format("name: bench\nmodel: {{{}, epochs: {}}}\n", model.body, flags.epochs));
  if (!config.ok()) return config.status();
  const absl::StatusOr<Split> split = MakeSplit(data, config->split);
  if (!split.ok()) return split.status();
  std::vector<double> cluster;
  std::vector<double> local;
  for (int repeat = 0; repeat < flags.repeats; ++repeat) {
    const absl::StatusOr<double> through_cluster = ClusterExamplesPerSecond(model, flags, data_file);
    if (!through_cluster.ok()) return through_cluster.status();
    cluster.push_back(*through_cluster);
    const absl::StatusOr<double> in_process = LocalExamplesPerSecond(*config, data, *split, flags.local_seconds);
    if (!in_process.ok()) return in_process.status();
    local.push_back(*in_process);
  }
  return Measurement{.model = model.name, .cluster = Median(cluster), .local = Median(local)};
}

void Print(const std::vector<Measurement>& measurements, bool json) {
  if (json) {
    nlohmann::json list = nlohmann::json::array();
    for (const Measurement& m : measurements) {
      list.push_back({{"model", m.model},
                      {"examples_per_second", m.cluster},
                      {"local_examples_per_second", m.local},
                      {"ratio", m.cluster / m.local}});
    }
    fmt::print("{}\n", list.dump(2));
    return;
  }
  fmt::print("{:<12}{:>18}{:>18}{:>8}\n", "model", "cluster ex/s", "local ex/s", "ratio");
  for (const Measurement& m : measurements) {
    fmt::print("{:<12}{:>18.0f}{:>18.0f}{:>8.2f}\n", m.model, m.cluster, m.local, m.cluster / m.local);
  }
}

// Alone, and beside as many processes that do the same as there are other cores.
absl::StatusOr<StepCost> StepCostOf(const TrialConfig& trial, const Flags& flags, const Dataset& data) {
  const absl::StatusOr<Split> split = MakeSplit(data, trial.split);
  if (!split.ok()) return split.status();
  SetComputeThreads(1);
  absl::StatusOr<StepCost> cost = MeasureStepCost(trial, data, *split, flags.local_seconds);
  if (!cost.ok()) return cost.status();
  std::vector<ChildProcess> others;
  for (unsigned i = 1; i < std::max(1U, std::thread::hardware_concurrency()); ++i) {
    absl::StatusOr<ChildProcess> other =
        ChildProcess::Start({"--compute", trial.name, "--sweep", flags.sweep, "--data", flags.data});
    if (!other.ok()) return other.status();
    others.push_back(*std::move(other));
  }
  const absl::StatusOr<StepCost> busy = MeasureStepCost(trial, data, *split, flags.local_seconds);
  if (!busy.ok()) return busy.status();
  cost->busy_seconds = std::max(cost->seconds, busy->seconds);
  return cost;
}

// What those others do, until their input ends.
absl::Status ComputeUntilTold(const Flags& flags) {
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(flags.data);
  if (!data.ok()) return data.status();
  const absl::StatusOr<Sweep> sweep = LoadSweep(flags.sweep, "");
  if (!sweep.ok()) return sweep.status();
  SetComputeThreads(1);
  for (const TrialConfig& trial : sweep->trials) {
    if (trial.name != flags.compute) continue;
    const absl::StatusOr<Split> split = MakeSplit(**data, trial.split);
    if (!split.ok()) return split.status();
    return ComputeSteps(
        trial, **data, *split, [] { ReportEndpoint("computes"); }, [] { return !InputEnded(); });
  }
  return absl::NotFoundError(fmt::format("{}: no trial '{}'", flags.sweep, flags.compute));
}

// Of the sweep's configurations, whose steps `scheduler --plan` then knows.
absl::Status StoreStepCosts(const Flags& flags, const Dataset& data) {
  absl::StatusOr<MachineConstants> constants = MachineConstants::Load(flags.store);
  if (!constants.ok()) return constants.status();
  const absl::StatusOr<Sweep> sweep = LoadSweep(flags.sweep, "");
  if (!sweep.ok()) return sweep.status();
  for (const TrialConfig& trial : sweep->trials) {
    const std::string key = StepKey(trial);
    if (const auto known = constants->steps.find(key); known != constants->steps.end() && known->second.name != trial.name)
      continue;
    const absl::StatusOr<StepCost> cost = StepCostOf(trial, flags, data);
    if (!cost.ok()) return cost.status();
    if (!flags.check_plan)
      fmt::print("{:<40} {:>8.1f} ms a step of {:.0f} examples, {:.1f} ms when all cores compute them\n", trial.name,
                 cost->seconds * 1e3, cost->examples, cost->busy_seconds * 1e3);
    constants->steps[key] = *cost;
  }
  return constants->Save(flags.store);
}

struct PlanCheck {
  std::string model;
  double planned = 0, real = 0;  // examples per second
};

// Runs `scheduler --plan` on the files of a run, then the run.
absl::StatusOr<PlanCheck> CheckPlan(const BenchModel& model, const Flags& flags, const fs::path& data_file,
                                    const Dataset& data) {
  const TemporaryFolder folder;
  WriteClusterFiles(model, flags, folder.path());
  Flags store = flags;
  store.store = (folder.path() / "machine.json").string();
  store.sweep = (folder.path() / "sweep.yaml").string();
  store.data = data_file.string();
  std::error_code error;
  fs::copy_file(flags.store, store.store, error);
  if (error)
    return absl::NotFoundError(fmt::format("{}: make it with `ps_bench --store` first: {}", flags.store, error.message()));
  PlanCheck check{.model = model.name};
  std::vector<double> planned;
  std::vector<double> real;
  for (int repeat = 0; repeat < flags.repeats; ++repeat) {
    if (absl::Status status = StoreStepCosts(store, data); !status.ok()) return status;
    const fs::path plan_file = folder.path() / fmt::format("plan{}", repeat);
    absl::Status status = RunProgram("scheduler",
                                     {"--plan", "--json", "--cluster", (folder.path() / "cluster.yaml").string(), "--sweep",
                                      store.sweep, "--constants", store.store},
                                     plan_file);
    if (!status.ok()) return status;
    std::ifstream file(plan_file);
    const nlohmann::json plan = nlohmann::json::parse(file, nullptr, /*allow_exceptions=*/false);
    if (plan.is_discarded()) return absl::InternalError("the scheduler printed no plan");
    planned.push_back(plan["examples_per_second"].get<double>());
    const absl::StatusOr<double> measured = ClusterExamplesPerSecond(model, flags, data_file);
    if (!measured.ok()) return measured.status();
    real.push_back(*measured);
  }
  check.planned = Median(planned);
  check.real = Median(real);
  return check;
}

absl::Status CheckPlans(const Flags& flags, const fs::path& data_file, const Dataset& data) {
  std::vector<PlanCheck> checks;
  for (const BenchModel& model : Models()) {
    const absl::StatusOr<PlanCheck> check = CheckPlan(model, flags, data_file, data);
    if (!check.ok()) return check.status();
    checks.push_back(*check);
  }
  fmt::print("{:<12}{:>18}{:>18}{:>14}\n", "model", "planned ex/s", "real ex/s", "planned/real");
  for (const PlanCheck& check : checks) {
    fmt::print("{:<12}{:>18.0f}{:>18.0f}{:>14.2f}\n", check.model, check.planned, check.real, check.planned / check.real);
  }
  return absl::OkStatus();
}

absl::Status RunBench(const Flags& flags) {
  if (!flags.compute.empty()) return ComputeUntilTold(flags);
  const TemporaryFolder folder;
  fs::path data_file = flags.data;
  if (flags.data.empty()) {
    data_file = folder.path() / "ml-1m.mq";
    absl::Status made = RunProgram("wrangle", {"--synthetic", "ml-1m", "--out", data_file.string()}, folder.path() / "log");
    if (!made.ok()) return made;
  }
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(data_file.string());
  if (!data.ok()) return data.status();
  if (flags.check_plan) return CheckPlans(flags, data_file, **data);
  if (!flags.store.empty()) {
    Flags store = flags;
    store.data = data_file.string();
    return StoreStepCosts(store, **data);
  }
  SetComputeThreads(static_cast<uint32_t>(flags.cores));
  std::vector<Measurement> measurements;
  for (const BenchModel& model : Models()) {
    absl::StatusOr<Measurement> measurement = Measure(model, flags, data_file, **data);
    if (!measurement.ok()) return measurement.status();
    measurements.push_back(*measurement);
  }
  Print(measurements, flags.json);
  return absl::OkStatus();
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::Flags flags;
  CLI::App app{"Compares training through the cluster with the same model in plain LibTorch in one process on as many cores.",
               "train_bench"};
  app.add_option("--data", flags.data, "A data file; the default is the synthetic ml-1m, made for the run");
  app.add_option("--cores", flags.cores, "Workers of one thread each, and threads of the local model")->capture_default_str();
  app.add_option("--repeats", flags.repeats, "Runs of each, of which the median counts")->capture_default_str();
  app.add_option("--epochs", flags.epochs, "Epochs of a run through the cluster")->capture_default_str();
  app.add_option("--local-seconds", flags.local_seconds, "Length of a local run")->capture_default_str();
  app.add_flag("--json", flags.json, "Print a JSON list");
  app.add_option(
      "--store", flags.store,
      "Measure the steps of --sweep's models, and add them to this file, with which `scheduler --plan` reckons, instead");
  app.add_option("--sweep", flags.sweep, "With --store: the sweep file")->check(CLI::ExistingFile);
  app.add_flag("--check-plan", flags.check_plan,
               "Compare what `scheduler --plan` says with real runs, by the costs in --store");
  app.add_option("--compute", flags.compute, "Compute steps of this trial until the input ends, for another process")
      ->group("");
  CLI11_PARSE(app, argc, argv);
  if (flags.compute.empty() && (flags.store.empty() ? flags.check_plan : !flags.check_plan && flags.sweep.empty())) {
    std::fprintf(stderr, "train_bench: --store FILE goes with --sweep FILE or --check-plan\n");
    return 2;
  }
  if (const absl::Status status = marquee::RunBench(flags); !status.ok()) return marquee::Fail("train_bench", status);
  return 0;
}
