#include "common/id.h"

#include <gtest/gtest.h>

#include <vector>

namespace marquee {
namespace {

// Ids are written into checkpoints: these values may never change.
TEST(IdTest, IsStable) {
  EXPECT_EQ(FeatureId("movie_id", "1251"), 0xf6dfb3d0772a7b37U);
  EXPECT_EQ(FeatureId("user_id", ""), 0xfda9a57939472af2U);
  EXPECT_EQ(FeatureId("", ""), 0xadadf421a2ba84c5U);
  EXPECT_EQ(FeatureId("star", "Marcello Mastroianni"), 0x35fd75976804f88dU);
}

TEST(IdTest, DependsOnFeatureAndValue) {
  EXPECT_NE(FeatureId("movie_id", "1"), FeatureId("user_id", "1"));
  EXPECT_NE(FeatureId("movie_id", "1"), FeatureId("movie_id", "2"));
}

// So do partitions. The first is the first number of SplitMix64 seeded with 0, as published.
TEST(IdTest, MixIsStable) {
  EXPECT_EQ(MixId(0), 0xe220a8397b1dcdafU);
  EXPECT_EQ(MixId(1), 0x910a2dec89025cc1U);
  EXPECT_EQ(MixId(UINT64_MAX), 0xe4d971771b652c20U);
  EXPECT_EQ(PartitionOf(0, 6), 56U);
  EXPECT_EQ(PartitionOf(1, 6), 36U);
  EXPECT_EQ(PartitionOf(UINT64_MAX, 6), 57U);
}

TEST(IdTest, OnePartitionTakesAll) {
  for (const Id id : {Id{0}, Id{1}, Id{UINT64_MAX}}) EXPECT_EQ(PartitionOf(id, 0), 0U);
}

TEST(IdTest, SmallIntegersFallEvenly) {
  constexpr uint32_t kBits = 6;
  constexpr int kIds = 64'000;
  std::vector<int> counts(1U << kBits);
  for (Id id = 0; id < kIds; ++id) ++counts[PartitionOf(id, kBits)];
  for (const int count : counts) {
    EXPECT_GT(count, 850);  // 1000 on average, with a standard deviation of 32
    EXPECT_LT(count, 1150);
  }
}

// Twice the partitions cut each one in two: moving to more of them needs no rehash.
TEST(IdTest, MorePartitionsCutEachOne) {
  for (Id id = 0; id < 1000; ++id) EXPECT_EQ(PartitionOf(id, 7) / 2, PartitionOf(id, 6));
}

}  // namespace
}  // namespace marquee
