#ifndef MARQUEE_TESTS_SIMULATION_LEDGER_H_
#define MARQUEE_TESTS_SIMULATION_LEDGER_H_

// Knows what every row must hold. Each push adds to each of its rows a power of four at a column that is that push's alone, so
// that the rows themselves tell how often each push was applied to them: the base-4 digits of a column are counts.
//
// Rows start at kInitial; tables are under SGD with learning rate 1; all numbers stay exact in a float. A row that holds
// anything but what was pushed to it (a shifted gradient, another table's, half of one) has a digit that is nobody's.
//
// Promises that are checked with each row that is read, and with all rows before their table is dropped:
//   acknowledged pushes (before the read was asked for) were applied exactly once; others at most once; nothing else was.
// Those of a trial that went on from a checkpoint were acknowledged before its cut or are in its own sessions. With what
// workers tell of steps: the staleness bound, the order of ranks in synchronous mode, and how often each example was
// trained.

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "absl/types/span.h"
#include "common/id.h"

namespace marquee::simulation {

inline constexpr float kInitial = -1;

class Ledger {
 public:
  using AttemptNumber = uint64_t;  // from 1

  // A push that a worker is about to start.
  struct Attempt {
    uint64_t trial = 0;
    uint64_t session = 0;
    uint32_t rank = 0;
    uint64_t step = 0;  // the worker's clock before it
    uint32_t epoch = 0;
    uint64_t begin = 0;  // positions of the epoch that it trains
    uint64_t end = 0;
    uint64_t acknowledged_as = 0;  // how many were acknowledged with it; 0: not
  };
  AttemptNumber Begin(Attempt attempt);

  // Where in a row of `dim` columns the attempt adds how much; nullopt if the row has no place left.
  struct Place {
    uint32_t column = 0;
    float value = 0;
  };
  std::optional<Place> TakePlace(TableNumber table, uint32_t dim, Id id, AttemptNumber attempt);

  // What its worker begins from now on is not the session's to train: it has not heard yet.
  void CloseSession(uint64_t session) { closed_.insert(session); }

  // The attempt's pushes are numbered up to `sequence`, from the one before's on.
  void SetLastSequence(AttemptNumber attempt, uint64_t sequence);

  // Empty if a shard with that view may apply a push of that session and sequence for the first time: no other session that
  // is open trains its examples by now. A chunk is leased again only after its session was closed, on all shards but those that
  // a newer view has deposed: what they apply is never acknowledged.
  std::string CheckApplied(uint64_t session, uint64_t sequence, uint64_t view) const;
  // A shard has this view.
  void SeeView(uint64_t number) { newest_view_ = std::max(newest_view_, number); }

  void Acknowledge(AttemptNumber attempt) { attempts_[attempt - 1].acknowledged_as = ++acknowledged_; }
  uint64_t acknowledged() const { return acknowledged_; }

  // Empty if the row may look like that to a read that was asked for when `acknowledged_before` were acknowledged.
  std::string CheckRow(TableNumber table, Id id, absl::Span<const float> values, uint64_t acknowledged_before) const;

  // Empty if a shard with that view may serve the row, by a read or by a push that it applies: no other has done so under a
  // newer view.
  std::string Serve(TableNumber table, Id id, const std::string& shard, uint64_t view);

  // Empty if every push of other sessions up to and including `step` is in the row.
  std::string CheckFresh(TableNumber table, Id id, absl::Span<const float> values, uint64_t session, uint64_t step) const;

  // Empty if no push of other sessions from `step` on is in the row.
  std::string CheckNoneFrom(TableNumber table, Id id, absl::Span<const float> values, uint64_t session, uint64_t step) const;

  // False if the table's end has begun before: some of its rows may be gone.
  bool EndTable(TableNumber table) { return ended_.insert(table).second; }
  // The table's rows are gone: nothing is promised of it any more. Its trial starts anew in other tables.
  void RollBack(TableNumber table) { rolled_back_.insert(table); }

  // All that was begun and acknowledged by now.
  struct Cut {
    AttemptNumber attempts = 0;
    uint64_t acknowledged = 0;
  };
  Cut CutNow() const { return {.attempts = attempts_.size(), .acknowledged = acknowledged_}; }
  // A trial goes on from where another attempt at it stood at a cut: what that had trained counts for it.
  void GoOn(uint64_t from, uint64_t trial, const Cut& cut) { went_on_.emplace(trial, Origin{.trial = from, .cut = cut}); }
  // A table begins with what another held at a cut: of the pushes begun by then, what is promised of it.
  void CopyTable(TableNumber from, TableNumber to, const Cut& cut);
  // Nobody has pushed to the copy yet: shards may still be restoring it.
  bool IsFreshCopy(TableNumber table) const { return fresh_copies_.contains(table); }

  // Ids of a table that anybody has pushed to, ascending.
  std::vector<Id> RowsOf(TableNumber table) const;

  // Empty if each of the trial's `examples` was trained and acknowledged in each epoch, and at most `repeated` of all more
  // than once.
  std::string CheckExamples(uint64_t trial, uint64_t examples, uint32_t epochs, uint64_t repeated) const;

  uint64_t attempts() const { return attempts_.size(); }
  uint64_t rows_checked() const { return rows_checked_; }

 private:
  struct Row {
    uint32_t dim = 0;
    std::vector<AttemptNumber> places;  // in the order of columns, then digits
    size_t copied = 0;                  // so many of them came with the table it was copied from
  };
  struct Server {
    std::string shard;
    uint64_t view = 0;
  };
  struct Origin {
    uint64_t trial = 0;
    Cut cut;
  };
  std::string Name(AttemptNumber number) const;
  const Row* FindRow(TableNumber table, Id id) const;  // nullptr if nobody pushed to it, or it was rolled back

  std::vector<Attempt> attempts_;
  std::map<uint64_t, std::map<uint64_t, AttemptNumber>> sequences_;     // by session and last sequence
  std::map<std::tuple<uint64_t, uint32_t, uint64_t>, uint64_t> owner_;  // of (trial, epoch, position): the newest session
  std::map<uint64_t, Origin> went_on_;                                  // by trial
  std::map<TableNumber, std::map<Id, Row>> tables_;
  std::set<TableNumber> copied_, fresh_copies_;
  std::map<std::pair<TableNumber, Id>, Server> servers_;  // of the newest view that a row was served under
  std::set<TableNumber> rolled_back_, ended_;
  std::set<uint64_t> closed_;
  uint64_t acknowledged_ = 0;
  uint64_t newest_view_ = 0;
  mutable uint64_t rows_checked_ = 0;
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_LEDGER_H_
