#include "worker/models/scorer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <optional>

#include "tests/unit/worker/models/model_testing.h"
#include "worker/models/implicit.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::HasSubstr;

using Structure = CrossConfig::Structure;

TrialConfig Factors(const std::optional<ImplicitConfig>& implicit = std::nullopt) {
  TrialConfig config;
  config.name = "f";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kRanking;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  config.model.dim = 6;
  config.model.bias = true;
  config.model.dot.emplace();
  config.model.dot->user.features = {Named("user_id")};
  config.model.dot->item.features = {Named("movie_id")};
  config.model.dot->implicit = implicit;
  config.model.batch_size = 128;
  return config;
}

TrialConfig Dcn(int rank, Structure structure, const std::vector<int>& layers) {
  TrialConfig config;
  config.name = "d";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kDcn;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  config.model.dim = 3;
  config.model.tower.features = {Named("user_id"), Named("movie_id", 2), Named("movie_genres", 4), Named("release_date")};
  config.model.tower.layers = layers;
  config.model.cross = CrossConfig{.layers = 2, .rank = rank, .structure = structure};
  config.model.batch_size = 128;
  return config;
}

TEST(DotTerm, GradientsOfEveryKindOfUserVector) {
  CheckGradients(Factors());
  CheckGradients(Factors(ImplicitConfig{}));
  CheckGradients(Factors(ImplicitConfig{.leave_out = true}));
  CheckGradients(Factors(ImplicitConfig{.ratings = true, .leave_out = true}));
}

TEST(DotTerm, GradientsWithFeaturesOfInteractionsLayersDropoutAndADeepTower) {
  TrialConfig config = Factors(ImplicitConfig{.ratings = true, .leave_out = true});
  config.model.dot->user.features = {Named("user_id"), Named("timestamp"), Named("user_gender", 3)};
  config.model.dot->user.layers = {9, 5};
  config.model.dot->user.dropout = 0.3;
  config.model.dot->item.features = {Named("movie_id"), Named("movie_genres")};
  config.model.dot->item.layers = {5};
  config.model.tower.features = {Named("user_id"), Named("movie_id"), Named("timestamp")};
  config.model.tower.layers = {8};
  CheckGradients(config);
}

TEST(DotTerm, GradientsOfAnEnsemble) {
  TrialConfig config = Factors(ImplicitConfig{});
  config.model.ensemble = 1;
  const size_t tables = Make(config)->tables().size();
  config.model.ensemble = 3;
  EXPECT_EQ(Make(config)->tables().size(), 3 * tables);
  // Each member learns from its own error: the gradient is three times that of the mean of their losses.
  const auto model = Make(config);
  RowMap rows(model->tables(), 0.4F);
  auto step = Planned(*model, Batch(Tiny(), 50));
  rows.Fill(*step);
  const double loss = ComputedLoss(*model, *step);
  TableRows& users = RowsOf(*model, *step, "member1_user_user_id");
  const float gradient = users.gradients[2];
  const float reach = 0.01F;
  users.values[2] += reach;
  const double above = ComputedLoss(*model, *step);
  users.values[2] -= 2 * reach;
  const double below = ComputedLoss(*model, *step);
  EXPECT_NE(loss, above);
  EXPECT_NEAR((above - below) / (2 * reach) / 50 * 3, gradient, 0.02 * std::abs(gradient) + 1e-4);
}

// The rows of a step by table and id.
class Values {
 public:
  Values(const Model& model, const Step& step) {
    for (const TableRows& rows : step.rows) {
      for (size_t i = 0; i < rows.ids.size(); ++i) {
        values_[{model.tables()[rows.table].name, rows.ids[i]}] = {rows.values.begin() + i * rows.dim,
                                                                   rows.values.begin() + (i + 1) * rows.dim};
      }
    }
  }
  const std::vector<float>& Of(const std::string& table, Id id) const { return values_.at({table, id}); }

 private:
  std::map<std::pair<std::string, Id>, std::vector<float>> values_;
};

Id UserId(uint32_t user) { return Tiny().data->user_key().id(Tiny().data->user_key().code(user)); }
Id ItemId(uint32_t item) { return Tiny().data->item_key().id(Tiny().data->item_key().code(item)); }

