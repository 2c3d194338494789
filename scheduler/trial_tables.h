#ifndef MARQUEE_SCHEDULER_TRIAL_TABLES_H_
#define MARQUEE_SCHEDULER_TRIAL_TABLES_H_

// The tables of one trial: fixed by the first proposal of a worker, created on all shards, dropped when the trial is over.

#include <optional>
#include <vector>

#include "common/table.h"
#include "scheduler/coordinator_context.h"

namespace marquee {

class TrialTables {
 public:
  TrialTables(CoordinatorContext& context, uint64_t trial) : context_(context), trial_(trial) {}

  // The first one starts their creation. A later one that differs is a conflict, which also fails the trial: see error().
  MaybeRejection Propose(capnp::List<wire::TableDefinition>::Reader proposal, absl::Time now, Outbox& outbox);
  bool proposed() const { return !definitions_.empty(); }
  bool created() const;
  // Why the trial cannot have its tables; OK otherwise.
  absl::Status error() const;
  const std::vector<TableDefinition>& definitions() const { return definitions_; }

  // The shards have them already, as a scheduler before this one gave them.
  void TakeOver(std::vector<TableDefinition> definitions);

  // Drops them; dropped() once all shards have confirmed it, or if there never were any.
  void Drop(absl::Time now, Outbox& outbox);
  bool dropped() const { return context_.shards.Finished(broadcast_); }
  bool dropping() const { return dropping_; }

 private:
  absl::StatusOr<std::vector<TableDefinition>> Read(capnp::List<wire::TableDefinition>::Reader proposal) const;
  bool Create(std::vector<TableDefinition> definitions, absl::Time now, Outbox& outbox);

  CoordinatorContext& context_;
  uint64_t trial_;
  std::vector<TableDefinition> proposal_;     // as the first worker named them
  std::vector<TableDefinition> definitions_;  // as the shards have them
  BroadcastNumber broadcast_ = 0;
  bool dropping_ = false;
  absl::Status error_;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_TRIAL_TABLES_H_
