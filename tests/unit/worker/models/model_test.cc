#include "worker/models/model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "tests/unit/worker/models/model_testing.h"
#include "tests/unit/worker/models/row_map.h"
#include "tests/unit/worker/models/tiny_data.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TrialConfig TwoTower() {
  TrialConfig config;
  config.name = "t";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kTwoTower;
  config.model.dim = 8;
  config.model.query.features = {Named("user_id")};
  config.model.candidate.features = {Named("movie_id")};
  config.model.batch_size = 128;
  return config;
}

TrialConfig Ranking() {
  TrialConfig config;
  config.name = "r";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kRanking;
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  config.model.dim = 8;
  config.model.tower.features = {Named("user_id"), Named("movie_id")};
  config.model.tower.layers = {16, 8};
  config.model.batch_size = 128;
  return config;
}

// Ratings of 3 are gone, the others classes.
TinyData Binarized(const TinyData& tiny) {
  TinyData binary = tiny;
  const auto split = MakeSplit(*tiny.data, SplitConfig::Of(SplitConfig::Protocol::kBinarized));
  EXPECT_TRUE(split.ok()) << split.status().ToString();
  binary.split = *split;
  return binary;
}

TrialConfig BinaryRanking() {
  TrialConfig config = Ranking();
  config.split = SplitConfig::Of(SplitConfig::Protocol::kBinarized);
  config.model.loss.kind = LossConfig::Kind::kBinaryCrossEntropy;
  return config;
}

TEST(TwoTowerModel, GradientsOfPlainEmbeddings) { CheckGradients(TwoTower()); }

TEST(TwoTowerModel, GradientsWithEveryFeatureTypeAndLayers) {
  TrialConfig config = TwoTower();
  config.model.query.features = {Named("user_id"), Named("user_gender", 3), Named("user_zip_code", 2),
                                 Named("bucketized_user_age")};
  config.model.query.layers = {12, 6};
  config.model.query.normalize = true;
  config.model.candidate.features = {Named("movie_id"), Named("movie_genres", 5), Named("release_date"), Named("director", 4)};
  config.model.candidate.layers = {10, 6};
  config.model.candidate.normalize = true;
  config.model.loss = {.temperature = 0.2, .logq = true, .remove_accidental_hits = true};
  CheckGradients(config);
}

TEST(TwoTowerModel, GradientsOfFullSoftmaxWithInteractionFeatures) {
  TrialConfig config = TwoTower();
  config.model.query.features = {Named("user_id"), Named("timestamp")};
  config.model.query.layers = {8};
  config.model.candidate.features = {Named("movie_id"), Named("movie_genres")};
  config.model.candidate.features[1].pooling = FeatureConfig::Pooling::kSum;
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  CheckGradients(config);
}

// Each member's gradients are those of the model that it would be alone, and its score is the mean of theirs.
TEST(TwoTowerModel, MembersOfAnEnsembleLearnEachForItself) {
  TrialConfig config = TwoTower();
  config.model.bias = true;
  const auto alone = Make(config);
  config.model.ensemble = 2;
  const auto both = Make(config);
  ASSERT_EQ(both->tables().size(), 2 * alone->tables().size());
  RowMap rows(both->tables(), 0.5F);
  const std::vector<uint32_t> batch = Batch(Tiny(), 60);
  auto step = Planned(*both, batch);
  rows.Fill(*step);
  const double loss = ComputedLoss(*both, *step);
  double sum = 0;
  for (const std::string member : {"member0_", "member1_"}) {
    auto of_member = Planned(*alone, batch);
    for (TableRows& table : of_member->rows) {
      const TableRows& from = RowsOf(*both, *step, member + alone->tables()[table.table].name);
      ASSERT_EQ(table.ids, from.ids);
      table.values = from.values;
    }
    sum += ComputedLoss(*alone, *of_member);
    for (const TableRows& table : of_member->rows) {
      EXPECT_EQ(table.gradients, RowsOf(*both, *step, member + alone->tables()[table.table].name).gradients);
    }
  }
  EXPECT_NEAR(loss, sum / 2, 1e-6 * std::abs(loss));
}

