#include "worker/models/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace marquee {
namespace {

// Scores from few values, so that ties are frequent, over more candidates than the largest K.
TEST(TopKCounts, EqualsAddTopK) {
  std::mt19937 random(5);
  MetricSums want;
  TopKCounts first;
  TopKCounts second;
  for (int example = 0; example < 400; ++example) {
    std::vector<float> scores(250);
    const unsigned values = example % 3 == 0 ? 4U : 5000U;
    for (float& score : scores) score = static_cast<float>(random() % values);
    std::vector<uint32_t> seen;
    for (uint32_t item = 0; item < scores.size(); ++item) {
      if (random() % 4 == 0) seen.push_back(item);
    }
    const auto target = static_cast<uint32_t>(random() % scores.size());
    ASSERT_TRUE(AddTopK(scores, target, seen, want, /*chronological=*/true).ok());
    (example % 2 == 0 ? first : second).Add(scores, target, seen);
  }
  first.Add(second);
  MetricSums got;
  first.AddTo(got, /*chronological=*/true);
  ASSERT_EQ(got.size(), want.size());
  for (const auto& [name, sum] : want) {
    EXPECT_NEAR(got[name].sum, sum.sum, 1e-9) << name;
    EXPECT_EQ(got[name].weight, sum.weight) << name;
  }
  EXPECT_GT(got["top_100"].sum, got["top_1"].sum);
  EXPECT_EQ(got["hr_50"].sum, got["top_50_unseen"].sum);
  EXPECT_GT(got["ndcg_10"].sum, 0);
}

TEST(TopKCounts, AConstantModelIsNotPerfect) {
  TopKCounts counts;
  counts.Add(std::vector<float>(3000, 1.0F), 7, {});
  MetricSums sums;
  counts.AddTo(sums);
  EXPECT_EQ(sums["top_100"].sum, 0);
}

}  // namespace
}  // namespace marquee
