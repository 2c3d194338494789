#ifndef MARQUEE_SCHEDULER_CLOCK_TABLE_H_
#define MARQUEE_SCHEDULER_CLOCK_TABLE_H_

// The clocks of a trial's ranks. A session counts its own steps from 0; here each rank has a base, so that one who joins later,
// or who comes back from idling, starts at the slowest. What a rank is told is in its own count: the base is taken off again.
//
// Ranks that are absent (left, dead) or idle (hold no work, and there is none for them) do not hold back the slowest clock,
// which only ever rises. An idle rank is told no clock above its own, since its base moves when it is given work again. Pure;
// not thread-safe.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace marquee {

class ClockTable {
 public:
  static constexpr uint64_t kLeft = UINT64_MAX;

  explicit ClockTable(uint32_t ranks) : ranks_(ranks) {}

  // All that it knows, for one that goes on from there.
  struct Rank {
    bool present = false;
    bool idle = false;
    uint64_t base = 0;
    uint64_t clock = 0;  // of the session
    uint64_t pulled = 0;
    uint64_t absolute() const { return base + clock; }
    uint64_t absolute_pulled() const { return base + std::max(pulled, clock); }
  };
  struct Saved {
    std::vector<Rank> ranks;
    uint64_t slowest = 0;
  };
  Saved Save() const { return {.ranks = ranks_, .slowest = slowest_}; }
  // Of as many ranks as this one has.
  void GoOnFrom(const Saved& saved) {
    ranks_ = saved.ranks;
    slowest_ = saved.slowest;
    Changed();
  }

  // A new session has the rank. It counts from 0.
  void Join(uint32_t rank);
  void Leave(uint32_t rank);
  // True if that is something new.
  bool SetIdle(uint32_t rank, bool idle);
  // The session of the rank has finished `clock` steps. Lower ones than before are ignored.
  void Report(uint32_t rank, uint64_t clock);
  // The session of the rank has pulled the rows of `pulled` steps, its finished ones included. Likewise.
  void ReportPulled(uint32_t rank, uint64_t pulled);

  uint64_t slowest() const { return slowest_; }
  uint64_t fastest() const;

  // What the session of rank `to` is told.
  uint64_t SlowestFor(uint32_t to) const { return Told(to, slowest_); }
  uint64_t ClockFor(uint32_t to, uint32_t rank) const;
  // How many steps' rows all ranks that are there have pulled: pushes of a step must not be seen by its own pulls.
  uint64_t AllPulledFor(uint32_t to) const;

  // Changes whenever somebody would be told something new: of any clock, or of the slowest one.
  uint64_t changes() const { return changes_; }
  uint64_t slowest_changes() const { return slowest_changes_; }

 private:
  uint64_t Told(uint32_t to, uint64_t absolute) const;
  void Changed();

  std::vector<Rank> ranks_;
  uint64_t slowest_ = 0;
  uint64_t changes_ = 0;
  uint64_t slowest_changes_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_CLOCK_TABLE_H_
