#include "bench/operation_costs.h"

#include <algorithm>
#include <ctime>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "bench/cluster_rig.h"
#include "bench/rig.h"
#include "ps/row_store.h"

namespace marquee {
namespace {

constexpr size_t kBatches = 64;
constexpr int kDepth = 2;  // under way at once, as where the next step's rows are pulled ahead
// Three sizes give the three parts of a cost: of a request, a row, and a value.
constexpr uint32_t kFewRows = 250, kManyRows = 4000;
constexpr uint32_t kNarrow = 16, kWide = 64;

double CpuSeconds(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Workload WorkloadOf(uint64_t table_rows, uint32_t rows, uint32_t dim, uint32_t servers, int copies) {
  Workload workload{.table_rows = table_rows,
                    .batch_rows = rows,
                    .dim = dim,
                    .servers = servers,
                    .copies = copies,
                    .batches = {},
                    .gradients = std::vector<float>(size_t{rows} * dim, 0.01F)};
  std::mt19937_64 random(1);
  for (size_t b = 0; b < kBatches; ++b) {
    std::set<uint64_t> unique;
    while (unique.size() < rows) unique.insert(random() % table_rows);
    workload.batches.emplace_back(unique.begin(), unique.end());
  }
  return workload;
}

// Of one operation, in seconds of a core.
struct Cost {
  double server = 0, thread = 0, other = 0;
};

Cost Measure(Rig& rig, Rig::Operation operation, double seconds) {
  const auto run = [&](double length) {
    const double end = NowMicros() + length * 1e6;
    int under_way = 0;
    uint64_t started = 0;
    while (NowMicros() < end) {
      for (; under_way < kDepth; ++under_way) rig.Start(operation, started++ % kBatches);
      under_way -= rig.Pump();
    }
    while (under_way > 0) under_way -= rig.Pump();
    return static_cast<double>(started);
  };
  run(seconds / 4);
  const double server = rig.ServerCpuSeconds();
  const double thread = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  const double process = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
  const double operations = run(seconds);
  const double thread_used = CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - thread;
  return {.server = (rig.ServerCpuSeconds() - server) / operations,
          .thread = thread_used / operations,
          .other = (CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - process - thread_used) / operations};
}

struct Costs {
  Cost pull, push;
};

absl::StatusOr<Costs> MeasureSize(const OperationCostOptions& options, uint32_t rows, uint32_t dim) {
  const Workload workload = WorkloadOf(options.table_rows, rows, dim, 1, 1);
  const absl::StatusOr<std::unique_ptr<Rig>> rig = StartClusterRig(workload);
  if (!rig.ok()) return rig.status();
  Costs costs;
  costs.pull = Measure(**rig, Rig::Operation::kPull, options.seconds);
  costs.push = Measure(**rig, Rig::Operation::kPush, options.seconds);
  return costs;
}

// What a push of many rows costs two servers together.
absl::StatusOr<double> MeasurePushToTwo(const OperationCostOptions& options, int copies) {
  const Workload workload = WorkloadOf(options.table_rows, kManyRows, kNarrow, 2, copies);
  const absl::StatusOr<std::unique_ptr<Rig>> rig = StartClusterRig(workload);
  if (!rig.ok()) return rig.status();
  return Measure(**rig, Rig::Operation::kPush, options.seconds).server;
}

OperationCost Parts(double few_narrow, double many_narrow, double many_wide) {
  const double value = std::max(0.0, (many_wide - many_narrow) / (double{kManyRows} * (kWide - kNarrow)));
  const double row = std::max(0.0, (many_narrow - few_narrow) / (kManyRows - kFewRows) - value * kNarrow);
  return {.request = std::max(0.0, few_narrow - kFewRows * (row + value * kNarrow)), .row = row, .value = value};
}

// Of a large store beside its rows, half way between two sizes of its index.
double RowOverheadBytes() {
  const RowLayout layout(kNarrow, kNarrow);
  SlabArena arena;
  RowStore store(layout, arena);
  constexpr uint64_t kRows = 1'500'000;
  for (uint64_t row = 0; row < kRows; ++row) store.Insert(MixId(row), row);
  return static_cast<double>(store.bytes()) / kRows - static_cast<double>(layout.row_bytes());
}

}  // namespace

absl::Status MeasureOperationCosts(const OperationCostOptions& options, MachineConstants* constants) {
  const absl::StatusOr<Costs> few = MeasureSize(options, kFewRows, kNarrow);
  if (!few.ok()) return few.status();
  const absl::StatusOr<Costs> many = MeasureSize(options, kManyRows, kNarrow);
  if (!many.ok()) return many.status();
  const absl::StatusOr<Costs> wide = MeasureSize(options, kManyRows, kWide);
  if (!wide.ok()) return wide.status();
  const auto parts = [&](Cost Costs::*operation, double Cost::*side) {
    return Parts((*few).*operation.*side, (*many).*operation.*side, (*wide).*operation.*side);
  };
  constants->shard_pull = parts(&Costs::pull, &Cost::server);
  constants->shard_push = parts(&Costs::push, &Cost::server);
  constants->client_pull = parts(&Costs::pull, &Cost::thread);
  constants->client_push = parts(&Costs::push, &Cost::thread);
  constants->io_pull = parts(&Costs::pull, &Cost::other);
  constants->io_push = parts(&Costs::push, &Cost::other);

  const absl::StatusOr<double> one_copy = MeasurePushToTwo(options, 1);
  if (!one_copy.ok()) return one_copy.status();
  const absl::StatusOr<double> two_copies = MeasurePushToTwo(options, 2);
  if (!two_copies.ok()) return two_copies.status();
  // A second copy costs about a push once more: the same parts, in the measured proportion.
  const double proportion = std::max(0.0, *two_copies / *one_copy - 1);
  constants->copy_push = {.request = constants->shard_push.request * proportion,
                          .row = constants->shard_push.row * proportion,
                          .value = constants->shard_push.value * proportion};
  constants->row_overhead_bytes = RowOverheadBytes();
  constants->cores = std::max(1U, std::thread::hardware_concurrency());
  return absl::OkStatus();
}

}  // namespace marquee