double TrainMean(const std::function<bool(uint32_t)>& chosen, const std::function<double(uint32_t)>& value, double shrinkage) {
  double sum = 0;
  double count = shrinkage;
  for (const uint32_t example : Tiny().split.train) {
    if (!chosen(example)) continue;
    sum += value(example);
    count += 1;
  }
  return sum / count;
}

// The rating less mean, item's and user's deviation, straight from the definition.
double Deviation(uint32_t example) {
  const Dataset& data = *Tiny().data;
  const double mean = TrainMean([](uint32_t) { return true; }, [&](uint32_t e) { return data.label()[e]; }, 0);
  const auto item_deviation = [&](uint32_t item) {
    return TrainMean([&](uint32_t e) { return data.item_of()[e] == item; }, [&](uint32_t e) { return data.label()[e] - mean; },
                     10);
  };
  const uint32_t user = data.user_of()[example];
  const double user_deviation =
      TrainMean([&](uint32_t e) { return data.user_of()[e] == user; },
                [&](uint32_t e) { return data.label()[e] - mean - item_deviation(data.item_of()[e]); }, 10);
  return data.label()[example] - mean - item_deviation(data.item_of()[example]) - user_deviation;
}

// r = mean + b(u) + b(i) + q(i) . (p(u) + |N|^-1/2 sum over N of (y(j) + d(u, j) x(j)))
double NaiveScore(const Values& values, uint32_t example, const ImplicitConfig& implicit) {
  const Dataset& data = *Tiny().data;
  const uint32_t user = data.user_of()[example];
  const uint32_t item = data.item_of()[example];
  const double mean = TrainMean([](uint32_t) { return true; }, [&](uint32_t e) { return data.label()[e]; }, 0);
  std::vector<double> vector(6, 0.0);
  size_t count = 0;
  for (const uint32_t other : Tiny().split.train) {
    if (data.user_of()[other] != user || (implicit.leave_out && other == example)) continue;
    ++count;
    const Id id = ItemId(data.item_of()[other]);
    for (size_t k = 0; k < 6; ++k) {
      vector[k] += values.Of("implicit_movie_id", id)[k];
      if (implicit.ratings) vector[k] += Deviation(other) * values.Of("implicit_ratings_movie_id", id)[k];
    }
  }
  double score = mean + values.Of("bias_user_id", UserId(user))[0] + values.Of("bias_movie_id", ItemId(item))[0];
  for (size_t k = 0; k < 6; ++k) {
    const double whole = values.Of("user_user_id", UserId(user))[k] + (count > 0 ? vector[k] / std::sqrt(count) : 0.0);
    score += whole * values.Of("item_movie_id", ItemId(item))[k];
  }
  return score;
}

TEST(DotTerm, ScoresAsTheEquationSays) {
  for (const ImplicitConfig& implicit :
       {ImplicitConfig{}, ImplicitConfig{.leave_out = true}, ImplicitConfig{.ratings = true, .leave_out = true}}) {
    const auto model = Make(Factors(implicit));
    RowMap rows(model->tables(), 0.4F);
    const std::vector<uint32_t> batch = Batch(Tiny(), 20);
    auto step = Planned(*model, batch);
    rows.Fill(*step);
    double want = 0;
    for (const uint32_t example : batch) {
      const double error = NaiveScore(Values(*model, *step), example, implicit) - Tiny().data->label()[example];
      want += error * error;
    }
    EXPECT_NEAR(ComputedLoss(*model, *step), want, 1e-4 * want);

    // In evaluation nothing is left out: what is asked of is no part of the training rows.
    auto base = model->PlanEvaluation();
    ASSERT_TRUE(base.ok());
    ASSERT_TRUE(model->BeginEvaluation(**base, true).ok());
    auto chunk = model->PlanEvaluationChunk({Tiny().split.test.data(), 1});
    ASSERT_TRUE(chunk.ok());
    rows.Fill(**chunk);
    const auto sums = model->Evaluate(**chunk);
    ASSERT_TRUE(sums.ok());
    const double error =
        NaiveScore(Values(*model, **chunk), Tiny().split.test[0], implicit) - Tiny().data->label()[Tiny().split.test[0]];
    EXPECT_NEAR(sums->at("loss").sum, error * error, 1e-4 * (1 + error * error));
  }
}

