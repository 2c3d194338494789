#include "ps/shard_metrics.h"

#include <fmt/format.h>

namespace marquee {
namespace {

void AddGrowth(prometheus::Counter& counter, uint64_t before, uint64_t now) {
  counter.Increment(static_cast<double>(now - before));
}

}  // namespace

ShardMetrics::ShardMetrics(Metrics& metrics, uint32_t index)
    : metrics_(metrics), index_(fmt::format("{}", index)), transport_metrics_(metrics) {}

ShardMetrics::~ShardMetrics() {
  for (const std::string& name : tables_) RemoveTable(name);
  metrics_.Remove(metric::kOpenSessions, {index_});
  metrics_.Remove(metric::kForwardBytes, {index_});
  metrics_.Remove(metric::kWaitingReplies, {index_});
  metrics_.Remove(metric::kCheckpointKeptBytes, {index_});
}

void ShardMetrics::Handled(wire::Envelope::Body::Which operation, absl::Duration duration) {
  const std::string_view name = BodyName(operation);
  Operation& shown = operations_[name];
  if (shown.requests == nullptr) {
    shown.requests = &metrics_.Get(metric::kRequests, {std::string(name)});
    shown.duration = &metrics_.Get(metric::kRequestDuration, {std::string(name)});
  }
  shown.requests->Increment();
  shown.duration->Observe(absl::ToDoubleSeconds(duration));
}

void ShardMetrics::Update(const Shard& shard, const Transport& transport) {
  transport_metrics_.Update(transport);
  CopyCounters(shard.counters());
  UpdateTables(shard);
  metrics_.Get(metric::kOpenSessions, {index_}).Set(static_cast<double>(shard.open_sessions()));
  const Shard::Replication replication = shard.replication();
  metrics_.Get(metric::kForwardBytes, {index_}).Set(static_cast<double>(replication.unanswered_bytes));
  metrics_.Get(metric::kWaitingReplies, {index_}).Set(static_cast<double>(replication.waiting_replies));
  metrics_.Get(metric::kCheckpointKeptBytes, {index_}).Set(static_cast<double>(shard.checkpoint_bytes()));
  metrics_.Get(metric::kView).Set(static_cast<double>(shard.view_number()));
}

void ShardMetrics::CopyCounters(const Shard::Counters& counters) {
  AddGrowth(metrics_.Get(metric::kRows, {"pull"}), copied_.rows_pulled, counters.rows_pulled);
  AddGrowth(metrics_.Get(metric::kRows, {"push"}), copied_.rows_pushed, counters.rows_pushed);
  AddGrowth(metrics_.Get(metric::kRowsCreated), copied_.rows_created, counters.rows_created);
  AddGrowth(metrics_.Get(metric::kDuplicates), copied_.duplicates, counters.duplicates);
  AddGrowth(metrics_.Get(metric::kForwardsTaken), copied_.forwards_taken, counters.forwards_taken);
  AddRejected(metrics_, counters.rejected, copied_.rejected);
  copied_ = counters;
}

void ShardMetrics::UpdateTables(const Shard& shard) {
  struct Size {
    uint64_t rows = 0;
    uint64_t bytes = 0;
    uint64_t budget = 0;
  };
  std::map<std::string, Size> sizes;  // a trial that starts anew has tables of the old names for a while
  for (const Shard::TableStatistics& table : shard.Tables()) {
    Size& size = sizes[table.definition.name];
    size.rows += table.rows;
    size.bytes += table.bytes;
    size.budget += table.definition.memory_budget_bytes;
  }
  for (const std::string& name : tables_) {
    if (!sizes.contains(name)) RemoveTable(name);
  }
  tables_.clear();
  for (const auto& [name, size] : sizes) {
    tables_.insert(name);
    metrics_.Get(metric::kTableRows, {index_, name}).Set(static_cast<double>(size.rows));
    metrics_.Get(metric::kTableBytes, {index_, name}).Set(static_cast<double>(size.bytes));
    if (size.budget != 0) metrics_.Get(metric::kTableBudget, {index_, name}).Set(static_cast<double>(size.budget));
  }
}

void ShardMetrics::RemoveTable(const std::string& name) {
  metrics_.Remove(metric::kTableRows, {index_, name});
  metrics_.Remove(metric::kTableBytes, {index_, name});
  metrics_.Remove(metric::kTableBudget, {index_, name});
}

}  // namespace marquee
