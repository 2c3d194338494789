#ifndef MARQUEE_BENCH_BARE_RIG_H_
#define MARQUEE_BENCH_BARE_RIG_H_

// The limit: ZeroMQ alone moving the same numbers of bytes over tcp loopback, and one server process per shard that does the
// same gathers and Adagrad updates on a row store in its memory. Nothing is split by owner, checked, numbered, put into a
// message format or sent again; what is sent lies ready, and what is received is not read.

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "bench/rig.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Rig>> StartBareRig(const Workload& workload);

// The server process: number `server` of workload.servers; of the workload, it needs the sizes alone.
int ServeBare(const Workload& workload, uint32_t server);

}  // namespace marquee

#endif  // MARQUEE_BENCH_BARE_RIG_H_