TEST(DotTerm, RatedItemsAreThoseOfTrainOnce) {
  const Dataset& data = *Tiny().data;
  const RatedItems rated(data, Tiny().split);
  size_t count = 0;
  for (uint32_t user = 0; user < data.users(); ++user) {
    EXPECT_TRUE(std::is_sorted(rated.Items(user).begin(), rated.Items(user).end()));
    EXPECT_EQ(rated.Items(user).size(), rated.Deviations(user).size());
    count += rated.Items(user).size();
  }
  EXPECT_EQ(count, Tiny().split.train.size());
}

TEST(DotTerm, ErrorsNameWhatDoesNotFit) {
  TrialConfig config = Factors();
  config.model.dot->user.features = {Named("movie_id")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("model.dot.user: feature movie_id: belongs to items"));
  config = Factors();
  config.model.dot->item.features = {Named("user_id")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("model.dot.item: feature user_id: belongs to users"));
  config.model.dot->item.features = {Named("movie_id", 4)};
  EXPECT_THAT(ErrorOf(config), HasSubstr("user is 6 wide and item 4"));
  config.model.dot.reset();
  config.model.bias = false;
  EXPECT_THAT(ErrorOf(config), HasSubstr("nothing gives a score"));
}

TEST(CrossTerm, GradientsOfEveryStructure) {
  for (const Structure structure : {Structure::kStacked, Structure::kParallel}) {
    for (const int rank : {0, 2}) {
      CheckGradients(Dcn(rank, structure, {}));
      TrialConfig config = Dcn(rank, structure, {7, 5});
      config.model.bias = true;
      config.model.tower.dropout = 0.25;
      CheckGradients(config);
    }
  }
}

using Vector = std::vector<double>;

Vector Affine(const TableRows& weight, const Vector& x, const TableRows* bias) {
  Vector y;
  for (size_t i = 0; i < weight.ids.size(); ++i) {
    y.push_back(bias == nullptr ? 0.0 : bias->values[i]);
    for (size_t j = 0; j < x.size(); ++j) y.back() += weight.values[i * weight.dim + j] * x[j];
  }
  return y;
}

TEST(CrossTerm, ScoresAsTheEquationSays) {
  const std::vector<uint32_t> batch = Batch(Tiny(), 1);
  const Dataset& data = *Tiny().data;
  const uint32_t user = data.user_of()[batch[0]];
  const uint32_t item = data.item_of()[batch[0]];
  for (const Structure structure : {Structure::kStacked, Structure::kParallel}) {
    for (const int rank : {0, 2}) {
      TrialConfig config = Dcn(rank, structure, {4});
      config.model.tower.features = {Named("user_id"), Named("movie_id", 2)};
      const auto model = Make(config);
      RowMap rows(model->tables(), 0.8F);
      auto step = Planned(*model, batch);
      rows.Fill(*step);
      const auto table = [&](const std::string& name) -> const TableRows& { return RowsOf(*model, *step, "tower_" + name); };
      const Values values(*model, *step);
      Vector x0;
      for (const float v : values.Of("tower_user_id", UserId(user))) x0.push_back(v);
      for (const float v : values.Of("tower_movie_id", ItemId(item))) x0.push_back(v);

      Vector x = x0;
      for (const std::string layer : {"cross0", "cross1"}) {
        const Vector inner = rank == 0 ? x : Affine(table(layer + "_v"), x, nullptr);
        const Vector outer = Affine(table(layer + (rank == 0 ? "_weight" : "_u")), inner, &table(layer + "_bias"));
        for (size_t i = 0; i < x.size(); ++i) x[i] += x0[i] * outer[i];
      }
      Vector deep = Affine(table("layer0_weight"), structure == Structure::kStacked ? x : x0, &table("layer0_bias"));
      for (double& v : deep) v = std::max(v, 0.0);
      if (structure == Structure::kParallel) deep.insert(deep.begin(), x.begin(), x.end());
      const double error = Affine(table("output_weight"), deep, &table("output_bias"))[0] - data.label()[batch[0]];
      EXPECT_NEAR(ComputedLoss(*model, *step), error * error, 1e-4 * (1 + error * error));
    }
  }
}

