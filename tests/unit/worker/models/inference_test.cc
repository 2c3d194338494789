#include "worker/models/inference.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/worker/models/model_testing.h"
#include "worker/models/history.h"

namespace marquee {
namespace {

using For = Entities::For;

FeatureConfig History(const std::string& name, FeatureConfig::Weight weight = FeatureConfig::Weight::kOne) {
  FeatureConfig feature = Named(name);
  feature.kind = FeatureConfig::Kind::kHistory;
  feature.weight = weight;
  return feature;
}

TrialConfig Config(ModelConfig::Kind kind) {
  TrialConfig config;
  config.name = "inference";
  config.seed = 3;
  config.model.kind = kind;
  config.model.dim = 6;
  config.model.epochs = 2;
  config.model.batch_size = 128;
  return config;
}

TrialConfig TwoTowers() {
  TrialConfig config = Config(ModelConfig::Kind::kTwoTower);
  config.model.query.features = {History("movie_id"), Named("user_gender")};
  config.model.candidate.features = {Named("movie_id")};
  config.model.bias = true;
  config.model.seen_bias = true;
  config.model.ensemble = 2;
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.loss.mask = 0.4;
  return config;
}

TrialConfig Sequences() {
  TrialConfig config = Config(ModelConfig::Kind::kSequence);
  config.model.sequence = {.length = 12, .blocks = 2, .heads = 2};
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  return config;
}

TrialConfig Ranking() {
  TrialConfig config = Config(ModelConfig::Kind::kRanking);
  config.model.tower.features = {Named("user_id"), Named("movie_genres"), History("movie_id"), Named("bucketized_user_age")};
  config.model.tower.layers = {8};
  DotConfig dot;
  dot.user.features = {Named("user_id")};
  dot.item.features = {Named("movie_id")};
  dot.implicit = ImplicitConfig{.ratings = true, .leave_out = true};
  config.model.dot = dot;
  config.model.bias = true;
  config.model.ensemble = 2;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  return config;
}

TrialConfig Crossed() {
  TrialConfig config = Config(ModelConfig::Kind::kDcn);
  config.model.tower.features = {Named("user_id"), Named("release_date"), Named("movie_id"), Named("user_zip_code")};
  config.model.tower.layers = {7};
  config.model.cross = CrossConfig{.layers = 2, .rank = 3};
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  return config;
}

TrialConfig Joint() {
  TrialConfig config = Config(ModelConfig::Kind::kJoint);
  config.model.query.features = {History("movie_id"), History("director", FeatureConfig::Weight::kRating), Named("user_id")};
  config.model.candidate.features = {Named("movie_id")};
  config.model.retrieval = {.weight = 1, .projection = 5, .bias = true, .seen_bias = true};
  config.model.rating = {.weight = 1, .projection = 4, .dot = true, .layers = {6}, .bias = true};
  return config;
}

Trained Ready(const TrialConfig& config) {
  Trained trained = Train(config, Tiny());
  Evaluated(trained, Tiny().split.test, /*test=*/true);
  return trained;
}

std::vector<uint32_t> UsersOf(const std::vector<uint32_t>& examples) {
  std::vector<uint32_t> users;
  for (const uint32_t example : examples) users.push_back(Tiny().data->user_of()[example]);
  return users;
}

std::vector<uint32_t> ItemsOf(const std::vector<uint32_t>& examples) {
  std::vector<uint32_t> items;
  for (const uint32_t example : examples) items.push_back(Tiny().data->item_of()[example]);
  return items;
}

// What a trained model says of the test rows as pairs is what its evaluation has found.
void CheckPredictions(const TrialConfig& config) {
  Trained trained = Train(config, Tiny());
  const std::vector<uint32_t>& test = Tiny().split.test;
  const double want = Evaluated(trained, test, /*test=*/true).at("rmse");
  RatingInference& rating = *trained.model->rating();
  const auto step = rating.PlanPairs(UsersOf(test), ItemsOf(test), For::kTest);
  trained.rows->Fill(*step);
  const std::vector<float> predictions = rating.Predict(*step);
  ASSERT_EQ(predictions.size(), test.size());
  double squares = 0;
  for (size_t i = 0; i < test.size(); ++i) {
    const double error = std::min(std::max(predictions[i], 1.0F), 5.0F) - Tiny().data->label()[test[i]];
    squares += error * error;
  }
  EXPECT_NEAR(std::sqrt(squares / static_cast<double>(test.size())), want, 1e-5);
}

TEST(RatingInference, PredictsWhatEvaluationHasFound) {
  CheckPredictions(Ranking());
  CheckPredictions(Crossed());
  CheckPredictions(Joint());
}

// Users' sides beside movie 0 and movies' beside user 0, put together: for pairs, of which some have met.
void CheckDecomposition(const TrialConfig& config, For purpose) {
  Trained trained = Ready(config);
  RatingInference& rating = *trained.model->rating();
  std::vector<uint32_t> users;
  std::vector<uint32_t> items;
  for (uint32_t i = 0; i < 40; ++i) {
    users.push_back(i % static_cast<uint32_t>(Tiny().data->users()));
    items.push_back((i * 7) % static_cast<uint32_t>(Tiny().data->rated_items()));
  }
  const auto asked = [&](const std::vector<uint32_t>& u, const std::vector<uint32_t>& m) {
    auto step = rating.PlanPairs(u, m, purpose);
    trained.rows->Fill(*step);
    return step;
  };
  const std::vector<uint32_t> zeros(users.size(), 0);
  const auto of_users = rating.Decompose(*asked(users, zeros));
  const auto of_movies = rating.Decompose(*asked(zeros, items));
  torch::Tensor sum = torch::full({static_cast<int64_t>(users.size())}, of_users.constant);
  if (of_users.factors.users.defined()) sum = sum + (of_users.factors.users * of_movies.factors.movies).sum(1);
  const auto parts = rating.parts();
  ASSERT_EQ(parts.size(), of_users.parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    const torch::Tensor context = of_users.contexts[i].repeat({static_cast<int64_t>(users.size()), 1});
    sum = sum +
          parts[i].weight * parts[i].function({of_users.parts[i].users, of_movies.parts[i].movies, context}).flatten().detach();
  }
  const std::vector<float> want = rating.Predict(*asked(users, items));
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(sum[static_cast<int64_t>(i)].item<float>(), want[i], 1e-4) << users[i] << " " << items[i];
  }
}

TEST(RatingInference, DecompositionGivesThePrediction) {
  for (const For purpose : {For::kTest, For::kNow}) {
    CheckDecomposition(Ranking(), purpose);
    CheckDecomposition(Crossed(), purpose);
    CheckDecomposition(Joint(), purpose);
    TrialConfig lists = Ranking();
    lists.model.kind = ModelConfig::Kind::kListwise;
    lists.model.loss.kind = LossConfig::Kind::kListMle;
    CheckDecomposition(lists, purpose);
  }
}

// A column of interactions that is a feature is null where there is no interaction.
TEST(RatingInference, PairsHaveNoTime) {
  TrialConfig config = Crossed();
  config.model.tower.features.push_back(Named("timestamp"));
  CheckDecomposition(config, For::kNow);
}

// Ranks by vectors give the accuracy that evaluation has found.
void CheckRanking(const TrialConfig& config) {
  Trained trained = Train(config, Tiny());
  const std::vector<uint32_t>& test = Tiny().split.test;
  const auto metrics = Evaluated(trained, test, /*test=*/true);
  RetrievalInference& retrieval = *trained.model->retrieval();
  std::vector<uint32_t> users(Tiny().data->users());
  for (uint32_t user = 0; user < users.size(); ++user) users[user] = user;
  const auto step = retrieval.PlanUsers(users, For::kTest);
  trained.rows->Fill(*step);
  torch::Tensor scores = torch::mm(retrieval.UserVectors(*step), retrieval.MovieVectors().t()).contiguous();
  if (const torch::Tensor bias = retrieval.SeenBias(); bias.defined()) {
    for (const auto* part : {&Tiny().split.train, &Tiny().split.validation}) {
      for (const uint32_t example : *part) {
        const auto item = static_cast<int64_t>(Tiny().data->item_of()[example]);
        // Once, however often the user has rated it.
        scores[Tiny().data->user_of()[example]][item] =
            torch::dot(retrieval.UserVectors(*step)[Tiny().data->user_of()[example]], retrieval.MovieVectors()[item]) +
            bias[item];
      }
    }
  }
  double found = 0;
  for (const uint32_t example : test) {
    const torch::Tensor row = scores[Tiny().data->user_of()[example]];
    const float target = row[Tiny().data->item_of()[example]].item<float>();
    const double rank = (row > target).sum().item<double>() + 0.5 * ((row == target).sum().item<double>() - 1);
    found += rank < 10 ? 1 : 0;
  }
  EXPECT_NEAR(found / static_cast<double>(test.size()), metrics.at("top_10"), 0.005);
}

TEST(RetrievalInference, RanksAsEvaluationDoes) {
  CheckRanking(TwoTowers());
  CheckRanking(Joint());
  CheckRanking(Sequences());
}

TEST(RetrievalInference, NowKnowsTheTestRowsToo) {
  Trained trained = Ready(TwoTowers());
  RetrievalInference& retrieval = *trained.model->retrieval();
  const std::vector<uint32_t> users = UsersOf({Tiny().split.test.front()});
  const auto vector = [&](For purpose) {
    const auto step = retrieval.PlanUsers(users, purpose);
    trained.rows->Fill(*step);
    return retrieval.UserVectors(*step);
  };
  EXPECT_FALSE(torch::allclose(vector(For::kTest), vector(For::kNow)));
}

// Of a model without layers whose query is its history alone, shares add up to the score without the movie's bias.
TEST(RetrievalInference, HistorySharesAddUpToTheScore) {
  TrialConfig config = TwoTowers();
  config.model.query.features = {History("movie_id"), History("director", FeatureConfig::Weight::kRating)};
  for (const TrialConfig& trial : {config, Joint()}) {
    TrialConfig without_bias = trial;
    without_bias.model.bias = false;
    without_bias.model.retrieval.bias = false;
    if (trial.model.kind == ModelConfig::Kind::kJoint) without_bias.model.query.features.pop_back();  // user_id
    Trained trained = Ready(without_bias);
    RetrievalInference& retrieval = *trained.model->retrieval();
    const auto step = retrieval.PlanUsers({4, 9}, For::kNow);
    trained.rows->Fill(*step);
    const marquee::History known(*Tiny().data, {&Tiny().split.train, &Tiny().split.validation, &Tiny().split.test});
    const std::vector<uint32_t> items = {0, 5};
    const std::vector<std::vector<float>> shares = retrieval.HistoryShares(*step, 1, items);
    ASSERT_EQ(shares.size(), items.size());
    for (size_t i = 0; i < items.size(); ++i) {
      ASSERT_EQ(shares[i].size(), known.size(9));
      double sum = 0;
      for (const float share : shares[i]) sum += share;
      const float score = torch::dot(retrieval.UserVectors(*step)[1], retrieval.MovieVectors()[items[i]]).item<float>();
      EXPECT_NEAR(sum, score, 1e-4 * std::max(1.0F, std::abs(score)));
    }
  }
}

TEST(RetrievalInference, WithoutHistoriesThereAreNoShares) {
  TrialConfig config = TwoTowers();
  config.model.query.features = {Named("user_id")};
  config.model.seen_bias = false;
  config.model.loss.mask = 0;
  Trained trained = Ready(config);
  const auto step = trained.model->retrieval()->PlanUsers({0}, For::kNow);
  trained.rows->Fill(*step);
  EXPECT_TRUE(trained.model->retrieval()->HistoryShares(*step, 0, {0U}).empty());
}

}  // namespace
}  // namespace marquee
