#include "ps/optimizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "tests/unit/ps/seed.h"

namespace marquee {
namespace {

using Kind = Optimizer::Kind;

// One row in double precision, written from the formulas of docs/configuration.md, one weight after the other.
class ReferenceRow {
 public:
  ReferenceRow(const Optimizer& optimizer, std::vector<double> weights)
      : o_(optimizer), weights_(std::move(weights)), first_(weights_.size(), 0), second_(weights_.size(), 0) {
    const bool first_is_sum = o_.kind == Kind::kAdagrad || o_.kind == Kind::kRowwiseAdagrad;
    if (first_is_sum) std::fill(first_.begin(), first_.end(), double{o_.initial_accumulator});
    if (o_.kind == Kind::kFtrl) std::fill(second_.begin(), second_.end(), double{o_.initial_accumulator});
  }

  void Push(std::vector<double> g, double rate) {
    if (o_.clip_norm > 0 && Norm(g) > o_.clip_norm) Multiply(&g, o_.clip_norm / Norm(g));
    for (size_t i = 0; i < g.size(); ++i) g[i] += o_.l2 * weights_[i];
    ++steps_;
    double mean_square = 0;
    for (const double value : g) mean_square += value * value / static_cast<double>(g.size());
    for (size_t i = 0; i < g.size(); ++i) PushWeight(i, g[i], mean_square, rate);
    if (o_.max_norm > 0 && Norm(weights_) > o_.max_norm) Multiply(&weights_, o_.max_norm / Norm(weights_));
  }

  const std::vector<double>& weights() const { return weights_; }

 private:
  static double Norm(const std::vector<double>& values) {
    double sum = 0;
    for (const double value : values) sum += value * value;
    return std::sqrt(sum);
  }
  static void Multiply(std::vector<double>* values, double factor) {
    for (double& value : *values) value *= factor;
  }

  void PushWeight(size_t i, double g, double mean_square, double rate) {
    double& w = weights_[i];
    double& first = first_[i];
    double& second = second_[i];
    switch (o_.kind) {
      case Kind::kSgd:
        w -= rate * g;
        break;
      case Kind::kMomentum:
        first = o_.momentum * first + g;
        w -= rate * first;
        break;
      case Kind::kAdagrad:
        first += g * g;
        w -= rate * g / (std::sqrt(first) + o_.epsilon);
        break;
      case Kind::kRowwiseAdagrad:
        first += mean_square;
        w -= rate * g / (std::sqrt(first) + o_.epsilon);
        break;
      case Kind::kAdam: {
        first = o_.beta1 * first + (1 - o_.beta1) * g;
        second = o_.beta2 * second + (1 - o_.beta2) * g * g;
        const double corrected = first / (1 - std::pow(o_.beta1, steps_));
        w -= rate * corrected / (std::sqrt(second / (1 - std::pow(o_.beta2, steps_))) + o_.epsilon);
        break;
      }
      case Kind::kFtrl: {
        const double sigma = (std::sqrt(second + g * g) - std::sqrt(second)) / rate;
        first += g - sigma * w;
        second += g * g;
        if (std::abs(first) <= o_.ftrl_l1) {
          w = 0;
        } else {
          const double sign = first < 0 ? -1 : 1;
          w = -(first - sign * o_.ftrl_l1) / ((o_.ftrl_beta + std::sqrt(second)) / rate + o_.ftrl_l2);
        }
        break;
      }
    }
  }

