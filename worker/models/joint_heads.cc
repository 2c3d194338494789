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
                                    std::vector<uint32_t> candidate_of, std::vector<float> labels, Entities::For purpose,
                                    float learning_rate, Step& step) {
  Inputs inputs{std::move(query_of), std::move(candidate_of), std::move(labels), {}};
  if (own_.has_value()) inputs.own = own_->Plan(examples, purpose, learning_rate, step);
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
  const torch::Tensor deep = Layers(query, candidate, leaves, dropout);
  return sum.defined() ? sum + deep : deep;
}

torch::Tensor JointHeads::Layers(const torch::Tensor& query, const torch::Tensor& candidate, const DenseLeaves& leaves,
                                 const DropoutKey* dropout) const {
  return ForwardLayers(torch::cat({query, candidate}, 1), leaves, layers_first_, layers_, rating_.dropout, dropout, 1000);
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

JointHeads::Inputs JointHeads::PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                         Entities::For purpose, Step& step) {
  Inputs inputs;
  for (uint32_t i = 0; i < users.size(); ++i) {
    inputs.query_of.push_back(i);
    inputs.candidate_of.push_back(i);
  }
  inputs.labels.resize(users.size());
  if (own_.has_value()) inputs.own = own_->PlanPairs(users, items, purpose, step);
  return inputs;
}

RatingInference::Decomposition JointHeads::Decompose(Inputs& inputs, const Vectors& rating, const Step& step) const {
  RatingInference::Decomposition result;
  if (own_.has_value()) result = own_->Decompose(inputs.own, step);
  const torch::Tensor users = rating.query.to(torch::kCPU);
  const torch::Tensor movies = rating.candidate.to(torch::kCPU);
  if (rating_.dot) {
    const bool more = result.factors.users.defined();
    result.factors.users = more ? torch::cat({result.factors.users, users}, 1) : users;
    result.factors.movies = more ? torch::cat({result.factors.movies, movies}, 1) : movies;
  }
  if (layers_ > 0) {
    result.parts.push_back({users, movies});
    result.contexts.push_back(users.narrow(0, 0, 1).narrow(1, 0, 0));
  }
  return result;
}

std::vector<RatingInference::Part> JointHeads::parts(const DenseLeaves& leaves) const {
  std::vector<RatingInference::Part> parts;
  if (own_.has_value()) parts = own_->parts();
  if (layers_ > 0) {
    parts.push_back({fmt::format("part{}", parts.size()), 1.0, [this, leaves](const std::vector<torch::Tensor>& sides) {
                       return Layers(sides[0].to(device_), sides[1].to(device_), leaves, nullptr).to(torch::kCPU);
                     }});
  }
  return parts;
}

}  // namespace marquee
