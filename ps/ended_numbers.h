#ifndef MARQUEE_PS_ENDED_NUMBERS_H_
#define MARQUEE_PS_ENDED_NUMBERS_H_

// Which numbers of things that are never numbered twice (sessions, tables) have ended: a late request must not bring them back.
// A value type.

#include <cstdint>
#include <set>
#include <utility>

#include "absl/container/flat_hash_set.h"

namespace marquee {

class EndedNumbers {
 public:
  void End(uint64_t number) { ended_.insert(number); }
  // All below have ended but those in `kept`.
  void EndBelow(uint64_t below, std::set<uint64_t> kept) {
    if (below < below_) return;  // a late copy
    below_ = below;
    kept_ = std::move(kept);
    absl::erase_if(ended_, [&](uint64_t number) { return number < below_ && !kept_.contains(number); });
  }
  bool Has(uint64_t number) const { return ended_.contains(number) || (number < below_ && !kept_.contains(number)); }

 private:
  absl::flat_hash_set<uint64_t> ended_;
  uint64_t below_ = 0;
  std::set<uint64_t> kept_;  // of those below
};

}  // namespace marquee

#endif  // MARQUEE_PS_ENDED_NUMBERS_H_