TEST(RankingModel, GradientsWithEveryFeatureTypeBiasAndDropout) {
  TrialConfig config = Ranking();
  config.model.bias = true;
  config.model.tower.features = {
      Named("user_id"),   Named("movie_id"),         Named("movie_genres", 5),       Named("release_date"),
      Named("timestamp"), Named("user_zip_code", 3), Named("bucketized_user_age", 4)};
  config.model.tower.features.back().kind = FeatureConfig::Kind::kId;
  config.model.tower.dropout = 0.3;
  CheckGradients(config, 1300);  // more than one block
}

// In-batch and full softmax by the formula over the examples, from the rows of the step.
TEST(TwoTowerModel, LossIsTheFormulas) {
  for (const bool full : {false, true}) {
    TrialConfig config = TwoTower();
    config.model.loss.temperature = 0.5;
    config.model.loss.logq = !full;
    if (full) config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
    const auto model = Make(config);
    RowMap rows(model->tables(), 0.7F);
    const Dataset& data = *Tiny().data;
    const std::vector<uint32_t> batch = Batch(Tiny(), 100);
    auto step = Planned(*model, batch);
    rows.Fill(*step);

    std::map<uint32_t, double> share;
    for (const uint32_t example : Tiny().split.train) share[data.item_of()[example]] += 1;
    const auto vector_of = [&](const std::string& table, const Column& key, uint32_t row) {
      return rows.Row(TableNamed(*model, table), key.id(key.code(row)));
    };
    std::vector<uint32_t> classes;
    for (const uint32_t example : batch) classes.push_back(data.item_of()[example]);
    if (full) {
      classes.clear();
      for (uint32_t item = 0; item < data.rated_items(); ++item) classes.push_back(item);
    }
    const auto logit = [&](uint32_t user, uint32_t item) {
      const std::vector<float> q = vector_of("query_user_id", data.user_key(), user);
      const std::vector<float> c = vector_of("candidate_movie_id", data.item_key(), item);
      double score = 0;
      for (size_t d = 0; d < q.size(); ++d) score += static_cast<double>(q[d]) * c[d];
      const double log_share = std::log(share[item] / static_cast<double>(Tiny().split.train.size()));
      return score / 0.5 - (full ? 0.0 : log_share);
    };
    double want = 0;
    for (const uint32_t example : batch) {
      const uint32_t user = data.user_of()[example];
      double sum = 0;
      for (const uint32_t item : classes) sum += std::exp(logit(user, item));
      want += std::log(sum) - logit(user, data.item_of()[example]);
    }
    EXPECT_NEAR(ComputedLoss(*model, *step), want, 1e-4 * want);
  }
}

