#include "worker/models/joint_heads.h"

#include <fmt/format.h>

#include <utility>

#include "absl/status/status.h"
#include "worker/models/bias_term.h"

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

absl::StatusOr<JointHeads> JointHeads::Make(const ModelConfig& model, const Tower::Options& options, int query_width,
                                            int candidate_width, const Dataset& data, const Split& split,
                                            const torch::Device& device, std::vector<TableDefinition>& tables) {
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
  if (model.rating.bias) {
    absl::StatusOr<std::unique_ptr<ScoreTerm>> bias = MakeBiasTerm(options, data, split, tables);
    if (!bias.ok()) return bias.status();
    heads.bias_ = *std::move(bias);
    heads.mean_ = MeanScore(data, split);
  }
  return heads;
}

JointHeads::Inputs JointHeads::Plan(const Entities& examples, std::vector<uint32_t> query_of,
                                    std::vector<uint32_t> candidate_of, std::vector<float> labels, float learning_rate,
                                    Step& step) {
  Inputs inputs{std::move(query_of), std::move(candidate_of), std::move(labels), nullptr};
  if (bias_ != nullptr) inputs.bias = bias_->Plan(examples, learning_rate, step);
  return inputs;
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

std::vector<float> JointHeads::Biases(Inputs& inputs, const Step& step) const {
  std::vector<float> scores(inputs.labels.size(), mean_);
  if (bias_ != nullptr) bias_->Score(*inputs.bias, step, 0, scores.size(), nullptr, absl::MakeSpan(scores));
  return scores;
}

void JointHeads::BackwardBiases(Inputs& inputs, absl::Span<const float> gradients, Step& step) const {
  if (bias_ != nullptr) bias_->Backward(*inputs.bias, gradients, step);
}

}  // namespace marquee
