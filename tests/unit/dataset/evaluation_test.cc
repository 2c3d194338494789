#include "dataset/evaluation.h"

#include <cmath>
#include <limits>

#include "dataset/random.h"
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

TEST(AddTopK, AddsHitRatesUnderAChronologicalSplit) {
  std::vector<float> scores(400);
  for (size_t i = 0; i < scores.size(); ++i) scores[i] = static_cast<float>(scores.size() - i);  // item i has rank i
  const std::vector<uint32_t> seen = {0, 1, 2};
  MetricSums sums;
  for (const uint32_t target : {3U, 12U, 52U, 202U, 300U}) {  // ranks 0, 9, 49, 199, 297 without what was seen
    ASSERT_TRUE(AddTopK(scores, target, seen, sums, /*chronological=*/true).ok());
  }
  const std::map<std::string, double> metrics = Finish(sums);
  EXPECT_EQ(metrics.size(), 14);
  EXPECT_EQ(metrics.at("hr_10"), 0.4);
  EXPECT_EQ(metrics.at("hr_50"), 0.6);
  EXPECT_EQ(metrics.at("hr_200"), 0.8);
  EXPECT_DOUBLE_EQ(metrics.at("ndcg_10"), (1 + 1 / std::log2(11)) / 5);
}

TEST(AddListNdcg, IsTheGainOfTheOrderOverThatOfTheBest) {
  MetricSums sums;
  ASSERT_TRUE(AddListNdcg({3, 2, 1}, {5, 3, 1}, sums).ok());
  EXPECT_DOUBLE_EQ(sums.at("ndcg_10").sum, 1);
  ASSERT_TRUE(AddListNdcg({1, 2, 3}, {5, 3, 1}, sums).ok());
  const double best = 31 + 7 / std::log2(3) + 1 / std::log2(4);
  EXPECT_DOUBLE_EQ(sums.at("ndcg_10").sum - 1, (1 + 7 / std::log2(3) + 31 / std::log2(4)) / best);
  EXPECT_DOUBLE_EQ(Finish(sums).at("ndcg_10"), sums.at("ndcg_10").sum / 2);

  ASSERT_TRUE(AddListNdcg({}, {}, sums).ok());
  ASSERT_TRUE(AddListNdcg({1, 2}, {0, 0}, sums).ok());
  EXPECT_EQ(sums.at("ndcg_10").weight, 2);  // nothing to gain: they do not count
  EXPECT_THAT(MessageOf(AddListNdcg({1, kNan}, {1, 2}, sums)), HasSubstr("NaN"));
  EXPECT_THAT(MessageOf(AddListNdcg({1}, {1, 2}, sums)), HasSubstr("1 scores and 2 ratings"));
}

// Over every order that a lot could draw.
TEST(AddListNdcg, EqualScoresGiveTheMeanOfAllTheirOrders) {
  const std::vector<float> scores = {2, 1, 1, 1, 0, 0, 0, 5, 6, 7, 8, 9, 10};
  const std::vector<float> ratings = {1, 5, 2, 3, 4, 1, 5, 2, 2, 4, 1, 3, 3};
  std::vector<float> drawn = scores;
  std::vector<uint32_t> lots = {0, 1, 2};
  std::vector<uint32_t> more_lots = {0, 1, 2};
  double sum = 0;
  int orders = 0;
  do {
    do {
      for (uint32_t i = 0; i < 3; ++i) {
        drawn[1 + i] = 1 + 0.1F * static_cast<float>(lots[i]);
        drawn[4 + i] = 0.1F * static_cast<float>(more_lots[i]);
      }
      MetricSums sums;
      ASSERT_TRUE(AddListNdcg(drawn, ratings, sums).ok());
      sum += sums.at("ndcg_10").sum;
      ++orders;
    } while (std::next_permutation(more_lots.begin(), more_lots.end()));
  } while (std::next_permutation(lots.begin(), lots.end()));
  MetricSums sums;
  ASSERT_TRUE(AddListNdcg(scores, ratings, sums).ok());
  EXPECT_NEAR(sums.at("ndcg_10").sum, sum / orders, 1e-12);
}

TEST(AddBinary, LogLossIsFiniteAndExact) {
  MetricSums sums;
  ASSERT_TRUE(AddBinary(0, true, sums).ok());
  EXPECT_DOUBLE_EQ(sums.at("log_loss").sum, std::log(2));
  EXPECT_NEAR(LogisticLoss(2, true), -std::log(1 / (1 + std::exp(-2.0))), 1e-12);
  EXPECT_NEAR(LogisticLoss(2, false), -std::log(1 - 1 / (1 + std::exp(-2.0))), 1e-12);
  EXPECT_EQ(LogisticLoss(-800, true), 800);
  EXPECT_EQ(LogisticLoss(800, true), 0);
  EXPECT_THAT(MessageOf(AddBinary(kNan, true, sums)), HasSubstr("NaN"));
}

double ExactAuc(const std::vector<std::pair<float, bool>>& scored) {
  double ordered = 0;
  double pairs = 0;
  for (const auto& [positive, is_positive] : scored) {
    if (!is_positive) continue;
    for (const auto& [negative, other] : scored) {
      if (other) continue;
      ordered += positive > negative ? 1 : positive == negative ? 0.5 : 0;
      pairs += 1;
    }
  }
  return ordered / pairs;
}