TEST(Models, TablesSayTheirDimInitializerAndOptimizer) {
  TrialConfig config = Ranking();
  config.model.bias = true;
  config.model.optimizer.max_norm = 2;
  config.model.optimizer.l2 = 0.5;
  config.model.dense_optimizer.kind = OptimizerConfig::Kind::kAdam;
  config.model.dense_optimizer.max_norm = 3;
  config.model.dense_optimizer.l2 = 0.25;
  const auto model = Make(config);
  const TableDefinition& users = model->tables()[TableNamed(*model, "tower_user_id")];
  EXPECT_EQ(users.dim, 8U);
  EXPECT_EQ(users.seed, config.seed);
  EXPECT_EQ(users.initializer, (Initializer{Initializer::Kind::kUniform, 0.05F}));
  EXPECT_EQ(users.optimizer.max_norm, 2);
  const TableDefinition& weight = model->tables()[TableNamed(*model, "tower_layer0_weight")];
  EXPECT_EQ(weight.dim, 16U);  // the inputs of one unit
  EXPECT_EQ(weight.initializer, (Initializer{Initializer::Kind::kUniform, std::sqrt(6.0F / 32)}));
  EXPECT_EQ(weight.optimizer.kind, OptimizerConfig::Kind::kAdam);
  EXPECT_EQ(weight.optimizer.max_norm, 3);
  const TableDefinition& dense_bias = model->tables()[TableNamed(*model, "tower_layer1_bias")];
  EXPECT_EQ(dense_bias.dim, 8U);
  EXPECT_EQ(dense_bias.initializer.kind, Initializer::Kind::kZeros);
  EXPECT_EQ(dense_bias.optimizer.max_norm, 0);
  EXPECT_EQ(dense_bias.optimizer.l2, 0);
  EXPECT_EQ(model->tables()[TableNamed(*model, "tower_layer2_weight")].dim, 8U);
  const TableDefinition& bias = model->tables()[TableNamed(*model, "bias_movie_id")];
  EXPECT_EQ(bias.dim, 1U);
  EXPECT_EQ(bias.initializer.kind, Initializer::Kind::kZeros);
  EXPECT_EQ(bias.optimizer.max_norm, 0);
  EXPECT_EQ(bias.optimizer.l2, 0.5F);
}

// Row 3 of a layer's table holds the weights into unit 3: set by hand, the prediction must be the one worked out by hand.
TEST(RankingModel, GradientsOfTheLogisticLoss) {
  TrialConfig config = BinaryRanking();
  config.model.bias = true;
  CheckGradients(config, 90, Binarized(Tiny()));
}

TEST(RankingModel, DenseRowsAreTheWeightsIntoEachUnit) {
  TrialConfig config = Ranking();
  config.model.tower.features = {Named("bucketized_user_age"), Named("user_id", 1)};
  config.model.tower.layers = {4};
  const auto model = Make(config);
  auto base = model->PlanEvaluation();
  ASSERT_TRUE(base.ok());
  for (TableRows& rows : (*base)->rows) std::fill(rows.values.begin(), rows.values.end(), 0.0F);
  TableRows& first = RowsOf(*model, **base, "tower_layer0_weight");
  ASSERT_EQ(first.ids, (std::vector<Id>{0, 1, 2, 3}));
  first.values[3 * 2 + 1] = 2.0F;  // unit 3, from the user's number
  RowsOf(*model, **base, "tower_layer0_bias").values[3] = 0.5F;
  RowsOf(*model, **base, "tower_layer1_weight").values[3] = 1.5F;
  RowsOf(*model, **base, "tower_layer1_bias").values[0] = 0.25F;
  ASSERT_TRUE(model->BeginEvaluation(**base, true).ok());
  const uint32_t example = Tiny().split.test[0];
  auto chunk = model->PlanEvaluationChunk({&example, 1});
  ASSERT_TRUE(chunk.ok());
  RowsOf(*model, **chunk, "tower_user_id").values[0] = 0.75F;
  const auto sums = model->Evaluate(**chunk);
  ASSERT_TRUE(sums.ok()) << sums.status().ToString();
  const double want = 0.25 + 1.5 * (0.5 + 2 * 0.75) - Tiny().data->label()[example];
  EXPECT_NEAR(sums->at("loss").sum, want * want, 1e-5);
}

TEST(Features, EachIdComesOnceAndNullHasItsOwn) {
  TrialConfig config = TwoTower();
  config.model.query.features = {Named("user_zip_code")};
  config.model.candidate.features = {Named("movie_genres")};
  const auto model = Make(config);
  const std::vector<uint32_t> batch = Batch(Tiny(), 300);
  auto step = Planned(*model, batch);
  const std::vector<Id>& zips = RowsOf(*model, *step, "query_user_zip_code").ids;
  const std::vector<Id>& genres = RowsOf(*model, *step, "candidate_movie_genres").ids;
  EXPECT_EQ(std::set<Id>(zips.begin(), zips.end()).size(), zips.size());
  EXPECT_EQ(zips.size(), 8U);  // seven and null
  EXPECT_THAT(zips, testing::Contains(FeatureId("user_zip_code", "")));
  EXPECT_THAT(zips, testing::Contains(FeatureId("user_zip_code", "00003")));
  EXPECT_EQ(std::set<Id>(genres.begin(), genres.end()).size(), genres.size());
  EXPECT_EQ(genres.size(), 7U);
}

