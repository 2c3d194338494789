#include "worker/models/learning_rate.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace marquee {
namespace {

uint64_t StepsPerEpoch(const ModelConfig& model, size_t train_examples) {
  const auto batch = static_cast<uint64_t>(std::max(model.batch_size, 1));
  return std::max<uint64_t>((train_examples + batch - 1) / batch, 1);
}

}  // namespace

LearningRate::LearningRate(const OptimizerConfig& config, int epochs, uint64_t steps_per_epoch)
    : config_(config),
      steps_per_epoch_(steps_per_epoch),
      last_step_(static_cast<double>(steps_per_epoch) * epochs - 1),
      warmup_steps_(config.warmup_epochs * static_cast<double>(steps_per_epoch)) {}

float LearningRate::At(uint32_t epoch, uint64_t step) const {
  const double now = std::min(static_cast<double>(epoch * steps_per_epoch_ + step), last_step_);
  if (now < warmup_steps_) return static_cast<float>(config_.learning_rate * std::min(1.0, (now + 1) / warmup_steps_));

  const double falling_steps = last_step_ - warmup_steps_;
  const double progress = falling_steps > 0 ? (now - warmup_steps_) / falling_steps : 0.0;
  double fall = 0.0;  // of the way from the full rate to the final one
  switch (config_.schedule) {
    case OptimizerConfig::Schedule::kConstant:
      break;
    case OptimizerConfig::Schedule::kLinear:
      fall = progress;
      break;
    case OptimizerConfig::Schedule::kCosine:
      fall = 0.5 * (1 - std::cos(std::numbers::pi * progress));
      break;
  }
  return static_cast<float>(config_.learning_rate * (1 - fall * (1 - config_.final_fraction)));
}

LearningRates::LearningRates(const ModelConfig& model, size_t train_examples)
    : embedding_(model.optimizer, model.epochs, StepsPerEpoch(model, train_examples)),
      dense_(model.dense_optimizer, model.epochs, StepsPerEpoch(model, train_examples)) {}

}  // namespace marquee
