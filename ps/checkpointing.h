#ifndef MARQUEE_PS_CHECKPOINTING_H_
#define MARQUEE_PS_CHECKPOINTING_H_

// A shard's side of checkpoints (docs/checkpoints.md): at a cut it notes, in one step, which rows are in it, and writes them
// out piece by piece between requests, as they were at the cut; and it reads the rows of an earlier checkpoint into new tables.
//
// A part of the shard's state machine. Not thread-safe.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "common/message.h"
#include "ps/checkpoint_io.h"
#include "ps/ownership.h"
#include "ps/refusal.h"
#include "ps/table_set.h"

namespace marquee {

class Checkpointing {
 public:
  // All must outlive the object. Without an `io` every request is refused.
  Checkpointing(Identity self, const Ownership& ownership, const TableSet& tables, CheckpointIo* io)
      : self_(std::move(self)), ownership_(ownership), tables_(tables), io_(io) {}

  // The same one again is fine.
  MaybeRefusal Cut(wire::CutCheckpoint::Reader request, uint64_t view);
  // What became of a cut: its file, or notYet. A question that came too early may be kept until it can be answered.
  MaybeRefusal Ask(uint64_t number, RowFileSummary* file) const;
  void KeepAsked(const Message& message);
  std::vector<Message> TakeAsked();

  // Takes a request to be answered when its rows are there: see TakeRestored. A refusal is its answer. `answered` is set where
  // they are there already.
  MaybeRefusal Restore(const Message& message, bool* answered);
  struct Restored {
    Message request;
    MaybeRefusal refusal;
  };
  std::vector<Restored> TakeRestored() { return std::exchange(restored_, {}); }

  // The ownership has another view. `lost` are the partitions whose rows here are void now.
  void OnView(const std::vector<PartitionNumber>& lost);
  // The rows here may not be what the cut before knew: this shard was a copy.
  void BecamePrimary(PartitionNumber partition) { new_.insert(partition); }

  void OnTimer(absl::Time now);
  absl::Time next_timer() const { return next_timer_; }

  uint64_t kept_bytes() const;  // of rows that were changed since the cut and are not written yet

 private:
  struct Write {
    uint64_t number = 0;
    std::vector<std::shared_ptr<TableStore>> tables;
    std::vector<PartitionNumber> partitions;
    size_t table = 0;  // where the walk goes on
    size_t partition = 0;
    bool full = true;
    bool walking = true;
    std::optional<absl::StatusOr<RowFileSummary>> result;
  };
  struct Reading {
    Message request;
    std::map<TableNumber, TableNumber> tables;  // from the files' to ours
    bool begun = false;
  };

  void WriteMore();
  void EndWalk();
  void Fail(absl::Status status);
  void ReadMore();
  MaybeRefusal Apply(const RowBlock& block, const Reading& reading) const;
  void EndReading(MaybeRefusal refusal);

  Identity self_;
  const Ownership& ownership_;
  const TableSet& tables_;
  CheckpointIo* io_;
  std::optional<Write> write_;  // the newest cut
  std::vector<Message> asked_;
  std::set<PartitionNumber> new_;
  std::deque<Reading> readings_;
  std::vector<Restored> restored_;
  std::map<TableNumber, uint64_t> restored_in_;  // view in which a table's rows were restored
  absl::Time next_timer_ = absl::InfiniteFuture();
};

}  // namespace marquee

#endif  // MARQUEE_PS_CHECKPOINTING_H_
