#ifndef MARQUEE_TESTS_UNIT_PS_SEED_H_
#define MARQUEE_TESTS_UNIT_PS_SEED_H_

// The seed of a randomized test: MARQUEE_TEST_SEED, or a new one each run. Print it with SCOPED_TRACE(SeedTrace(seed)).

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

namespace marquee {

inline uint64_t TestSeed() {
  const char* const given = std::getenv("MARQUEE_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
}

inline std::string SeedTrace(uint64_t seed) { return "MARQUEE_TEST_SEED=" + std::to_string(seed); }

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_PS_SEED_H_
