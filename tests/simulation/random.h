#ifndef MARQUEE_TESTS_SIMULATION_RANDOM_H_
#define MARQUEE_TESTS_SIMULATION_RANDOM_H_

// The simulator's only source of chance: xoshiro256** (Blackman and Vigna), seeded by SplitMix64. The same on every machine,
// which the standard library's distributions are not.

#include <array>
#include <bit>
#include <cstdint>

#include "absl/time/time.h"

namespace marquee::simulation {

class Random {
 public:
  explicit Random(uint64_t seed) {
    for (uint64_t& word : state_) {
      seed += 0x9e3779b97f4a7c15U;
      uint64_t x = seed;
      x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9U;
      x = (x ^ (x >> 27U)) * 0x94d049bb133111ebU;
      word = x ^ (x >> 31U);
    }
  }

  uint64_t Next() {
    const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
    const uint64_t shifted = state_[1] << 17U;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = std::rotl(state_[3], 45);
    return result;
  }

  // Below `limit`, which is at least 1. The bias of the remainder does not matter here.
  uint64_t Below(uint64_t limit) { return Next() % limit; }
  uint64_t Between(uint64_t low, uint64_t high) { return low + Below(high - low + 1); }
  bool OneIn(uint64_t n) { return Below(n) == 0; }
  bool Chance(double probability) { return static_cast<double>(Next() >> 11U) * 0x1p-53 < probability; }
  absl::Duration Between(absl::Duration low, absl::Duration high) {
    return low +
           absl::Microseconds(static_cast<int64_t>(Below(static_cast<uint64_t>((high - low) / absl::Microseconds(1)) + 1)));
  }

 private:
  std::array<uint64_t, 4> state_{};
};

}  // namespace marquee::simulation

#endif  // MARQUEE_TESTS_SIMULATION_RANDOM_H_