  Optimizer o_;
  std::vector<double> weights_;
  std::vector<double> first_;
  std::vector<double> second_;
  double steps_ = 0;
};

Optimizer Default(Kind kind) {
  Optimizer optimizer = Optimizer::FromConfig(OptimizerConfig{.kind = kind});
  if (kind == Kind::kFtrl) {
    optimizer.ftrl_l1 = 0.01F;
    optimizer.ftrl_l2 = 0.1F;
  }
  return optimizer;
}

struct Variant {
  std::string name;
  Optimizer optimizer;
};

std::vector<Variant> AllVariants() {
  std::vector<Variant> variants;
  for (const auto& [name, kind] : {std::pair<std::string, Kind>{"Sgd", Kind::kSgd},
                                   {"Momentum", Kind::kMomentum},
                                   {"Adagrad", Kind::kAdagrad},
                                   {"RowwiseAdagrad", Kind::kRowwiseAdagrad},
                                   {"Adam", Kind::kAdam},
                                   {"Ftrl", Kind::kFtrl}}) {
    Optimizer optimizer = Default(kind);
    variants.push_back({name, optimizer});
    optimizer.initial_accumulator = 0.1F;
    variants.push_back({name + "Accumulator", optimizer});
    optimizer.clip_norm = 0.7F;
    variants.push_back({name + "Clip", optimizer});
    optimizer.l2 = 0.05F;
    variants.push_back({name + "ClipL2", optimizer});
    optimizer.max_norm = 0.9F;
    variants.push_back({name + "ClipL2MaxNorm", optimizer});
  }
  return variants;
}

class OptimizerAgainstReference : public testing::TestWithParam<Variant> {};

TEST_P(OptimizerAgainstReference, StaysCloseOverManyPushes) {
  const uint64_t seed = TestSeed();
  SCOPED_TRACE(SeedTrace(seed));
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 0.3F);
  const Optimizer& optimizer = GetParam().optimizer;
  for (const uint32_t dim : {1U, 3U, 8U, 16U, 31U, 64U}) {
    std::vector<float> weights(dim);
    for (float& weight : weights) weight = normal(random);
    std::vector<float> state(StateWidth(optimizer.kind, dim) + 1, 1234);
    RowUpdater updater(optimizer, dim);
    updater.InitializeState(state.data());
    ReferenceRow reference(optimizer, std::vector<double>(weights.begin(), weights.end()));
    for (int push = 0; push < 60; ++push) {
      std::vector<float> gradient(dim);
      for (float& value : gradient) value = normal(random);
      const float rate = 0.05F + 0.1F * static_cast<float>(push % 3);
      updater.Update(weights.data(), state.data(), gradient.data(), rate);
      reference.Push(std::vector<double>(gradient.begin(), gradient.end()), rate);
      for (uint32_t i = 0; i < dim; ++i) {
        ASSERT_NEAR(weights[i], reference.weights()[i], 2e-4 * std::max(1.0, std::abs(reference.weights()[i])))
            << "dim " << dim << " push " << push << " weight " << i;
      }
    }
    EXPECT_EQ(state.back(), 1234) << "wrote beyond its state";
  }
}

INSTANTIATE_TEST_SUITE_P(All, OptimizerAgainstReference, testing::ValuesIn(AllVariants()),
                         [](const auto& test) { return test.param.name; });

// A row's bits must not depend on where it lies: copies of a table must stay equal.
TEST_P(OptimizerAgainstReference, BitsDoNotDependOnTheAddress) {
  const Optimizer& optimizer = GetParam().optimizer;
  constexpr uint32_t kDim = 37;
  const uint32_t width = StateWidth(optimizer.kind, kDim);
  RowUpdater updater(optimizer, kDim);
  std::vector<std::vector<float>> results;
  for (size_t offset = 0; offset < 16; ++offset) {
    std::vector<float> memory(offset + kDim + width);
    std::vector<float> gradient_memory(2 * offset + kDim);
    float* const weights = memory.data() + offset;
    float* const gradient = gradient_memory.data() + 2 * offset;
    for (uint32_t i = 0; i < kDim; ++i) {
      weights[i] = 0.01F * static_cast<float>(i) - 0.2F;
      gradient[i] = 0.3F - 0.017F * static_cast<float>(i);
    }
    updater.InitializeState(weights + kDim);
    for (int push = 0; push < 5; ++push) updater.Update(weights, weights + kDim, gradient, 0.1F);
    results.emplace_back(weights, weights + kDim + width);
  }
  for (const std::vector<float>& result : results) EXPECT_EQ(result, results[0]);
}

TEST(Optimizer, ZeroGradientsAndZeroEpsilonsMakeNoNan) {
  for (Variant& variant : AllVariants()) {
    variant.optimizer.epsilon = 0;
    variant.optimizer.initial_accumulator = 0;
    variant.optimizer.ftrl_beta = 0;
    variant.optimizer.ftrl_l1 = 0;
    variant.optimizer.ftrl_l2 = 0;
    RowUpdater updater(variant.optimizer, 5);
    std::vector<float> weights(5, 0);
    std::vector<float> state(StateWidth(variant.optimizer.kind, 5) + 1);
    updater.InitializeState(state.data());
    const std::vector<float> zero(5, 0);
    for (int push = 0; push < 3; ++push) updater.Update(weights.data(), state.data(), zero.data(), 0.1F);
    for (const float weight : weights) EXPECT_EQ(weight, 0) << variant.name;
  }
}

TEST(Optimizer, ARateOfZeroLeavesWeightsAlone) {
  for (const Variant& variant : AllVariants()) {
    if (variant.optimizer.max_norm > 0) continue;
    RowUpdater updater(variant.optimizer, 5);
    std::vector<float> weights(5, 0.5F);
    std::vector<float> state(StateWidth(variant.optimizer.kind, 5) + 1);
    updater.InitializeState(state.data());
    updater.Update(weights.data(), state.data(), std::vector<float>(5, 1).data(), 0);
    EXPECT_EQ(weights, std::vector<float>(5, 0.5F)) << variant.name;
  }
}

TEST(Optimizer, SgdAtRateOneAddsIntegersExactly) {
  RowUpdater updater(Default(Kind::kSgd), 3);
  std::vector<float> weights(3, 0);
  for (int push = 1; push <= 1000; ++push) {
    updater.Update(weights.data(), nullptr, std::vector<float>{-1, 0, static_cast<float>(-push)}.data(), 1);
  }
  EXPECT_EQ(weights, (std::vector<float>{1000, 0, 500500}));
}

TEST(Optimizer, MaxNormHoldsAfterEveryUpdate) {
  Optimizer optimizer = Default(Kind::kSgd);
  optimizer.max_norm = 2;
  RowUpdater updater(optimizer, 2);
  std::vector<float> weights{3, 4};
  updater.Update(weights.data(), nullptr, std::vector<float>(2, 0).data(), 1);
  EXPECT_FLOAT_EQ(weights[0], 1.2F);
  EXPECT_FLOAT_EQ(weights[1], 1.6F);
}

TEST(Optimizer, AdamCountsSteps) {
  RowUpdater updater(Default(Kind::kAdam), 2);
  std::vector<float> weights(2, 0);
  std::vector<float> state(5);
  updater.InitializeState(state.data());
  for (int push = 0; push < 7; ++push) updater.Update(weights.data(), state.data(), std::vector<float>(2, 1).data(), 0.1F);
  EXPECT_EQ(state[4], 7);
  // With constant gradients every bias-corrected step is the learning rate.
  EXPECT_NEAR(weights[0], -0.7, 1e-4);
}

}  // namespace
}  // namespace marquee