// The score of a pooled tower is the product with the mean or sum of its genres' rows, and 0 for a movie without genres.
TEST(Features, GenresArePooledAndNoneAreZeros) {
  for (const auto pooling : {FeatureConfig::Pooling::kMean, FeatureConfig::Pooling::kSum}) {
    TrialConfig config = TwoTower();
    config.model.dim = 1;
    config.model.candidate.features = {Named("movie_genres")};
    config.model.candidate.features[0].pooling = pooling;
    config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
    const auto model = Make(config);
    const Dataset& data = *Tiny().data;
    const Column& column = *data.column("movie_genres");
    auto step = Planned(*model, Batch(Tiny(), 1));
    const uint32_t target = data.item_of()[Tiny().split.train[0]];
    TableRows& genres = RowsOf(*model, *step, "candidate_movie_genres");
    std::map<Id, double> value;
    for (size_t i = 0; i < genres.ids.size(); ++i) {
      genres.values[i] = 0.1F * static_cast<float>(i + 1);
      value[genres.ids[i]] = genres.values[i];
    }
    RowsOf(*model, *step, "query_user_id").values[0] = 2.0F;
    const auto score = [&](uint32_t item) {
      double sum = 0;
      for (const uint32_t code : column.codes(item)) sum += value[column.id(code)];
      const size_t count = column.codes(item).size();
      return 2.0 * (pooling == FeatureConfig::Pooling::kMean && count > 0 ? sum / static_cast<double>(count) : sum);
    };
    double sum = 0;
    for (uint32_t item = 0; item < data.rated_items(); ++item) sum += std::exp(score(item));
    EXPECT_NEAR(ComputedLoss(*model, *step), std::log(sum) - score(target), 1e-5);
  }
}

// A linear tower with weights 1 and 100 on a number and its null flag shows both inputs.
TEST(Features, NumbersAreNormalisedOverTrainingRowsAndNullIsFlagged) {
  TrialConfig config = Ranking();
  config.model.tower.features = {Named("release_date"), Named("user_id", 1)};
  config.model.tower.layers = {};
  const auto model = Make(config);
  const Dataset& data = *Tiny().data;
  const Column& column = *data.column("release_date");
  double count = 0;
  double sum = 0;
  double squares = 0;
  for (const uint32_t example : Tiny().split.train) {
    const uint32_t item = data.item_of()[example];
    if (column.is_null(item)) continue;
    count += 1;
    sum += column.number(item);
    squares += column.number(item) * column.number(item);
  }
  const double mean = sum / count;
  const double deviation = std::sqrt(squares / count - mean * mean);

  auto base = model->PlanEvaluation();
  ASSERT_TRUE(base.ok());
  TableRows& weight = RowsOf(*model, **base, "tower_layer0_weight");
  ASSERT_EQ(weight.dim, 3U);
  weight.values = {1.0F, 100.0F, 0.0F};
  ASSERT_TRUE(model->BeginEvaluation(**base, true).ok());
  int nulls = 0;
  for (size_t i = 0; i < 40; ++i) {
    const uint32_t example = Tiny().split.test[i];
    const uint32_t item = data.item_of()[example];
    auto chunk = model->PlanEvaluationChunk({&example, 1});
    ASSERT_TRUE(chunk.ok());
    const auto sums = model->Evaluate(**chunk);
    ASSERT_TRUE(sums.ok());
    const double want = column.is_null(item) ? 100.0 : (column.number(item) - mean) / deviation;
    nulls += column.is_null(item) ? 1 : 0;
    EXPECT_NEAR(std::sqrt(sums->at("loss").sum), std::abs(want - data.label()[example]), 1e-3);
  }
  EXPECT_GT(nulls, 0);
}

