#include "worker/models/ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/learning_rate.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

// Examples that go through the tower at once on the CPU: their activations stay in a second-level cache.
constexpr size_t kBlock = 512;

struct RankingStep : Step {
  TowerInputs tower;
  TowerInputs bias;
  size_t dense = 0;  // position in rows
  std::vector<float> labels;
  DropoutKey dropout;
};

class Ranking : public Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                     const torch::Device& device);

  const std::vector<TableDefinition>& tables() const override { return tables_; }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override;
  absl::StatusOr<double> Compute(Step& step) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override;
  absl::Status BeginEvaluation(Step& filled, bool test) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override;
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override;

 private:
  // A block of examples: what the tower and the biases say, and their sum on the CPU.
  struct Block {
    Tower::Pass tower;
    Tower::Pass bias;
    torch::Tensor predictions;  // [n]
  };

  Ranking(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower tower,
          std::optional<Tower> bias, std::vector<TableDefinition> tables);

  size_t BlockSize(const RankingStep& step) const;
  std::unique_ptr<RankingStep> PlanRows(absl::Span<const uint32_t> examples, float learning_rate);
  Block Predict(const RankingStep& step, size_t begin, size_t end, const DenseLeaves& dense, const DropoutKey* dropout) const;

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const torch::Device device_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Tower tower_;
  std::optional<Tower> bias_;
  float mean_ = 0;  // MeanScore, where there are biases
  DenseLeaves evaluation_dense_;
};

// The biases are a tower of their own: the sum of one number for each user and item, which start at 0.
absl::StatusOr<Tower> MakeBias(Tower::Options options, const Dataset& data, const Split& split,
                               std::vector<TableDefinition>& tables) {
  options.name = "bias";
  options.embedding_optimizer.max_norm = 0;
  TowerConfig config;
  for (const Column* key : {&data.user_key(), &data.item_key()}) {
    config.features.push_back({.name = key->name(), .kind = FeatureConfig::Kind::kId, .dim = 1, .init_scale = 0});
  }
  return Tower::Make(config, options, data, split, tables);
}

absl::StatusOr<std::unique_ptr<Model>> Ranking::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                     const torch::Device& device) {
  const ModelConfig& model = config.model;
  if (model.loss.kind != (split.binary() ? LossConfig::Kind::kBinaryCrossEntropy : LossConfig::Kind::kSquaredError)) {
    return absl::InvalidArgumentError("loss: ranking takes squared_error, and binary_cross_entropy under a binary split");
  }
  const Tower::Options options{.name = "tower",
                               .dim = model.dim,
                               .seed = config.seed,
                               .embedding_optimizer = Optimizer::FromConfig(model.optimizer),
                               .dense_optimizer = Optimizer::FromConfig(model.dense_optimizer)};
  std::vector<TableDefinition> tables;
  TowerConfig with_output = model.tower;
  with_output.layers.push_back(1);
  absl::StatusOr<Tower> tower = Tower::Make(with_output, options, data, split, tables);
  if (!tower.ok()) return tower.status();
  std::optional<Tower> bias;
  if (model.bias) {
    absl::StatusOr<Tower> made = MakeBias(options, data, split, tables);
    if (!made.ok()) return made.status();
    bias = *std::move(made);
  }
  return std::unique_ptr<Model>(
      new Ranking(config, data, split, device, *std::move(tower), std::move(bias), std::move(tables)));
}

// The mean of the training labels; of classes, its log-odds.
float MeanScore(const Dataset& data, const Split& split) {
  double sum = 0;
  for (const uint32_t example : split.train) sum += split.LabelOf(data, example);
  const double mean = sum / static_cast<double>(std::max<size_t>(split.train.size(), 1));
  return static_cast<float>(split.binary() ? std::log(mean / (1 - mean)) : mean);
}

struct LossAndSlope {
  double loss = 0;
  float slope = 0;  // by the prediction
};

LossAndSlope LossOf(float prediction, float label, bool binary) {
  if (binary) return {LogisticLoss(prediction, label > 0), 1 / (1 + std::exp(-prediction)) - label};
  const float error = prediction - label;
  return {static_cast<double>(error) * error, 2 * error};
}

