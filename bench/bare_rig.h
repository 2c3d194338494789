#ifndef MARQUEE_BENCH_BARE_RIG_H_
#define MARQUEE_BENCH_BARE_RIG_H_

// The limit: ZeroMQ alone moving the same numbers of bytes over tcp loopback, and one server process per shard that does the
// same gathers and Adagrad updates on a plain array, where an id is its row's number. No ids to hash, split or check, no
// message format, no numbering, no retries; what is sent is not built and what is received is not read.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/rig.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Rig>> StartBareRig(const Workload& workload);

// The server process.
int ServeBare(uint64_t rows, uint32_t dim);

}  // namespace marquee

#endif  // MARQUEE_BENCH_BARE_RIG_H_
