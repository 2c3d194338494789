#include "worker/models/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/unit/worker/models/model_testing.h"
#include "worker/models/timelines.h"

namespace marquee {
namespace {

using testing::HasSubstr;

TrialConfig Sequence() {
  TrialConfig config;
  config.name = "s";
  config.seed = 5;
  config.model.kind = ModelConfig::Kind::kSequence;
  config.model.dim = 8;
  config.model.sequence = {.length = 12, .blocks = 2, .heads = 2, .dropout = 0, .time_column = "timestamp"};
  config.model.loss.kind = LossConfig::Kind::kFullSoftmax;
  config.model.batch_size = 256;
  return config;
}

TEST(UserTimelines, AreInTheOrderOfTime) {
  const TinyData& tiny = Tiny();
  const Column& time = *tiny.data->column("timestamp");
  const UserTimelines timelines(*tiny.data, time, 3, {&tiny.split.train});
  std::set<uint32_t> all;
  for (uint32_t user = 0; user < tiny.data->users(); ++user) {
    const absl::Span<const uint32_t> own = timelines.Of(user);
    for (size_t i = 0; i < own.size(); ++i) {
      EXPECT_EQ(tiny.data->user_of()[own[i]], user);
      if (i > 0) {
        EXPECT_LE(time.number(own[i - 1]), time.number(own[i]));
      }
      all.insert(own[i]);
    }
  }
  EXPECT_EQ(all, std::set<uint32_t>(tiny.split.train.begin(), tiny.split.train.end()));
}

TEST(SequenceModel, GradientsOfFullAndInBatchSoftmax) {
  TrialConfig config = Sequence();
  CheckGradients(config);
  config.model.loss = {
      .kind = LossConfig::Kind::kInBatchSoftmax, .temperature = 0.8, .logq = true, .remove_accidental_hits = true};
  config.model.sequence.heads = 1;
  CheckGradients(config);
}

// The mask of each place is the same whenever a step is computed.
TEST(SequenceModel, GradientsWithDropout) {
  TrialConfig config = Sequence();
  config.model.sequence.dropout = 0.3;
  CheckGradients(config);
}

TEST(SequenceModel, AStepIsTheSameWheneverItIsPlanned) {
  if (TestDevice() != "cpu") GTEST_SKIP() << "a GPU adds in any order";
  TrialConfig config = Sequence();
  config.model.sequence.dropout = 0.3;
  const auto gradients = [&](uint64_t step_number) {
    const auto model = Make(config);
    RowMap rows(model->tables());
    auto step = Planned(*model, Batch(Tiny(), 200), 1, step_number);
    rows.Fill(*step);
    ComputedLoss(*model, *step);
    std::vector<std::vector<float>> all;
    for (const TableRows& table : step->rows) all.push_back(table.gradients);
    return all;
  };
  EXPECT_EQ(gradients(3), gradients(3));
  EXPECT_NE(gradients(3), gradients(4));
}

// Targets are the second and third movie of a user: the rows of the first two and of the targets have gradients, and no row of
// a movie that was rated later.
TEST(SequenceModel, NoPlaceSeesWhatComesAfterIt) {
  TrialConfig config = Sequence();
  config.model.sequence.length = 100;
  config.model.loss.kind = LossConfig::Kind::kInBatchSoftmax;
  const auto model = Make(config);
  RowMap rows(model->tables(), 0.3F);
  const UserTimelines timelines(*Tiny().data, *Tiny().data->column("timestamp"), config.split.seed, {&Tiny().split.train});
  const absl::Span<const uint32_t> timeline = timelines.Of(7);
  ASSERT_GT(timeline.size(), 5U);
  auto step = Planned(*model, timeline.subspan(1, 2));
  rows.Fill(*step);
  EXPECT_GT(ComputedLoss(*model, *step), 0);
  const TableRows& items = RowsOf(*model, *step, "sequence_movie_id");
  const Column& movies = Tiny().data->item_key();
  for (size_t i = 0; i + 1 < timeline.size(); ++i) {
    const Id id = movies.id(movies.code(Tiny().data->item_of()[timeline[i]]));
    const auto place = std::find(items.ids.begin(), items.ids.end(), id) - items.ids.begin();
    ASSERT_LT(place, static_cast<ptrdiff_t>(items.ids.size()));
    double squares = 0;
    for (uint32_t d = 0; d < items.dim; ++d) squares += std::pow(items.gradients[place * items.dim + d], 2);
    if (i <= 2) {
      EXPECT_GT(squares, 0) << i;
    } else {
      EXPECT_EQ(squares, 0) << i;
    }
  }
}

// What comes first in a user's time follows nothing: it is no target.
TEST(SequenceModel, TheFirstMovieIsNoTarget) {
  const auto model = Make(Sequence());
  RowMap rows(model->tables());
  const UserTimelines timelines(*Tiny().data, *Tiny().data->column("timestamp"), 42, {&Tiny().split.train});
  auto step = Planned(*model, timelines.Of(7).subspan(0, 1));
  rows.Fill(*step);
  EXPECT_EQ(ComputedLoss(*model, *step), 0);
}

TEST(SequenceModel, PaddingChangesNothing) {
  // Two users of unlike lengths together, and each alone.
  const auto model = Make(Sequence());
  RowMap rows(model->tables(), 0.3F);
  const auto targets_and_loss = [&](absl::Span<const uint32_t> batch) {
    auto step = Planned(*model, batch);
    rows.Fill(*step);
    return ComputedLoss(*model, *step) / static_cast<double>(batch.size());
  };
  const UserTimelines timelines(*Tiny().data, *Tiny().data->column("timestamp"), 42, {&Tiny().split.train});
  const std::vector<uint32_t> one = {timelines.Of(3)[timelines.Of(3).size() - 1]};
  const std::vector<uint32_t> other = {timelines.Of(8)[timelines.Of(8).size() - 1]};
  const std::vector<uint32_t> both = {one[0], other[0]};
  EXPECT_NEAR(targets_and_loss(both), (targets_and_loss(one) + targets_and_loss(other)) / 2, 1e-5);
}

TEST(SequenceModel, RefusesWhatDoesNotFit) {
  TrialConfig config = Sequence();
  config.model.sequence.heads = 3;
  EXPECT_THAT(ErrorOf(config), HasSubstr("sequence.heads: 3; must divide the dim of 8"));
  config = Sequence();
  config.model.sequence.time_column = "movie_id";
  EXPECT_THAT(ErrorOf(config), HasSubstr("sequence.time_column: movie_id"));
  config = Sequence();
  config.model.loss.kind = LossConfig::Kind::kSquaredError;
  EXPECT_THAT(ErrorOf(config), HasSubstr("sequence takes in_batch_softmax or full_softmax"));
}

TEST(SequenceModel, EvaluationDoesNotDependOnChunks) {
  TrialConfig config = Sequence();
  config.model.epochs = 2;
  config.model.optimizer.learning_rate = 0.05;
  Trained trained = Train(config, Tiny());
  const auto whole = Evaluated(trained, Tiny().split.test, true, 100000);
  const auto parts = Evaluated(trained, Tiny().split.test, true, 13);
  ASSERT_EQ(whole.size(), parts.size());
  for (const auto& [name, value] : whole) EXPECT_NEAR(value, parts.at(name), 1e-4) << name;
}

TEST(SequenceModel, LearnsTastes) {
  TrialConfig config = Sequence();
  config.model.dim = 16;
  // So slowly that it does not learn the training part by heart: then all that is left in the test part is chance.
  config.model.optimizer.learning_rate = 0.01;
  config.model.dense_optimizer.learning_rate = 0.003;
  config.model.epochs = 10;
  Trained trained = Train(config, Small());
  EXPECT_LT(trained.losses.back(), 0.97 * trained.losses.front());
  const auto baselines = Baselines(*Small().data, Small().split);
  ASSERT_TRUE(baselines.ok());
  const auto metrics = Evaluated(trained, Small().split.test, true);
  for (const char* metric : {"top_10_unseen", "top_50_unseen"}) {
    EXPECT_GT(metrics.at(metric), BaselineNamed(*baselines, "popularity").metrics.at(metric)) << metric;
  }
}

}  // namespace
}  // namespace marquee
