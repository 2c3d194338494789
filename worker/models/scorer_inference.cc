#include "worker/models/scorer_inference.h"

#include <algorithm>

namespace marquee {
namespace {

struct PairStep : Step {
  Scorer::Inputs inputs;
};

}  // namespace

std::unique_ptr<Step> ScorerInference::PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                                 Entities::For purpose) {
  auto step = std::make_unique<PairStep>();
  step->examples = users.size();
  step->inputs = scorer_.PlanPairs(users, items, purpose, *step);
  return step;
}

std::vector<float> ScorerInference::Predict(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<PairStep&>(filled);
  scorer_.BeginEvaluation(step.inputs, step);
  std::vector<float> predictions;
  for (size_t begin = 0; begin < step.examples; begin += scorer_.block_size()) {
    const size_t end = std::min(begin + scorer_.block_size(), step.examples);
    const std::vector<float> block = scorer_.Predict(step.inputs, step, begin, end);
    predictions.insert(predictions.end(), block.begin(), block.end());
  }
  return predictions;
}

RatingInference::Decomposition ScorerInference::Decompose(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<PairStep&>(filled);
  return scorer_.Decompose(step.inputs, step);
}

}  // namespace marquee
