// Examples per second of training through the cluster (scheduler, server and workers as real processes on loopback), and of the
// same model in plain LibTorch in one process on the same cores. The two take turns, and the median of each is printed with
// their ratio.

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "bench/train_bench_local.h"
#include "common/program.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/compute_device.h"

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

absl::StatusOr<double> ClusterExamplesPerSecond(const BenchModel& model, const Flags& flags, const fs::path& data) {
  const TemporaryFolder folder;
  WriteFile(folder.path() / "cluster.yaml", fmt::format("cluster:\n"
                                                        "  launcher: local\n"
                                                        "  servers: {{count: 1, shards: 1}}\n"
                                                        "  workers: {{count: {}, threads: 1, device: cpu}}\n",
                                                        flags.cores));
  WriteFile(folder.path() / "sweep.yaml", fmt::format("models:\n"
                                                      "  bench: {{{}, epochs: {}}}\n"
                                                      "sweep: {{method: grid, models: [bench], workers_per_trial: {}}}\n",
                                                      model.body, flags.epochs, flags.cores));
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

absl::Status RunBench(const Flags& flags) {
  const TemporaryFolder folder;
  fs::path data_file = flags.data;
  if (flags.data.empty()) {
    data_file = folder.path() / "ml-1m.mq";
    absl::Status made = RunProgram("wrangle", {"--synthetic", "ml-1m", "--out", data_file.string()}, folder.path() / "log");
    if (!made.ok()) return made;
  }
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(data_file.string());
  if (!data.ok()) return data.status();
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
  CLI11_PARSE(app, argc, argv);
  if (const absl::Status status = marquee::RunBench(flags); !status.ok()) return marquee::Fail("train_bench", status);
  return 0;
}
