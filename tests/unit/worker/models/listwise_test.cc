#include "worker/models/listwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "tests/unit/worker/models/model_testing.h"
#include "worker/models/list_loss.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

using Loss = std::function<double(absl::Span<const float>, absl::Span<const float>, absl::Span<float>)>;

double LossAlone(const Loss& loss, const std::vector<float>& scores, const std::vector<float>& labels) {
  std::vector<float> gradients(scores.size());
  return loss(scores, labels, absl::MakeSpan(gradients));
}

void CheckListGradients(const Loss& loss) {
  const std::vector<float> scores = {0.3F, -1.2F, 2.0F, 0.0F, 0.5F};
  const std::vector<float> labels = {3, 1, 5, 3, 4};
  std::vector<float> gradients(scores.size(), 9.0F);
  loss(scores, labels, absl::MakeSpan(gradients));
  EXPECT_NEAR(std::accumulate(gradients.begin(), gradients.end(), 0.0), 0.0, 1e-5);  // a level for all changes nothing
  for (size_t i = 0; i < scores.size(); ++i) {
    std::vector<float> moved = scores;
    moved[i] += 0.01F;
    const double above = LossAlone(loss, moved, labels);
    moved[i] -= 0.02F;
    EXPECT_NEAR((above - LossAlone(loss, moved, labels)) / 0.02, gradients[i], 1e-3) << i;
  }
}

TEST(ListLoss, Gradients) {
  CheckListGradients(ListMle);
  CheckListGradients(ListSoftmax);
}

// The likelihood of drawing the items one after the other, best label first, in proportion to exp(score).
TEST(ListLoss, ListMleIsThePlackettLuceLikelihood) {
  const std::vector<float> scores = {0.5F, 1.5F, -1.0F};
  const std::vector<float> labels = {2, 5, 4};
  const double a = std::exp(0.5);
  const double b = std::exp(1.5);
  const double c = std::exp(-1.0);
  EXPECT_NEAR(LossAlone(ListMle, scores, labels), -std::log(b / (a + b + c) * c / (a + c)), 1e-6);
  // Equal labels: in the order given.
  EXPECT_NEAR(LossAlone(ListMle, {0.5F, 1.5F}, {3, 3}), -std::log(a / (a + b)), 1e-6);
}

TEST(ListLoss, SoftmaxIsTheCrossEntropyOfTopOneProbabilities) {
  const double p = std::exp(2.0) / (std::exp(2.0) + std::exp(1.0));
  const double s = std::exp(0.3) / (std::exp(0.3) + std::exp(-0.4));
  EXPECT_NEAR(LossAlone(ListSoftmax, {0.3F, -0.4F}, {2, 1}), -p * std::log(s) - (1 - p) * std::log(1 - s), 1e-6);
}

TEST(ListLoss, FarApartScoresStayFinite) {
  for (const Loss& loss : {Loss(ListMle), Loss(ListSoftmax)}) {
    std::vector<float> gradients(3);
    const double value =
        loss(std::vector<float>{3000.0F, -3000.0F, 0.0F}, std::vector<float>{1, 5, 3}, absl::MakeSpan(gradients));
    EXPECT_TRUE(std::isfinite(value));
    EXPECT_GT(value, 1000);
    for (const float g : gradients) EXPECT_TRUE(std::isfinite(g));
  }
  EXPECT_EQ(LossAlone(ListMle, {}, {}), 0.0);
  EXPECT_EQ(LossAlone(ListSoftmax, {}, {}), 0.0);
}

TrialConfig Lists(LossConfig::Kind kind = LossConfig::Kind::kListMle) {
  TrialConfig config;
  config.name = "l";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kListwise;
  config.model.loss.kind = kind;
  config.model.dim = 6;
  config.model.list_size = 5;
  config.model.dot.emplace();
  config.model.dot->user.features = {Named("user_id")};
  config.model.dot->item.features = {Named("movie_id")};
  config.model.batch_size = 64;
  return config;
}

TEST(ListwiseModel, Gradients) {
  for (const auto kind : {LossConfig::Kind::kListMle, LossConfig::Kind::kListSoftmax}) {
    TrialConfig config = Lists(kind);
    CheckGradients(config, 40);
    config.model.dot->implicit.emplace();
    config.model.tower.features = {Named("movie_id"), Named("movie_genres"), Named("timestamp")};
    config.model.tower.layers = {7};
    CheckGradients(config, 150);  // more than one block
  }
}

