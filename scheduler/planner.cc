#include "scheduler/planner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "common/config.h"

namespace marquee {
namespace {

// Of the wire: an envelope with its sections, ZeroMQ's and TCP's headers.
constexpr double kMessageBytes = 200;
constexpr double kBytesPerValue = 4;
constexpr double kBytesPerId = 8;

// What one step asks of all shards together.
struct StepTotals {
  double rows = 0;
  double values = 0;
};

StepTotals TotalsOf(const StepCost& step) {
  StepTotals totals;
  for (const TableUse& table : step.tables) {
    totals.rows += table.rows_per_step;
    totals.values += table.rows_per_step * table.dim;
  }
  return totals;
}

// Of a partition server's load, in steps of all workers together.
class Reckoning {
 public:
  Reckoning(const ClusterConfig& cluster, const PlannedLoad& load, const PlanOptions& options,
            const MachineConstants& constants)
      : cluster_(cluster), load_(load), options_(options), constants_(constants), totals_(TotalsOf(load.step)) {
    for (const ServerPlace& server : cluster.servers) shards_ += server.shards;
    cores_ = options.cores_per_host > 0 ? options.cores_per_host : constants.cores;
    network_ = options.network_gbit * 1e9 / 8;
    PlaceOnHosts();
  }

  Plan Make() const;

 private:
  double workers() const { return static_cast<double>(cluster_.workers.size()); }
  double servers() const { return static_cast<double>(cluster_.servers.size()); }
  bool two_copies() const { return cluster_.replication > 1; }

  // Seconds of a core that one step costs.
  double ShardSeconds() const {
    const double rows = totals_.rows / shards_, values = totals_.values / shards_;
    return constants_.shard_pull.Seconds(1, rows, values) + constants_.shard_push.Seconds(1, rows, values) +
           (two_copies() ? constants_.copy_push.Seconds(1, rows, values) : 0);
  }
  double ClientSeconds() const {
    return constants_.client_pull.Seconds(shards_, totals_.rows, totals_.values) +
           constants_.client_push.Seconds(shards_, totals_.rows, totals_.values);
  }
  double IoSeconds() const {
    return constants_.io_pull.Seconds(shards_, totals_.rows, totals_.values) +
           constants_.io_push.Seconds(shards_, totals_.rows, totals_.values);
  }
  // Threads of LibTorch share a step's work; the talk with servers is the first one's.
  double StepSeconds(const WorkerPlace& worker, double busy) const {
    return ComputeSeconds(busy) / worker.threads + ClientSeconds();
  }
  // The more of a host's cores are in use, the more they keep one another from caches and memory. `busy`: 0 if one is, 1 if all
  // are.
  double ComputeSeconds(double busy) const {
    return load_.step.seconds + busy * (load_.step.busy_seconds - load_.step.seconds);
  }

  // Bytes that one step carries between a worker and all shards.
  double BytesToShards() const {
    return 2 * kMessageBytes * shards_ + 2 * kBytesPerId * totals_.rows + kBytesPerValue * totals_.values;
  }
  double BytesFromShards() const { return 2 * kMessageBytes * shards_ + kBytesPerValue * totals_.values; }
  // And between two servers, with two copies.
  double BytesToCopies() const {
    return two_copies() ? kMessageBytes * shards_ + kBytesPerId * totals_.rows + kBytesPerValue * totals_.values : 0;
  }
  double AnswersOfCopies() const { return two_copies() ? kMessageBytes * shards_ : 0; }

  struct Host {
    std::vector<const WorkerPlace*> workers;
    double shards = 0;
    double busy = 0;  // see ComputeSeconds
  };
  void PlaceOnHosts();
  double WorkerRate() const;  // steps per second of all workers, if they alone limit it
  // Seconds of its cores for one step of each worker of the cluster.
  double HostSeconds(const Host& host, double busy) const {
    return static_cast<double>(host.workers.size()) * (ComputeSeconds(busy) + ClientSeconds() + IoSeconds()) +
           workers() * host.shards * ShardSeconds();
  }
  double ServerMemory() const;
  void AddHostLimits(Plan* plan) const;

