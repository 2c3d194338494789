// A promise that no bug can break is no promise: each of these bugs is found by the runs that are fine without it.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/simulation/scenario.h"

namespace marquee::simulation {

void PrintTo(const PlantedBug& bug, std::ostream* out) { *out << bug.name; }

namespace {

constexpr uint64_t kMostSeeds = 3000;

class PlantedBugTest : public testing::TestWithParam<PlantedBug> {};

TEST_P(PlantedBugTest, IsFound) {
  for (uint64_t seed = 1; seed <= kMostSeeds; ++seed) {
    const Outcome outcome = Simulate(Scenario::FromSeed(seed, &GetParam()), &GetParam());
    if (outcome.violation.empty()) continue;
    fmt::print("seed {}: {}\n", seed, outcome.violation);
    EXPECT_THAT(outcome.violation, testing::ContainsRegex(GetParam().found_as));
    EXPECT_EQ(Simulate(Scenario::FromSeed(seed, &GetParam())).violation, "") << "without the bug";
    return;
  }
  FAIL() << "not in " << kMostSeeds << " seeds";
}

INSTANTIATE_TEST_SUITE_P(Each, PlantedBugTest, testing::ValuesIn(PlantedBugs()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace marquee::simulation
