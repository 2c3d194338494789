#ifndef MARQUEE_COMMON_SERVER_STATISTICS_H_
#define MARQUEE_COMMON_SERVER_STATISTICS_H_

// What a server says of itself in each heartbeat, all its shards together. A value type; on the wire it is
// wire::ServerStatistics.

#include <cstdint>

#include "schemas/wire.capnp.h"

namespace marquee {

struct ServerStatistics {
  // Now, in all tables.
  uint64_t rows = 0;
  uint64_t bytes = 0;
  // Since the process started.
  uint64_t pulls = 0;
  uint64_t pushes = 0;  // duplicates too
  uint64_t rows_pulled = 0;
  uint64_t rows_pushed = 0;
  uint64_t duplicates = 0;
  uint64_t rejected = 0;

  static ServerStatistics FromWire(wire::ServerStatistics::Reader reader);
  void ToWire(wire::ServerStatistics::Builder builder) const;
  ServerStatistics& operator+=(const ServerStatistics& other);
  bool operator==(const ServerStatistics&) const = default;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_SERVER_STATISTICS_H_