  const ClusterConfig& cluster_;
  const PlannedLoad& load_;
  const PlanOptions& options_;
  const MachineConstants& constants_;
  const StepTotals totals_;
  double shards_ = 0;
  double cores_ = 0;
  double network_ = 0;  // bytes per second
  std::map<std::string, Host> hosts_;
};

std::string HostOf(std::string_view kind, size_t index, uint32_t per_host, const std::string& written) {
  return per_host == 0 ? written : fmt::format("{} host {}", kind, index / per_host);
}

double Reckoning::ServerMemory() const {
  double bytes = 0;
  for (const TableUse& table : load_.step.tables) {
    const double values = kBytesPerValue * (table.dim + table.state);
    bytes += table.rows * (kBytesPerId + values + constants_.row_overhead_bytes);
  }
  const double trials = std::max(1.0, std::floor(workers() / load_.workers_per_trial));
  double most_shards = 0;
  for (const ServerPlace& server : cluster_.servers) most_shards = std::max<double>(most_shards, server.shards);
  return bytes * trials * cluster_.replication * most_shards / shards_;
}

double Reckoning::WorkerRate() const {
  double rate = 0;
  for (const auto& [name, host] : hosts_) {
    for (const WorkerPlace* const worker : host.workers) rate += 1 / StepSeconds(*worker, host.busy);
  }
  return rate;
}

void Reckoning::PlaceOnHosts() {
  for (size_t i = 0; i < cluster_.servers.size(); ++i) {
    hosts_[HostOf("server", i, options_.servers_per_host, cluster_.servers[i].host)].shards += cluster_.servers[i].shards;
  }
  for (size_t i = 0; i < cluster_.workers.size(); ++i) {
    hosts_[HostOf("worker", i, options_.workers_per_host, cluster_.workers[i].host)].workers.push_back(&cluster_.workers[i]);
  }
  if (cores_ <= 1) return;
  // Cores in use, if nothing but the workers themselves and the threads of shards limited the rate.
  const double shard_use = std::min(1.0, WorkerRate() * ShardSeconds());
  for (auto& [name, host] : hosts_) {
    double in_use = host.shards * shard_use;
    for (const WorkerPlace* const worker : host.workers) {
      in_use += (ComputeSeconds(0) + ClientSeconds() + IoSeconds()) / StepSeconds(*worker, 0);
    }
    host.busy = std::clamp((in_use - 1) / (cores_ - 1), 0.0, 1.0);
  }
}

// Each host's CPU and network, of which its servers and workers have a share in every step of the cluster.
void Reckoning::AddHostLimits(Plan* plan) const {
  Limit cpu{.what = "", .examples_per_second = std::numeric_limits<double>::infinity()};
  Limit network = cpu;
  for (const auto& [name, host] : hosts_) {
    const double seconds = HostSeconds(host, host.busy);
    const double own_shards = host.shards / shards_;
    const double own_workers = static_cast<double>(host.workers.size()) / workers();
    // What its workers exchange with other hosts' servers, its servers with other hosts' workers, and its copies with others.
    const double apart = own_workers * (1 - own_shards) + own_shards * (1 - own_workers);
    const double copies = own_shards * (1 - own_shards);
    const double most_one_way = workers() * (apart * std::max(BytesToShards(), BytesFromShards()) + copies * BytesToCopies());
    const double examples = workers() * load_.step.examples;
    if (const double rate = examples * cores_ / seconds; rate < cpu.examples_per_second) {
      cpu = {.what = fmt::format("CPU of {}", name), .examples_per_second = rate};
    }
    if (const double rate = examples * network_ / most_one_way; most_one_way > 0 && rate < network.examples_per_second) {
      network = {.what = fmt::format("network of {}", name), .examples_per_second = rate};
    }
  }
  plan->limits.push_back(cpu);
  if (!network.what.empty()) plan->limits.push_back(network);
}

Plan Reckoning::Make() const {
  Plan plan;
  plan.name = load_.step.name;
  plan.memory_bytes_per_server = ServerMemory();
  const double worker_rate = WorkerRate();
  plan.limits.push_back({.what = "workers", .examples_per_second = worker_rate * load_.step.examples});
  plan.limits.push_back({.what = "shards", .examples_per_second = load_.step.examples / ShardSeconds()});
  AddHostLimits(&plan);
  std::stable_sort(plan.limits.begin(), plan.limits.end(),
                   [](const Limit& a, const Limit& b) { return a.examples_per_second < b.examples_per_second; });
  plan.examples_per_second = plan.limits.front().examples_per_second;
  plan.steps_per_second = plan.examples_per_second / load_.step.examples;
  const double at_once = std::max(1.0, std::floor(workers() / load_.workers_per_trial));
  plan.examples_per_second_per_trial = plan.examples_per_second / at_once;
  plan.shard_use = plan.steps_per_second * ShardSeconds();
  plan.worker_use = plan.steps_per_second / worker_rate;
  plan.server_in = plan.steps_per_second * (BytesToShards() + BytesToCopies() + AnswersOfCopies()) / servers();
  plan.server_out = plan.steps_per_second * (BytesFromShards() + BytesToCopies() + AnswersOfCopies()) / servers();
  plan.worker_in = plan.steps_per_second * BytesFromShards() / workers();
  plan.worker_out = plan.steps_per_second * BytesToShards() / workers();
  return plan;
}

std::string Bytes(double bytes) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  size_t unit = 0;
  for (; bytes >= 1000 && unit + 1 < std::size(units); ++unit) bytes /= 1000;
  return fmt::format("{:.{}f} {}", bytes, bytes < 10 ? 2 : bytes < 100 ? 1 : 0, units[unit]);
}

std::string Count(double number) { return fmt::format("{:.0f}", number); }

}  // namespace