TEST(Features, ErrorsNameTheFeatureAndWhatIsAllowed) {
  TrialConfig config = TwoTower();
  config.model.query.features = {Named("user_idd")};
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("model.query: feature user_idd"), HasSubstr("user_zip_code")));
  config.model.query.features = {Named("movie_id")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("feature movie_id: belongs to items"));
  config.model.query.features = {};
  EXPECT_THAT(ErrorOf(config), HasSubstr("at least one"));
  config.model.query.features = {Named("user_id"), Named("user_id")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("twice"));
  config.model.query.features = {Named("bucketized_user_age")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("a number needs dense layers"));
  config.model.query.features = {Named("user_id"), Named("user_gender", 3)};
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("dim 3"), HasSubstr("equal dims")));
  config.model.query.features = {Named("user_id", 5)};
  EXPECT_THAT(ErrorOf(config), AllOf(HasSubstr("query is 5 wide"), HasSubstr("candidate 8")));
  config.model.query.features = {Named("user_id")};
  config.model.query.features[0].kind = FeatureConfig::Kind::kIds;
  EXPECT_THAT(ErrorOf(config), HasSubstr("of type id"));

  config = TwoTower();
  config.model.candidate.features = {Named("user_gender")};
  EXPECT_THAT(ErrorOf(config), HasSubstr("feature user_gender: belongs to users"));
  config.model.candidate.features = {Named("timestamp")};
  config.model.candidate.layers = {8};
  EXPECT_THAT(ErrorOf(config), HasSubstr("feature timestamp: belongs to interactions"));

  config = Ranking();
  config.model.tower.features.push_back(Named("user_rating"));
  EXPECT_THAT(ErrorOf(config), HasSubstr("feature user_rating: it is the label"));
  config = Ranking();
  config.model.tower.layers = {0};
  EXPECT_THAT(ErrorOf(config), HasSubstr("layers[0]: 0 units"));
}

TEST(Models, RefuseLossesAndDevicesThatDoNotFit) {
  TrialConfig config = TwoTower();
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  EXPECT_THAT(ErrorOf(config), HasSubstr("two_tower takes in_batch_softmax"));
  config.model.loss = {.kind = LossConfig::Kind::kFullSoftmax, .logq = true};
  EXPECT_THAT(ErrorOf(config), HasSubstr("full_softmax has neither"));
  config.model.loss = {.temperature = 0};
  EXPECT_THAT(ErrorOf(config), HasSubstr("temperature 0"));
  config = Ranking();
  config.model.loss.kind = LossConfig::Kind::kInBatchSoftmax;
  EXPECT_THAT(ErrorOf(config), HasSubstr("ranking takes squared_error"));
  EXPECT_THAT(ErrorOf(BinaryRanking()), HasSubstr("binary_cross_entropy under a binary split"));
  EXPECT_THAT(ErrorOf(TwoTower(), "tpu"), HasSubstr("tpu; must be cpu, cuda or auto"));
  EXPECT_EQ(ErrorOf(TwoTower(), "auto"), "ok");
}

