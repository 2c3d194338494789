#include "dataset/evaluation.h"

#include <cmath>
#include <limits>

#include "dataset/synthetic.h"
#include "tests/unit/dataset/small_tables.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(RankOf, CountsHigherScoresAndHalfOfEqualOnes) {
  const std::vector<float> scores = {0.5F, 2, 0.5F, -1, 0.5F};
  EXPECT_EQ(*RankOf(scores, 1), 0);
  EXPECT_EQ(*RankOf(scores, 0), 2);  // one higher, two equal
  EXPECT_EQ(*RankOf(scores, 3), 4);
}

TEST(RankOf, GivesAConstantModelTheMiddle) {
  const std::vector<float> scores(3706, 1);
  EXPECT_EQ(*RankOf(scores, 0), 1852.5);
  MetricSums sums;
  ASSERT_TRUE(AddTopK(scores, 17, {}, sums).ok());
  EXPECT_EQ(Finish(sums).at("top_100"), 0);
  EXPECT_EQ(Finish(sums).at("top_100_unseen"), 0);
}

TEST(RankOf, RefusesNan) {
  EXPECT_THAT(MessageOf(RankOf({1, kNan, 2}, 0)), HasSubstr("1 of 3 scores are NaN"));
  EXPECT_THAT(MessageOf(RankOf({1, kNan, 2}, 1)), HasSubstr("NaN"));
  EXPECT_THAT(MessageOf(RankOf({1, 2}, 2)), HasSubstr("target 2: there are 2 candidates"));
  EXPECT_EQ(*RankOf({1, kInfinity, -kInfinity}, 0), 1);
  MetricSums sums;
  EXPECT_FALSE(AddTopK({1, kNan}, 0, {}, sums).ok());
  EXPECT_TRUE(sums.empty());
}

TEST(AddTopK, PutsBothRulesSideBySide) {
  std::vector<float> scores(200);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(scores.size() - i);  // item i has rank i
  const std::vector<uint32_t> seen = {0, 1, 2, 3, 4, 5, 150};
  MetricSums sums;
  ASSERT_TRUE(AddTopK(scores, 6, seen, sums).ok());    // rank 6, unseen 0
  ASSERT_TRUE(AddTopK(scores, 10, seen, sums).ok());   // rank 10, unseen 4
  ASSERT_TRUE(AddTopK(scores, 105, seen, sums).ok());  // rank 105, unseen 99
  ASSERT_TRUE(AddTopK(scores, 106, seen, sums).ok());  // rank 106, unseen 100
  const std::map<std::string, double> metrics = Finish(sums);
  EXPECT_EQ(metrics.size(), 10);
  EXPECT_EQ(metrics.at("top_1"), 0);
  EXPECT_EQ(metrics.at("top_5"), 0);
  EXPECT_EQ(metrics.at("top_10"), 0.25);
  EXPECT_EQ(metrics.at("top_50"), 0.5);
  EXPECT_EQ(metrics.at("top_100"), 0.5);
  EXPECT_EQ(metrics.at("top_1_unseen"), 0.25);
  EXPECT_EQ(metrics.at("top_5_unseen"), 0.5);
  EXPECT_EQ(metrics.at("top_10_unseen"), 0.5);
  EXPECT_EQ(metrics.at("top_50_unseen"), 0.5);
  EXPECT_EQ(metrics.at("top_100_unseen"), 0.75);
}

TEST(AddTopK, AgreesWithRemovingTheSeenItems) {
  const std::vector<float> scores = {3, 1, 3, 2, 3, 1, 2};
  const std::vector<uint32_t> seen = {0, 3, 5};
  for (uint32_t target = 0; target < scores.size(); ++target) {
    std::vector<float> left;
    uint32_t position = 0;
    for (uint32_t item = 0; item < scores.size(); ++item) {
      if (item == target) position = static_cast<uint32_t>(left.size());
      if (item == target || std::find(seen.begin(), seen.end(), item) == seen.end()) left.push_back(scores[item]);
    }
    MetricSums sums;
    ASSERT_TRUE(AddTopK(scores, target, seen, sums).ok());
    const double rank = *RankOf(left, position);
    EXPECT_EQ(sums.at("top_1_unseen").sum, rank < 1 ? 1 : 0) << target;
    EXPECT_EQ(sums.at("top_5_unseen").sum, rank < 5 ? 1 : 0) << target;
  }
  MetricSums sums;
  EXPECT_THAT(MessageOf(AddTopK(scores, 0, {1, 7}, sums)), HasSubstr("seen item 7: there are 7 candidates"));
}

TEST(AddRatingError, ClipsToTheScale) {
  MetricSums sums;
  ASSERT_TRUE(AddRatingError(7, 4, sums).ok());     // 5: off by 1
  ASSERT_TRUE(AddRatingError(-3, 1, sums).ok());    // 1: exact
  ASSERT_TRUE(AddRatingError(3.5F, 5, sums).ok());  // off by 1.5
  ASSERT_TRUE(AddRatingError(kInfinity, 5, sums).ok());
  EXPECT_FALSE(AddRatingError(kNan, 5, sums).ok());
  const std::map<std::string, double> metrics = Finish(sums);
  EXPECT_EQ(metrics.size(), 2);
  EXPECT_DOUBLE_EQ(metrics.at("rmse"), std::sqrt((1 + 2.25) / 4));
  EXPECT_DOUBLE_EQ(metrics.at("mae"), 2.5 / 4);
}

