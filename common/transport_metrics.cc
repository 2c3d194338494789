#include "common/transport_metrics.h"

namespace marquee {
namespace {

void Add(prometheus::Counter& counter, uint64_t now, uint64_t before) {
  if (now > before) counter.Increment(static_cast<double>(now - before));
}

}  // namespace

TransportMetrics::TransportMetrics(Metrics& metrics)
    : metrics_(metrics),
      messages_in_(metrics.Get(metric::kMessages, {"in"})),
      messages_out_(metrics.Get(metric::kMessages, {"out"})),
      bytes_in_(metrics.Get(metric::kBytes, {"in"})),
      bytes_out_(metrics.Get(metric::kBytes, {"out"})),
      dropped_(metrics.Get(metric::kMessagesDropped)),
      queue_bytes_(metrics.Get(metric::kQueueBytes)) {}

void TransportMetrics::Update(const Transport& transport) {
  const Transport::Counters& now = transport.counters();
  Add(messages_in_, now.messages_received, before_.messages_received);
  Add(messages_out_, now.messages_sent, before_.messages_sent);
  Add(bytes_in_, now.bytes_received, before_.bytes_received);
  Add(bytes_out_, now.bytes_sent, before_.bytes_sent);
  Add(dropped_, now.dropped, before_.dropped);
  AddRejected(metrics_, now.rejected, before_.rejected);
  before_ = now;
  const size_t queued = transport.queued_bytes();
  queue_bytes_.Increment(static_cast<double>(queued) - static_cast<double>(queued_before_));
  queued_before_ = queued;
}

void AddRejected(Metrics& metrics, const std::map<std::string, uint64_t>& now, std::map<std::string, uint64_t>& before) {
  for (const auto& [reason, count] : now) {
    uint64_t& counted = before[reason];
    Add(metrics.Get(metric::kRejected, {reason}), count, counted);
    counted = count;
  }
}

}  // namespace marquee