Ranking::Ranking(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower tower,
                 std::optional<Tower> bias, std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      split_(split),
      device_(device),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      tower_(std::move(tower)),
      bias_(std::move(bias)) {
  if (bias_.has_value()) mean_ = MeanScore(data, split);
}

size_t Ranking::BlockSize(const RankingStep& step) const {
  return device_.is_cpu() ? kBlock : std::max<size_t>(step.examples, 1);
}

std::unique_ptr<RankingStep> Ranking::PlanRows(absl::Span<const uint32_t> examples, float learning_rate) {
  auto step = std::make_unique<RankingStep>();
  step->examples = examples.size();
  std::vector<uint32_t> users;
  std::vector<uint32_t> items;
  for (auto* list : {&users, &items}) list->reserve(examples.size());
  step->labels.reserve(examples.size());
  for (const uint32_t example : examples) {
    users.push_back(data_.user_of()[example]);
    items.push_back(data_.item_of()[example]);
    step->labels.push_back(split_.LabelOf(data_, example));
  }
  const Entities entities{.count = examples.size(), .interactions = examples, .users = users, .items = items};
  step->tower = tower_.Plan(entities, learning_rate, *step);
  if (bias_.has_value()) step->bias = bias_->Plan(entities, learning_rate, *step);
  return step;
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step_number) {
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  std::unique_ptr<RankingStep> step = PlanRows(examples, rates.embedding);
  step->dense = tower_.PlanDense(rates.dense, *step);
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  return step;
}

Ranking::Block Ranking::Predict(const RankingStep& step, size_t begin, size_t end, const DenseLeaves& dense,
                                const DropoutKey* dropout) const {
  Block block;
  block.tower = tower_.Forward(step.tower, begin, end, step, dense, device_, dropout);
  block.predictions = block.tower.output.detach().to(torch::kCPU).flatten();
  if (bias_.has_value()) {
    block.bias = bias_->Forward(step.bias, begin, end, step, {}, torch::kCPU, nullptr);
    block.predictions = block.predictions + block.bias.output.detach().flatten() + mean_;
  }
  return block;
}

absl::StatusOr<double> Ranking::Compute(Step& planned) {
  auto& step = static_cast<RankingStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  const DenseLeaves dense = tower_.Leaves(step, step.dense, device_, /*train=*/true);
  const size_t block_size = BlockSize(step);
  double loss = 0;
  DropoutKey dropout = step.dropout;
  for (size_t begin = 0; begin < step.examples; begin += block_size, ++dropout.block) {
    const size_t end = std::min(begin + block_size, step.examples);
    const Block block = Predict(step, begin, end, dense, &dropout);
    torch::Tensor gradient = torch::empty({static_cast<int64_t>(end - begin), 1});
    const auto* predictions = block.predictions.data_ptr<float>();
    auto* out = gradient.data_ptr<float>();
    for (size_t i = begin; i < end; ++i) {
      const LossAndSlope of_example = LossOf(predictions[i - begin], step.labels[i], split_.binary());
      loss += of_example.loss;
      out[i - begin] = of_example.slope / static_cast<float>(step.examples);
    }
    tower_.Backward(block.tower, gradient.to(device_), step.tower, step);
    if (bias_.has_value()) bias_->Backward(block.bias, gradient, step.bias, step);
  }
  if (!std::isfinite(loss)) {
    return absl::OutOfRangeError(fmt::format("loss: {} in epoch {}, step {}; a lower learning rate may help", loss,
                                             step.dropout.epoch, step.dropout.step));
  }
  tower_.CollectGradients(dense, step.dense, step);
  return loss;
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::PlanEvaluation() {
  auto step = std::make_unique<RankingStep>();
  step->dense = tower_.PlanDense(0, *step);
  return step;
}

absl::Status Ranking::BeginEvaluation(Step& filled, bool /*test*/) {
  auto& step = static_cast<RankingStep&>(filled);
  evaluation_dense_ = tower_.Leaves(step, step.dense, device_, /*train=*/false);
  for (torch::Tensor& leaf : evaluation_dense_) leaf = leaf.clone();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  return PlanRows(examples, 0);
}

absl::StatusOr<MetricSums> Ranking::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<RankingStep&>(filled);
  if (evaluation_dense_.empty()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  MetricSums sums;
  MetricSum& loss = sums["loss"];
  const size_t block_size = BlockSize(step);
  for (size_t begin = 0; begin < step.examples; begin += block_size) {
    const size_t end = std::min(begin + block_size, step.examples);
    const torch::Tensor predictions = Predict(step, begin, end, evaluation_dense_, nullptr).predictions;
    for (size_t i = begin; i < end; ++i) {
      const float prediction = predictions.data_ptr<float>()[i - begin];
      if (!std::isfinite(prediction)) return absl::OutOfRangeError(fmt::format("a prediction is {}", prediction));
      absl::Status status =
          split_.binary() ? AddBinary(prediction, step.labels[i] > 0, sums) : AddRatingError(prediction, step.labels[i], sums);
      if (!status.ok()) return status;
      loss.Add({.sum = LossOf(prediction, step.labels[i], split_.binary()).loss, .weight = 1});
    }
  }
  return sums;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeRanking(const TrialConfig& config, const Dataset& data, const Split& split,
                                                   const torch::Device& device) {
  return Ranking::Make(config, data, split, device);
}

}  // namespace marquee
