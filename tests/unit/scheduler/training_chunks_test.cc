#include "scheduler/training_chunks.h"

#include <gtest/gtest.h>

namespace marquee {
namespace {

TrainingChunks::Shape Small() { return {.examples = 50, .chunk_size = 20, .epochs = 2, .fixed_lanes = false, .ranks = 1}; }

TEST(TrainingChunksTest, CoversEachEpochInOrder) {
  TrainingChunks chunks(Small());
  EXPECT_EQ(chunks.total(), 6U);
  for (uint64_t number = 0; number < 6; ++number) {
    const auto lease = chunks.Take(1, 0);
    ASSERT_TRUE(lease.has_value());
    EXPECT_EQ(lease->number, number);
    EXPECT_EQ(lease->epoch, number / 3);
    EXPECT_EQ(lease->begin, number % 3 * 20);
    EXPECT_EQ(lease->end, number % 3 == 2 ? 50U : number % 3 * 20 + 20);
    EXPECT_EQ(lease->next, lease->begin);
  }
  EXPECT_FALSE(chunks.Take(1, 0).has_value());
  EXPECT_FALSE(chunks.Available(0));
  EXPECT_EQ(chunks.HeldBy(1), 6U);
}

TEST(TrainingChunksTest, CountsEachExampleOnce) {
  TrainingChunks chunks(Small());
  chunks.Take(1, 0);
  EXPECT_EQ(chunks.Report(1, 0, 10), 10U);
  EXPECT_EQ(chunks.Report(1, 0, 10), 0U);  // again
  EXPECT_EQ(chunks.Report(1, 0, 5), 0U);   // late
  EXPECT_EQ(chunks.Report(2, 0, 20), 0U);  // not its own
  EXPECT_EQ(chunks.Report(1, 0, 20), 10U);
  EXPECT_EQ(chunks.Report(1, 0, 20), 0U);  // finished already
  EXPECT_EQ(chunks.Report(1, 3, 20), 0U);  // never leased
  EXPECT_EQ(chunks.trained_examples(), 20U);
  EXPECT_EQ(chunks.HeldBy(1), 0U);
}

TEST(TrainingChunksTest, ChecksNumbersAndPositions) {
  const TrainingChunks chunks(Small());
  EXPECT_TRUE(chunks.Check(2, 40).ok());
  EXPECT_TRUE(chunks.Check(2, 50).ok());
  EXPECT_FALSE(chunks.Check(2, 39).ok());
  EXPECT_FALSE(chunks.Check(2, 51).ok());
  EXPECT_FALSE(chunks.Check(6, 0).ok());
}

TEST(TrainingChunksTest, ReleasedChunksComeFirstFromWhereTheyWere) {
  TrainingChunks chunks(Small());
  chunks.Take(1, 0);
  chunks.Take(1, 0);
  chunks.Take(2, 0);
  chunks.Report(1, 1, 33);
  const TrainingChunks::Released released = chunks.Release(1);
  EXPECT_EQ(released.chunks, 2U);
  EXPECT_EQ(released.examples, 20U + 7U);
  EXPECT_EQ(chunks.Take(3, 0)->number, 0U);
  const auto second = chunks.Take(3, 0);
  EXPECT_EQ(second->number, 1U);
  EXPECT_EQ(second->next, 33U);
  EXPECT_EQ(chunks.Take(3, 0)->number, 3U);
}

TEST(TrainingChunksTest, IsDoneWhenAllIsReported) {
  TrainingChunks chunks(Small());
  while (const auto lease = chunks.Take(1, 0)) {
    EXPECT_FALSE(chunks.done());
    EXPECT_EQ(chunks.epoch(), lease->epoch);
    chunks.Report(1, lease->number, lease->end);
  }
  EXPECT_TRUE(chunks.done());
  EXPECT_EQ(chunks.trained_examples(), 100U);
  EXPECT_EQ(chunks.EpochExamples(0), 50U);
  EXPECT_EQ(chunks.epoch(), 1U);
}

TEST(TrainingChunksTest, FixedLanesGoToTheirRanksUnlessTheseAreAbsent) {
  TrainingChunks chunks({.examples = 50, .chunk_size = 20, .epochs = 2, .fixed_lanes = true, .ranks = 2});
  EXPECT_EQ(chunks.Take(1, 0)->number, 0U);
  EXPECT_EQ(chunks.Take(2, 1)->number, 1U);
  EXPECT_EQ(chunks.Take(1, 0)->number, 2U);
  EXPECT_EQ(chunks.Take(1, 0)->number, 4U);
  EXPECT_FALSE(chunks.Available(0));
  chunks.SetAbsent(1, true);
  EXPECT_EQ(chunks.Take(1, 0)->number, 3U);
  chunks.Release(2);
  EXPECT_EQ(chunks.Take(1, 0)->number, 1U);
  chunks.SetAbsent(1, false);
  EXPECT_FALSE(chunks.Available(0));
  EXPECT_TRUE(chunks.Available(1));
}

TEST(TrainingChunksTest, OnlyEpochsWithinTheLimitAreLeased) {
  TrainingChunks chunks({.examples = 10, .chunk_size = 5, .epochs = 3, .fixed_lanes = true, .ranks = 2});
  chunks.LimitTo(1);
  EXPECT_EQ(chunks.Take(1, 0)->number, 0U);
  EXPECT_EQ(chunks.Take(2, 1)->number, 1U);
  EXPECT_FALSE(chunks.Available(0));
  EXPECT_FALSE(chunks.Take(1, 0).has_value());
  chunks.Report(1, 0, 5);
  EXPECT_FALSE(chunks.done());
  chunks.Report(2, 1, 10);
  EXPECT_TRUE(chunks.done());
  chunks.LimitTo(3);
  EXPECT_FALSE(chunks.done());
  EXPECT_EQ(chunks.Take(1, 0)->number, 2U);
}

TEST(TrainingChunksTest, PauseEvensOutLanesAndIsQuietAtTheEnd) {
  TrainingChunks chunks({.examples = 100, .chunk_size = 10, .epochs = 1, .fixed_lanes = true, .ranks = 2});
  chunks.Take(1, 0);
  chunks.Take(1, 0);  // chunks 0 and 2; rank 1 has had none
  chunks.Pause();
  EXPECT_FALSE(chunks.Available(0));
  EXPECT_EQ(chunks.Take(2, 1)->number, 1U);
  EXPECT_EQ(chunks.Take(2, 1)->number, 3U);
  EXPECT_FALSE(chunks.Take(2, 1).has_value());
  for (const uint64_t number : {0U, 2U}) chunks.Report(1, number, number * 10 + 10);
  EXPECT_FALSE(chunks.quiet());
  for (const uint64_t number : {1U, 3U}) chunks.Report(2, number, number * 10 + 10);
  EXPECT_TRUE(chunks.quiet());
  chunks.Resume();
  EXPECT_EQ(chunks.Take(1, 0)->number, 4U);
}

TEST(TrainingChunksTest, StoppedOneLeasesNothingEvenOnceMoreEpochsMayBe) {
  TrainingChunks chunks({.examples = 50, .chunk_size = 20, .epochs = 2, .fixed_lanes = true, .ranks = 2});
  chunks.LimitTo(1);
  for (const auto& [rank, session] : {std::pair{0U, 1U}, {1U, 2U}, {0U, 1U}}) {
    const auto lease = chunks.Take(session, rank);
    ASSERT_TRUE(lease.has_value());
    chunks.Report(session, lease->number, lease->end);
  }
  chunks.Pause();
  EXPECT_TRUE(chunks.quiet());
  chunks.Stop();
  chunks.LimitTo(2);  // a validation has ended meanwhile
  EXPECT_TRUE(chunks.quiet());
  EXPECT_FALSE(chunks.Take(2, 1).has_value());
  chunks.Resume();
  EXPECT_EQ(chunks.Take(2, 1)->number, 3U);
}

TEST(TrainingChunksTest, ProgressWhoseSumsAreWrongIsRefused) {
  TrainingChunks chunks(Small());
  chunks.Take(1, 0);
  chunks.Report(1, 0, 20);
  const TrainingChunks::Progress right = chunks.progress();
  EXPECT_TRUE(TrainingChunks(Small()).GoOnFrom(right).ok());
  TrainingChunks::Progress wrong = right;
  wrong.finished = 2;
  EXPECT_FALSE(TrainingChunks(Small()).GoOnFrom(wrong).ok());
  wrong = right;
  wrong.trained_by_epoch[1] = 7;
  EXPECT_FALSE(TrainingChunks(Small()).GoOnFrom(wrong).ok());
  wrong = right;
  wrong.released[4] = 20;
  EXPECT_FALSE(TrainingChunks(Small()).GoOnFrom(wrong).ok());
}

TEST(TrainingChunksTest, GoesOnFromItsProgress) {
  TrainingChunks chunks(Small());
  chunks.Take(1, 0);
  chunks.Take(1, 0);
  chunks.Take(2, 0);
  chunks.Report(1, 0, 20);
  chunks.Report(1, 1, 33);
  chunks.Report(2, 2, 50);
  chunks.Release(1);
  TrainingChunks again(Small());
  ASSERT_TRUE(again.GoOnFrom(chunks.progress()).ok());
  EXPECT_EQ(again.trained_examples(), 43U);
  const auto lease = again.Take(3, 0);
  EXPECT_EQ(lease->number, 1U);
  EXPECT_EQ(lease->next, 33U);
  EXPECT_EQ(again.Take(3, 0)->number, 3U);
  TrainingChunks::Shape other = Small();
  other.chunk_size = 10;
  EXPECT_FALSE(TrainingChunks(other).GoOnFrom(chunks.progress()).ok());
}

}  // namespace
}  // namespace marquee