// Rows of the step's examples are those of its lists: users of the batch, and items that they have rated in train.
TEST(ListwiseModel, ListsHoldTheExampleAndOthersOfItsUser) {
  const Dataset& data = *Tiny().data;
  TrialConfig config = Lists();
  config.model.list_size = 3;
  const auto model = Make(config);
  const uint32_t example = Tiny().split.train[7];
  std::set<Id> rated;
  for (const uint32_t other : Tiny().split.train) {
    if (data.user_of()[other] == data.user_of()[example]) {
      rated.insert(data.item_key().id(data.item_key().code(data.item_of()[other])));
    }
  }
  const Id own = data.item_key().id(data.item_key().code(data.item_of()[example]));
  std::set<std::vector<Id>> lists;
  for (uint64_t number = 0; number < 8; ++number) {
    const auto step = Planned(*model, {&example, 1}, 0, number);
    EXPECT_EQ(step->examples, 1U);
    EXPECT_THAT(RowsOf(*model, *step, "user_user_id").ids,
                ElementsAre(data.user_key().id(data.user_key().code(data.user_of()[example]))));
    const std::vector<Id>& items = RowsOf(*model, *step, "item_movie_id").ids;
    EXPECT_EQ(items.size(), 3U);
    EXPECT_EQ(std::count(items.begin(), items.end(), own), 1);
    for (const Id id : items) EXPECT_TRUE(rated.contains(id));
    lists.insert(items);
    EXPECT_EQ(items, RowsOf(*model, *Planned(*model, {&example, 1}, 0, number), "item_movie_id").ids);
  }
  EXPECT_GT(lists.size(), 4U);  // other steps draw other lists

  // As long as the user has rated at all.
  config.model.list_size = 1000;
  const auto whole = Make(config);
  EXPECT_EQ(RowsOf(*whole, *Planned(*whole, {&example, 1}), "item_movie_id").ids.size(), rated.size());
}

TEST(ListwiseModel, EachUserIsEvaluatedOnceHoweverChunksAreCut) {
  TrialConfig config = Lists();
  config.model.epochs = 2;
  Trained trained = Train(config, Tiny());
  for (const bool test : {false, true}) {
    const std::vector<uint32_t>& part = test ? Tiny().split.test : Tiny().split.validation;
    const std::map<std::string, double> whole = Evaluated(trained, part, test, part.size());
    const std::map<std::string, double> cut = Evaluated(trained, part, test, 7);
    ASSERT_EQ(whole.size(), 2U);
    for (const auto& [name, value] : whole) EXPECT_NEAR(cut.at(name), value, 1e-9) << name;
  }
  const std::vector<uint32_t>& test = Tiny().split.test;
  std::set<uint32_t> users;
  for (const uint32_t example : test) users.insert(Tiny().data->user_of()[example]);
  auto base = trained.model->PlanEvaluation();
  ASSERT_TRUE(base.ok());
  trained.rows->Fill(**base);
  ASSERT_TRUE(trained.model->BeginEvaluation(**base, true).ok());
  auto chunk = trained.model->PlanEvaluationChunk(test);
  ASSERT_TRUE(chunk.ok());
  trained.rows->Fill(**chunk);
  const auto sums = trained.model->Evaluate(**chunk);
  ASSERT_TRUE(sums.ok());
  EXPECT_EQ(sums->at("loss").weight, static_cast<double>(users.size()));
}

TEST(ListwiseModel, LearnsTheOrder) {
  for (const auto kind : {LossConfig::Kind::kListMle, LossConfig::Kind::kListSoftmax}) {
    TrialConfig config = Lists(kind);
    config.model.epochs = 6;
    config.model.list_size = 10;
    config.model.optimizer.learning_rate = 0.1;
    config.model.optimizer.initial_accumulator = 1e-5;
    TrialConfig untrained = config;
    untrained.model.epochs = 0;
    Trained before = Train(untrained, Small());
    Trained after = Train(config, Small());
    EXPECT_LT(after.losses.back(), after.losses.front());
    const double chance = Evaluated(before, Small().split.test, true).at("ndcg_10");
    EXPECT_GT(Evaluated(after, Small().split.test, true).at("ndcg_10"), chance + 0.5 * (1 - chance));
  }
}

TEST(ListwiseModel, ErrorsNameWhatDoesNotFit) {
  EXPECT_THAT(ErrorOf(Lists(LossConfig::Kind::kSquaredError)), HasSubstr("model.loss: listwise takes list_mle or softmax"));
  TrialConfig config = Lists();
  config.model.list_size = 1;
  EXPECT_THAT(ErrorOf(config), HasSubstr("list_size: 1; must be at least 2"));
}

TEST(ListwiseModel, TwoRunsAreEqualBitForBit) {
  TrialConfig config = Lists();
  config.model.epochs = 2;
  const Trained first = Train(config, Tiny());
  const Trained second = Train(config, Tiny());
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.rows->rows(), second.rows->rows());
}

}  // namespace
}  // namespace marquee
