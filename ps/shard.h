#ifndef MARQUEE_PS_SHARD_H_
#define MARQUEE_PS_SHARD_H_

// Owns a set of partitions of every table: answers pulls, applies pushes exactly once, keeps sessions, windows and tables.
//
// A state machine: no socket, thread or clock. The `ps` program runs one per thread with a socket of its own; the simulator
// runs many in one thread. Each request leads to one reply to its sender; that of a push may wait for the partitions' copies
// (ps/forwarding.h), and comes never if this shard is deposed meanwhile. Not thread-safe.
//
// A request that is refused (docs/architecture.md, "Wire": malformed, wrong dimension, NaN ...) changes nothing at all.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/id.h"
#include "common/message.h"
#include "common/table.h"
#include "common/view.h"
#include "ps/checkpoint_io.h"
#include "ps/forwarding.h"
#include "schemas/wire.capnp.h"

namespace marquee {

struct ShardOptions {
  // Rows of a table are spread over the view's partitions; this bounds the sum of counts in one request.
  uint64_t max_rows_per_request = 4U << 20U;
  uint64_t max_reply_bytes = 64U << 20U;  // of rows; a small pull could ask for far more than its own size
  ReplicationOptions replication = {};
};

class Shard {
 public:
  // `checkpoints` must outlive the shard. Without it no checkpoint is written or read.
  Shard(Identity self, ShardOptions options, CheckpointIo* checkpoints = nullptr);
  ~Shard();

  void OnMessage(const Message& message, absl::Time now, Outbox& outbox);
  void OnTimer(absl::Time now, Outbox& outbox);
  absl::Time next_timer() const;  // InfiniteFuture if there is nothing to wait for

  struct TableStatistics {
    TableDefinition definition;
    uint64_t rows = 0;
    uint64_t bytes = 0;
  };
  std::vector<TableStatistics> Tables() const;

  struct Counters {
    uint64_t pulls = 0, pushes = 0;  // answered with rows and with `pushed`, duplicates too
    uint64_t rows_pulled = 0, rows_pushed = 0, rows_created = 0;
    uint64_t duplicates = 0;                   // pushes of which every partition had applied them before
    uint64_t forwards_taken = 0;               // entries of other shards' streams
    std::map<std::string, uint64_t> rejected;  // by error code name
  };
  const Counters& counters() const;
  uint64_t view_number() const;
  size_t open_sessions() const;

  const View& view() const;
  struct Replication {
    uint64_t unanswered_bytes = 0;  // sent to copies
    uint64_t waiting_replies = 0;   // for the answers of copies
  };
  Replication replication() const;
  // Of rows that a checkpoint under way keeps as they were.
  uint64_t checkpoint_bytes() const;

  // What it holds of a partition: rows by table, and windows by session. For tests: equal texts are equal states.
  struct PartitionDump {
    std::map<TableNumber, std::string> tables;
    std::map<uint64_t, std::string> sessions;  // open ones
  };
  PartitionDump DumpPartition(PartitionNumber partition) const;

  // All that requests can change, as text in an order that depends on nothing but it: equal texts are equal states. For tests.
  std::string DumpState() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_SHARD_H_