TEST(CrossTerm, TooManyInputsAreRefused) {
  TrialConfig config = Dcn(0, Structure::kStacked, {});
  config.model.tower.features = {Named("user_id", 8000), Named("movie_id", 200)};
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("model.tower: cross0_weight"), HasSubstr("8200")));
}

TEST(Scorers, LearnWhatBiasesCannot) {
  TrialConfig dcn = Dcn(0, Structure::kStacked, {16});
  dcn.model.dim = 8;
  dcn.model.bias = true;
  TrialConfig ensemble = Factors(ImplicitConfig{.ratings = true, .leave_out = true});
  ensemble.model.ensemble = 2;
  for (TrialConfig config : {dcn, Factors(ImplicitConfig{}), ensemble}) {
    config.model.epochs = 30;
    config.model.batch_size = 256;
    config.model.optimizer.learning_rate = 0.1;
    config.model.optimizer.initial_accumulator = 1e-4;
    config.model.dense_optimizer = config.model.optimizer;
    config.model.dense_optimizer.learning_rate = 0.05;
    Trained trained = Train(config, Small());
    EXPECT_LT(trained.losses.back(), 0.6 * trained.losses.front());
    const auto baselines = Baselines(*Small().data, Small().split);
    ASSERT_TRUE(baselines.ok());
    const double rmse = Evaluated(trained, Small().split.test, true).at("rmse");
    EXPECT_LT(rmse, 0.85 * BaselineNamed(*baselines, "bias only").metrics.at("rmse"));
  }
}

// With three members of unlike starting values, the mean's error is below the mean of the errors.
TEST(Scorers, AnEnsemblesPredictionIsTheMeanOfItsMembers) {
  TrialConfig config = Factors();
  config.model.ensemble = 3;
  config.model.bias = false;
  const auto model = Make(config);
  RowMap rows(model->tables(), 0.9F);
  auto base = model->PlanEvaluation();
  ASSERT_TRUE(base.ok());
  ASSERT_TRUE(model->BeginEvaluation(**base, true).ok());
  const uint32_t example = Tiny().split.test[3];
  auto chunk = model->PlanEvaluationChunk({&example, 1});
  ASSERT_TRUE(chunk.ok());
  rows.Fill(**chunk);
  const auto sums = model->Evaluate(**chunk);
  ASSERT_TRUE(sums.ok());
  const Values values(*model, **chunk);
  double mean = 0;
  for (const std::string member : {"member0_", "member1_", "member2_"}) {
    const std::vector<float>& user = values.Of(member + "user_user_id", UserId(Tiny().data->user_of()[example]));
    const std::vector<float>& item = values.Of(member + "item_movie_id", ItemId(Tiny().data->item_of()[example]));
    for (size_t k = 0; k < user.size(); ++k) mean += user[k] * item[k] / 3;
  }
  const double error = mean - Tiny().data->label()[example];
  EXPECT_NEAR(sums->at("loss").sum, error * error, 1e-4 * (1 + error * error));
}

TEST(Scorers, TwoRunsAreEqualBitForBit) {
  TrialConfig dcn = Dcn(2, Structure::kParallel, {8});
  dcn.model.tower.dropout = 0.3;
  for (TrialConfig config : {dcn, Factors(ImplicitConfig{.ratings = true, .leave_out = true})}) {
    config.model.epochs = 2;
    config.model.ensemble = 2;
    const Trained first = Train(config, Tiny());
    const Trained second = Train(config, Tiny());
    EXPECT_EQ(first.losses, second.losses);
    for (const auto& [key, row] : first.rows->rows()) {
      EXPECT_EQ(std::memcmp(row.data(), second.rows->rows().at(key).data(), row.size() * sizeof(float)), 0);
    }
  }
}

}  // namespace
}  // namespace marquee
