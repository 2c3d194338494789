#include "worker/models/ranking.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/learning_rate.h"
#include "worker/models/scorer.h"
#include "worker/models/scorer_inference.h"

namespace marquee {
namespace {

struct RankingStep : Step {
  Scorer::Inputs inputs;
  std::vector<float> labels;
  DropoutKey dropout;
};

class Ranking : public Model {
 public:
  Ranking(const TrialConfig& config, const Dataset& data, const Split& split, Scorer scorer,
          std::vector<TableDefinition> tables)
      : config_(config),
        data_(data),
        split_(split),
        tables_(std::move(tables)),
        rates_(config.model, split.train.size()),
        scorer_(std::move(scorer)),
        inference_(scorer_, split.binary() ? RatingInference::Meaning::kLogOdds : RatingInference::Meaning::kRating) {}

  const std::vector<TableDefinition>& tables() const override { return tables_; }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override;
  absl::StatusOr<double> Compute(Step& step) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override;
  absl::Status BeginEvaluation(Step& filled, bool test) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override;
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override;
  RatingInference* rating() override { return &inference_; }

 private:
  std::unique_ptr<RankingStep> PlanRows(absl::Span<const uint32_t> examples, Entities::For purpose, float learning_rate);

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Scorer scorer_;
  ScorerInference inference_;
  Entities::For evaluated_ = Entities::For::kValidation;
};

struct LossAndSlope {
  double loss = 0;
  float slope = 0;  // by the prediction
};

LossAndSlope LossOf(float prediction, float label, bool binary) {
  if (binary) return {LogisticLoss(prediction, label > 0), 1 / (1 + std::exp(-prediction)) - label};
  const float error = prediction - label;
  return {static_cast<double>(error) * error, 2 * error};
}

std::unique_ptr<RankingStep> Ranking::PlanRows(absl::Span<const uint32_t> examples, Entities::For purpose,
                                               float learning_rate) {
  auto step = std::make_unique<RankingStep>();
  step->examples = examples.size();
  step->labels.reserve(examples.size());
  for (const uint32_t example : examples) step->labels.push_back(split_.LabelOf(data_, example));
  step->inputs = scorer_.Plan(examples, purpose, learning_rate, *step);
  return step;
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step_number) {
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  std::unique_ptr<RankingStep> step = PlanRows(examples, Entities::For::kTraining, rates.embedding);
  step->inputs.dense = scorer_.PlanDense(rates.dense, *step);
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  return step;
}

absl::StatusOr<double> Ranking::Compute(Step& planned) {
  auto& step = static_cast<RankingStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  scorer_.Begin(step.inputs, step, step.dropout);
  double loss = 0;
  DropoutKey dropout = step.dropout;
  for (size_t begin = 0; begin < step.examples; begin += scorer_.block_size(), ++dropout.block) {
    const size_t end = std::min(begin + scorer_.block_size(), step.examples);
    std::vector<float> scores = scorer_.Score(step.inputs, step, begin, end, dropout);
    for (size_t i = 0; i < scores.size(); ++i) {
      const LossAndSlope of_example = LossOf(scores[i], step.labels[begin + i % (end - begin)], split_.binary());
      loss += of_example.loss;
      scores[i] = of_example.slope / static_cast<float>(step.examples);
    }
    scorer_.Backward(step.inputs, scores, step);
  }
  scorer_.Finish(step.inputs, step);
  loss /= static_cast<double>(scorer_.members());
  if (absl::Status status = CheckLoss(loss, step.dropout); !status.ok()) return status;
  return loss;
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::PlanEvaluation() {
  auto step = std::make_unique<RankingStep>();
  step->inputs.dense = scorer_.PlanDense(0, *step);
  return step;
}

absl::Status Ranking::BeginEvaluation(Step& filled, bool test) {
  evaluated_ = test ? Entities::For::kTest : Entities::For::kValidation;
  scorer_.KeepDense(filled, static_cast<RankingStep&>(filled).inputs.dense);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> Ranking::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  return PlanRows(examples, evaluated_, 0);
}

absl::StatusOr<MetricSums> Ranking::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<RankingStep&>(filled);
  if (!scorer_.has_dense()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  scorer_.BeginEvaluation(step.inputs, step);
  MetricSums sums;
  MetricSum& loss = sums["loss"];
  for (size_t begin = 0; begin < step.examples; begin += scorer_.block_size()) {
    const size_t end = std::min(begin + scorer_.block_size(), step.examples);
    const std::vector<float> predictions = scorer_.Predict(step.inputs, step, begin, end);
    for (size_t i = begin; i < end; ++i) {
      const float prediction = predictions[i - begin];
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
  if (config.model.loss.kind != (split.binary() ? LossConfig::Kind::kBinaryCrossEntropy : LossConfig::Kind::kSquaredError)) {
    return absl::InvalidArgumentError("loss: ranking takes squared_error, and binary_cross_entropy under a binary split");
  }
  std::vector<TableDefinition> tables;
  absl::StatusOr<Scorer> scorer = Scorer::Make(config, data, split, device, tables);
  if (!scorer.ok()) return scorer.status();
  return std::make_unique<Ranking>(config, data, split, *std::move(scorer), std::move(tables));
}

}  // namespace marquee
