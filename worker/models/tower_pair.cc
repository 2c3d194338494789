#include "worker/models/tower_pair.h"

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/retrieval_batch.h"

namespace marquee {
namespace {

absl::Status CheckTowers(const Tower& query, const Tower& candidate) {
  if (absl::Status status = CheckQueryAndCandidate(query, candidate); !status.ok()) return status;
  if (query.width() == candidate.width()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("query is {} wide and candidate {}; both towers must be equally wide", query.width(), candidate.width()));
}

absl::Status CheckHistories(const ModelConfig& model, const Tower& query) {
  if (HasHistory(query)) return absl::OkStatus();
  if (model.loss.mask > 0) return absl::InvalidArgumentError("loss: mask; needs a feature of kind history in query");
  if (model.seen_bias) return absl::InvalidArgumentError("seen_bias: needs a feature of kind history in query");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TowerPair> TowerPair::Make(const std::string& prefix, const TrialConfig& config, const Dataset& data,
                                          const Split& split, const torch::Device& device,
                                          std::vector<TableDefinition>& tables) {
  const ModelConfig& model = config.model;
  absl::StatusOr<Tower> query =
      Tower::Make(model.query, Tower::Options::FromConfig(prefix + "query", config), data, split, tables);
  if (!query.ok()) return query.status();
  absl::StatusOr<Tower> candidate =
      Tower::Make(model.candidate, Tower::Options::FromConfig(prefix + "candidate", config), data, split, tables);
  if (!candidate.ok()) return candidate.status();
  if (absl::Status status = CheckTowers(*query, *candidate); !status.ok()) return status;
  if (absl::Status status = CheckHistories(model, *query); !status.ok()) return status;
  absl::StatusOr<CandidateBiases> biases =
      CandidateBiases::Make(model.bias, model.seen_bias, prefix, config, data, split, tables);
  if (!biases.ok()) return biases.status();
  return TowerPair(model.loss, device, *std::move(query), *std::move(candidate), *std::move(biases));
}

TowerPair::Inputs TowerPair::Plan(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates,
                                  Step& step) {
  Inputs inputs;
  inputs.query = query_.Plan(queries, rates.embedding, step);
  inputs.candidate = candidate_.Plan({.count = items.size(), .items = items}, rates.embedding, step);
  inputs.biases = biases_.Plan(items, rates.embedding, step);
  inputs.query_dense = query_.PlanDense(rates.dense, step);
  inputs.candidate_dense = candidate_.PlanDense(rates.dense, step);
  return inputs;
}

TowerPair::Candidates TowerPair::ForwardCandidates(Inputs& inputs, const DenseLeaves& dense, const DropoutKey* dropout,
                                                   const Step& step) const {
  Candidates candidates;
  candidates.tower = candidate_.Forward(inputs.candidate, 0, inputs.candidate.count, step, dense, device_, dropout);
  candidates.biases = biases_.Forward(inputs.biases, step, device_);
  candidates.vectors = biases_.WithBias(candidates.tower.output, candidates.biases);
  return candidates;
}

double TowerPair::Train(Inputs& inputs, const SoftmaxExamples& examples, const DropoutKey& dropout, Step& step) const {
  const DenseLeaves query_dense = query_.Leaves(step, inputs.query_dense, device_, /*train=*/true);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, inputs.candidate_dense, device_, /*train=*/true);
  const Tower::Pass query = query_.Forward(inputs.query, 0, inputs.query.count, step, query_dense, device_, &dropout);
  DropoutKey candidate_dropout = dropout;
  candidate_dropout.block = 1;
  const Candidates candidates = ForwardCandidates(inputs, candidate_dense, &candidate_dropout, step);
  const SoftmaxResult result =
      SoftmaxLoss(biases_.WithOnes(query.output), candidates.vectors, candidates.biases.seen_bias, examples, options_);
  if (!std::isfinite(result.loss)) return result.loss;
  query_.Backward(query, biases_.QueryGradient(result), inputs.query, step);
  candidate_.Backward(candidates.tower, biases_.CandidateGradient(result), inputs.candidate, step);
  biases_.Backward(candidates.biases, result, 1.0, inputs.biases, step);
  query_.Finish(inputs.query, step);
  candidate_.Finish(inputs.candidate, step);
  CollectGradients(query_dense, inputs.query_dense, step);
  CollectGradients(candidate_dense, inputs.candidate_dense, step);
  return result.loss;
}

TowerPair::Inputs TowerPair::PlanCandidates(absl::Span<const uint32_t> items, Step& step) {
  Inputs inputs;
  inputs.candidate = candidate_.Plan({.count = items.size(), .items = items}, 0, step);
  inputs.biases = biases_.Plan(items, 0, step);
  inputs.query_dense = query_.PlanDense(0, step);
  inputs.candidate_dense = candidate_.PlanDense(0, step);
  return inputs;
}

void TowerPair::BeginEvaluation(Inputs& inputs, Step& filled) {
  candidate_dense_ = Kept(candidate_.Leaves(filled, inputs.candidate_dense, device_, /*train=*/false));
  const Candidates candidates = ForwardCandidates(inputs, candidate_dense_, nullptr, filled);
  candidate_inputs_ = candidates.tower.input;
  candidate_bias_ = candidates.biases.bias.output;
  candidates_ = candidates.vectors;
  const torch::Tensor& seen_bias = candidates.biases.seen_bias;
  candidate_seen_bias_ = seen_bias.defined() ? seen_bias.to(torch::kCPU) : seen_bias;
  query_dense_ = Kept(query_.Leaves(filled, inputs.query_dense, device_, /*train=*/false));
}

torch::Tensor TowerPair::Queries(TowerInputs& inputs, const Step& step) const {
  return biases_.WithOnes(query_.Forward(inputs, 0, inputs.count, step, query_dense_, device_, nullptr).output);
}

torch::Tensor TowerPair::EncodeQueries(const torch::Tensor& inputs) const {
  return biases_.WithOnes(query_.Output(inputs.to(device_), query_dense_)).to(torch::kCPU);
}

std::vector<torch::Tensor> TowerPair::CandidateInputs() const {
  std::vector<torch::Tensor> inputs = {candidate_inputs_.to(torch::kCPU)};
  if (candidate_bias_.defined()) inputs.push_back(candidate_bias_.to(torch::kCPU));
  return inputs;
}

torch::Tensor TowerPair::EncodeCandidates(absl::Span<const torch::Tensor> inputs) const {
  const torch::Tensor vectors = candidate_.Output(inputs[0].to(device_), candidate_dense_).to(torch::kCPU);
  return inputs.size() == 1 ? vectors : torch::cat({vectors, inputs[1]}, 1);
}

}  // namespace marquee
