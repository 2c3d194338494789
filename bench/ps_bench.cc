// How fast rows are pulled and pushed: unique random rows out of a table under Adagrad, over tcp loopback, one operation at a
// time (a pull, then a push) and pipelined (several of both under way). Servers are processes of their own with one shard each.
//
// With several servers also with two copies of each row (`replication: 2`), beside one copy: `ratio_two_copies`.
// `ratio_to_limit` compares with bench/bare_rig.h, measured in turns with it in the same run.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "bench/bare_rig.h"
#include "bench/cluster_rig.h"
#include "bench/operation_costs.h"
#include "common/program.h"

namespace marquee {

double NowMicros() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Id IdOf(uint64_t row) { return MixId(row * 2 + 1); }

TableDefinition BenchTable(uint32_t dim) {
  TableDefinition table;
  table.number = 1;
  table.name = "bench/rows";
  table.trial = 1;
  table.dim = dim;
  table.initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.05F};
  table.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdagrad});
  return table;
}

namespace {

constexpr size_t kBatches = 64;
constexpr int kPipelineDepth = 4;  // two pulls and two pushes

struct Flags {
  uint64_t table_rows = 2'000'000;
  uint32_t rows = 4000;
  std::vector<uint32_t> dims = {16, 64};
  std::vector<uint32_t> servers = {1, 2};
  int rounds = 7;
  double round_seconds = 0.5;
  bool json = false;
  std::string store;
  std::string serve;  // set in server processes
  uint32_t serve_number = 0;
};

struct Measured {
  double rate = 0;   // median of the rounds' row operations per second
  Rig::Times times;  // of all rounds, sorted
};

// In a server process, whose flags name one of each.
Workload SizesOf(const Flags& flags) {
  return {.table_rows = flags.table_rows,
          .batch_rows = flags.rows,
          .dim = flags.dims.front(),
          .servers = flags.servers.front(),
          .copies = 1,
          .batches = {},
          .gradients = {}};
}

Workload MakeWorkload(const Flags& flags, uint32_t dim, uint32_t servers) {
  Workload workload{.table_rows = flags.table_rows,
                    .batch_rows = flags.rows,
                    .dim = dim,
                    .servers = servers,
                    .copies = 1,
                    .batches = {},
                    .gradients = std::vector<float>(size_t{flags.rows} * dim, 0.01F)};
  std::mt19937_64 random(1);
  for (size_t b = 0; b < kBatches; ++b) {
    std::set<uint64_t> unique;
    while (unique.size() < flags.rows) unique.insert(random() % flags.table_rows);
    std::vector<uint64_t>& batch = workload.batches.emplace_back(unique.begin(), unique.end());
    std::shuffle(batch.begin(), batch.end(), random);
  }
  return workload;
}

// Operations per second, over about `seconds`, with up to `depth` under way. A depth of 1 is one at a time.
double RunRound(Rig& rig, double seconds, int depth) {
  const double begin = NowMicros();
  const double end = begin + seconds * 1e6;
  int under_way = 0;
  uint64_t started = 0;
  uint64_t finished = 0;
  while (NowMicros() < end) {
    for (; under_way < depth; ++under_way, ++started) {
      rig.Start(started % 2 == 0 ? Rig::Operation::kPull : Rig::Operation::kPush, started / 2 % kBatches);
    }
    const int done = rig.Pump();
    under_way -= done;
    finished += done;
  }
  const double rate = static_cast<double>(finished) / (NowMicros() - begin) * 1e6;
  while (under_way > 0) under_way -= rig.Pump();
  return rate;
}

// Rounds in turns, so that what else the machine does hits all rigs alike. The first round of each warms up.
std::vector<Measured> Measure(const Flags& flags, const std::vector<Rig*>& rigs, int depth) {
  std::vector<std::vector<double>> rates(rigs.size());
  for (int round = 0; round <= flags.rounds; ++round) {
    for (size_t r = 0; r < rigs.size(); ++r) {
      const double rate = RunRound(*rigs[r], flags.round_seconds, depth);
      if (round == 0) {
        rigs[r]->times = {};
      } else {
        rates[r].push_back(rate * flags.rows);
      }
    }
  }
  std::vector<Measured> measured(rigs.size());
  for (size_t r = 0; r < rigs.size(); ++r) {
    std::sort(rates[r].begin(), rates[r].end());
    measured[r] = {.rate = rates[r][rates[r].size() / 2], .times = std::exchange(rigs[r]->times, {})};
    std::sort(measured[r].times.pulls.begin(), measured[r].times.pulls.end());
    std::sort(measured[r].times.pushes.begin(), measured[r].times.pushes.end());
  }
  return measured;
}

double Quantile(const std::vector<double>& sorted, double q) {
  return sorted.empty() ? 0 : sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1))];
}

