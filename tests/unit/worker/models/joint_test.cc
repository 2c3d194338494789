#include "worker/models/joint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tests/unit/worker/models/model_testing.h"

namespace marquee {
namespace {

using testing::HasSubstr;

TrialConfig JointModel() {
  TrialConfig config;
  config.name = "joint";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kJoint;
  config.model.dim = 6;
  config.model.query.features = {Named("user_id")};
  config.model.candidate.features = {Named("movie_id")};
  config.model.rating.dot = true;
  config.model.batch_size = 128;
  return config;
}

// Without hidden layers in the head: finite differences of its few biases would step over kinks of ReLU.
TEST(JointModel, GradientsOfBothHeads) {
  CheckGradients(JointModel());
  TrialConfig config = JointModel();
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.retrieval = {.weight = 0.7, .projection = 4};
  config.model.rating = {.weight = 1.8, .projection = 3, .dot = true, .bias = true};
  CheckGradients(config);
  config.model.query.features = {Named("user_id"), Named("user_gender")};
  config.model.query.layers = {9, 7};
  config.model.candidate.features = {Named("movie_id"), Named("movie_genres", 4), Named("release_date")};
  config.model.candidate.layers = {8};
  config.model.rating.dot = false;
  CheckGradients(config);
}

TrialConfig WithFactors(const std::vector<FeatureConfig>& item, const std::vector<int>& item_layers) {
  TrialConfig config = JointModel();
  DotConfig factors;
  factors.user.features = {Named("user_id", 5)};
  factors.item.features = item;
  factors.item.layers = item_layers;
  factors.implicit = ImplicitConfig{.ratings = true, .leave_out = true};
  config.model.rating = {.weight = 1.8, .projection = 3, .dot = true, .bias = true, .factors = factors};
  return config;
}

TEST(JointModel, GradientsWithFactorsOfTheRatingsOwn) {
  CheckGradients(WithFactors({Named("movie_id", 5)}, {}));
  CheckGradients(WithFactors({Named("movie_id", 5), Named("movie_genres", 3)}, {5}));
}

TEST(JointModel, TheRatingsOwnTermsHaveTheirOwnOptimizer) {
  TrialConfig config = JointModel();
  config.model.optimizer = {.kind = OptimizerConfig::Kind::kAdam, .learning_rate = 0.02};
  config.model.rating.bias = true;
  config.model.rating.optimizer = OptimizerConfig{.kind = OptimizerConfig::Kind::kAdagrad, .learning_rate = 0.3};
  const auto model = Make(config);
  EXPECT_EQ(model->tables()[TableNamed(*model, "bias_user_id")].optimizer.kind, Optimizer::Kind::kAdagrad);
  EXPECT_EQ(model->tables()[TableNamed(*model, "query_user_id")].optimizer.kind, Optimizer::Kind::kAdam);
  const auto step = Planned(*model, {Tiny().split.train[0], Tiny().split.train[1]});
  EXPECT_FLOAT_EQ(RowsOf(*model, *step, "bias_user_id").learning_rate, 0.3F);
  EXPECT_FLOAT_EQ(RowsOf(*model, *step, "query_user_id").learning_rate, 0.02F);
}

TEST(JointModel, GradientsWithBiasesOfCandidates) {
  TrialConfig config = JointModel();
  FeatureConfig history = Named("movie_id");
  history.kind = FeatureConfig::Kind::kHistory;
  config.model.query.features.push_back(history);
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.retrieval = {.weight = 1.4, .projection = 4, .bias = true, .seen_bias = true};
  CheckGradients(config);
  config.model.loss.mask = 0.4;
  CheckGradients(config);
}

double Dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * b[i];
  return sum;
}

std::vector<float> Times(const TableRows& weight, const std::vector<float>& x) {
  std::vector<float> y;
  for (size_t i = 0; i < weight.ids.size(); ++i) {
    y.push_back(
        static_cast<float>(Dot({weight.values.begin() + i * weight.dim, weight.values.begin() + (i + 1) * weight.dim}, x)));
  }
  return y;
}

// One example: the in-batch softmax of a single candidate is 0, which leaves the weighted squared error; and of two users and
// items, the formula.
TEST(JointModel, LossIsTheWeightedSumOfMeans) {
  const Dataset& data = *Tiny().data;
  TrialConfig config = JointModel();
  config.model.retrieval = {.weight = 3, .projection = 4};
  config.model.rating = {.weight = 0.5, .projection = 5, .dot = true};
  const auto model = Make(config);
  RowMap rows(model->tables(), 0.8F);
  std::vector<uint32_t> batch = {Tiny().split.train[0]};
  for (const uint32_t example : Tiny().split.train) {
    if (data.user_of()[example] != data.user_of()[batch[0]] && data.item_of()[example] != data.item_of()[batch[0]]) {
      batch.push_back(example);
      break;
    }
  }
  auto step = Planned(*model, batch);
  rows.Fill(*step);
  std::vector<std::vector<float>> users;
  std::vector<std::vector<float>> items;
  for (const uint32_t example : batch) {
    users.push_back(
        rows.Row(TableNamed(*model, "query_user_id"), data.user_key().id(data.user_key().code(data.user_of()[example]))));
    items.push_back(
        rows.Row(TableNamed(*model, "candidate_movie_id"), data.item_key().id(data.item_key().code(data.item_of()[example]))));
  }
  double want = 0;
  for (size_t e = 0; e < 2; ++e) {
    double sum = 0;
    double own = 0;
    for (size_t j = 0; j < 2; ++j) {
      const double score = Dot(Times(RowsOf(*model, *step, "retrieval_query_weight"), users[e]),
                               Times(RowsOf(*model, *step, "retrieval_candidate_weight"), items[j]));
      sum += std::exp(score);
      if (j == e) own = score;
    }
    const double rating = Dot(Times(RowsOf(*model, *step, "rating_query_weight"), users[e]),
                              Times(RowsOf(*model, *step, "rating_candidate_weight"), items[e]));
    const double error = rating - data.label()[batch[e]];
    want += 3 * (std::log(sum) - own) + 0.5 * error * error;
  }
  EXPECT_NEAR(ComputedLoss(*model, *step), want, 1e-4 * want);
}

// With weight 0, a task's own tensors get no gradient.
TEST(JointModel, ATaskOfWeightZeroIsNotTrained) {
  for (const bool rating : {true, false}) {
    TrialConfig config = JointModel();
    config.model.retrieval.projection = 4;
    config.model.rating.projection = 4;
    (rating ? config.model.rating.weight : config.model.retrieval.weight) = 0;
    const auto model = Make(config);
    RowMap rows(model->tables(), 0.4F);
    auto step = Planned(*model, Batch(Tiny(), 50));
    rows.Fill(*step);
    ComputedLoss(*model, *step);
    const auto touched = [&](const std::string& table) {
      const std::vector<float>& gradients = RowsOf(*model, *step, table).gradients;
      return std::any_of(gradients.begin(), gradients.end(), [](float g) { return g != 0; });
    };
    EXPECT_EQ(touched("rating_query_weight"), !rating);
    EXPECT_EQ(touched("retrieval_query_weight"), rating);
    EXPECT_TRUE(touched("query_user_id"));
  }
}

TEST(JointModel, LearnsBothTasksAtOnce) {
  TrialConfig config = JointModel();
  config.model.dim = 16;
  config.model.epochs = 25;
  config.model.batch_size = 512;
  config.model.retrieval.projection = 8;
  config.model.rating = {.weight = 1, .projection = 8, .dot = true, .bias = true};
  config.model.loss.logq = true;
  config.model.optimizer.learning_rate = 0.1;
  config.model.optimizer.initial_accumulator = 1e-5;
  config.model.dense_optimizer = config.model.optimizer;
  config.model.dense_optimizer.learning_rate = 0.05;
  Trained trained = Train(config, Small());
  const auto baselines = Baselines(*Small().data, Small().split);
  ASSERT_TRUE(baselines.ok());
  const std::map<std::string, double> metrics = Evaluated(trained, Small().split.test, true);
  EXPECT_LT(metrics.at("rmse"), 0.9 * BaselineNamed(*baselines, "bias only").metrics.at("rmse"));
  EXPECT_GT(metrics.at("top_50"), 1.2 * BaselineNamed(*baselines, "popularity").metrics.at("top_50"));
  const std::map<std::string, double> cut = Evaluated(trained, Small().split.test, true, 37);
  for (const auto& [name, value] : metrics) EXPECT_NEAR(cut.at(name), value, 1e-5 * (1 + value)) << name;
}

TEST(JointModel, TwoRunsAreEqualBitForBit) {
  if (TestDevice() != "cpu") GTEST_SKIP() << "a GPU adds in any order";
  TrialConfig config = JointModel();
  config.model.epochs = 2;
  config.model.rating.layers = {8};
  const Trained first = Train(config, Tiny());
  const Trained second = Train(config, Tiny());
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(first.rows->rows(), second.rows->rows());
}

TEST(JointModel, ErrorsNameTheTower) {
  TrialConfig config = JointModel();
  config.model.query.features = {Named("movie_id")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("query: feature movie_id: belongs to items"));
  config = JointModel();
  config.model.rating.layers = {0};
  EXPECT_THAT(ErrorOf(config), HasSubstr("model.rating: layers[0]: 0 units"));
}

}  // namespace
}  // namespace marquee
