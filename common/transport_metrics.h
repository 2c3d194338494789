#ifndef MARQUEE_COMMON_TRANSPORT_METRICS_H_
#define MARQUEE_COMMON_TRANSPORT_METRICS_H_

// Copies a transport's counters into the process's metrics. One for each transport, used by the transport's thread; several of
// one process add up. Update about once a second.

#include <cstdint>

#include "common/metrics.h"
#include "common/transport.h"

namespace marquee {

class TransportMetrics {
 public:
  explicit TransportMetrics(Metrics& metrics);

  void Update(const Transport& transport);

 private:
  Metrics& metrics_;
  prometheus::Counter& messages_in_;
  prometheus::Counter& messages_out_;
  prometheus::Counter& bytes_in_;
  prometheus::Counter& bytes_out_;
  prometheus::Counter& dropped_;
  prometheus::Gauge& queue_bytes_;
  Transport::Counters before_;
  size_t queued_before_ = 0;
};

// Adds what a map of counts by reason has grown by since `before` to marquee_rejected_total, and makes `before` equal. For
// shards and coordinators, which count by reason as transports do.
void AddRejected(Metrics& metrics, const std::map<std::string, uint64_t>& now, std::map<std::string, uint64_t>& before);

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRANSPORT_METRICS_H_
