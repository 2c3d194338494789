#include "common/trial_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr char kTwoTower[] = R"(name: retrieval-1
seed: 7
data: {protocol: random, test: 0.3, validation: 0.1, split_seed: 9}
consistency: {mode: bounded, staleness: 4}
repeats: retrieval
validation: {every: 2, patience: 3, min_delta: 0.001}
model:
  start_from: /kept/models/retrieval-0
  kind: two_tower
  dim: 64
  query: {features: [user_id, {name: user_age, kind: number}], layers: [48, 16], dropout: 0.25, normalize: true}
  candidate: {features: [movie_id, {name: movie_genres, dim: 8, pooling: sum, init_scale: 0.1}], layers: [16]}
  loss: {kind: in_batch_softmax, temperature: 0.2, logq: true, accidental_hits: remove}
  optimizer: {kind: rowwise_adagrad, learning_rate: 0.03, l2: 1e-5, initial_accumulator: 1.5e-9}
  dense_optimizer: {kind: adam, learning_rate: 0.001, schedule: cosine, warmup_epochs: 0.5}
  epochs: 5
  batch_size: 1024
  table_memory_mib: 1.5
)";

constexpr char kRanking[] = R"(name: ranking
model:
  kind: ranking
  tower: {features: [user_id, movie_id], layers: [32]}
  bias: true
)";

constexpr char kFactors[] = R"(name: factors
model:
  kind: ranking
  dot:
    user: {features: [user_id, {name: user_gender, kind: id}]}
    item: {features: [movie_id]}
    implicit: {ratings: true, leave_out: true, init_scale: 0.02, l2: 0.0003}
  bias: true
  ensemble: 4
)";

constexpr char kDcn[] = R"(name: dcn
model:
  kind: dcn
  tower: {features: [user_id, movie_id], layers: [32]}
  cross: {layers: 2, rank: 16, structure: parallel}
)";

constexpr char kJoint[] = R"(name: joint
model:
  kind: joint
  query: {features: [user_id]}
  candidate: {features: [movie_id], layers: [48]}
  loss: {kind: full_softmax, temperature: 0.7}
  retrieval: {weight: 0.5, projection: 24}
  rating: {weight: 2, projection: 16, dot: true, layers: [64, 32], bias: true, dropout: 0.2}
)";

constexpr char kHistory[] = R"(name: history
model:
  kind: two_tower
  query:
    features:
      - {name: movie_id, kind: history, pooling: sqrt, optimizer: {kind: adam, learning_rate: 0.02}}
      - {name: movie_id, kind: history, weight: age, time_column: bought}
  candidate: {features: [movie_id, {name: movie_title, kind: words}]}
  bias: true
  seen_bias: true
  loss: {kind: full_softmax, mask: 0.5, hard_negatives: 100}
  optimizer: {kind: adagrad, learning_rate: 0.1, l2: 0.001, schedule: cosine}
)";

constexpr char kSequence[] = R"(name: sequence
model:
  kind: sequence
  dim: 48
  sequence: {length: 100, blocks: 3, heads: 4, dropout: 0.3, time_column: bought}
  loss: {kind: in_batch_softmax, logq: true}
)";

constexpr char kListwise[] = R"(name: listwise
model:
  kind: listwise
  tower: {features: [user_id, movie_id], layers: [32]}
  loss: {kind: softmax}
  list_size: 50
)";

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

std::string ErrorOf(const std::string& yaml) { return std::string(ParseTrialConfig(yaml).status().message()); }

TEST(TrialConfigTest, ReadsEveryKey) {
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(kTwoTower);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->name, "retrieval-1");
  EXPECT_EQ(config->seed, 7U);
  EXPECT_EQ(config->split.test, 0.3);
  EXPECT_EQ(config->split.seed, 9U);
  EXPECT_EQ(config->consistency.mode, ConsistencyConfig::Mode::kBounded);
  EXPECT_EQ(config->consistency.staleness, 4);
  EXPECT_EQ(config->repeats, "retrieval");
  EXPECT_EQ(config->validation, (ValidationConfig{.every = 2, .patience = 3, .min_delta = 0.001}));
  EXPECT_EQ(config->model.table_memory_mib, 1.5);
  EXPECT_EQ(config->model.start_from, "/kept/models/retrieval-0");
  const ModelConfig& model = config->model;
  EXPECT_THAT(model.query.layers, ElementsAre(48, 16));
  EXPECT_TRUE(model.query.normalize);
  EXPECT_EQ(model.query.features[1].kind, FeatureConfig::Kind::kNumber);
  EXPECT_EQ(model.candidate.features[1].dim, 8);
  EXPECT_EQ(model.candidate.features[1].pooling, FeatureConfig::Pooling::kSum);
  EXPECT_TRUE(model.loss.logq);
  EXPECT_TRUE(model.loss.remove_accidental_hits);
  EXPECT_EQ(model.optimizer.kind, OptimizerConfig::Kind::kRowwiseAdagrad);
  EXPECT_EQ(model.optimizer.initial_accumulator, 1.5e-9);
  EXPECT_EQ(model.dense_optimizer.kind, OptimizerConfig::Kind::kAdam);
  EXPECT_EQ(model.dense_optimizer.schedule, OptimizerConfig::Schedule::kCosine);
  EXPECT_EQ(model.dense_optimizer.l2, 1e-5);  // left out: as in `optimizer`
}

