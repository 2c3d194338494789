#ifndef MARQUEE_PS_ROW_MARKS_H_
#define MARQUEE_PS_ROW_MARKS_H_

// One bit for each slot of a partition. Slots that were never set have none. A value type.

#include <bit>
#include <cstdint>
#include <vector>

namespace marquee {

class RowMarks {
 public:
  void Set(uint64_t slot) {
    const uint64_t word = slot / kBits;
    if (word >= words_.size()) words_.resize(word + 1 + word / 2);
    words_[word] |= uint64_t{1} << slot % kBits;
  }
  // All of 0 to count - 1.
  void SetFirst(uint64_t count) {
    words_.assign((count + kBits - 1) / kBits, UINT64_MAX);
    if (count % kBits != 0) words_.back() = (uint64_t{1} << count % kBits) - 1;
  }
  bool Has(uint64_t slot) const { return slot / kBits < words_.size() && (words_[slot / kBits] >> slot % kBits & 1U) != 0; }
  void Unset(uint64_t slot) { words_[slot / kBits] &= ~(uint64_t{1} << slot % kBits); }
  void Clear() { words_ = {}; }

  static constexpr uint64_t kNone = UINT64_MAX;
  // The first one from a slot on; kNone if there is none.
  uint64_t FirstFrom(uint64_t slot) const {
    if (slot == kNone) return kNone;
    for (uint64_t word = slot / kBits; word < words_.size(); ++word) {
      const uint64_t left = word == slot / kBits ? words_[word] & UINT64_MAX << slot % kBits : words_[word];
      if (left != 0) return word * kBits + static_cast<uint64_t>(std::countr_zero(left));
    }
    return kNone;
  }

 private:
  static constexpr uint64_t kBits = 64;
  std::vector<uint64_t> words_;
};

}  // namespace marquee

#endif  // MARQUEE_PS_ROW_MARKS_H_
