// History and word features, masked histories and the seen bias, through the models that use them.

#include "worker/models/history.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/unit/worker/models/model_testing.h"
#include "worker/models/feature.h"

namespace marquee {
namespace {

using testing::HasSubstr;

using Kind = FeatureConfig::Kind;
using Pooling = FeatureConfig::Pooling;
using Weight = FeatureConfig::Weight;

FeatureConfig HistoryOf(const std::string& column, Pooling pooling = Pooling::kSqrt, Weight weight = Weight::kOne) {
  FeatureConfig feature = Named(column);
  feature.kind = Kind::kHistory;
  feature.pooling = pooling;
  feature.weight = weight;
  return feature;
}

TrialConfig TwoTowerWith(const std::vector<FeatureConfig>& query) {
  TrialConfig config;
  config.name = "h";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kTwoTower;
  config.model.dim = 8;
  config.model.query.features = query;
  config.model.candidate.features = {Named("movie_id")};
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.batch_size = 128;
  return config;
}

TrialConfig Masked() {
  TrialConfig config = TwoTowerWith({HistoryOf("movie_id", Pooling::kMean)});
  config.model.loss.mask = 0.5;
  config.model.bias = true;
  config.model.seen_bias = true;
  return config;
}

Feature MadeFeature(const FeatureConfig& config, const TinyData& tiny = Tiny()) {
  auto feature = Feature::Make(config, 3, *tiny.data, tiny.split);
  EXPECT_TRUE(feature.ok()) << feature.status().ToString();
  return *std::move(feature);
}

// All examples of some users, side by side, as training by users has them.
std::vector<uint32_t> BatchOfUsers(const TinyData& tiny, uint32_t first, uint32_t last) {
  std::vector<uint32_t> batch;
  for (uint32_t user = first; user < last; ++user) {
    for (const uint32_t example : tiny.split.train) {
      if (tiny.data->user_of()[example] == user) batch.push_back(example);
    }
  }
  return batch;
}

// -------------------------------------------------------------------------------------------------------- features

// By the definition: shrunk means of items, and then of users over what those leave.
double DeviationOf(const TinyData& tiny, uint32_t interaction) {
  const Dataset& data = *tiny.data;
  const std::vector<uint32_t>& train = tiny.split.train;
  double mean = 0;
  for (const uint32_t i : train) mean += data.label()[i] / static_cast<double>(train.size());
  const auto of_item = [&](uint32_t item) {
    double sum = 0;
    double count = 10;
    for (const uint32_t i : train) {
      if (data.item_of()[i] != item) continue;
      sum += data.label()[i] - mean;
      count += 1;
    }
    return sum / count;
  };
  double sum = 0;
  double count = 10;
  for (const uint32_t i : train) {
    if (data.user_of()[i] != data.user_of()[interaction]) continue;
    sum += data.label()[i] - mean - of_item(data.item_of()[i]);
    count += 1;
  }
  return data.label()[interaction] - mean - of_item(data.item_of()[interaction]) - sum / count;
}

// What the feature should give an example, from its definition: each example's own sum over all but its own movie.
std::vector<double> NaiveInput(const FeatureConfig& config, const TinyData& tiny, uint32_t example,
                               const std::map<Id, std::vector<float>>& rows, const HistoryMask* mask) {
  const Dataset& data = *tiny.data;
  const Column& column = *data.column(config.name);
  double mean = 0;
  double squares = 0;
  std::map<uint32_t, double> raw;
  std::map<uint32_t, double> last_of_user;
  for (const uint32_t i : tiny.split.train) {
    double& latest = last_of_user[data.user_of()[i]];
    latest = std::max(latest, data.column("timestamp")->number(i));
  }
  for (const uint32_t i : tiny.split.train) {
    raw[i] = config.weight == Weight::kRating ? data.label()[i]
             : config.weight == Weight::kDeviation
                 ? DeviationOf(tiny, i)
                 : std::log1p(last_of_user[data.user_of()[i]] - data.column("timestamp")->number(i));
    mean += raw[i];
    squares += raw[i] * raw[i];
  }
  mean /= static_cast<double>(raw.size());
  const double deviation = std::sqrt(squares / static_cast<double>(raw.size()) - mean * mean);

  std::vector<double> sum(3, 0.0);
  double count = 0;
  for (const uint32_t i : tiny.split.train) {
    if (data.user_of()[i] != data.user_of()[example]) continue;
    if (mask != nullptr ? mask->LeavesOut(i) : data.item_of()[i] == data.item_of()[example]) continue;
    const double weight = config.weight == Weight::kOne ? 1 : (raw[i] - mean) / deviation;
    const std::vector<float>& row = rows.at(column.id(column.code(data.item_of()[i])));
    for (size_t d = 0; d < 3; ++d) sum[d] += weight * row[d];
    count += 1;
  }
  const double scale = count == 0                         ? 0
                       : config.pooling == Pooling::kSum  ? 1
                       : config.pooling == Pooling::kMean ? 1 / count
                                                          : 1 / std::sqrt(count);
  for (double& x : sum) x *= scale;
  return sum;
}

TEST(HistoryFeature, SumsLessTheTargetAreThoseOfTheDefinition) {
  const TinyData& tiny = Tiny();
  const std::vector<uint32_t> batch = Batch(tiny, 60);
  std::vector<uint32_t> users;
  for (const uint32_t example : batch) users.push_back(tiny.data->user_of()[example]);
  const HistoryMask mask(3, 1, 0.4);
  for (const char* column : {"movie_id", "director"}) {
    for (const Pooling pooling : {Pooling::kSum, Pooling::kMean, Pooling::kSqrt}) {
      for (const Weight weight : {Weight::kOne, Weight::kRating, Weight::kDeviation, Weight::kAge}) {
        for (const HistoryMask* masked : {static_cast<const HistoryMask*>(nullptr), &mask}) {
          const FeatureConfig config = HistoryOf(column, pooling, weight);
          Feature feature = MadeFeature(config);
          std::vector<Id> ids;
          FeatureInput input =
              feature.Plan({.count = batch.size(), .interactions = batch, .users = users, .mask = masked}, ids);
          std::vector<float> values;
          std::map<Id, std::vector<float>> rows;
          for (size_t i = 0; i < ids.size(); ++i) {
            for (int d = 0; d < 3; ++d) values.push_back(std::sin(static_cast<float>(3 * i + d + 1)));
            rows[ids[i]] = {values.end() - 3, values.end()};
          }
          ASSERT_EQ(rows.size(), ids.size()) << "an id twice";
          feature.Begin(input, values.data());
          std::vector<float> got(batch.size() * 3, 0.0F);
          feature.Gather(input, 0, batch.size(), values.data(), got.data(), 3);
          for (size_t e = 0; e < batch.size(); ++e) {
            const std::vector<double> want = NaiveInput(config, tiny, batch[e], rows, masked);
            for (size_t d = 0; d < 3; ++d) ASSERT_NEAR(got[3 * e + d], want[d], 2e-4) << column << " example " << e;
          }
        }
      }
    }
  }
}

// Work and pulled rows grow with the batch and with its users' histories, not with their product.
TEST(HistoryFeature, ListsEachUserOnce) {
  const TinyData& tiny = Tiny();
  const std::vector<uint32_t> batch = BatchOfUsers(tiny, 0, 3);
  std::vector<uint32_t> users;
  for (const uint32_t example : batch) users.push_back(tiny.data->user_of()[example]);
  Feature feature = MadeFeature(HistoryOf("movie_id"));
  std::vector<Id> ids;
  const FeatureInput input = feature.Plan({.count = batch.size(), .interactions = batch, .users = users}, ids);
  EXPECT_EQ(input.slots.size(), batch.size());  // each of the users' interactions, once
  EXPECT_EQ(input.offsets.size(), 4U);
  EXPECT_EQ(input.left_out.size(), batch.size());
}

TEST(HistoryFeature, IsNeverMadeOfWhatIsEvaluated) {
  const TinyData& tiny = Tiny();
  std::vector<uint32_t> users(tiny.data->users());
  for (uint32_t u = 0; u < users.size(); ++u) users[u] = u;
  Feature feature = MadeFeature(HistoryOf("movie_id", Pooling::kSum));
  const auto size_for = [&](Entities::For purpose) {
    std::vector<Id> ids;
    return feature.Plan({.count = users.size(), .users = users, .purpose = purpose}, ids).slots.size();
  };
  EXPECT_EQ(size_for(Entities::For::kValidation), tiny.split.train.size());
  EXPECT_EQ(size_for(Entities::For::kTest), tiny.split.train.size() + tiny.split.validation.size());
}

TEST(HistoryFeature, TheTargetsRowDoesNotChangeItsOwnQuery) {
  // One example, and the row of its movie in the history table: pulled for nobody else's sake.
  const TinyData& tiny = Tiny();
  const auto model = Make(TwoTowerWith({HistoryOf("movie_id")}));
  RowMap rows(model->tables());
  const uint32_t example = tiny.split.train[17];
  auto step = Planned(*model, {&example, 1});
  rows.Fill(*step);
  const double before = ComputedLoss(*model, *step);
  const Column& movies = tiny.data->item_key();
  const Id own = movies.id(movies.code(tiny.data->item_of()[example]));
  TableRows& history = RowsOf(*model, *step, "query_history_movie_id");
  const auto place = std::find(history.ids.begin(), history.ids.end(), own) - history.ids.begin();
  ASSERT_LT(place, static_cast<ptrdiff_t>(history.ids.size()));
  for (uint32_t d = 0; d < history.dim; ++d) {
    EXPECT_NEAR(history.gradients[place * history.dim + d], 0, 1e-7);
    history.values[place * history.dim + d] += 100;
  }
  EXPECT_NEAR(ComputedLoss(*model, *step), before, 1e-3);
}

TEST(HistoryFeature, RefusesWhatIsNoColumnOfItems) {
  EXPECT_THAT(ErrorOf(TwoTowerWith({HistoryOf("user_gender")})), HasSubstr("history takes a column of items of type id"));
  EXPECT_THAT(ErrorOf(TwoTowerWith({HistoryOf("movie_genres")})), HasSubstr("of type ids"));
  EXPECT_THAT(ErrorOf(TwoTowerWith({HistoryOf("movie_idd")})), HasSubstr("no such column"));
  FeatureConfig age = HistoryOf("movie_id", Pooling::kMean, Weight::kAge);
  age.time_column = "director";
  EXPECT_THAT(ErrorOf(TwoTowerWith({age})), HasSubstr("time_column: director"));
  TrialConfig masked = TwoTowerWith({Named("user_id")});
  masked.model.loss.mask = 0.5;
  EXPECT_THAT(ErrorOf(masked), HasSubstr("needs a feature of kind history"));
  masked.model.loss.mask = 0;
  masked.model.seen_bias = true;
  EXPECT_THAT(ErrorOf(masked), HasSubstr("seen_bias: needs a feature of kind history"));
}

TEST(WordsFeature, HasARowForEachWord) {
  // "Director 0", "Director 1" ...: the first word is common to all.
  FeatureConfig config = Named("director");
  config.kind = Kind::kWords;
  config.pooling = Pooling::kSum;
  Feature feature = MadeFeature(config);
  const std::vector<uint32_t> items = {0, 1, 2};
  std::vector<Id> ids;
  const FeatureInput input = feature.Plan({.count = 3, .items = items}, ids);
  EXPECT_EQ(input.offsets, (std::vector<uint32_t>{0, 2, 4, 6}));
  EXPECT_EQ(input.slots[0], input.slots[2]);
  EXPECT_EQ(input.slots[0], input.slots[4]);
  EXPECT_EQ(ids[0], FeatureId("director", "director"));
  config.name = "movie_genres";
  TrialConfig trial = TwoTowerWith({Named("user_id")});
  trial.model.candidate.features.push_back(config);
  EXPECT_THAT(ErrorOf(trial), HasSubstr("its kind does not fit the column, which is of type ids"));
}

TEST(FeatureOptimizer, IsThatOfItsOwnTable) {
  TrialConfig config = TwoTowerWith({Named("user_id"), HistoryOf("movie_id")});
  config.model.optimizer.kind = OptimizerConfig::Kind::kAdagrad;
  config.model.optimizer.learning_rate = 0.1;
  OptimizerConfig own;
  own.kind = OptimizerConfig::Kind::kAdam;
  own.learning_rate = 0.02;
  config.model.query.features[1].optimizer = own;
  const auto model = Make(config);
  EXPECT_EQ(model->tables()[TableNamed(*model, "query_user_id")].optimizer.kind, Optimizer::Kind::kAdagrad);
  EXPECT_EQ(model->tables()[TableNamed(*model, "query_history_movie_id")].optimizer.kind, Optimizer::Kind::kAdam);
  auto step = Planned(*model, Batch(Tiny(), 20));
  EXPECT_FLOAT_EQ(RowsOf(*model, *step, "query_user_id").learning_rate, 0.1F);
  EXPECT_FLOAT_EQ(RowsOf(*model, *step, "query_history_movie_id").learning_rate, 0.02F);
}

// ------------------------------------------------------------------------------------------------------- gradients

TEST(HistoryModel, GradientsOfATwoTowerThatLeavesOutTargets) {
  TrialConfig config = TwoTowerWith({HistoryOf("movie_id"), HistoryOf("movie_id", Pooling::kMean, Weight::kRating),
                                     HistoryOf("director", Pooling::kMean, Weight::kAge), Named("user_id")});
  CheckGradients(config);
  config.model.query.layers = {10, 8};
  config.model.bias = true;
  config.model.seen_bias = true;
  CheckGradients(config);
}

TEST(HistoryModel, GradientsOfInBatchSoftmaxWithAllItsOptions) {
  TrialConfig config = TwoTowerWith({HistoryOf("movie_id")});
  config.model.loss = {.kind = LossConfig::Kind::kInBatchSoftmax,
                       .temperature = 0.7,
                       .logq = true,
                       .remove_accidental_hits = true,
                       .hard_negatives = 7};
  config.model.seen_bias = true;
  FeatureConfig words = Named("director");
  words.kind = Kind::kWords;
  config.model.candidate.features.push_back(words);
  CheckGradients(config);
}

TEST(HistoryModel, GradientsOfMaskedHistories) { CheckGradients(Masked()); }

TEST(HistoryModel, GradientsOfARatingModel) {
  TrialConfig config = TwoTowerWith({});
  config.model.kind = ModelConfig::Kind::kRanking;
  config.model.loss = {.kind = LossConfig::Kind::kSquaredError};
  config.model.tower.features = {Named("user_id"), Named("movie_id"), HistoryOf("movie_id")};
  config.model.tower.layers = {12};
  // More than a block of examples, so that users' histories are shared among blocks.
  CheckGradients(config, 700);
}

// ----------------------------------------------------------------------------------------------- masked histories

TEST(MaskedHistory, SplitsAUsersMoviesIntoInputAndTargets) {
  const TinyData& tiny = Tiny();
  const auto model = Make(Masked());
  const std::vector<uint32_t> batch = BatchOfUsers(tiny, 4, 5);
  auto step = Planned(*model, batch, 3, 0);
  const HistoryMask mask(5, 3, 0.5);
  std::set<Id> want;
  const Column& movies = tiny.data->item_key();
  for (const uint32_t example : batch) {
    if (!mask.LeavesOut(example)) want.insert(movies.id(movies.code(tiny.data->item_of()[example])));
  }
  const TableRows& history = RowsOf(*model, *step, "query_history_movie_id");
  EXPECT_EQ(std::set<Id>(history.ids.begin(), history.ids.end()), want);
  EXPECT_LT(want.size(), batch.size());
  EXPECT_EQ(step->examples, batch.size());
}

TEST(MaskedHistory, AUserCutByTheEndOfABatchHasTheSameHistoryInBoth) {
  const TinyData& tiny = Tiny();
  const auto model = Make(Masked());
  const std::vector<uint32_t> batch = BatchOfUsers(tiny, 4, 5);
  const auto part = absl::MakeConstSpan(batch);
  auto one = Planned(*model, part.subspan(0, batch.size() / 2), 3, 0);
  auto other = Planned(*model, part.subspan(batch.size() / 2), 3, 1);
  EXPECT_EQ(RowsOf(*model, *one, "query_history_movie_id").ids, RowsOf(*model, *other, "query_history_movie_id").ids);
}

TEST(MaskedHistory, IsDrawnAnewInEachEpochAndTheSameAtEachTry) {
  const TinyData& tiny = Tiny();
  const auto model = Make(Masked());
  const auto again = Make(Masked());
  const std::vector<uint32_t> batch = BatchOfUsers(tiny, 0, 6);
  const auto ids = [&](Model& which, uint32_t epoch) {
    return RowsOf(which, *Planned(which, batch, epoch, 0), "query_history_movie_id").ids;
  };
  EXPECT_EQ(ids(*model, 1), ids(*again, 1));
  EXPECT_NE(ids(*model, 1), ids(*model, 2));
  double left_out = 0;
  const HistoryMask mask(5, 1, 0.3);
  for (uint32_t i = 0; i < 20000; ++i) left_out += mask.LeavesOut(i) ? 1 : 0;
  EXPECT_NEAR(left_out / 20000, 0.3, 0.02);
}

TEST(MaskedHistory, ABatchWithoutTargetsTeachesNothing) {
  const TinyData& tiny = Tiny();
  TrialConfig config = Masked();
  config.model.loss.mask = 1e-9;
  const auto model = Make(config);
  auto step = Planned(*model, BatchOfUsers(tiny, 0, 1));
  RowMap rows(model->tables());
  rows.Fill(*step);
  EXPECT_EQ(ComputedLoss(*model, *step), 0);
  for (const TableRows& table : step->rows) {
    for (const float gradient : table.gradients) ASSERT_EQ(gradient, 0);
  }
}

// Movies of the planted groups, and never one that was rated already: seen and unseen accuracy meet.
TEST(MaskedHistory, LearnsTastesAndNotToRecommendWhatWasSeen) {
  TrialConfig config = Masked();
  config.model.optimizer.kind = OptimizerConfig::Kind::kAdagrad;
  config.model.optimizer.learning_rate = 0.3;
  config.model.epochs = 25;
  config.model.batch_size = 256;
  Trained with = Train(config, Small());
  const std::map<std::string, double> metrics = Evaluated(with, Small().split.test, true);
  config.model.seen_bias = false;
  Trained without = Train(config, Small());
  const std::map<std::string, double> plain = Evaluated(without, Small().split.test, true);
  EXPECT_LT(with.losses.back(), 0.95 * with.losses.front());
  EXPECT_GT(metrics.at("top_5"), plain.at("top_5"));
  EXPECT_GT(metrics.at("top_5"), 0.8 * metrics.at("top_5_unseen"));
  const auto baselines = Baselines(*Small().data, Small().split);
  ASSERT_TRUE(baselines.ok());
  EXPECT_GT(metrics.at("top_5_unseen"), BaselineNamed(*baselines, "popularity").metrics.at("top_5_unseen"));
}

}  // namespace
}  // namespace marquee
