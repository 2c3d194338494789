// A promise that no bug can break is no promise: each of these bugs is found by the runs that are fine without it.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <mutex>
#include <string>

#include "tests/simulation/each_seed.h"
#include "tests/simulation/scenario.h"

namespace marquee::simulation {

void PrintTo(const PlantedBug& bug, std::ostream* out) { *out << bug.name; }

namespace {

constexpr uint64_t kMostSeeds = 3000;

class PlantedBugTest : public testing::TestWithParam<PlantedBug> {};

TEST_P(PlantedBugTest, IsFound) {
  std::mutex mutex;
  std::map<uint64_t, std::string> found;
  EachSeed(1, kMostSeeds, [&](uint64_t seed) {
    const std::string violation = Simulate(Scenario::FromSeed(seed, &GetParam()), &GetParam()).violation;
    if (violation.empty()) return true;
    const std::lock_guard lock(mutex);
    found.emplace(seed, violation);
    return false;
  });
  ASSERT_FALSE(found.empty()) << "not in " << kMostSeeds << " seeds";
  const auto& [seed, violation] = *found.begin();
  fmt::print("seed {}: {}\n", seed, violation);
  EXPECT_THAT(violation, testing::ContainsRegex(GetParam().found_as));
  EXPECT_EQ(Simulate(Scenario::FromSeed(seed, &GetParam())).violation, "") << "without the bug";
}

INSTANTIATE_TEST_SUITE_P(Each, PlantedBugTest, testing::ValuesIn(PlantedBugs()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace marquee::simulation