TEST(Models, ALossThatIsNotFiniteIsAnError) {
  for (const TrialConfig& config : {TwoTower(), Ranking()}) {
    const auto model = Make(config);
    auto step = Planned(*model, Batch(Tiny(), 50));
    for (TableRows& rows : step->rows) std::fill(rows.values.begin(), rows.values.end(), 0.1F);
    step->rows[0].values[1] = std::nanf("");
    EXPECT_EQ(model->Compute(*step).status().code(), absl::StatusCode::kOutOfRange);
    step->rows[0].values.pop_back();
    EXPECT_EQ(model->Compute(*step).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// ------------------------------------------------------------------------------------------------------------ training

TEST(RankingModel, LearnsWhatBiasesCannot) {
  TrialConfig config = Ranking();
  config.model.epochs = 30;
  config.model.bias = true;
  config.model.batch_size = 256;
  config.model.optimizer.learning_rate = 0.1;
  config.model.optimizer.initial_accumulator = 0.1;
  config.model.dense_optimizer = config.model.optimizer;
  Trained trained = Train(config, Small());
  EXPECT_LT(trained.losses.back(), 0.5 * trained.losses.front());
  const auto baselines = Baselines(*Small().data, Small().split);
  ASSERT_TRUE(baselines.ok());
  const double rmse = Evaluated(trained, Small().split.test, true).at("rmse");
  EXPECT_LT(rmse, 0.8 * BaselineNamed(*baselines, "bias only").metrics.at("rmse"));
}

TEST(RankingModel, LearnsClasses) {
  TrialConfig config = BinaryRanking();
  config.model.epochs = 30;
  config.model.bias = true;
  config.model.batch_size = 256;
  config.model.optimizer.initial_accumulator = 1e-3;  // gradients of classes are small
  config.model.dense_optimizer = config.model.optimizer;
  const TinyData binary = Binarized(Small());
  Trained trained = Train(config, binary);
  const auto baselines = Baselines(*binary.data, binary.split);
  ASSERT_TRUE(baselines.ok());
  const std::map<std::string, double>& bias = BaselineNamed(*baselines, "bias only").metrics;
  const std::map<std::string, double> got = Evaluated(trained, binary.split.test, true);
  EXPECT_GT(got.at("auc"), bias.at("auc") + 0.02);
  EXPECT_LT(got.at("log_loss"), 0.9 * bias.at("log_loss"));
  EXPECT_NEAR(got.at("loss"), got.at("log_loss"), 1e-9);
  EXPECT_FALSE(got.contains("rmse"));
}

TEST(TwoTowerModel, LearnsTastesThatPopularityCannot) {
  for (const auto kind : {LossConfig::Kind::kInBatchSoftmax, LossConfig::Kind::kFullSoftmax}) {
    TrialConfig config = TwoTower();
    config.model.epochs = 20;
    config.model.batch_size = 512;
    config.model.optimizer.learning_rate = 0.2;
    config.model.loss.kind = kind;
    config.model.loss.logq = kind == LossConfig::Kind::kInBatchSoftmax;
    Trained trained = Train(config, Small());
    EXPECT_LT(trained.losses.back(), trained.losses.front() - 0.3);
    const auto baselines = Baselines(*Small().data, Small().split);
    ASSERT_TRUE(baselines.ok());
    const std::map<std::string, double> metrics = Evaluated(trained, Small().split.test, true);
    EXPECT_GT(metrics.at("top_50"), 1.3 * BaselineNamed(*baselines, "popularity").metrics.at("top_50"));
    EXPECT_GT(metrics.at("top_50_unseen"), metrics.at("top_50"));
  }
}

TEST(Models, TwoRunsAreEqualBitForBit) {
  TrialConfig ranking = Ranking();
  ranking.model.tower.dropout = 0.4;
  ranking.model.tower.features.push_back(Named("movie_genres"));
  for (TrialConfig config : {TwoTower(), ranking}) {
    config.model.epochs = 2;
    const Trained first = Train(config, Tiny());
    const Trained second = Train(config, Tiny());
    EXPECT_EQ(first.losses, second.losses);
    ASSERT_EQ(first.rows->rows().size(), second.rows->rows().size());
    for (const auto& [key, row] : first.rows->rows()) {
      EXPECT_EQ(std::memcmp(row.data(), second.rows->rows().at(key).data(), row.size() * sizeof(float)), 0);
    }
  }
}

TEST(RankingModel, DropoutHangsOnSeedEpochAndStepAlone) {
  TrialConfig config = Ranking();
  config.model.tower.dropout = 0.5;
  const auto loss = [&](uint64_t seed, uint32_t epoch, uint64_t number) {
    config.seed = seed;
    const auto model = Make(config);
    auto step = Planned(*model, Batch(Tiny(), 100), epoch, number);
    for (TableRows& rows : step->rows) {
      for (size_t i = 0; i < rows.values.size(); ++i) rows.values[i] = 0.01F * static_cast<float>(i % 37) - 0.1F;
    }
    return ComputedLoss(*model, *step);
  };
  const double first = loss(5, 1, 2);
  EXPECT_EQ(first, loss(5, 1, 2));
  EXPECT_NE(first, loss(6, 1, 2));
  EXPECT_NE(first, loss(5, 2, 2));
  EXPECT_NE(first, loss(5, 1, 3));
  EXPECT_NE(loss(5, 1, 2), loss(5, 2, 1));
}

TEST(TwoTowerModel, EvaluationCountsAsAddTopKDoes) {
  TrialConfig config = TwoTower();
  config.model.epochs = 3;
  config.model.optimizer.learning_rate = 0.3;
  config.model.loss.temperature = 0.7;
  TinyData tiny = Tiny();
  tiny.split = *MakeSplit(*tiny.data, SplitConfig::Of(SplitConfig::Protocol::kTime));
  Trained trained = Train(config, tiny);
  const Dataset& data = *tiny.data;
  for (const bool test : {false, true}) {
    const std::vector<uint32_t>& examples = test ? tiny.split.test : tiny.split.validation;
    std::vector<const std::vector<uint32_t>*> parts = {&tiny.split.train};
    if (test) parts.push_back(&tiny.split.validation);
    const SeenItems seen(data, parts);
    MetricSums want;
    for (const uint32_t example : examples) {
      const uint32_t user = data.user_of()[example];
      std::vector<float> scores;
      const std::vector<float>& q =
          trained.rows->Row(TableNamed(*trained.model, "query_user_id"), data.user_key().id(data.user_key().code(user)));
      double sum = 0;
      for (uint32_t item = 0; item < data.rated_items(); ++item) {
        const std::vector<float>& c =
            trained.rows->Row(TableNamed(*trained.model, "candidate_movie_id"), data.item_key().id(data.item_key().code(item)));
        double score = 0;
        for (size_t d = 0; d < q.size(); ++d) score += static_cast<double>(q[d]) * c[d];
        scores.push_back(static_cast<float>(score));
        sum += std::exp(score / 0.7);
      }
      ASSERT_TRUE(AddTopK(scores, data.item_of()[example], seen.Of(user), want, /*chronological=*/true).ok());
      want["loss"].sum += std::log(sum) - scores[data.item_of()[example]] / 0.7;
      want["loss"].weight += 1;
    }
    const std::map<std::string, double> expected = Finish(want);
    const std::map<std::string, double> got = Evaluated(trained, examples, test, 37);
    ASSERT_EQ(got.size(), expected.size());
    for (const auto& [name, value] : expected) EXPECT_NEAR(got.at(name), value, 1e-5 * (1 + value)) << name;
  }
}

TEST(Models, AScoreThatIsNotFiniteIsAnErrorInEvaluation) {
  for (const TrialConfig& config : {TwoTower(), Ranking()}) {
    const auto model = Make(config);
    RowMap rows(model->tables());
    auto base = model->PlanEvaluation();
    ASSERT_TRUE(base.ok());
    auto chunk = model->PlanEvaluationChunk(Tiny().split.test);
    ASSERT_TRUE(chunk.ok());
    rows.Fill(**chunk);
    EXPECT_EQ(model->Evaluate(**chunk).status().code(), absl::StatusCode::kFailedPrecondition);
    rows.Fill(**base);
    ASSERT_TRUE(model->BeginEvaluation(**base, true).ok());
    EXPECT_TRUE(model->Evaluate(**chunk).ok());
    (*chunk)->rows[0].values[3] = std::nanf("");
    EXPECT_EQ(model->Evaluate(**chunk).status().code(), absl::StatusCode::kOutOfRange);
  }
}

}  // namespace
}  // namespace marquee