TEST(TrialConfigTest, DefaultsFitTheKind) {
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(kRanking);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.loss.kind, LossConfig::Kind::kSquaredError);
  EXPECT_TRUE(config->model.bias);
  EXPECT_EQ(config->model.dense_optimizer.kind, config->model.optimizer.kind);
  EXPECT_EQ(config->consistency.mode, ConsistencyConfig::Mode::kAsync);
  EXPECT_EQ(config->split.test, 0.25);
}

TEST(TrialConfigTest, WrittenAndReadAgainItIsTheSame) {
  for (const char* yaml : {kTwoTower, kRanking, kFactors, kDcn, kJoint, kListwise, kHistory, kSequence}) {
    const absl::StatusOr<TrialConfig> config = ParseTrialConfig(yaml);
    ASSERT_TRUE(config.ok()) << config.status();
    const absl::StatusOr<TrialConfig> again = ParseTrialConfig(ToYaml(*config));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ToYaml(*again), ToYaml(*config));
    EXPECT_EQ(again->model.optimizer.learning_rate, config->model.optimizer.learning_rate);
    EXPECT_EQ(again->model.dense_optimizer.warmup_epochs, config->model.dense_optimizer.warmup_epochs);
    EXPECT_EQ(again->model.loss.temperature, config->model.loss.temperature);
    EXPECT_EQ(again->seed, config->seed);
  }
}

TEST(TrialConfigTest, RefusesWhatIsWrongWithLineAndKey) {
  struct Case {
    const char* from;
    const char* to;
    const char* error;
  };
  for (const Case& wrong : {
           Case{"dim: 64", "dim: 0", "trial:10: key 'model.dim': value '0'"},
           Case{"kind: two_tower", "kind: two_towers", "'two_tower', 'ranking', 'dcn', 'joint', 'listwise' or 'sequence'"},
           Case{"learning_rate: 0.03", "learning_rate: 0", "model.optimizer.learning_rate"},
           Case{"learning_rate: 0.03", "learning_rat: 0.03", "did you mean 'learning_rate'"},
           Case{"dropout: 0.25", "dropout: 1", "below 1"},
           Case{"mode: bounded", "mode: async", "consistency.staleness"},
           Case{"layers: [16]", "layers: [17]", "query is 16 wide and candidate 17"},
           Case{"layers: [16]", "layers: [0]", "whole numbers from 1"},
           Case{"[movie_id, ", "[movie_genres, ", "'movie_genres' twice"},
           Case{"kind: number}", "kind: number, dim: 4}", "a number has no embedding"},
           Case{"kind: in_batch_softmax", "kind: full_softmax", "in_batch_softmax only"},
           Case{"accidental_hits: remove", "accidental_hits: true", "'keep' or 'remove'"},
           Case{"name: retrieval-1", "name: a/b", "letters, digits"},
           Case{"seed: 7", "seed: -7", "key 'seed'"},
           Case{"test: 0.3", "test: 1.0", "data.test"},
           Case{"epochs: 5", "list_size: 2", "key 'model.list_size': unknown"},
       }) {
    EXPECT_THAT(ErrorOf(Replaced(kTwoTower, wrong.from, wrong.to)), HasSubstr(wrong.error)) << wrong.to;
  }
  EXPECT_THAT(ErrorOf(Replaced(kRanking, "tower:", "towers:")), HasSubstr("model.tower"));
  EXPECT_THAT(ErrorOf("model: {kind: ranking}"), HasSubstr("'name': is missing"));
}

