#ifndef MARQUEE_BENCH_OPERATION_COSTS_H_
#define MARQUEE_BENCH_OPERATION_COSTS_H_

// Measures what pulls and pushes cost in seconds of a core, on each side, for common/machine_constants.h.

#include <cstdint>

#include "absl/status/status.h"
#include "common/machine_constants.h"

namespace marquee {

struct OperationCostOptions {
  uint64_t table_rows = 2'000'000;
  double seconds = 2;  // of each of eight measurements
};

// Replaces the costs of operations in `constants`, and leaves those of steps alone.
absl::Status MeasureOperationCosts(const OperationCostOptions& options, MachineConstants* constants);

}  // namespace marquee

#endif  // MARQUEE_BENCH_OPERATION_COSTS_H_
