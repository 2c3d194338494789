#include "worker/models/joint.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/candidate_biases.h"
#include "worker/models/inference.h"
#include "worker/models/joint_heads.h"
#include "worker/models/learning_rate.h"
#include "worker/models/retrieval_batch.h"
#include "worker/models/retrieval_evaluation.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

struct JointStep : Step {
  TowerInputs query;
  TowerInputs candidate;
  JointHeads::Inputs heads;
  CandidateBiases::Inputs biases;
  size_t query_dense = 0;  // positions in rows
  size_t candidate_dense = 0;
  size_t heads_dense = 0;
  SoftmaxExamples softmax;      // in evaluation, without counts, and positives are items
  std::vector<uint32_t> users;  // of each query; in evaluation
  DropoutKey dropout;
};

class Joint : public Model, public RetrievalInference, public RatingInference {
 public:
  Joint(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
        Tower candidate, JointHeads heads, CandidateBiases biases, std::vector<TableDefinition> tables);

  const std::vector<TableDefinition>& tables() const override { return tables_; }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override;
  absl::StatusOr<double> Compute(Step& step) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override;
  absl::Status BeginEvaluation(Step& filled, bool test) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override;
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override;
  bool users_together() const override { return config_.model.loss.mask > 0; }

  RetrievalInference* retrieval() override { return this; }
  std::unique_ptr<Step> PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) override;
  std::unique_ptr<Step> PlanGuest(absl::Span<const GuestRating> rated) override;
  std::vector<torch::Tensor> UserInputs(Step& filled) override;
  torch::Tensor EncodeUsers(const std::vector<torch::Tensor>& inputs) const override;
  std::vector<torch::Tensor> MovieInputs() const override;  // and their biases, if there are any
  torch::Tensor EncodeMovies(const std::vector<torch::Tensor>& inputs) const override;
  torch::Tensor SeenBias() const override;
  std::vector<std::vector<float>> HistoryShares(Step& filled, size_t user, absl::Span<const uint32_t> items) override;

  RatingInference* rating() override { return this; }
  Meaning meaning() const override { return Meaning::kRating; }
  std::unique_ptr<Step> PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                  Entities::For purpose) override;
  std::vector<float> Predict(Step& filled) override;
  Decomposition Decompose(Step& filled) override;
  std::vector<Part> parts() const override { return heads_.parts(heads_dense_); }

 private:
  void PlanHeads(absl::Span<const uint32_t> examples, std::vector<uint32_t> query_of, std::vector<uint32_t> candidate_of,
                 Entities::For purpose, float learning_rate, JointStep& step);
  JointHeads::Vectors SharedOf(JointStep& step) const;
  // Both sides of the retrieval head, of shared vectors.
  torch::Tensor RetrievalQueries(const torch::Tensor& query) const;
  torch::Tensor RetrievalCandidates(const torch::Tensor& candidate, const torch::Tensor& bias) const;
  void PlanDense(float learning_rate, float own_learning_rate, JointStep& step) const;
  // Each adds its weighted gradient to those of the shared vectors, and returns the sum of its examples' losses, unweighted.
  double TrainRetrieval(const JointHeads::Vectors& shared, const DenseLeaves& leaves, JointStep& step) const;
  double TrainRating(const JointHeads::Vectors& shared, const DenseLeaves& leaves, JointStep& step) const;

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const torch::Device device_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  const LearningRates own_rates_;  // of the rating's own terms
  Tower query_;
  Tower candidate_;
  JointHeads heads_;
  CandidateBiases biases_;
  RetrievalBatches batches_;
  bool has_histories_ = false;
  bool query_per_example_ = false;  // since it has columns of interactions
  RetrievalEvaluation evaluation_;

  // Of the evaluation that has begun.
  torch::Tensor candidate_inputs_;
  torch::Tensor candidates_;
  CandidateBiases::Pass candidate_biases_;
  DenseLeaves query_dense_;
  DenseLeaves candidate_dense_;
  DenseLeaves heads_dense_;
};