TEST(TrialConfigTest, ReadsTheTermsOfAScore) {
  const absl::StatusOr<TrialConfig> factors = ParseTrialConfig(kFactors);
  ASSERT_TRUE(factors.ok()) << factors.status();
  EXPECT_TRUE(factors->model.tower.features.empty());
  EXPECT_EQ(factors->model.ensemble, 4);
  EXPECT_EQ(factors->model.dot->user.features[1].name, "user_gender");
  EXPECT_TRUE(factors->model.dot->implicit->ratings);
  EXPECT_TRUE(factors->model.dot->implicit->leave_out);
  EXPECT_EQ(factors->model.dot->implicit->init_scale, 0.02);
  EXPECT_EQ(factors->model.dot->implicit->l2, 0.0003);
  const absl::StatusOr<TrialConfig> plain =
      ParseTrialConfig(Replaced(kFactors, "{ratings: true, leave_out: true, init_scale: 0.02, l2: 0.0003}", "{}"));
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_FALSE(plain->model.dot->implicit->l2.has_value());
  EXPECT_FALSE(plain->model.dot->implicit->leave_out);

  const absl::StatusOr<TrialConfig> dcn = ParseTrialConfig(kDcn);
  ASSERT_TRUE(dcn.ok()) << dcn.status();
  EXPECT_EQ(dcn->model.cross->layers, 2);
  EXPECT_EQ(dcn->model.cross->rank, 16);
  EXPECT_EQ(dcn->model.cross->structure, CrossConfig::Structure::kParallel);
  EXPECT_EQ(dcn->model.loss.kind, LossConfig::Kind::kSquaredError);

  const absl::StatusOr<TrialConfig> listwise = ParseTrialConfig(kListwise);
  ASSERT_TRUE(listwise.ok()) << listwise.status();
  EXPECT_EQ(listwise->model.loss.kind, LossConfig::Kind::kListSoftmax);
  EXPECT_EQ(listwise->model.list_size, 50);
}

// Embeddings are put side by side, and not added, so they need not be alike.
TEST(TrialConfigTest, CrossLayersTakeDimsOfAllSizesWithoutDeepLayers) {
  std::string text = kDcn;
  const std::string_view tower = "[user_id, movie_id], layers: [32]";
  text.replace(text.find(tower), tower.size(), "[{name: user_id, dim: 4}, {name: movie_id, dim: 7}]");
  const absl::StatusOr<TrialConfig> dcn = ParseTrialConfig(text);
  ASSERT_TRUE(dcn.ok()) << dcn.status();
  EXPECT_TRUE(dcn->model.tower.layers.empty());
}

TEST(TrialConfigTest, ReadsTheHeadsOfAJointModel) {
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(kJoint);
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelConfig& model = config->model;
  EXPECT_EQ(model.retrieval.weight, 0.5);
  EXPECT_EQ(model.retrieval.projection, 24);
  EXPECT_EQ(model.loss.kind, LossConfig::Kind::kFullSoftmax);
  EXPECT_EQ(model.loss.temperature, 0.7);
  EXPECT_EQ(model.rating.weight, 2.0);
  EXPECT_EQ(model.rating.projection, 16);
  EXPECT_TRUE(model.rating.dot);
  EXPECT_TRUE(model.rating.bias);
  EXPECT_EQ(model.rating.dropout, 0.2);
  EXPECT_THAT(model.rating.layers, ElementsAre(64, 32));
}

TEST(TrialConfigTest, RefusesTermsAndHeadsThatDoNotFit) {
  EXPECT_THAT(ErrorOf(Replaced(kFactors, "leave_out: true, ", "")), HasSubstr("needs 'leave_out: true'"));
  EXPECT_THAT(ErrorOf(Replaced(kFactors, "[movie_id]}", "[{name: movie_id, dim: 5}]}")),
              HasSubstr("user is 32 wide and item 5"));
  EXPECT_THAT(ErrorOf(Replaced(kFactors, "ensemble: 4", "ensemble: 0")), HasSubstr("model.ensemble"));
  EXPECT_THAT(ErrorOf(Replaced(kFactors, "    item: {features: [movie_id]}\n", "")), HasSubstr("'model.dot.item': is missing"));
  EXPECT_THAT(ErrorOf(Replaced(kDcn, "layers: 2, ", "layers: 0, ")), HasSubstr("model.cross.layers"));
  EXPECT_THAT(ErrorOf(Replaced(kDcn, "  tower: {features: [user_id, movie_id], layers: [32]}\n", "")),
              HasSubstr("'model.tower': is missing"));
  EXPECT_THAT(ErrorOf(Replaced(kListwise, "softmax", "squared_error")), HasSubstr("'list_mle' or 'softmax'"));
  EXPECT_THAT(ErrorOf(Replaced(kListwise, "list_size: 50", "list_size: 1")), HasSubstr("model.list_size"));
  EXPECT_THAT(ErrorOf(Replaced(kJoint, ", projection: 24", "")), HasSubstr("'retrieval' needs a projection"));
  EXPECT_THAT(ErrorOf(Replaced(kJoint, "projection: 16, ", "")), HasSubstr("'rating' needs a projection"));
  const std::string none = Replaced(Replaced(kJoint, "weight: 0.5", "weight: 0"), "weight: 2", "weight: 0");
  EXPECT_THAT(ErrorOf(none), HasSubstr("weight 0 for both tasks"));
}

