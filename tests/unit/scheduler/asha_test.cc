#include "scheduler/asha.h"

#include <gtest/gtest.h>

#include <vector>

namespace marquee {
namespace {

TEST(AshaTest, RungsAreThePowersOfTheFactorBelowTheLastEpoch) {
  const Asha asha({.grace_period = 2, .reduction_factor = 3});
  std::vector<uint32_t> rungs;
  for (uint32_t rung = asha.RungAfter(0, 54); rung != 0; rung = asha.RungAfter(rung, 54)) rungs.push_back(rung);
  EXPECT_EQ(rungs, (std::vector<uint32_t>{2, 6, 18}));  // 54 is the last epoch: nobody is stopped there
  EXPECT_TRUE(asha.IsRung(6, 54));
  EXPECT_FALSE(asha.IsRung(5, 54));
  EXPECT_FALSE(asha.IsRung(54, 54));
  EXPECT_FALSE(asha.IsRung(0, 54));
  EXPECT_EQ(asha.RungAfter(0, 2), 0U);
}

// By hand, with factor 3: of n values the best max(1, floor(n / 3)) go on.
TEST(AshaTest, GoesOnAmongTheBestThirdOfThoseSoFar) {
  Asha asha({.grace_period = 1, .reduction_factor = 3});
  struct Arrival {
    const char* trial;
    double value;
    bool goes_on;
  };
  for (const Arrival& arrival : {
           Arrival{"a", 0.30, true},   // the first: nobody to compare with
           Arrival{"b", 0.20, false},  // 1 of 2 goes on
           Arrival{"c", 0.40, true},   // the best of 3
           Arrival{"d", 0.35, false},  // second of 4: 1 goes on
           Arrival{"e", 0.10, false},  // last of 5
           Arrival{"f", 0.38, true},   // second of 6: 2 go on
           Arrival{"g", 0.39, true},   // second of 7: 2 go on
           Arrival{"h", 0.37, false},  // fourth of 8
           Arrival{"i", 0.38, true},   // of 9, 3 go on: only c and g are better, f is as good
       }) {
    EXPECT_EQ(asha.Report("", 1, arrival.trial, arrival.value), arrival.goes_on) << arrival.trial;
  }
}

TEST(AshaTest, RungsAndGroupsAreComparedApart) {
  Asha asha({.grace_period = 1, .reduction_factor = 2});
  EXPECT_TRUE(asha.Report("towers", 1, "a", 0.9));
  EXPECT_TRUE(asha.Report("towers", 2, "b", 0.1));
  EXPECT_TRUE(asha.Report("ranking", 1, "c", -0.9));
  EXPECT_FALSE(asha.Report("towers", 1, "d", 0.8));
}

TEST(AshaTest, ATrialThatComesAgainReplacesItsValue) {
  Asha asha({.grace_period = 1, .reduction_factor = 2});
  EXPECT_TRUE(asha.Report("", 1, "a", 0.5));
  EXPECT_TRUE(asha.Report("", 1, "a", 0.3));
  EXPECT_TRUE(asha.Report("", 1, "b", 0.4)) << "0.5 is no more";
}

}  // namespace
}  // namespace marquee
