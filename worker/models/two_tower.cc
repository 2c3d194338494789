#include "worker/models/two_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/candidate_biases.h"
#include "worker/models/learning_rate.h"
#include "worker/models/retrieval_batch.h"
#include "worker/models/retrieval_evaluation.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

struct TwoTowerStep : Step {
  TowerInputs query;
  TowerInputs candidate;
  CandidateBiases::Inputs biases;
  size_t query_dense = 0;  // positions in rows
  size_t candidate_dense = 0;
  SoftmaxExamples softmax;      // in evaluation, without counts, and positives are items
  std::vector<uint32_t> users;  // of each query; in evaluation
  DropoutKey dropout;
};

// The candidates' towers at work.
struct Candidates {
  Tower::Pass tower;
  CandidateBiases::Pass biases;
  torch::Tensor vectors;  // with their bias
};

class TwoTower : public Model {
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
  bool users_together() const override { return config_.model.loss.mask > 0; }

 private:
  TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
           Tower candidate, CandidateBiases biases, std::vector<TableDefinition> tables);

  void PlanTowers(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates,
                  TwoTowerStep& step);
  void PlanCandidates(absl::Span<const uint32_t> items, float learning_rate, TwoTowerStep& step);
  Candidates ForwardCandidates(TwoTowerStep& step, const DenseLeaves& dense, const DropoutKey* dropout) const;

  const TrialConfig config_;
  const Dataset& data_;
  const torch::Device device_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Tower query_;
  Tower candidate_;
  CandidateBiases biases_;
  RetrievalBatches batches_;
  bool has_histories_ = false;
  bool query_per_example_ = false;  // since it has columns of interactions

  // Of the evaluation that has begun.
  torch::Tensor candidates_;
  torch::Tensor candidate_seen_bias_;
  DenseLeaves query_dense_;
  RetrievalEvaluation evaluation_;
};

absl::Status CheckLossConfig(const LossConfig& loss) {
  if (loss.kind != LossConfig::Kind::kInBatchSoftmax && loss.kind != LossConfig::Kind::kFullSoftmax) {
    return absl::InvalidArgumentError("loss: two_tower takes in_batch_softmax or full_softmax");
  }
  if (!(loss.temperature > 0)) {
    return absl::InvalidArgumentError(fmt::format("loss: temperature {}; must be above 0", loss.temperature));
  }
  if (!(loss.mask >= 0 && loss.mask < 1)) {
    return absl::InvalidArgumentError(fmt::format("loss: mask {}; must be at least 0 and below 1", loss.mask));
  }
  if (loss.kind == LossConfig::Kind::kFullSoftmax && (loss.logq || loss.remove_accidental_hits)) {
    return absl::InvalidArgumentError(
        "loss: logq and accidental_hits correct a softmax over a batch; full_softmax has neither");
  }
  return absl::OkStatus();
}

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

absl::StatusOr<std::unique_ptr<Model>> TwoTower::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                      const torch::Device& device) {
  const ModelConfig& model = config.model;
  if (absl::Status status = CheckLossConfig(model.loss); !status.ok()) return status;
  std::vector<TableDefinition> tables;
  absl::StatusOr<Tower> query = Tower::Make(model.query, Tower::Options::FromConfig("query", config), data, split, tables);
  if (!query.ok()) return query.status();
  absl::StatusOr<Tower> candidate =
      Tower::Make(model.candidate, Tower::Options::FromConfig("candidate", config), data, split, tables);
  if (!candidate.ok()) return candidate.status();
  if (absl::Status status = CheckTowers(*query, *candidate); !status.ok()) return status;
  if (absl::Status status = CheckHistories(model, *query); !status.ok()) return status;
  absl::StatusOr<CandidateBiases> biases = CandidateBiases::Make(model.bias, model.seen_bias, "", config, data, split, tables);
  if (!biases.ok()) return biases.status();
  return std::unique_ptr<Model>(new TwoTower(config, data, split, device, *std::move(query), *std::move(candidate),
                                             *std::move(biases), std::move(tables)));
}

TwoTower::TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
                   Tower candidate, CandidateBiases biases, std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      device_(device),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      query_(std::move(query)),
      candidate_(std::move(candidate)),
      biases_(std::move(biases)),
      batches_(data, split, config.model.loss, config.model.seen_bias),
      has_histories_(HasHistory(query_)),
      evaluation_(data, split, config.model.loss.temperature) {
  for (const Feature& feature : query_.features()) query_per_example_ |= feature.level() == Column::Level::kInteraction;
}

void TwoTower::PlanCandidates(absl::Span<const uint32_t> items, float learning_rate, TwoTowerStep& step) {
  const Entities entities{.count = items.size(), .items = items};
  step.candidate = candidate_.Plan(entities, learning_rate, step);
  step.biases = biases_.Plan(items, learning_rate, step);
}

