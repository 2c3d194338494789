#include "dataset/permutation.h"

#include <bit>

#include "common/id.h"

namespace marquee {

namespace {
constexpr uint32_t kRounds = 4;  // enough for a pseudo-random permutation of any one key (Luby and Rackoff, 1988)
}  // namespace

Permutation::Permutation(uint64_t size, uint64_t key) : size_(size), key_(key), half_bits_(1) {
  const auto bits = static_cast<uint32_t>(size <= 1 ? 1 : std::bit_width(size - 1));
  half_bits_ = (bits + 1) / 2;
}

uint64_t Permutation::Encrypt(uint64_t value) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = value >> half_bits_;
  uint64_t right = value & mask;
  for (uint32_t round = 0; round < kRounds; ++round) {
    const uint64_t mixed = MixId(MixId(key_ + round) ^ right);
    const uint64_t next = left ^ (mixed >> (64U - half_bits_));
    left = right;
    right = next;
  }
  return (left << half_bits_) | right;
}

uint64_t Permutation::At(uint64_t position) const {
  // The network permutes at most four times as many values as there are elements: walk on until one of them comes.
  uint64_t value = Encrypt(position);
  while (value >= size_) value = Encrypt(value);
  return value;
}

}  // namespace marquee