Joint::Joint(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
             Tower candidate, JointHeads heads, CandidateBiases biases, std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      split_(split),
      device_(device),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      own_rates_(JointHeads::OwnModel(config.model), split.train.size()),
      query_(std::move(query)),
      candidate_(std::move(candidate)),
      heads_(std::move(heads)),
      biases_(std::move(biases)),
      batches_(data, split, config.model.loss, config.model.retrieval.seen_bias),
      has_histories_(HasHistory(query_)),
      evaluation_(data, split, config.model.loss.temperature) {
  for (const Feature& feature : query_.features()) query_per_example_ |= feature.level() == Column::Level::kInteraction;
}

void Joint::PlanHeads(absl::Span<const uint32_t> examples, std::vector<uint32_t> query_of, std::vector<uint32_t> candidate_of,
                      Entities::For purpose, float learning_rate, JointStep& step) {
  std::vector<float> labels;
  for (const uint32_t example : examples) labels.push_back(split_.LabelOf(data_, example));
  step.heads =
      heads_.Plan(examples, std::move(query_of), std::move(candidate_of), std::move(labels), purpose, learning_rate, step);
}

void Joint::PlanDense(float learning_rate, float own_learning_rate, JointStep& step) const {
  step.query_dense = query_.PlanDense(learning_rate, step);
  step.candidate_dense = candidate_.PlanDense(learning_rate, step);
  step.heads_dense = heads_.dense().Plan(learning_rate, step);
  step.heads.own.dense = heads_.PlanOwnDense(own_learning_rate, step);
}

absl::StatusOr<std::unique_ptr<Step>> Joint::Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step_number) {
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  const LearningRates::Rates own_rates = own_rates_.At(epoch, step_number);
  const HistoryMask epoch_mask(config_.seed, epoch, config_.model.loss.mask);
  const HistoryMask* mask = config_.model.loss.mask > 0 ? &epoch_mask : nullptr;
  RetrievalBatch batch = batches_.Make(examples, mask, query_per_example_ || (has_histories_ && mask == nullptr));

  auto step = std::make_unique<JointStep>();
  step->examples = examples.size();
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  Entities queries = batch.queries.entities();
  queries.mask = mask;
  step->query = query_.Plan(queries, rates.embedding, *step);
  step->candidate = candidate_.Plan({.count = batch.items.size(), .items = batch.items}, rates.embedding, *step);
  step->biases = biases_.Plan(batch.items, rates.embedding, *step);
  PlanHeads(batch.examples, std::move(batch.queries.of_example), std::move(batch.candidate_of), Entities::For::kTraining,
            own_rates.embedding, *step);
  PlanDense(rates.dense, own_rates.dense, *step);
  step->softmax = std::move(batch.softmax);
  return step;
}

double Joint::TrainRetrieval(const JointHeads::Vectors& shared, const DenseLeaves& leaves, JointStep& step) const {
  const LossConfig& loss = config_.model.loss;
  const JointHeads::Vectors vectors = heads_.Retrieval(shared, leaves);
  const CandidateBiases::Pass biases = biases_.Forward(step.biases, step, device_);
  const SoftmaxResult result =
      SoftmaxLoss(biases_.WithOnes(vectors.query), biases_.WithBias(vectors.candidate, biases), biases.seen_bias, step.softmax,
                  {.temperature = loss.temperature,
                   .remove_accidental_hits = loss.remove_accidental_hits,
                   .hard_negatives = loss.hard_negatives});
  if (!std::isfinite(result.loss)) return result.loss;
  const double weight = config_.model.retrieval.weight;
  torch::autograd::backward({vectors.query, vectors.candidate},
                            {biases_.QueryGradient(result) * weight, biases_.CandidateGradient(result) * weight});
  biases_.Backward(biases, result, weight, step.biases, step);
  return result.loss;
}