void TwoTower::PlanTowers(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates,
                          TwoTowerStep& step) {
  step.query = query_.Plan(queries, rates.embedding, step);
  PlanCandidates(items, rates.embedding, step);
  step.query_dense = query_.PlanDense(rates.dense, step);
  step.candidate_dense = candidate_.PlanDense(rates.dense, step);
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::Plan(absl::Span<const uint32_t> batch, uint32_t epoch, uint64_t step_number) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = batch.size();
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  const HistoryMask epoch_mask(config_.seed, epoch, config_.model.loss.mask);
  const HistoryMask* mask = config_.model.loss.mask > 0 ? &epoch_mask : nullptr;
  RetrievalBatch asked = batches_.Make(batch, mask, query_per_example_ || (has_histories_ && mask == nullptr));
  Entities entities = asked.queries.entities();
  entities.mask = mask;
  PlanTowers(entities, asked.items, rates_.At(epoch, step_number), *step);
  step->softmax = std::move(asked.softmax);
  return step;
}

Candidates TwoTower::ForwardCandidates(TwoTowerStep& step, const DenseLeaves& dense, const DropoutKey* dropout) const {
  Candidates candidates;
  candidates.tower = candidate_.Forward(step.candidate, 0, step.candidate.count, step, dense, device_, dropout);
  candidates.biases = biases_.Forward(step.biases, step, device_);
  candidates.vectors = biases_.WithBias(candidates.tower.output, candidates.biases);
  return candidates;
}

absl::StatusOr<double> TwoTower::Compute(Step& planned) {
  auto& step = static_cast<TwoTowerStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  if (step.softmax.positives.empty()) return 0.0;  // the mask has left no target in this batch
  const DenseLeaves query_dense = query_.Leaves(step, step.query_dense, device_, /*train=*/true);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/true);
  const Tower::Pass query = query_.Forward(step.query, 0, step.query.count, step, query_dense, device_, &step.dropout);
  DropoutKey candidate_dropout = step.dropout;
  candidate_dropout.block = 1;
  const Candidates candidates = ForwardCandidates(step, candidate_dense, &candidate_dropout);

  const LossConfig& loss = config_.model.loss;
  const SoftmaxOptions options{.temperature = loss.temperature,
                               .remove_accidental_hits = loss.remove_accidental_hits,
                               .hard_negatives = loss.hard_negatives};
  const SoftmaxResult result =
      SoftmaxLoss(biases_.WithOnes(query.output), candidates.vectors, candidates.biases.seen_bias, step.softmax, options);
  if (absl::Status status = CheckLoss(result.loss, step.dropout); !status.ok()) return status;
  query_.Backward(query, biases_.QueryGradient(result), step.query, step);
  candidate_.Backward(candidates.tower, biases_.CandidateGradient(result), step.candidate, step);
  biases_.Backward(candidates.biases, result, 1.0, step.biases, step);
  query_.Finish(step.query, step);
  candidate_.Finish(step.candidate, step);
  CollectGradients(query_dense, step.query_dense, step);
  CollectGradients(candidate_dense, step.candidate_dense, step);
  // Of all the step's examples, whether they were targets or history.
  return result.loss * static_cast<double>(step.examples) / static_cast<double>(step.softmax.positives.size());
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluation() {
  auto step = std::make_unique<TwoTowerStep>();
  const std::vector<uint32_t> items = batches_.AllItems();
  PlanCandidates(items, 0, *step);
  step->query_dense = query_.PlanDense(0, *step);
  step->candidate_dense = candidate_.PlanDense(0, *step);
  return step;
}

absl::Status TwoTower::BeginEvaluation(Step& filled, bool test) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/false);
  const Candidates candidates = ForwardCandidates(step, candidate_dense, nullptr);
  candidates_ = candidates.vectors;
  const torch::Tensor& seen_bias = candidates.biases.seen_bias;
  candidate_seen_bias_ = seen_bias.defined() ? seen_bias.to(torch::kCPU) : seen_bias;
  query_dense_ = query_.Leaves(step, step.query_dense, device_, /*train=*/false);
  for (torch::Tensor& leaf : query_dense_) leaf = leaf.clone();
  evaluation_.Begin(test);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = examples.size();
  const Queries queries = batches_.QueriesOf(examples, query_per_example_);
  std::vector<uint32_t> targets;
  for (const uint32_t example : examples) targets.push_back(data_.item_of()[example]);
  GroupByQuery(queries.of_example, targets, queries.users.size(), step->softmax);
  Entities entities = queries.entities();
  entities.purpose = evaluation_.test() ? Entities::For::kTest : Entities::For::kValidation;
  step->query = query_.Plan(entities, 0, *step);
  step->users = queries.users;
  return step;
}

absl::StatusOr<MetricSums> TwoTower::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  if (!candidates_.defined()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  const torch::Tensor queries =
      biases_.WithOnes(query_.Forward(step.query, 0, step.query.count, step, query_dense_, device_, nullptr).output);
  return evaluation_.Evaluate(queries, candidates_, candidate_seen_bias_, step.users, step.softmax);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeTwoTower(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  return TwoTower::Make(config, data, split, device);
}

}  // namespace marquee