nlohmann::json ResultOf(const Flags& flags, uint32_t dim, uint32_t servers, int depth, const Measured& ours,
                        const Measured& limit) {
  return {{"rows", flags.rows},
          {"table_rows", flags.table_rows},
          {"dim", dim},
          {"servers", servers},
          {"mode", depth == 1 ? "sync" : "pipelined"},
          {"row_ops_per_second", ours.rate},
          {"pull_p50_us", Quantile(ours.times.pulls, 0.5)},
          {"pull_p99_us", Quantile(ours.times.pulls, 0.99)},
          {"push_p50_us", Quantile(ours.times.pushes, 0.5)},
          {"push_p99_us", Quantile(ours.times.pushes, 0.99)},
          {"limit_row_ops_per_second", limit.rate},
          {"limit_pull_p50_us", Quantile(limit.times.pulls, 0.5)},
          {"limit_push_p50_us", Quantile(limit.times.pushes, 0.5)},
          {"ratio_to_limit", ours.rate / limit.rate}};
}

// What a second copy of each row, on another server, costs.
void AddTwoCopies(const Measured& one, const Measured& two, nlohmann::json* result) {
  (*result)["two_copies_row_ops_per_second"] = two.rate;
  (*result)["two_copies_pull_p50_us"] = Quantile(two.times.pulls, 0.5);
  (*result)["two_copies_push_p50_us"] = Quantile(two.times.pushes, 0.5);
  (*result)["two_copies_push_p99_us"] = Quantile(two.times.pushes, 0.99);
  (*result)["ratio_two_copies"] = two.rate / one.rate;
}

void PrintRow(const nlohmann::json& result) {
  std::printf("%4u %8u %-10s %8.2f %8.0f %8.0f %8.0f %8.0f %8.2f %6.2f", result["dim"].get<uint32_t>(),
              result["servers"].get<uint32_t>(), result["mode"].get<std::string>().c_str(),
              result["row_ops_per_second"].get<double>() / 1e6, result["pull_p50_us"].get<double>(),
              result["pull_p99_us"].get<double>(), result["push_p50_us"].get<double>(), result["push_p99_us"].get<double>(),
              result["limit_row_ops_per_second"].get<double>() / 1e6, result["ratio_to_limit"].get<double>());
  if (result.contains("ratio_two_copies")) {
    std::printf(" %8.2f %8.0f %6.2f", result["two_copies_row_ops_per_second"].get<double>() / 1e6,
                result["two_copies_push_p50_us"].get<double>(), result["ratio_two_copies"].get<double>());
  }
  std::printf("\n");
  std::fflush(stdout);
}

