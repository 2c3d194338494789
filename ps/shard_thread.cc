#include "ps/shard_thread.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "checkpoint/file_system.h"
#include "ps/checkpoint_thread.h"
#include "ps/shard_metrics.h"
#include "ps/shard_trace.h"

namespace marquee {
namespace {

constexpr absl::Duration kMetricsInterval = absl::Seconds(1);

absl::Time SteadyNow() { return absl::UnixEpoch() + absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()); }

ServerStatistics StatisticsOf(const Shard& shard) {
  const Shard::Counters& counters = shard.counters();
  ServerStatistics statistics{.pulls = counters.pulls,
                              .pushes = counters.pushes,
                              .rows_pulled = counters.rows_pulled,
                              .rows_pushed = counters.rows_pushed,
                              .duplicates = counters.duplicates};
  for (const auto& [code, count] : counters.rejected) statistics.rejected += count;
  for (const Shard::TableStatistics& table : shard.Tables()) {
    statistics.rows += table.rows;
    statistics.bytes += table.bytes;
  }
  return statistics;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ShardThread>> ShardThread::Start(TransportContext& context, const Identity& self,
                                                                TransportOptions transport_options, ShardOptions shard_options,
                                                                const std::string& endpoint, uint32_t index, Metrics& metrics,
                                                                TraceFile* trace) {
  absl::StatusOr<std::unique_ptr<Transport>> transport = Transport::Create(context, self, std::move(transport_options));
  if (!transport.ok()) return transport.status();
  absl::StatusOr<std::string> listening = (*transport)->Listen(endpoint);
  if (!listening.ok()) return listening.status();

  std::unique_ptr<ShardThread> shard(new ShardThread());
  shard->transport_ = *std::move(transport);
  shard->endpoint_ = *std::move(listening);
  shard->thread_ = std::thread([thread = shard.get(), self, shard_options, index, &metrics, trace] {
    thread->Run(self, shard_options, index, metrics, trace);
  });
  return shard;
}

ShardThread::~ShardThread() {
  if (!thread_.joinable()) return;
  stop_ = true;
  transport_->Wake();
  thread_.join();
}

ServerStatistics ShardThread::statistics() const {
  const std::lock_guard lock(mutex_);
  return statistics_;
}

void ShardThread::Run(const Identity& self, ShardOptions options, uint32_t index, Metrics& metrics, TraceFile* trace) {
  CheckpointThread checkpoints(RealFileSystem());
  Shard shard(self, options, &checkpoints);
  ShardMetrics shard_metrics(metrics, index);
  std::optional<ShardTrace> shard_trace;
  if (trace != nullptr) shard_trace.emplace(*transport_, trace->AddTrack(fmt::format("shard {}", index)), SteadyNow);
  Outbox& outbox = shard_trace.has_value() ? static_cast<Outbox&>(*shard_trace) : *transport_;
  absl::Time next_update = absl::InfinitePast();
  View view;
  while (!stop_) {
    const absl::Duration wait = std::clamp(shard.next_timer() - SteadyNow(), absl::ZeroDuration(), kMetricsInterval);
    transport_->Receive(wait, [&](const Message& message) {
      const absl::Time begin = SteadyNow();
      if (shard_trace.has_value()) shard_trace->Begin(message, begin);
      shard.OnMessage(message, begin, outbox);
      const absl::Time end = SteadyNow();
      if (shard_trace.has_value()) shard_trace->End(end);
      shard_metrics.Handled(message.envelope().getBody().which(), end - begin);
    });
    if (shard.view_number() != view.number) {
      for (const std::string& left : EndpointsLeft(view, shard.view())) transport_->Disconnect(left);
      view = shard.view();
      view_ = view.number;
    }
    const absl::Time now = SteadyNow();
    if (now >= shard.next_timer()) shard.OnTimer(now, outbox);
    if (now < next_update) continue;
    shard_metrics.Update(shard, *transport_);
    const ServerStatistics statistics = StatisticsOf(shard);
    {
      const std::lock_guard lock(mutex_);
      statistics_ = statistics;
    }
    next_update = now + kMetricsInterval;
  }
}

}  // namespace marquee