TEST(TrialConfigTest, ReadsHistories) {
  const absl::StatusOr<TrialConfig> config = ParseTrialConfig(kHistory);
  ASSERT_TRUE(config.ok()) << config.status();
  const ModelConfig& model = config->model;
  const FeatureConfig& history = model.query.features[0];
  EXPECT_EQ(history.kind, FeatureConfig::Kind::kHistory);
  EXPECT_EQ(history.pooling, FeatureConfig::Pooling::kSqrt);
  EXPECT_EQ(history.table_name(), "history_movie_id");
  ASSERT_TRUE(history.optimizer.has_value());
  EXPECT_EQ(history.optimizer->kind, OptimizerConfig::Kind::kAdam);
  EXPECT_EQ(history.optimizer->learning_rate, 0.02);
  EXPECT_EQ(history.optimizer->l2, 0.001);  // left out: as in the model's
  EXPECT_EQ(model.query.features[1].table_name(), "history_movie_id_age");
  EXPECT_EQ(model.query.features[1].time_column, "bought");
  EXPECT_FALSE(model.query.features[1].optimizer.has_value());
  EXPECT_EQ(model.candidate.features[1].table_name(), "words_movie_title");
  EXPECT_TRUE(model.bias);
  EXPECT_TRUE(model.seen_bias);
  EXPECT_EQ(model.loss.mask, 0.5);
  EXPECT_EQ(model.loss.hard_negatives, 100);
  const absl::StatusOr<TrialConfig> again = ParseTrialConfig(ToYaml(*config));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->model.query.features[0].optimizer->learning_rate, 0.02);
  EXPECT_EQ(again->model.loss.mask, 0.5);
}

TEST(TrialConfigTest, RefusesHistoriesThatDoNotFit) {
  EXPECT_THAT(ErrorOf(Replaced(kHistory, "mask: 0.5", "mask: 1")), HasSubstr("model.loss.mask"));
  EXPECT_THAT(ErrorOf(Replaced(kHistory, "kind: words", "weight: age")), HasSubstr("is for kind 'history' only"));
  EXPECT_THAT(ErrorOf(Replaced(kHistory, "weight: age, ", "")), HasSubstr("'history_movie_id' twice"));
  EXPECT_THAT(ErrorOf(Replaced(kHistory, "learning_rate: 0.02", "schedule: linear")), HasSubstr("schedule': unknown"));
  EXPECT_THAT(ErrorOf(Replaced(kTwoTower, "temperature: 0.2", "mask: 0.5")), HasSubstr("needs a feature of kind 'history'"));
  EXPECT_THAT(ErrorOf(Replaced(kSequence, "heads: 4", "heads: 5")), HasSubstr("must divide the dim of 48"));
}

TEST(TrialConfigTest, TowerWithoutLayersSumsFeaturesOfOneDim) {
  const std::string yaml = R"(name: t
model:
  kind: two_tower
  dim: 8
  query: {features: [user_id, {name: user_zip_code, dim: 4}]}
  candidate: {features: [movie_id]}
)";
  EXPECT_THAT(ErrorOf(yaml), HasSubstr("trial:5: key 'model.query.features'"));
  EXPECT_TRUE(ParseTrialConfig(Replaced(yaml, "dim: 4", "dim: 8")).ok());
}

