#ifndef MARQUEE_SCHEDULER_MODEL_KEEPER_H_
#define MARQUEE_SCHEDULER_MODEL_KEEPER_H_

// Copies a trial's tables from the shards into the ModelStore, and from there into a new trial's tables: in steps of half a
// megabyte, of which one is under way at a time, so that memory stays bounded. State machines, driven by Advance; not
// thread-safe.

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/table.h"
#include "scheduler/coordinator_context.h"

namespace marquee {

// Walks table after table, of each shard after shard. The trial's workers must have nothing unacknowledged.
class ModelKeeper {
 public:
  // `context` and `tables` (as the shards have them) must outlive the keeper.
  ModelKeeper(CoordinatorContext& context, std::string trial, const std::vector<TableDefinition>& tables)
      : context_(context), trial_(std::move(trial)), tables_(tables) {}
  ~ModelKeeper() { context_.shards.Forget(broadcast_); }
  ModelKeeper(const ModelKeeper&) = delete;
  ModelKeeper& operator=(const ModelKeeper&) = delete;

  // Takes in what has come and asks for more. An error is the shards'; one of the store ends the sweep (context.status).
  absl::Status Advance(absl::Time now, Outbox& outbox);
  // All rows are written.
  bool done() const { return writer_ != nullptr && table_ == tables_.size(); }
  // Of the finished model. Call once, when done.
  absl::Status Finish(const TrialConfig& config, const TrialResult& result) { return writer_->Finish(config, result); }

 private:
  absl::Status TakeIn();
  bool Begin();
  bool BeginTable();
  uint32_t PrimaryFrom(uint32_t shard) const;
  void Ask(absl::Time now, Outbox& outbox);

  CoordinatorContext& context_;
  std::string trial_;
  const std::vector<TableDefinition>& tables_;
  std::unique_ptr<ModelWriter> writer_;
  size_t table_ = 0;
  uint32_t shard_ = 0;
  uint32_t partition_ = 0;
  uint64_t slot_ = 0;
  uint64_t view_ = 0;  // with which the walk began: under another one it begins anew
  BroadcastNumber broadcast_ = 0;
};

// Fills the tables of a trial that the kept model has too. The trial must not have begun to train.
class ModelLoader {
 public:
  // Likewise. `model` is the configuration's `start_from`.
  ModelLoader(CoordinatorContext& context, std::string model, const std::vector<TableDefinition>& tables)
      : context_(context), model_(std::move(model)), tables_(tables) {}
  ~ModelLoader() { context_.shards.Forget(broadcast_); }
  ModelLoader(const ModelLoader&) = delete;
  ModelLoader& operator=(const ModelLoader&) = delete;

  // An error says why the trial cannot start from this model.
  absl::Status Advance(absl::Time now, Outbox& outbox);
  bool done() const { return reader_ != nullptr && table_ == reader_->tables().size() && broadcast_ == 0; }

 private:
  struct Rows {
    std::vector<Id> ids;
    std::vector<float> weights;
  };

  absl::Status Open();
  absl::Status ReadStep(absl::Time now, Outbox& outbox);
  void Send(absl::Time now, Outbox& outbox);

  CoordinatorContext& context_;
  std::string model_;
  const std::vector<TableDefinition>& tables_;
  std::unique_ptr<ModelReader> reader_;
  std::vector<const TableDefinition*> targets_;  // of each table of the model
  size_t table_ = 0;
  Rows sent_;  // that are being loaded; under another view they are sent again
  const TableDefinition* sent_to_ = nullptr;
  uint64_t view_ = 0;
  BroadcastNumber broadcast_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_MODEL_KEEPER_H_