double Joint::TrainRating(const JointHeads::Vectors& shared, const DenseLeaves& leaves, JointStep& step) const {
  const torch::Tensor products = heads_.Products(step.heads, heads_.Rating(shared, leaves), leaves, &step.dropout);
  std::vector<float> gradients = heads_.OwnScores(step.heads, step, step.dropout);
  AddScores(products, absl::MakeSpan(gradients));
  const auto scale = static_cast<float>(2 * config_.model.rating.weight / static_cast<double>(gradients.size()));
  double loss = 0;
  for (size_t i = 0; i < gradients.size(); ++i) {
    const float error = gradients[i] - step.heads.labels[i];
    loss += static_cast<double>(error) * error;
    gradients[i] = scale * error;
  }
  torch::autograd::backward({products}, {ScoreGradient(gradients, device_)});
  heads_.BackwardOwn(step.heads, gradients, step);
  return loss;
}

absl::StatusOr<double> Joint::Compute(Step& planned) {
  auto& step = static_cast<JointStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  if (step.softmax.positives.empty()) return 0.0;  // the mask has left no target in this batch
  const DenseLeaves query_dense = query_.Leaves(step, step.query_dense, device_, /*train=*/true);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/true);
  const DenseLeaves heads_dense = heads_.dense().Leaves(step, step.heads_dense, device_, /*train=*/true);
  const Tower::Pass query = query_.Forward(step.query, 0, step.query.count, step, query_dense, device_, &step.dropout);
  DropoutKey candidate_dropout = step.dropout;
  candidate_dropout.block = 1;
  const Tower::Pass candidate =
      candidate_.Forward(step.candidate, 0, step.candidate.count, step, candidate_dense, device_, &candidate_dropout);

  const JointHeads::Vectors shared{query.output.detach().requires_grad_(true), candidate.output.detach().requires_grad_(true)};
  const ModelConfig& model = config_.model;
  double loss = 0;
  if (model.retrieval.weight > 0) loss += model.retrieval.weight * TrainRetrieval(shared, heads_dense, step);
  if (model.rating.weight > 0) loss += model.rating.weight * TrainRating(shared, heads_dense, step);
  if (absl::Status status = CheckLoss(loss, step.dropout); !status.ok()) return status;

  query_.Backward(query, shared.query.grad(), step.query, step);
  candidate_.Backward(candidate, shared.candidate.grad(), step.candidate, step);
  query_.Finish(step.query, step);
  candidate_.Finish(step.candidate, step);
  CollectGradients(query_dense, step.query_dense, step);
  CollectGradients(candidate_dense, step.candidate_dense, step);
  CollectGradients(heads_dense, step.heads_dense, step);
  // Of all the step's examples, whether they were targets or history.
  return loss * static_cast<double>(step.examples) / static_cast<double>(step.softmax.positives.size());
}

absl::StatusOr<std::unique_ptr<Step>> Joint::PlanEvaluation() {
  auto step = std::make_unique<JointStep>();
  const std::vector<uint32_t> items = batches_.AllItems();
  step->candidate = candidate_.Plan({.count = items.size(), .items = items}, 0, *step);
  step->biases = biases_.Plan(items, 0, *step);
  PlanDense(0, 0, *step);
  return step;
}

absl::Status Joint::BeginEvaluation(Step& filled, bool test) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<JointStep&>(filled);
  candidate_dense_ = Kept(candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/false));
  const Tower::Pass candidates =
      candidate_.Forward(step.candidate, 0, step.candidate.count, step, candidate_dense_, device_, nullptr);
  candidate_inputs_ = candidates.input;
  candidates_ = candidates.output.contiguous();
  candidate_biases_ = biases_.Forward(step.biases, step, device_);
  query_dense_ = Kept(query_.Leaves(step, step.query_dense, device_, /*train=*/false));
  heads_dense_ = Kept(heads_.dense().Leaves(step, step.heads_dense, device_, /*train=*/false));
  heads_.KeepOwnDense(step, step.heads.own.dense);
  evaluation_.Begin(test);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> Joint::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  auto step = std::make_unique<JointStep>();
  step->examples = examples.size();
  Queries queries = batches_.QueriesOf(examples, query_per_example_);
  std::vector<uint32_t> targets;
  for (const uint32_t example : examples) targets.push_back(data_.item_of()[example]);
  GroupByQuery(queries.of_example, targets, queries.users.size(), step->softmax);
  Entities entities = queries.entities();
  entities.purpose = evaluation_.test() ? Entities::For::kTest : Entities::For::kValidation;
  step->query = query_.Plan(entities, 0, *step);
  step->users = queries.users;
  PlanHeads(examples, std::move(queries.of_example), std::move(targets), entities.purpose, 0, *step);
  return step;
}

