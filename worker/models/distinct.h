#ifndef MARQUEE_WORKER_MODELS_DISTINCT_H_
#define MARQUEE_WORKER_MODELS_DISTINCT_H_

// Numbers the distinct values among small integers 0, 1, 2 ... in the order of their first appearance. A table indexed by the
// integers, kept from one list to the next, so that a value costs one memory access and nothing is allocated or cleared. Not
// thread-safe.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace marquee {

class DistinctCodes {
 public:
  // Codes are below `codes`.
  explicit DistinctCodes(size_t codes) : entries_(codes) {}

  // Starts a new list.
  void Begin() {
    count_ = 0;
    if (++round_ == 0) {
      entries_.assign(entries_.size(), Entry{});
      round_ = 1;
    }
  }

  // The number of `code` in this list. It equals the former count() where the code is new.
  uint32_t SlotOf(uint32_t code) {
    Entry& entry = entries_[code];
    if (entry.round != round_) entry = {round_, count_++};
    return entry.slot;
  }

  uint32_t count() const { return count_; }

 private:
  struct Entry {
    uint32_t round = 0;
    uint32_t slot = 0;
  };
  std::vector<Entry> entries_;
  uint32_t round_ = 0;
  uint32_t count_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_DISTINCT_H_
