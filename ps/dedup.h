#ifndef MARQUEE_PS_DEDUP_H_
#define MARQUEE_PS_DEDUP_H_

// Which pushes of one session a partition has applied: the highest sequence and the 64 sequences up to it.
//
// Exact as long as a client never sends sequence n while n - 64 or an older one is unacknowledged: what lies further behind
// than the window can then only be a stray copy, which is refused. A value type.

#include <cstdint>

namespace marquee {

class PushWindow {
 public:
  static constexpr uint64_t kWidth = 64;

  enum class State { kNew, kApplied, kOutside };

  PushWindow() = default;
  PushWindow(uint64_t highest, uint64_t applied) : highest_(highest), applied_(applied) {}

  // `sequence` is at least 1.
  State Look(uint64_t sequence) const {
    if (sequence > highest_) return State::kNew;
    const uint64_t behind = highest_ - sequence;
    if (behind >= kWidth) return State::kOutside;
    return (applied_ >> behind & 1U) != 0 ? State::kApplied : State::kNew;
  }

  // For a sequence that is kNew.
  void Mark(uint64_t sequence) {
    if (sequence > highest_) {
      const uint64_t ahead = sequence - highest_;
      applied_ = ahead >= kWidth ? 0 : applied_ << ahead;
      highest_ = sequence;
    }
    applied_ |= uint64_t{1} << (highest_ - sequence);
  }

  uint64_t highest() const { return highest_; }  // 0: none
  uint64_t applied() const { return applied_; }  // bit i: whether highest - i was applied

  bool operator==(const PushWindow&) const = default;

 private:
  uint64_t highest_ = 0;
  uint64_t applied_ = 0;
};

}  // namespace marquee

#endif  // MARQUEE_PS_DEDUP_H_