absl::StatusOr<MetricSums> Joint::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<JointStep&>(filled);
  if (!candidates_.defined()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  const JointHeads::Vectors shared{query_.Forward(step.query, 0, step.query.count, step, query_dense_, device_, nullptr).output,
                                   candidates_};
  const JointHeads::Vectors retrieval = heads_.Retrieval(shared, heads_dense_);
  const torch::Tensor& seen_bias = candidate_biases_.seen_bias;
  absl::StatusOr<MetricSums> sums =
      evaluation_.Evaluate(biases_.WithOnes(retrieval.query), biases_.WithBias(retrieval.candidate, candidate_biases_),
                           seen_bias.defined() ? seen_bias.to(torch::kCPU) : seen_bias, step.users, step.softmax);
  if (!sums.ok()) return sums;

  std::vector<float> ratings = heads_.PredictOwn(step.heads, step);
  AddScores(heads_.Products(step.heads, heads_.Rating(shared, heads_dense_), heads_dense_, nullptr), absl::MakeSpan(ratings));
  MetricSum& loss = (*sums)["loss"];
  loss.sum *= config_.model.retrieval.weight;
  for (size_t i = 0; i < ratings.size(); ++i) {
    const float label = step.heads.labels[i];
    if (!std::isfinite(ratings[i])) return absl::OutOfRangeError(fmt::format("a predicted rating is {}", ratings[i]));
    if (absl::Status status = AddRatingError(ratings[i], label, *sums); !status.ok()) return status;
    const double error = static_cast<double>(ratings[i]) - label;
    loss.sum += config_.model.rating.weight * error * error;
  }
  return sums;
}

// ------------------------------------------------------------------------------------------------------ inference

torch::Tensor Joint::RetrievalQueries(const torch::Tensor& query) const {
  return biases_.WithOnes(heads_.Retrieval({query, candidates_}, heads_dense_).query).to(torch::kCPU);
}

torch::Tensor Joint::RetrievalCandidates(const torch::Tensor& candidate, const torch::Tensor& bias) const {
  const JointHeads::Vectors any{candidate, candidate};
  const torch::Tensor vectors = heads_.Retrieval(any, heads_dense_).candidate.to(torch::kCPU);
  return bias.defined() ? torch::cat({vectors, bias.to(torch::kCPU)}, 1) : vectors;
}

std::unique_ptr<Step> Joint::PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) {
  auto step = std::make_unique<JointStep>();
  step->query = query_.Plan({.count = users.size(), .users = users, .purpose = purpose}, 0, *step);
  return step;
}

std::unique_ptr<Step> Joint::PlanGuest(absl::Span<const GuestRating> rated) {
  if (!has_histories_) return nullptr;
  auto step = std::make_unique<JointStep>();
  step->query = query_.Plan({.count = 1, .purpose = Entities::For::kNow, .guest = rated}, 0, *step);
  return step;
}

std::vector<torch::Tensor> Joint::UserInputs(Step& filled) {
  return {query_.Inputs(static_cast<JointStep&>(filled).query, filled)};
}

torch::Tensor Joint::EncodeUsers(const std::vector<torch::Tensor>& inputs) const {
  return RetrievalQueries(query_.Output(inputs[0].to(device_), query_dense_));
}

std::vector<torch::Tensor> Joint::MovieInputs() const {
  std::vector<torch::Tensor> inputs = {candidate_inputs_.to(torch::kCPU)};
  if (candidate_biases_.bias.output.defined()) inputs.push_back(candidate_biases_.bias.output.to(torch::kCPU));
  return inputs;
}

torch::Tensor Joint::EncodeMovies(const std::vector<torch::Tensor>& inputs) const {
  return RetrievalCandidates(candidate_.Output(inputs[0].to(device_), candidate_dense_),
                             inputs.size() > 1 ? inputs[1] : torch::Tensor());
}

torch::Tensor Joint::SeenBias() const {
  const torch::Tensor& bias = candidate_biases_.seen_bias;
  return bias.defined() ? bias.to(torch::kCPU) : bias;
}

