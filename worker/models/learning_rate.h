#ifndef MARQUEE_WORKER_MODELS_LEARNING_RATE_H_
#define MARQUEE_WORKER_MODELS_LEARNING_RATE_H_

// The learning rate of a step by the optimizer's schedule: a linear rise over the warm-up, then constant, or a linear or cosine
// fall to `final_fraction` of the rate at the last step. A value type.

#include <cstddef>
#include <cstdint>

#include "common/trial_config.h"

namespace marquee {

class LearningRate {
 public:
  LearningRate(const OptimizerConfig& config, int epochs, uint64_t steps_per_epoch);

  // Steps past the planned end get the last one's rate.
  float At(uint32_t epoch, uint64_t step) const;

 private:
  OptimizerConfig config_;
  uint64_t steps_per_epoch_;
  double last_step_;
  double warmup_steps_;
};

// The rates of a model's embeddings and of its dense layers.
class LearningRates {
 public:
  LearningRates(const ModelConfig& model, size_t train_examples);

  struct Rates {
    float embedding = 0;
    float dense = 0;
  };
  Rates At(uint32_t epoch, uint64_t step) const { return {embedding_.At(epoch, step), dense_.At(epoch, step)}; }

 private:
  LearningRate embedding_;
  LearningRate dense_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_LEARNING_RATE_H_