absl::Status RunAll(const Flags& flags) {
  nlohmann::json results = nlohmann::json::array();
  if (!flags.json) {
    std::printf("%u rows out of %lu in each operation; rates in millions of rows per second, times in microseconds\n",
                flags.rows, flags.table_rows);
    std::printf("                                                                              two copies: push\n");
    std::printf(
        " dim  servers mode           rate pull p50      p99 push p50      p99    limit  ratio     rate      p50  ratio\n");
  }
  for (const uint32_t dim : flags.dims) {
    for (const uint32_t servers : flags.servers) {
      const Workload workload = MakeWorkload(flags, dim, servers);
      const auto ours = StartClusterRig(workload);
      if (!ours.ok()) return ours.status();
      const auto limit = StartBareRig(workload);
      if (!limit.ok()) return limit.status();
      std::vector<Rig*> rigs = {ours->get(), limit->get()};
      Workload doubled = workload;
      doubled.copies = 2;
      std::unique_ptr<Rig> two_copies;
      if (servers > 1) {
        absl::StatusOr<std::unique_ptr<Rig>> started = StartClusterRig(doubled);
        if (!started.ok()) return started.status();
        two_copies = *std::move(started);
        rigs.push_back(two_copies.get());
      }
      for (const int depth : {1, kPipelineDepth}) {
        const std::vector<Measured> measured = Measure(flags, rigs, depth);
        results.push_back(ResultOf(flags, dim, servers, depth, measured[0], measured[1]));
        if (two_copies != nullptr) AddTwoCopies(measured[0], measured[2], &results.back());
        if (!flags.json) PrintRow(results.back());
      }
    }
  }
  if (flags.json) std::printf("%s\n", results.dump(1).c_str());
  return absl::OkStatus();
}

absl::Status Store(const Flags& flags) {
  absl::StatusOr<MachineConstants> constants = MachineConstants::Load(flags.store);
  if (!constants.ok()) return constants.status();
  const OperationCostOptions options{.table_rows = flags.table_rows, .seconds = flags.rounds * flags.round_seconds / 2};
  if (absl::Status status = MeasureOperationCosts(options, &*constants); !status.ok()) return status;
  const auto print = [](const char* name, const OperationCost& cost) {
    fmt::print("{:<12} {:>8.1f} us a request {:>8.1f} ns a row {:>6.2f} ns a value\n", name, cost.request * 1e6, cost.row * 1e9,
               cost.value * 1e9);
  };
  print("shard pull", constants->shard_pull);
  print("shard push", constants->shard_push);
  print("second copy", constants->copy_push);
  print("client pull", constants->client_pull);
  print("client push", constants->client_push);
  fmt::print("{:.1f} bytes of each row beside its values; {} cores\n", constants->row_overhead_bytes, constants->cores);
  return constants->Save(flags.store);
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::KeepLargeBlocks();
  marquee::Flags flags;
  CLI::App app{"Measures pulls and pushes through shards, and the limit set by ZeroMQ and memory.", "ps_bench"};
  app.add_option("--table-rows", flags.table_rows, "Rows in the table")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--rows", flags.rows, "Unique rows in each pull and push")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--dims", flags.dims, "Weights in a row")->delimiter(',')->capture_default_str();
  app.add_option("--servers", flags.servers, "Numbers of servers")->delimiter(',')->capture_default_str();
  app.add_option("--rounds", flags.rounds, "Rounds of each measurement; the median counts")->capture_default_str();
  app.add_option("--round-seconds", flags.round_seconds, "Length of a round")->capture_default_str();
  app.add_flag("--json", flags.json, "A JSON list");
  app.add_option("--store", flags.store, "Measure what `scheduler --plan` reckons with, and write it to this file, instead");
  app.add_option("--serve", flags.serve)->group("");
  app.add_option("--serve-number", flags.serve_number)->group("");
  CLI11_PARSE(app, argc, argv);
  if (flags.serve == "shard") return marquee::ServeShard(flags.serve_number);
  if (flags.serve == "bare") return marquee::ServeBare(marquee::SizesOf(flags), flags.serve_number);
  const absl::Status status = flags.store.empty() ? marquee::RunAll(flags) : marquee::Store(flags);
  return status.ok() ? 0 : marquee::Fail("ps_bench", status);
}
