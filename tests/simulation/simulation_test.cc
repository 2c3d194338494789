// Thousands of clusters, each drawn from a seed. A seed that fails is printed with the command that shows what happened in it.
// MARQUEE_SEEDS=A..B runs others.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "tests/simulation/each_seed.h"
#include "tests/simulation/scenario.h"

namespace marquee::simulation {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
constexpr uint64_t kSeeds = 200;
#else
constexpr uint64_t kSeeds = 10000;
#endif
constexpr int kMostShown = 5;

std::pair<uint64_t, uint64_t> Seeds() {
  std::pair<uint64_t, uint64_t> seeds = {1, kSeeds};
  if (const char* chosen = std::getenv("MARQUEE_SEEDS"); chosen != nullptr) {
    EXPECT_EQ(std::sscanf(chosen, "%lu..%lu", &seeds.first, &seeds.second), 2) << "MARQUEE_SEEDS: must be A..B";
  }
  return seeds;
}

TEST(Simulation, EverySeedKeepsItsPromises) {
  const auto [first, last] = Seeds();
  fmt::print("seeds {}..{}\n", first, last);
  Outcome total;
  int failed = 0;
  std::mutex mutex;
  EachSeed(first, last, [&](uint64_t seed) {
    const Outcome outcome = Simulate(Scenario::FromSeed(seed));
    const std::lock_guard lock(mutex);
    total.Add(outcome);
    if (outcome.violation.empty()) return true;
    ADD_FAILURE() << outcome.scenario << outcome.violation << "\nreplay: " << ReplayCommand(seed);
    return ++failed < kMostShown;
  });
  fmt::print("{}\n", total.Totals());
  // What the promises are about did happen.
  EXPECT_GT(total.pushes, 0);
  EXPECT_GT(total.duplicates, 0);
  EXPECT_GT(total.staleness_checks, 0);
  EXPECT_GT(total.copies_checked, 0);
  EXPECT_GT(total.sessions_lost, 0);
  EXPECT_GT(total.repeated_examples, 0);
  EXPECT_GT(total.checkpoints_made, 0);
  EXPECT_GT(total.copies_restored, 0);
  EXPECT_GT(total.disk_faults, 0);
}

TEST(Simulation, ASeedIsOneRunBitForBit) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const Outcome first = Simulate(Scenario::FromSeed(seed), nullptr, /*trace=*/true);
    const Outcome second = Simulate(Scenario::FromSeed(seed), nullptr, /*trace=*/true);
    EXPECT_EQ(first.fingerprint, second.fingerprint) << seed;
    EXPECT_EQ(first.messages, second.messages) << seed;
    ASSERT_EQ(first.trace, second.trace) << seed;
    EXPECT_FALSE(first.trace.empty());
  }
}

TEST(Simulation, TracingChangesNothing) {
  EXPECT_EQ(Simulate(Scenario::FromSeed(7)).fingerprint, Simulate(Scenario::FromSeed(7), nullptr, /*trace=*/true).fingerprint);
}

}  // namespace
}  // namespace marquee::simulation
