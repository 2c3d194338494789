#ifndef MARQUEE_PS_SHARD_METRICS_H_
#define MARQUEE_PS_SHARD_METRICS_H_

// What one shard tells Prometheus. Belongs to the shard's thread; those of a process share its Metrics and add up.

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "absl/time/time.h"
#include "common/metrics.h"
#include "common/transport.h"
#include "common/transport_metrics.h"
#include "ps/shard.h"

namespace marquee {

class ShardMetrics {
 public:
  // `index` is the shard's in its server.
  ShardMetrics(Metrics& metrics, uint32_t index);
  ~ShardMetrics();

  // A request was answered, or refused, after this long.
  void Handled(wire::Envelope::Body::Which operation, absl::Duration duration);

  // Copies what has changed in the shard and its transport. About once a second: it adds up all row stores.
  void Update(const Shard& shard, const Transport& transport);

 private:
  struct Operation {
    prometheus::Counter* requests;
    prometheus::Histogram* duration;
  };

  void UpdateTables(const Shard& shard);
  void RemoveTable(const std::string& name);
  void CopyCounters(const Shard::Counters& counters);

  Metrics& metrics_;
  std::string index_;
  TransportMetrics transport_metrics_;
  std::map<std::string_view, Operation> operations_;  // by name; there are as many as the schema has bodies
  std::set<std::string> tables_;                      // names that are shown
  Shard::Counters copied_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_SHARD_METRICS_H_
