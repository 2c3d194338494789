#include "scheduler/row_restorer.h"

#include <fmt/format.h>

#include <algorithm>

namespace marquee {

absl::Status RowRestorer::Match() {
  for (const TrialState::Table& saved : saved_) {
    const auto found = std::find_if(tables_.begin(), tables_.end(),
                                    [&](const TableDefinition& table) { return table.model_name() == saved.name; });
    if (found == tables_.end() || found->dim != saved.dim) {
      return absl::FailedPreconditionError(fmt::format("checkpoint {}: its table '{}' of dim {} is none of the trial's now",
                                                       checkpoint_.number, saved.name, saved.dim));
    }
    numbers_.emplace_back(saved.number, found->number);
  }
  return absl::OkStatus();
}

absl::Status RowRestorer::Advance(absl::Time now, Outbox& outbox) {
  if (done_) return absl::OkStatus();
  if (broadcast_ == 0) {
    if (absl::Status status = Match(); !status.ok()) return status;
  }
  if (broadcast_ == 0 || view_ != context_.view.number) Ask(now, outbox);
  if (!context_.shards.Finished(broadcast_)) return absl::OkStatus();
  done_ = true;
  return context_.shards.Result(broadcast_);
}

void RowRestorer::Ask(absl::Time now, Outbox& outbox) {
  context_.shards.Forget(broadcast_);
  view_ = context_.view.number;
  broadcast_ = context_.AskAll(
      [this](uint32_t, wire::Envelope::Body::Builder body) {
        auto restore = body.initRestoreRows();
        restore.setClusterId(checkpoint_.cluster_id);
        auto files = restore.initFiles(static_cast<uint32_t>(checkpoint_.files.size()));
        for (uint32_t i = 0; i < files.size(); ++i) {
          files[i].setPath(checkpoint_.files[i].path.c_str());
          files[i].setCheckpoint(checkpoint_.files[i].checkpoint);
        }
        auto tables = restore.initTables(static_cast<uint32_t>(numbers_.size()));
        for (uint32_t i = 0; i < tables.size(); ++i) {
          tables[i].setFrom(numbers_[i].first);
          tables[i].setTo(numbers_[i].second);
        }
      },
      now, outbox);
}

}  // namespace marquee
