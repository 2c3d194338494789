#include "worker/models/learning_rate.h"

#include <gtest/gtest.h>

namespace marquee {
namespace {

OptimizerConfig Config(OptimizerConfig::Schedule schedule, double warmup_epochs = 0, double final_fraction = 0) {
  OptimizerConfig config;
  config.learning_rate = 0.2;
  config.schedule = schedule;
  config.warmup_epochs = warmup_epochs;
  config.final_fraction = final_fraction;
  return config;
}

TEST(LearningRate, ConstantStays) {
  const LearningRate rate(Config(OptimizerConfig::Schedule::kConstant), 3, 10);
  EXPECT_FLOAT_EQ(rate.At(0, 0), 0.2F);
  EXPECT_FLOAT_EQ(rate.At(2, 9), 0.2F);
}

TEST(LearningRate, LinearFallsToTheFinalFractionAtTheLastStep) {
  const LearningRate rate(Config(OptimizerConfig::Schedule::kLinear, 0, 0.1), 3, 7);  // steps 0 .. 20
  EXPECT_FLOAT_EQ(rate.At(0, 0), 0.2F);
  EXPECT_FLOAT_EQ(rate.At(1, 3), 0.2F * 0.55F);
  EXPECT_FLOAT_EQ(rate.At(2, 6), 0.02F);
  EXPECT_FLOAT_EQ(rate.At(2, 9), 0.02F);  // a chunk's odd batches may make more steps than planned
}

TEST(LearningRate, CosineIsHalfWayInTheMiddle) {
  const LearningRate rate(Config(OptimizerConfig::Schedule::kCosine), 1, 21);
  EXPECT_FLOAT_EQ(rate.At(0, 0), 0.2F);
  EXPECT_FLOAT_EQ(rate.At(0, 10), 0.1F);
  EXPECT_GT(rate.At(0, 5), 0.15F);
  EXPECT_NEAR(rate.At(0, 20), 0, 1e-7);
}

TEST(LearningRate, WarmsUpFromNothingAndThenFalls) {
  const LearningRate rate(Config(OptimizerConfig::Schedule::kLinear, 0.5), 2, 10);
  EXPECT_FLOAT_EQ(rate.At(0, 0), 0.2F / 5);
  EXPECT_FLOAT_EQ(rate.At(0, 4), 0.2F);
  EXPECT_FLOAT_EQ(rate.At(0, 5), 0.2F);
  EXPECT_LT(rate.At(0, 6), 0.2F);
  EXPECT_NEAR(rate.At(1, 9), 0, 1e-7);
}

TEST(LearningRates, EmbeddingsAndDenseLayersHaveTheirOwn) {
  ModelConfig model;
  model.epochs = 2;
  model.batch_size = 10;
  model.optimizer = Config(OptimizerConfig::Schedule::kLinear);
  model.dense_optimizer.learning_rate = 0.01;
  const LearningRates rates(model, 95);  // 10 steps an epoch
  EXPECT_NEAR(rates.At(1, 9).embedding, 0, 1e-7);
  EXPECT_GT(rates.At(1, 8).embedding, 0);
  EXPECT_FLOAT_EQ(rates.At(1, 9).dense, 0.01F);
}

}  // namespace
}  // namespace marquee