TEST(Auc, OfBinsAddedOverChunksIsThatOfTheScores) {
  Random random(4);
  for (const double spread : {0.002, 0.1, 2.0, 40.0}) {
    std::vector<std::pair<float, bool>> scored;
    std::vector<MetricSums> chunks(3);
    for (size_t i = 0; i < 3000; ++i) {
      const bool positive = random.Uniform() < 0.4;
      const auto logit = static_cast<float>(spread * (random.Uniform() + random.Uniform() - (positive ? 0.7 : 1.0)));
      scored.emplace_back(logit, positive);
      ASSERT_TRUE(AddBinary(logit, positive, chunks[i % chunks.size()]).ok());
    }
    MetricSum merged;
    for (const MetricSums& chunk : chunks) merged.Add(chunk.at("auc"));
    double in_one_bin = 0;
    double positives = 0;
    double negatives = 0;
    for (const auto& [bin, counts] : merged.bins) {
      in_one_bin += static_cast<double>(counts.positives) * static_cast<double>(counts.negatives);
      positives += static_cast<double>(counts.positives);
      negatives += static_cast<double>(counts.negatives);
    }
    const double bound = in_one_bin / (positives * negatives) / 2;
    const double difference = std::abs(Finish({{"auc", merged}}).at("auc") - ExactAuc(scored));
    EXPECT_LE(difference, bound + 1e-12) << spread;
    // As a trained model's logits lie.
    if (spread == 2.0) {
      EXPECT_LT(difference, 1e-5);
      EXPECT_LT(bound, 0.001);
    }
  }
}

TEST(Auc, AConstantModelIsNoBetterThanALot) {
  MetricSums sums;
  for (const bool positive : {true, false, true, true}) ASSERT_TRUE(AddBinary(0.3F, positive, sums).ok());
  EXPECT_EQ(Finish(sums).at("auc"), 0.5);
  MetricSums one_class;
  ASSERT_TRUE(AddBinary(0.3F, true, one_class).ok());
  EXPECT_FALSE(Finish(one_class).contains("auc"));
  EXPECT_TRUE(Finish(one_class).contains("log_loss"));
}

TEST(ScoreBinOf, CoversTheWholeLine) {
  EXPECT_EQ(ScoreBinOf(-kInfinity), 0);
  EXPECT_EQ(ScoreBinOf(-32), 0);
  EXPECT_EQ(ScoreBinOf(0), kScoreBins / 2);
  EXPECT_EQ(ScoreBinOf(1.0F / 1024), kScoreBins / 2 + 1);
  EXPECT_EQ(ScoreBinOf(-1e-6F), kScoreBins / 2 - 1);
  EXPECT_EQ(ScoreBinOf(kInfinity), kScoreBins - 1);
}

TEST(Finish, DividesSumsByWeights) {
  const MetricSums sums = {{"loss", {.sum = 6, .weight = 4}}, {"squared_error", {.sum = 9, .weight = 1}}, {"nothing", {}}};
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

TEST_F(BaselinesTest, PopularityHasHitRatesUnderAChronologicalSplit) {
  const auto data = Open(*MakeSynthetic({"tiny", 60, 50, 1500, 10, 3}));
  Split split = *MakeSplit(*data, SplitConfig{});
  EXPECT_FALSE(Baselines(*data, split)->front().metrics.contains("hr_10"));
  split.protocol = SplitConfig::Protocol::kTime;
  const std::map<std::string, double> metrics = Baselines(*data, split)->front().metrics;
  EXPECT_EQ(metrics.at("hr_10"), metrics.at("top_10_unseen"));
  EXPECT_EQ(metrics.at("hr_50"), metrics.at("top_50_unseen"));
  EXPECT_GT(metrics.at("ndcg_10"), 0);
  EXPECT_LT(metrics.at("ndcg_10"), metrics.at("hr_10"));
}

// Classes drawn with known log-odds of users and items: the logistic baseline comes near to what who knows them reaches.
TEST_F(BaselinesTest, ClassesHaveALogisticBaseline) {
  Random random(3);
  std::vector<double> user_bias(200);
  std::vector<double> item_bias(150);
  for (double& bias : user_bias) bias = 3 * random.Uniform() - 1.5;
  for (double& bias : item_bias) bias = 4 * random.Uniform() - 1.5;
  std::vector<SmallRow> rows;
  for (uint32_t user = 0; user < user_bias.size(); ++user) {
    for (uint32_t item = 0; item < item_bias.size(); ++item) {
      const bool positive = random.Uniform() < 1 / (1 + std::exp(-user_bias[user] - item_bias[item]));
      rows.push_back({user, item, positive ? 5.0F : 1.0F});
    }
  }
  const auto data = Open(KeysOnly(user_bias.size(), item_bias.size(), rows));
  const Split split = *MakeSplit(*data, SplitConfig::Of(SplitConfig::Protocol::kBinarized));
  MetricSums known;
  for (const uint32_t i : split.test) {
    const double logit = user_bias[data->user_of()[i]] + item_bias[data->item_of()[i]];
    ASSERT_TRUE(AddBinary(static_cast<float>(logit), split.LabelOf(*data, i) > 0, known).ok());
  }
  const std::vector<Baseline> baselines = *Baselines(*data, split);
  EXPECT_EQ(baselines[1].name, "bias only");
  EXPECT_NEAR(baselines[1].metrics.at("auc"), Finish(known).at("auc"), 0.01);
  EXPECT_NEAR(baselines[1].metrics.at("log_loss"), Finish(known).at("log_loss"), 0.02);
  EXPECT_EQ(baselines[2].metrics.at("auc"), 0.5);
  EXPECT_GT(baselines[2].metrics.at("log_loss"), baselines[1].metrics.at("log_loss") + 0.05);
  EXPECT_FALSE(baselines[1].metrics.contains("rmse"));
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