TEST(Finish, DividesSumsByWeights) {
  const MetricSums sums = {{"loss", {6, 4}}, {"squared_error", {9, 1}}, {"nothing", {0, 0}}};
  const std::map<std::string, double> metrics = Finish(sums);
  EXPECT_THAT(metrics, ElementsAre(std::pair("loss", 1.5), std::pair("rmse", 3.0)));
}

class BaselinesTest : public testing::Test {
 protected:
  std::shared_ptr<const Dataset> Open(const DataTables& tables) {
    const absl::Status written = WriteDataset(tables, folder_ / "a.mq");
    EXPECT_TRUE(written.ok()) << written;
    return *Dataset::Open(folder_ / "a.mq");
  }
  TempFolder folder_;
};

TEST_F(BaselinesTest, SeenItemsAreSortedAndUnique) {
  const auto data = Open(KeysOnly(3, 4, {{0, 3, 1}, {0, 1, 1}, {2, 0, 1}, {0, 3, 1}, {2, 2, 1}}));
  const std::vector<uint32_t> a = {0, 1, 3};
  const std::vector<uint32_t> b = {2, 4};
  const SeenItems seen(*data, {&a, &b});
  EXPECT_THAT(seen.Of(0), ElementsAre(1, 3));
  EXPECT_TRUE(seen.Of(1).empty());
  EXPECT_THAT(seen.Of(2), ElementsAre(0, 2));
  const SeenItems only_a(*data, {&a});
  EXPECT_TRUE(only_a.Of(2).empty());
}

TEST_F(BaselinesTest, PopularityCountsTrainAndValidation) {
  // Known: i0 three times, i1 twice, i2 once. Test: u3 takes i1 (rank 1; unseen 0, since u3 has seen i0).
  const auto data = Open(KeysOnly(4, 3, {{0, 0, 3}, {1, 0, 3}, {3, 0, 3}, {0, 1, 3}, {1, 1, 3}, {2, 2, 3}, {3, 1, 5}}));
  const Split split{.name = "by hand", .train = {0, 1, 3, 5}, .validation = {2, 4}, .test = {6}};
  const absl::StatusOr<std::vector<Baseline>> baselines = Baselines(*data, split);
  ASSERT_TRUE(baselines.ok()) << baselines.status();
  ASSERT_EQ(baselines->size(), 3);
  EXPECT_EQ((*baselines)[0].name, "popularity");
  EXPECT_EQ((*baselines)[0].metrics.at("top_1"), 0);
  EXPECT_EQ((*baselines)[0].metrics.at("top_5"), 1);
  EXPECT_EQ((*baselines)[0].metrics.at("top_1_unseen"), 1);
  EXPECT_EQ((*baselines)[1].name, "bias only");
  EXPECT_EQ((*baselines)[2].name, "global mean");
  EXPECT_EQ((*baselines)[2].metrics.at("rmse"), 2);
}

TEST_F(BaselinesTest, AgreeWithTheSlowWay) {
  const auto data = Open(*MakeSynthetic({"tiny", 60, 50, 1500, 10, 3}));
  const Split split = *MakeSplit(*data, SplitConfig{});
  std::vector<float> counts(data->rated_items(), 0);
  for (const uint32_t i : split.train) counts[data->item_of()[i]] += 1;
  for (const uint32_t i : split.validation) counts[data->item_of()[i]] += 1;
  const SeenItems seen(*data, {&split.train, &split.validation});
  MetricSums sums;
  for (const uint32_t i : split.test) {
    ASSERT_TRUE(AddTopK(counts, data->item_of()[i], seen.Of(data->user_of()[i]), sums).ok());
  }
  EXPECT_EQ(Baselines(*data, split)->front().metrics, Finish(sums));
}

TEST_F(BaselinesTest, BiasesFindPlantedOnes) {
  // Ratings that are exactly 3 + user + item: nearly nothing is left to err about, but for the shrinkage.
  std::vector<SmallRow> rows;
  for (uint32_t user = 0; user < 100; ++user) {
    for (uint32_t item = 0; item < 80; ++item) {
      rows.push_back({user, item, 3 + 0.25F * static_cast<float>(user % 5) - 0.5F * static_cast<float>(item % 3)});
    }
  }
  const auto data = Open(KeysOnly(100, 80, rows));
  const std::vector<Baseline> baselines = *Baselines(*data, *MakeSplit(*data, SplitConfig{}));
  EXPECT_LT(baselines[1].metrics.at("rmse"), 0.02);
  EXPECT_GT(baselines[2].metrics.at("rmse"), 0.4);
}

}  // namespace
}  // namespace marquee
