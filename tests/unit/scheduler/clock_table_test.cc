#include "scheduler/clock_table.h"

#include <gtest/gtest.h>

namespace marquee {
namespace {

TEST(ClockTableTest, SlowestIsTheLeastOfThosePresent) {
  ClockTable clocks(3);
  for (uint32_t rank = 0; rank < 3; ++rank) clocks.Join(rank);
  clocks.Report(0, 5);
  clocks.Report(1, 3);
  EXPECT_EQ(clocks.slowest(), 0U);
  clocks.Report(2, 4);
  EXPECT_EQ(clocks.slowest(), 3U);
  EXPECT_EQ(clocks.fastest(), 5U);
  clocks.Report(1, 2);  // late
  EXPECT_EQ(clocks.ClockFor(0, 1), 3U);
  clocks.Leave(1);
  EXPECT_EQ(clocks.slowest(), 4U);
  EXPECT_EQ(clocks.ClockFor(0, 1), ClockTable::kLeft);
}

TEST(ClockTableTest, NeverFallsBackWhenAllHaveLeft) {
  ClockTable clocks(1);
  clocks.Join(0);
  clocks.Report(0, 7);
  clocks.Leave(0);
  EXPECT_EQ(clocks.slowest(), 7U);
  clocks.Join(0);
  EXPECT_EQ(clocks.slowest(), 7U);
}

TEST(ClockTableTest, JoinerCountsFromZeroAtTheSlowest) {
  ClockTable clocks(2);
  clocks.Join(0);
  clocks.Report(0, 10);
  clocks.Join(1);
  EXPECT_EQ(clocks.SlowestFor(1), 0U);
  EXPECT_EQ(clocks.ClockFor(1, 0), 0U);
  EXPECT_EQ(clocks.ClockFor(0, 1), 10U);
  clocks.Report(0, 12);
  clocks.Report(1, 1);
  EXPECT_EQ(clocks.slowest(), 11U);
  EXPECT_EQ(clocks.SlowestFor(1), 1U);
  EXPECT_EQ(clocks.ClockFor(1, 0), 2U);
}

TEST(ClockTableTest, IdleRanksHoldNobodyBackAndComeBackAtTheSlowest) {
  ClockTable clocks(2);
  clocks.Join(0);
  clocks.Join(1);
  clocks.Report(0, 2);
  clocks.Report(1, 8);
  clocks.SetIdle(0, true);
  EXPECT_EQ(clocks.slowest(), 8U);
  EXPECT_EQ(clocks.SlowestFor(0), 2U);  // no more than its own: its base will move
  EXPECT_EQ(clocks.ClockFor(0, 1), 2U);
  EXPECT_EQ(clocks.ClockFor(1, 0), ClockTable::kLeft);
  clocks.SetIdle(0, false);
  EXPECT_EQ(clocks.slowest(), 8U);
  EXPECT_EQ(clocks.SlowestFor(0), 2U);
  clocks.Report(1, 9);
  EXPECT_EQ(clocks.slowest(), 8U);
  clocks.Report(0, 3);
  EXPECT_EQ(clocks.slowest(), 9U);
}

TEST(ClockTableTest, SaysWhenSomebodyIsToBeTold) {
  ClockTable clocks(2);
  clocks.Join(0);
  clocks.Join(1);
  const uint64_t changes = clocks.changes();
  const uint64_t slowest_changes = clocks.slowest_changes();
  clocks.Report(0, 1);
  EXPECT_GT(clocks.changes(), changes);
  EXPECT_EQ(clocks.slowest_changes(), slowest_changes);
  clocks.Report(1, 1);
  EXPECT_GT(clocks.slowest_changes(), slowest_changes);
}

}  // namespace
}  // namespace marquee
