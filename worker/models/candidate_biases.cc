#include "worker/models/candidate_biases.h"

#include <utility>

namespace marquee {
namespace {

// A number for each item, which starts at 0: a tower of one feature.
absl::StatusOr<Tower> MakeItemBias(const std::string& name, const TrialConfig& config, const Dataset& data, const Split& split,
                                   std::vector<TableDefinition>& tables) {
  Tower::Options options = Tower::Options::FromConfig(name, config);
  options.embedding_optimizer.max_norm = 0;
  options.embedding_optimizer.l2 = 0;
  TowerConfig tower;
  tower.features.push_back(
      {.name = data.item_key().name(), .kind = FeatureConfig::Kind::kId, .dim = 1, .init_scale = 0, .optimizer = {}});
  return Tower::Make(tower, options, data, split, tables);
}

}  // namespace

absl::StatusOr<CandidateBiases> CandidateBiases::Make(bool bias, bool seen, const std::string& prefix,
                                                      const TrialConfig& config, const Dataset& data, const Split& split,
                                                      std::vector<TableDefinition>& tables) {
  CandidateBiases biases;
  if (bias) {
    absl::StatusOr<Tower> tower = MakeItemBias(prefix + "bias", config, data, split, tables);
    if (!tower.ok()) return tower.status();
    biases.bias_ = *std::move(tower);
  }
  if (seen) {
    absl::StatusOr<Tower> tower = MakeItemBias(prefix + "seen_bias", config, data, split, tables);
    if (!tower.ok()) return tower.status();
    biases.seen_ = *std::move(tower);
  }
  return biases;
}

CandidateBiases::Inputs CandidateBiases::Plan(absl::Span<const uint32_t> items, float learning_rate, Step& step) {
  const Entities entities{.count = items.size(), .items = items};
  Inputs inputs;
  inputs.count = items.size();
  if (bias_.has_value()) inputs.bias = bias_->Plan(entities, learning_rate, step);
  if (seen_.has_value()) inputs.seen = seen_->Plan(entities, learning_rate, step);
  return inputs;
}

CandidateBiases::Pass CandidateBiases::Forward(Inputs& inputs, const Step& step, const torch::Device& device) const {
  Pass pass;
  if (bias_.has_value()) pass.bias = bias_->Forward(inputs.bias, 0, inputs.count, step, {}, device, nullptr);
  if (seen_.has_value()) {
    pass.seen = seen_->Forward(inputs.seen, 0, inputs.count, step, {}, device, nullptr);
    pass.seen_bias = pass.seen.output.detach().flatten().contiguous();
  }
  return pass;
}

torch::Tensor CandidateBiases::WithOnes(const torch::Tensor& queries) const {
  const torch::Tensor vectors = queries.detach();
  return bias_.has_value() ? torch::cat({vectors, torch::ones_like(vectors.narrow(1, 0, 1))}, 1) : vectors.contiguous();
}

torch::Tensor CandidateBiases::WithBias(const torch::Tensor& candidates, const Pass& pass) const {
  const torch::Tensor vectors = candidates.detach();
  return bias_.has_value() ? torch::cat({vectors, pass.bias.output.detach()}, 1) : vectors.contiguous();
}

torch::Tensor CandidateBiases::WithoutColumn(const torch::Tensor& gradient) const {
  return bias_.has_value() ? gradient.narrow(1, 0, gradient.size(1) - 1) : gradient;
}

void CandidateBiases::Backward(const Pass& pass, const SoftmaxResult& result, double scale, Inputs& inputs, Step& step) const {
  if (bias_.has_value()) {
    const torch::Tensor& gradient = result.candidate_gradient;
    bias_->Backward(pass.bias, gradient.narrow(1, gradient.size(1) - 1, 1) * scale, inputs.bias, step);
  }
  if (seen_.has_value()) seen_->Backward(pass.seen, result.seen_bias_gradient.unsqueeze(1) * scale, inputs.seen, step);
}

}  // namespace marquee
