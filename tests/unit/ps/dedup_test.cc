#include "ps/dedup.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "tests/unit/ps/seed.h"

namespace marquee {
namespace {

using State = PushWindow::State;

TEST(PushWindow, EverythingIsNewAtFirst) {
  const PushWindow window;
  EXPECT_EQ(window.highest(), 0U);
  for (const uint64_t sequence : {uint64_t{1}, uint64_t{64}, uint64_t{65}, UINT64_MAX}) {
    EXPECT_EQ(window.Look(sequence), State::kNew);
  }
}

TEST(PushWindow, HoldsTheSixtyFourUpToTheHighest) {
  PushWindow window;
  window.Mark(100);
  EXPECT_EQ(window.Look(100), State::kApplied);
  EXPECT_EQ(window.Look(101), State::kNew);
  EXPECT_EQ(window.Look(99), State::kNew);
  EXPECT_EQ(window.Look(37), State::kNew);      // 63 behind
  EXPECT_EQ(window.Look(36), State::kOutside);  // 64 behind
  EXPECT_EQ(window.Look(1), State::kOutside);
}

TEST(PushWindow, OldestOfTheWindowIsRemembered) {
  PushWindow window;
  window.Mark(1);
  window.Mark(64);
  EXPECT_EQ(window.Look(1), State::kApplied);
  window.Mark(65);
  EXPECT_EQ(window.Look(1), State::kOutside);
  EXPECT_EQ(window.Look(2), State::kNew);
}

TEST(PushWindow, JumpsOfTheWidthAndMoreForgetAllBefore) {
  for (const uint64_t jump : {63, 64, 65, 1000}) {
    PushWindow window;
    window.Mark(5);
    window.Mark(5 + jump);
    EXPECT_EQ(window.Look(5), jump < PushWindow::kWidth ? State::kApplied : State::kOutside) << jump;
    EXPECT_EQ(window.Look(6), jump <= PushWindow::kWidth ? State::kNew : State::kOutside) << jump;
    EXPECT_EQ(window.Look(5 + jump), State::kApplied);
  }
}

TEST(PushWindow, WorksAtTheLargestSequence) {
  PushWindow window;
  window.Mark(UINT64_MAX - 1);
  window.Mark(UINT64_MAX);
  EXPECT_EQ(window.Look(UINT64_MAX), State::kApplied);
  EXPECT_EQ(window.Look(UINT64_MAX - 1), State::kApplied);
  EXPECT_EQ(window.Look(UINT64_MAX - 2), State::kNew);
  EXPECT_EQ(window.Look(UINT64_MAX - 64), State::kOutside);
}

// Against the definition: a set of all that were applied.
TEST(PushWindow, AgreesWithASetUnderRandomOrder) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  PushWindow window;
  std::set<uint64_t> applied;
  uint64_t highest = 0;
  for (int step = 0; step < 20000; ++step) {
    const uint64_t low = highest > 80 ? highest - 80 : 1;
    const uint64_t sequence = low + random() % (highest + 3 - low + (step % 500 == 0 ? 100 : 0));
    State expected = applied.contains(sequence) ? State::kApplied : State::kNew;
    if (sequence + PushWindow::kWidth <= highest) expected = State::kOutside;
    ASSERT_EQ(window.Look(sequence), expected) << sequence << " with highest " << highest;
    if (expected != State::kNew) continue;
    window.Mark(sequence);
    applied.insert(sequence);
    highest = std::max(highest, sequence);
    ASSERT_EQ(window.highest(), highest);
  }
}

}  // namespace
}  // namespace marquee