TEST(TrialConfigTest, EachProtocolHasItsKeysAndDefaults) {
  using Protocol = SplitConfig::Protocol;
  const auto split_of = [](const std::string& data) {
    const auto config = ParseTrialConfig(Replaced(kTwoTower, "protocol: random, test: 0.3, validation: 0.1", data));
    EXPECT_TRUE(config.ok()) << config.status();
    if (!config.ok()) return SplitConfig{};
    const auto again = ParseTrialConfig(ToYaml(*config));
    EXPECT_TRUE(again.ok()) << again.status();
    EXPECT_TRUE(again.ok() && again->split == config->split) << ToYaml(*config);
    return config->split;
  };
  EXPECT_EQ(split_of("protocol: random"), (SplitConfig{.seed = 9}));
  const SplitConfig time = split_of("protocol: time, time_column: bought");
  EXPECT_EQ(time.protocol, Protocol::kTime);
  EXPECT_EQ(time.time_column, "bought");
  EXPECT_EQ(time.test, 0.1);
  EXPECT_DOUBLE_EQ((1 - time.test) * time.validation, 0.1);
  EXPECT_EQ(split_of("protocol: binarized, test: 0.2").test, 0.2);
  EXPECT_EQ(split_of("protocol: leave_last_out").protocol, Protocol::kLeaveLastOut);
  EXPECT_EQ(split_of("protocol: random, train_on: train_and_validation").train_on, SplitConfig::TrainOn::kTrainAndValidation);

  for (const auto& [data, error] : std::vector<std::pair<std::string, std::string>>{
           {"protocol: leave_last_out, test: 0.1", "key 'data.test': value '0.1': must be left out: leave_last_out"},
           {"protocol: random, time_column: t",
            "key 'data.time_column': value 't': is for the protocols leave_last_out and time"},
           {"protocol: bernoulli", "'random', 'binarized', 'leave_last_out' or 'time'"},
           {"protocol: random, train_on: test", "'train' or 'train_and_validation'"}}) {
    EXPECT_THAT(ErrorOf(Replaced(kTwoTower, "protocol: random, test: 0.3, validation: 0.1", data)), HasSubstr(error));
  }
}

TEST(TrialConfigTest, ClassesAndRatingsHaveTheirOwnLosses) {
  const std::string binary = std::string(kRanking) + "  loss: {kind: binary_cross_entropy}\ndata: {protocol: binarized}\n";
  const auto config = ParseTrialConfig(binary);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->model.loss.kind, LossConfig::Kind::kBinaryCrossEntropy);
  EXPECT_EQ(ToYaml(*ParseTrialConfig(ToYaml(*config))), ToYaml(*config));
  EXPECT_THAT(ErrorOf(Replaced(binary, "binary_cross_entropy", "squared_error")),
              HasSubstr("must be binary_cross_entropy under the protocol binarized"));
  EXPECT_THAT(ErrorOf(Replaced(binary, "binarized", "random")), HasSubstr("must be squared_error"));
}

TEST(TrialConfigTest, MetricsKnowTheirDirection) {
  using Kind = ModelConfig::Kind;
  using Protocol = SplitConfig::Protocol;
  EXPECT_EQ(DefaultMetric(Kind::kTwoTower, Protocol::kRandom), "top_100");
  EXPECT_EQ(DefaultMetric(Kind::kTwoTower, Protocol::kLeaveLastOut), "hr_10");
  EXPECT_EQ(DefaultMetric(Kind::kTwoTower, Protocol::kTime), "hr_10");
  EXPECT_EQ(DefaultMetric(Kind::kRanking, Protocol::kRandom), "rmse");
  EXPECT_EQ(DefaultMetric(Kind::kRanking, Protocol::kTime), "rmse");
  EXPECT_EQ(DefaultMetric(Kind::kRanking, Protocol::kBinarized), "auc");
  EXPECT_EQ(DefaultMetric(Kind::kDcn, Protocol::kRandom), "rmse");
  EXPECT_EQ(DefaultMetric(Kind::kDcn, Protocol::kBinarized), "auc");
  EXPECT_EQ(DefaultMetric(Kind::kJoint, Protocol::kRandom), "top_100");
  EXPECT_EQ(DefaultMetric(Kind::kListwise, Protocol::kRandom), "ndcg_10");
  for (const char* metric : {"top_1", "top_100_unseen", "auc"}) EXPECT_TRUE(LargerIsBetter(metric)) << metric;
  for (const char* metric : {"rmse", "mae", "loss", "log_loss"}) EXPECT_FALSE(LargerIsBetter(metric)) << metric;
}

}  // namespace
}  // namespace marquee
