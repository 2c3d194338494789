#ifndef MARQUEE_PS_ROW_REQUEST_H_
#define MARQUEE_PS_ROW_REQUEST_H_

// Pulls, pushes, loads and scans, checked in full before anything is done about them. A checked request points into its
// message.
//
// Reading a message may throw kj::Exception where it is malformed: callers are inside Guarded (common/message.h).

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "common/id.h"
#include "ps/ownership.h"
#include "ps/refusal.h"
#include "ps/table_set.h"

namespace marquee {

// What requests are checked against.
struct RequestContext {
  const Ownership& ownership;
  const TableSet& tables;
  uint64_t message_view;
  uint64_t max_rows;         // in one request
  uint64_t max_reply_bytes;  // of rows, in one reply
};

struct PullRequest {
  struct Section {
    const TableStore* table;
    absl::Span<const Id> ids;
  };
  std::vector<Section> sections;
  std::vector<uint32_t> rows_of_partition;  // by partition
  size_t reply_bytes = 0;                   // of all rows

  MaybeRefusal Check(wire::Pull::Reader pull, const RequestContext& context);
};

struct PushRequest {
  struct Section {
    TableStore* table;
    absl::Span<const Id> ids;
    const float* gradients;
    float learning_rate;
  };
  std::vector<Section> sections;
  std::vector<uint32_t> rows_of_partition;

  // `trial` is that of the push's session; nullptr if it is not open.
  MaybeRefusal Check(wire::Push::Reader push, const uint64_t* trial, const RequestContext& context);
  // As another shard forwards it: rows of any partition are fine, and those of tables that were dropped here are left out. A
  // table that is not here yet is refused with notYet.
  MaybeRefusal CheckForwarded(wire::Push::Reader push, const Ownership& ownership, const TableSet& tables, uint64_t max_rows);

 private:
  MaybeRefusal CheckSession(wire::Push::Reader push, const uint64_t* trial, const RequestContext& context);
};

struct LoadRequest {
  TableStore* table = nullptr;
  absl::Span<const Id> ids;
  const float* weights = nullptr;

  std::vector<uint32_t> rows_of_partition;

  MaybeRefusal Check(wire::LoadRows::Reader load, const RequestContext& context);
  // Likewise; `table` stays null if it was dropped.
  MaybeRefusal CheckForwarded(wire::LoadRows::Reader load, const Ownership& ownership, const TableSet& tables,
                              uint64_t max_rows);
};

// Partitions that are another shard's have no rows here. Refused unless it is of the shard's own view.
struct ScanRequest {
  const TableStore* table = nullptr;
  TableStore::Cursor begin;
  PartitionNumber end = 0;
  uint64_t limit = 1;  // rows, within what one reply may hold

  MaybeRefusal Check(wire::ScanTable::Reader scan, const RequestContext& context);
};

// A request's view must not be newer than the shard's, and there must be one.
MaybeRefusal CheckViewReached(const RequestContext& context);

}  // namespace marquee

#endif  // MARQUEE_PS_ROW_REQUEST_H_
