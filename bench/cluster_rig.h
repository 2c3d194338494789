#ifndef MARQUEE_BENCH_CLUSTER_RIG_H_
#define MARQUEE_BENCH_CLUSTER_RIG_H_

// Marquee itself: worker/client's Client over Transport, tcp loopback, and one server process per shard that runs what `ps`
// runs (ps/shard_thread.h). The benchmark plays the scheduler's part: view, session, table.

#include <memory>

#include "absl/status/statusor.h"
#include "bench/rig.h"

namespace marquee {

// Starts the servers and fills the table: every row is pushed once.
absl::StatusOr<std::unique_ptr<Rig>> StartClusterRig(const Workload& workload);

// The server process.
int ServeShard(uint64_t incarnation);

}  // namespace marquee

#endif  // MARQUEE_BENCH_CLUSTER_RIG_H_
