#include "worker/models/joint_heads.h"

#include <fmt/format.h>

#include <utility>

#include "absl/status/status.h"

namespace marquee {
namespace {

torch::Tensor Rows(const std::vector<uint32_t>& rows, const torch::Device& device) {
  return torch::tensor(std::vector<int64_t>(rows.begin(), rows.end()), torch::kLong).to(device);
}

JointHeads::Vectors Projected(const JointHeads::Vectors& shared, int projection, const DenseLeaves& leaves, size_t first) {
  if (projection == 0) return shared;
  return {at::linear(shared.query, leaves[first]), at::linear(shared.candidate, leaves[first + 1])};
}

}  // namespace

ModelConfig JointHeads::OwnModel(const ModelConfig& model) {
  ModelConfig own;
  own.kind = ModelConfig::Kind::kRanking;
  own.dim = model.dim;
  own.bias = model.rating.bias;
  own.dot = model.rating.factors;
  own.optimizer = model.rating.optimizer.value_or(model.optimizer);
  own.dense_optimizer = model.dense_optimizer;
  own.epochs = model.epochs;
  own.batch_size = model.batch_size;
  return own;
}

absl::StatusOr<JointHeads> JointHeads::Make(const TrialConfig& config, const Tower::Options& options, int query_width,
                                            int candidate_width, const Dataset& data, const Split& split,
                                            const torch::Device& device, std::vector<TableDefinition>& tables) {
  const ModelConfig& model = config.model;
  JointHeads heads(model);
  heads.device_ = device;
  DenseTensors::Options dense{.name = "retrieval", .seed = options.seed, .optimizer = options.dense_optimizer};
  const auto project = [&](int width) {
    if (width == 0) return absl::OkStatus();
    absl::Status status = heads.dense_.AddWeight(dense, "query_weight", query_width, width, tables);
    if (status.ok()) status = heads.dense_.AddWeight(dense, "candidate_weight", candidate_width, width, tables);
    return status;
  };
  if (absl::Status status = project(model.retrieval.projection); !status.ok()) return status;
  heads.rating_first_ = heads.dense_.size();
  dense.name = "rating";
  const int width = model.rating.projection;
  if (absl::Status status = project(width); !status.ok()) return status;
  heads.layers_first_ = heads.dense_.size();
  if (!model.rating.layers.empty() || !model.rating.dot) {
    std::vector<int> widths = model.rating.layers;
    widths.push_back(1);
    heads.layers_ = widths.size();
    const int inputs = width == 0 ? query_width + candidate_width : 2 * width;
    const absl::Status status = heads.dense_.AddLayers(dense, inputs, widths, tables);
    if (!status.ok()) return absl::Status(status.code(), "rating: " + std::string(status.message()));
  }
  if (model.rating.bias || model.rating.factors.has_value()) {
    TrialConfig own = config;
    own.model = OwnModel(model);
    absl::StatusOr<Scorer> scorer = Scorer::Make(own, data, split, device, tables);
    if (!scorer.ok()) return absl::Status(scorer.status().code(), "rating: " + std::string(scorer.status().message()));
    heads.own_.emplace(*std::move(scorer));
  }
  return heads;
}

JointHeads::Inputs JointHeads::Plan(absl::Span<const uint32_t> examples, std::vector<uint32_t> query_of,
                                    std::vector<uint32_t> candidate_of, std::vector<float> labels, float learning_rate,
                                    Step& step) {
  Inputs inputs{std::move(query_of), std::move(candidate_of), std::move(labels), {}};
  if (own_.has_value()) inputs.own = own_->Plan(examples, learning_rate, step);
  return inputs;
}

size_t JointHeads::PlanOwnDense(float learning_rate, Step& step) const {
  return own_.has_value() ? own_->PlanDense(learning_rate, step) : step.rows.size();
}

JointHeads::Vectors JointHeads::Retrieval(const Vectors& shared, const DenseLeaves& leaves) const {
  return Projected(shared, retrieval_.projection, leaves, 0);
}

JointHeads::Vectors JointHeads::Rating(const Vectors& shared, const DenseLeaves& leaves) const {
  return Projected(shared, rating_.projection, leaves, rating_first_);
}

torch::Tensor JointHeads::Products(const Inputs& inputs, const Vectors& rating, const DenseLeaves& leaves,
                                   const DropoutKey* dropout) const {
  const torch::Tensor query = rating.query.index_select(0, Rows(inputs.query_of, device_));
  const torch::Tensor candidate = rating.candidate.index_select(0, Rows(inputs.candidate_of, device_));
  torch::Tensor sum;
  if (rating_.dot) sum = (query * candidate).sum(1, /*keepdim=*/true);
  if (layers_ == 0) return sum;
  const torch::Tensor deep =
      ForwardLayers(torch::cat({query, candidate}, 1), leaves, layers_first_, layers_, rating_.dropout, dropout, 1000);
  return sum.defined() ? sum + deep : deep;
}

std::vector<float> JointHeads::OwnScores(Inputs& inputs, Step& step, const DropoutKey& dropout) const {
  if (!own_.has_value()) return std::vector<float>(inputs.labels.size(), 0.0F);
  own_->Begin(inputs.own, step, dropout);
  return own_->Score(inputs.own, step, 0, inputs.labels.size(), dropout);
}

void JointHeads::BackwardOwn(Inputs& inputs, absl::Span<const float> gradients, Step& step) const {
  if (!own_.has_value()) return;
  own_->Backward(inputs.own, gradients, step);
  own_->Finish(inputs.own, step);
}

void JointHeads::KeepOwnDense(Step& filled, size_t first) {
  if (own_.has_value()) own_->KeepDense(filled, first);
}

std::vector<float> JointHeads::PredictOwn(Inputs& inputs, const Step& step) const {
  if (!own_.has_value()) return std::vector<float>(inputs.labels.size(), 0.0F);
  own_->BeginEvaluation(inputs.own, step);
  return own_->Predict(inputs.own, step, 0, inputs.labels.size());
}

}  // namespace marquee