// Each item is a row of its own, in one pass forward and one back.
std::vector<std::vector<float>> Joint::HistoryShares(Step& filled, size_t user, absl::Span<const uint32_t> items) {
  if (!has_histories_) return {};
  auto& step = static_cast<JointStep&>(filled);
  const auto count = static_cast<int64_t>(items.size());
  const torch::Tensor rows = torch::tensor(std::vector<int64_t>(items.begin(), items.end()), torch::kLong).to(device_);
  const torch::Tensor inputs = query_.Inputs(step.query, step);
  const torch::Tensor input = inputs.narrow(0, static_cast<int64_t>(user), 1).repeat({count, 1}).requires_grad_(true);
  const JointHeads::Vectors shared{query_.Output(input.to(device_), query_dense_), candidates_.index_select(0, rows)};
  const JointHeads::Vectors vectors = heads_.Retrieval(shared, heads_dense_);
  const torch::Tensor score = (vectors.query * vectors.candidate).sum();
  return query_.HistoryShares(step.query, user, torch::autograd::grad({score}, {input})[0], step);
}

std::unique_ptr<Step> Joint::PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                       Entities::For purpose) {
  auto step = std::make_unique<JointStep>();
  step->query = query_.Plan({.count = users.size(), .users = users, .purpose = purpose}, 0, *step);
  step->candidate = candidate_.Plan({.count = items.size(), .items = items}, 0, *step);
  step->heads = heads_.PlanPairs(users, items, purpose, *step);
  return step;
}

JointHeads::Vectors Joint::SharedOf(JointStep& step) const {
  const torch::Tensor query = query_.Inputs(step.query, step).to(device_);
  const torch::Tensor candidate = candidate_.Inputs(step.candidate, step).to(device_);
  return {query_.Output(query, query_dense_), candidate_.Output(candidate, candidate_dense_)};
}

std::vector<float> Joint::Predict(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<JointStep&>(filled);
  std::vector<float> ratings = heads_.PredictOwn(step.heads, step);
  const JointHeads::Vectors rating = heads_.Rating(SharedOf(step), heads_dense_);
  AddScores(heads_.Products(step.heads, rating, heads_dense_, nullptr), absl::MakeSpan(ratings));
  return ratings;
}

RatingInference::Decomposition Joint::Decompose(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<JointStep&>(filled);
  return heads_.Decompose(step.heads, heads_.Rating(SharedOf(step), heads_dense_), step);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeJoint(const TrialConfig& config, const Dataset& data, const Split& split,
                                                 const torch::Device& device) {
  const ModelConfig& model = config.model;
  if (split.binary()) return absl::InvalidArgumentError("kind: joint predicts ratings; a binary split has none");
  std::vector<TableDefinition> tables;
  absl::StatusOr<Tower> query = Tower::Make(model.query, Tower::Options::FromConfig("query", config), data, split, tables);
  if (!query.ok()) return query.status();
  absl::StatusOr<Tower> candidate =
      Tower::Make(model.candidate, Tower::Options::FromConfig("candidate", config), data, split, tables);
  if (!candidate.ok()) return candidate.status();
  if (absl::Status status = CheckQueryAndCandidate(*query, *candidate); !status.ok()) return status;
  if (model.retrieval.seen_bias && !HasHistory(*query)) {
    return absl::InvalidArgumentError("retrieval.seen_bias: needs a feature of kind history in query");
  }
  absl::StatusOr<JointHeads> heads = JointHeads::Make(config, Tower::Options::FromConfig("", config), query->width(),
                                                      candidate->width(), data, split, device, tables);
  if (!heads.ok()) return heads.status();
  absl::StatusOr<CandidateBiases> biases =
      CandidateBiases::Make(model.retrieval.bias, model.retrieval.seen_bias, "retrieval_", config, data, split, tables);
  if (!biases.ok()) return biases.status();
  return std::make_unique<Joint>(config, data, split, device, *std::move(query), *std::move(candidate), *std::move(heads),
                                 *std::move(biases), std::move(tables));
}

}  // namespace marquee
