// Thousands of clusters, each drawn from a seed. A seed that fails is printed with the command that shows what happened in it.
// MARQUEE_SEEDS=A..B runs others.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "tests/simulation/scenario.h"

namespace marquee::simulation {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(NDEBUG)
constexpr uint64_t kSeeds = 200;
unsigned Threads() { return 1; }
#else
constexpr uint64_t kSeeds = 10000;
unsigned Threads() { return std::max(1U, std::thread::hardware_concurrency()); }  // each seed is in one
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
  std::atomic<uint64_t> next = first;
  const auto run = [&, last = last] {
    for (uint64_t seed = next++; seed <= last; seed = next++) {
      const Outcome outcome = Simulate(Scenario::FromSeed(seed));
      const std::lock_guard lock(mutex);
      if (!outcome.violation.empty()) {
        ++failed;
        ADD_FAILURE() << outcome.scenario << outcome.violation << "\nreplay: " << ReplayCommand(seed);
      }
      total.Add(outcome);
      if (failed >= kMostShown) next = last + 1;
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = Threads(); i > 0; --i) threads.emplace_back(run);
  for (std::thread& thread : threads) thread.join();
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
