// How fast and how large the row store is: inserts rows by Adagrad pushes into one table of 64 partitions, as a shard that owns
// them all would, then looks up and updates random ones. Ends with 1 if the memory is 30 % or more over the rows themselves.

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "common/table.h"
#include "ps/table_store.h"

namespace marquee {
namespace {

constexpr uint32_t kPartitionBits = 6;
constexpr size_t kBatch = 4000;
constexpr double kMostOverhead = 0.30;

struct Flags {
  uint64_t rows = 50'000'000;
  uint32_t dim = 16;
  bool json = false;
};

double Seconds() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

uint64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  uint64_t total = 0;
  uint64_t resident = 0;
  file >> total >> resident;
  return resident * 4096;
}

// The i-th row's id: a permutation of all 64-bit numbers, so that ids are unique and look like hashes.
Id IdOf(uint64_t i) { return MixId(i * 2 + 1); }

TableDefinition Definition(uint32_t dim) {
  TableDefinition table;
  table.number = 1;
  table.name = "bench/rows";
  table.dim = dim;
  table.initializer = {.kind = Initializer::Kind::kUniform, .scale = 0.05F};
  table.optimizer = Optimizer::FromConfig({.kind = OptimizerConfig::Kind::kAdagrad});
  return table;
}

// Rows per second of `work`, which handles a batch of ids, over `batches` batches of random rows.
template <typename Work>
double RandomRate(uint64_t rows, size_t batches, const Work& work) {
  std::mt19937_64 random(1);
  std::vector<Id> ids(kBatch);
  double seconds = 0;
  for (size_t b = 0; b < batches; ++b) {
    for (Id& id : ids) id = IdOf(random() % rows);
    const double begin = Seconds();
    work(ids);
    seconds += Seconds() - begin;
  }
  return static_cast<double>(batches * kBatch) / seconds;
}

double InsertAll(TableStore& store, uint64_t rows, const std::vector<float>& gradients) {
  std::vector<Id> ids(kBatch);
  const double begin = Seconds();
  for (uint64_t done = 0; done < rows; done += ids.size()) {
    ids.resize(std::min<uint64_t>(kBatch, rows - done));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = IdOf(done + i);
    store.Apply(ids, gradients.data(), 0.1F, {});
  }
  return static_cast<double>(rows) / (Seconds() - begin);
}

int Run(const Flags& flags) {
  const size_t before = ResidentBytes();
  TableStore store(Definition(flags.dim), kPartitionBits);
  std::vector<float> values(kBatch * flags.dim, 0.01F);

  const double insert_rate = InsertAll(store, flags.rows, values);
  constexpr size_t kBatches = 2000;
  const double update_rate =
      RandomRate(flags.rows, kBatches, [&](const std::vector<Id>& ids) { store.Apply(ids, values.data(), 0.1F, {}); });
  const double lookup_rate =
      RandomRate(flags.rows, kBatches, [&](const std::vector<Id>& ids) { store.Gather(ids, values.data()); });

  const uint64_t resident = ResidentBytes() - before;
  const double bare = static_cast<double>(flags.rows) * 2 * flags.dim * sizeof(float);
  const double own_overhead = static_cast<double>(store.bytes()) / bare - 1;
  const double resident_overhead = static_cast<double>(resident) / bare - 1;
  if (flags.json) {
    const nlohmann::json result = {{"rows", store.rows()},
                                   {"dim", flags.dim},
                                   {"inserts_per_second", insert_rate},
                                   {"updates_per_second", update_rate},
                                   {"lookups_per_second", lookup_rate},
                                   {"bytes", store.bytes()},
                                   {"resident_bytes", resident},
                                   {"overhead", own_overhead},
                                   {"resident_overhead", resident_overhead}};
    std::printf("%s\n", result.dump().c_str());
  } else {
    std::printf("rows                %12lu of dim %u with Adagrad\n", store.rows(), flags.dim);
    std::printf("inserts             %12.2f million per second\n", insert_rate / 1e6);
    std::printf("updates of random   %12.2f million per second\n", update_rate / 1e6);
    std::printf("lookups of random   %12.2f million per second\n", lookup_rate / 1e6);
    std::printf("bare bytes          %12.0f weights and state\n", bare);
    std::printf("bytes               %12lu %+.1f %% by own account\n", store.bytes(), 100 * own_overhead);
    std::printf("resident bytes      %12lu %+.1f %% by the system's\n", resident, 100 * resident_overhead);
  }
  return own_overhead < kMostOverhead && resident_overhead < kMostOverhead ? 0 : 1;
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) {
  marquee::Flags flags;
  CLI::App app{"Measures the row store's speed and size.", "row_store_bench"};
  app.add_option("--rows", flags.rows, "How many rows to insert")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--dim", flags.dim, "Weights in a row")->capture_default_str()->check(CLI::Range(1, 8192));
  app.add_flag("--json", flags.json, "One line of JSON");
  CLI11_PARSE(app, argc, argv);
  return marquee::Run(flags);
}