absl::StatusOr<PlanSection> LoadPlanSection(const std::string& cluster_file, const ClusterConfig& cluster) {
  absl::StatusOr<ConfigDocument> document = ConfigDocument::Load(cluster_file);
  if (!document.ok()) return document.status();
  PlanSection plan;
  ConfigSection root = document->root();
  if (!root.Has("plan")) return plan;
  ConfigSection section = root.Section("plan");
  section.Read("cores_per_host", &plan.options.cores_per_host, 1.0, 1e6);
  section.Read("network_gbit", &plan.options.network_gbit, 1e-3, 1e6);
  section.Read("servers_per_host", &plan.options.servers_per_host, 1U, 1000U);
  section.Read("workers_per_host", &plan.options.workers_per_host, 1U, 1000U);
  const uint32_t workers = static_cast<uint32_t>(std::max<size_t>(1, cluster.workers.size()));
  PlannedLoad load{.step = {}, .workers_per_trial = workers};
  load.step.name = "plan";
  section.Read("workers_per_trial", &load.workers_per_trial, 1U, workers);
  for (ConfigSection& entry : section.Sections("tables")) {
    TableUse table;
    OptimizerConfig::Kind optimizer = OptimizerConfig::Kind::kAdagrad;
    for (const char* key : {"name", "rows", "dim", "rows_per_step"}) entry.Require(key, "what is planned for");
    entry.Read("name", &table.name);
    entry.Read("rows", &table.rows, 1.0, 1e15);
    entry.Read("dim", &table.dim, 1U, kMaxDim);
    entry.Read("optimizer", &optimizer, OptimizerKinds());
    entry.Read("rows_per_step", &table.rows_per_step, 0.0, 1e9);
    entry.Finish();
    table.state = StateWidth(optimizer, table.dim);
    load.step.tables.push_back(table);
  }
  if (!load.step.tables.empty()) {
    for (const char* key : {"batch_size", "step_seconds"}) section.Require(key, "with `tables`");
  }
  section.Read("batch_size", &load.step.examples, 1.0, 1e9);
  section.Read("step_seconds", &load.step.seconds, 1e-6, 1e6);
  load.step.busy_seconds = load.step.seconds;  // as the file says, however busy
  section.Finish();
  if (!document->status().ok()) return document->status();
  if (!load.step.tables.empty()) plan.load = std::move(load);
  return plan;
}

