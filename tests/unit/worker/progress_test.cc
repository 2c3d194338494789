#include "worker/progress.h"

#include <gtest/gtest.h>

namespace marquee {
namespace {

TrainChunk Chunk(uint64_t number, uint64_t begin, uint64_t end, uint64_t next) {
  return TrainChunk{.number = number, .epoch = 0, .begin = begin, .end = end, .next = next};
}

TEST(ProgressTest, StepsCountInOrderOnceAllTheirPushesAreAcknowledged) {
  Progress progress;
  progress.ChunkTaken(Chunk(7, 100, 130, 100));
  progress.StepPushed({.last_push = 2, .chunk = 7, .chunk_next = 110, .examples = 10, .loss_sum = 5});
  progress.StepPushed({.last_push = 3, .chunk = 7, .chunk_next = 120, .examples = 10, .loss_sum = 4});
  EXPECT_EQ(progress.Acknowledged(1), 0);
  EXPECT_EQ(progress.clock(), 0U);
  EXPECT_EQ(progress.Acknowledged(2), 1);
  EXPECT_EQ(progress.clock(), 1U);
  EXPECT_FALSE(progress.drained());

  const TickReport report = progress.Report(/*at_barrier=*/false);
  EXPECT_EQ(report.examples, 10U);
  EXPECT_DOUBLE_EQ(report.loss_sum, 5);
  ASSERT_EQ(report.chunks.size(), 1U);
  EXPECT_EQ(report.chunks[0].number, 7U);
  EXPECT_EQ(report.chunks[0].next, 110U);
  EXPECT_FALSE(report.drained);
}

TEST(ProgressTest, IsDrainedAtTheBarrierOnlyWithNothingUnacknowledged) {
  Progress progress;
  progress.ChunkTaken(Chunk(1, 0, 10, 0));
  progress.StepPushed({.last_push = 1, .chunk = 1, .chunk_next = 10, .examples = 10, .loss_sum = 1});
  EXPECT_FALSE(progress.Report(/*at_barrier=*/true).drained);
  progress.Acknowledged(1);
  EXPECT_FALSE(progress.Report(/*at_barrier=*/false).drained);
  EXPECT_TRUE(progress.Report(/*at_barrier=*/true).drained);
}

TEST(ProgressTest, FinishedChunksAreReportedUntilConfirmed) {
  Progress progress;
  progress.ChunkTaken(Chunk(1, 0, 10, 0));
  progress.ChunkTaken(Chunk(2, 10, 20, 15));
  progress.StepPushed({.last_push = 1, .chunk = 1, .chunk_next = 10, .examples = 10, .loss_sum = 1});
  progress.Acknowledged(1);
  ASSERT_EQ(progress.Report(false).chunks.size(), 2U);
  EXPECT_EQ(progress.Report(false).chunks[0].next, 10U);
  progress.Confirmed();
  ASSERT_EQ(progress.Report(false).chunks.size(), 1U);
  EXPECT_EQ(progress.Report(false).chunks[0].number, 2U);
  EXPECT_EQ(progress.Report(false).chunks[0].next, 15U);
}

}  // namespace
}  // namespace marquee