absl::StatusOr<Plan> MakePlan(const ClusterConfig& cluster, const PlannedLoad& load, const PlanOptions& options,
                              const MachineConstants& constants) {
  if (!constants.has_operations()) {
    return absl::InvalidArgumentError("no costs of pulls and pushes: measure them with `ps_bench --store FILE`");
  }
  if (cluster.workers.empty()) return absl::InvalidArgumentError("cluster.workers: there are none");
  return Reckoning(cluster, load, options, constants).Make();
}

std::string PlanText(const ClusterConfig& cluster, const PlannedLoad& load, const Plan& plan) {
  uint32_t shards = 0;
  for (const ServerPlace& server : cluster.servers) shards += server.shards;
  std::string text = fmt::format("{}: {} servers with {} shards, {} workers, replication {}; {} trials at once\n\n", plan.name,
                                 cluster.servers.size(), shards, cluster.workers.size(), cluster.replication,
                                 std::max<size_t>(1, cluster.workers.size() / load.workers_per_trial));
  text += fmt::format("  {:<28} {:>16} {:>6} {:>7} {:>14}\n", "table", "rows", "dim", "state", "rows a step");
  for (const TableUse& table : load.step.tables) {
    text += fmt::format("  {:<28} {:>16} {:>6} {:>7} {:>14.0f}\n", table.name, Count(table.rows), table.dim, table.state,
                        table.rows_per_step);
  }
  text += fmt::format("\n  memory    each server {} of rows\n", Bytes(plan.memory_bytes_per_server));
  text += fmt::format("  rate      {} examples/s in all, {} for each trial; {:.1f} steps/s\n", Count(plan.examples_per_second),
                      Count(plan.examples_per_second_per_trial), plan.steps_per_second);
  text += fmt::format("  network   each server {}/s in, {}/s out; each worker {}/s in, {}/s out\n", Bytes(plan.server_in),
                      Bytes(plan.server_out), Bytes(plan.worker_in), Bytes(plan.worker_out));
  text += fmt::format("  CPU       each shard {:.0f} % of a core; each worker busy {:.0f} % of the time\n",
                      100 * plan.shard_use, 100 * plan.worker_use);
  text += fmt::format("  limited   by {}", plan.limits.front().what);
  for (size_t i = 1; i < plan.limits.size(); ++i) {
    text += fmt::format("{} {} ({} examples/s)", i == 1 ? "; next" : ",", plan.limits[i].what,
                        Count(plan.limits[i].examples_per_second));
  }
  return text + "\n";
}

std::string PlanJson(const Plan& plan) {
  nlohmann::ordered_json json = {{"name", plan.name},
                                 {"memory_bytes_per_server", plan.memory_bytes_per_server},
                                 {"examples_per_second", plan.examples_per_second},
                                 {"examples_per_second_per_trial", plan.examples_per_second_per_trial},
                                 {"steps_per_second", plan.steps_per_second},
                                 {"shard_use", plan.shard_use},
                                 {"worker_use", plan.worker_use},
                                 {"server_in", plan.server_in},
                                 {"server_out", plan.server_out},
                                 {"worker_in", plan.worker_in},
                                 {"worker_out", plan.worker_out},
                                 {"limits", nlohmann::ordered_json::array()}};
  for (const Limit& limit : plan.limits) {
    json["limits"].push_back({{"what", limit.what}, {"examples_per_second", limit.examples_per_second}});
  }
  return json.dump();
}

}  // namespace marquee
