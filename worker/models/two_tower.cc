#include "worker/models/two_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/inference.h"
#include "worker/models/learning_rate.h"
#include "worker/models/retrieval_batch.h"
#include "worker/models/retrieval_evaluation.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower_pair.h"

namespace marquee {
namespace {

struct TwoTowerStep : Step {
  std::vector<TowerPair::Inputs> pairs;  // of each member; in training, and of an evaluation's candidates
  std::vector<TowerInputs> queries;      // of each member; in an evaluation's chunks
  SoftmaxExamples softmax;               // in evaluation, without counts, and positives are items
  std::vector<uint32_t> users;           // of each query; in evaluation
  DropoutKey dropout;
};

class TwoTower : public Model, public RetrievalInference {
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

  RetrievalInference* retrieval() override { return this; }
  std::unique_ptr<Step> PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) override;
  std::unique_ptr<Step> PlanGuest(absl::Span<const GuestRating> rated) override;
  std::vector<torch::Tensor> UserInputs(Step& filled) override;
  torch::Tensor EncodeUsers(const std::vector<torch::Tensor>& inputs) const override;
  std::vector<torch::Tensor> MovieInputs() const override;
  torch::Tensor EncodeMovies(const std::vector<torch::Tensor>& inputs) const override;
  torch::Tensor SeenBias() const override { return candidate_seen_bias_; }
  std::vector<std::vector<float>> HistoryShares(Step& filled, size_t user, absl::Span<const uint32_t> items) override;

 private:
  std::unique_ptr<Step> PlanEntities(const Entities& entities);
  TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, std::vector<TowerPair> members,
           std::vector<TableDefinition> tables);

  const TrialConfig config_;
  const Dataset& data_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  std::vector<TowerPair> members_;  // at least one
  RetrievalBatches batches_;
  bool has_histories_ = false;
  bool query_per_example_ = false;  // since it has columns of interactions

  // Of the evaluation that has begun: of all members together.
  torch::Tensor candidates_;
  torch::Tensor candidate_seen_bias_;
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

absl::StatusOr<std::unique_ptr<Model>> TwoTower::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                      const torch::Device& device) {
  const ModelConfig& model = config.model;
  if (absl::Status status = CheckLossConfig(model.loss); !status.ok()) return status;
  std::vector<TableDefinition> tables;
  std::vector<TowerPair> members;
  for (int i = 0; i < std::max(model.ensemble, 1); ++i) {
    const std::string prefix = model.ensemble > 1 ? fmt::format("member{}_", i) : "";
    absl::StatusOr<TowerPair> member = TowerPair::Make(prefix, config, data, split, device, tables);
    if (!member.ok()) return member.status();
    members.push_back(*std::move(member));
  }
  return std::unique_ptr<Model>(new TwoTower(config, data, split, std::move(members), std::move(tables)));
}

TwoTower::TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, std::vector<TowerPair> members,
                   std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      members_(std::move(members)),
      batches_(data, split, config.model.loss, config.model.seen_bias),
      has_histories_(HasHistory(members_[0].query())),
      evaluation_(data, split, config.model.loss.temperature) {
  for (const Feature& feature : members_[0].query().features()) {
    query_per_example_ |= feature.level() == Column::Level::kInteraction;
  }
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
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  for (TowerPair& member : members_) step->pairs.push_back(member.Plan(entities, asked.items, rates, *step));
  step->softmax = std::move(asked.softmax);
  return step;
}

absl::StatusOr<double> TwoTower::Compute(Step& planned) {
  auto& step = static_cast<TwoTowerStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  if (step.softmax.positives.empty()) return 0.0;  // the mask has left no target in this batch
  double loss = 0;
  for (size_t i = 0; i < members_.size(); ++i) {
    DropoutKey dropout = step.dropout;
    dropout.seed += i;  // members drop different units
    loss += members_[i].Train(step.pairs[i], step.softmax, dropout, step);
    if (absl::Status status = CheckLoss(loss, step.dropout); !status.ok()) return status;
  }
  // Of all the step's examples, whether they were targets or history.
  return loss / static_cast<double>(members_.size()) * static_cast<double>(step.examples) /
         static_cast<double>(step.softmax.positives.size());
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluation() {
  auto step = std::make_unique<TwoTowerStep>();
  const std::vector<uint32_t> items = batches_.AllItems();
  for (TowerPair& member : members_) step->pairs.push_back(member.PlanCandidates(items, *step));
  return step;
}

// Vectors of all members side by side, so that their product is the sum of the members' scores.
absl::Status TwoTower::BeginEvaluation(Step& filled, bool test) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  std::vector<torch::Tensor> vectors;
  candidate_seen_bias_ = torch::Tensor();
  for (size_t i = 0; i < members_.size(); ++i) {
    members_[i].BeginEvaluation(step.pairs[i], step);
    vectors.push_back(members_[i].candidates());
    const torch::Tensor& seen = members_[i].seen_bias();
    if (seen.defined()) candidate_seen_bias_ = i == 0 ? seen : candidate_seen_bias_ + seen;
  }
  candidates_ = torch::cat(vectors, 1) / static_cast<double>(members_.size());
  if (candidate_seen_bias_.defined()) candidate_seen_bias_ = candidate_seen_bias_ / static_cast<double>(members_.size());
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
  for (TowerPair& member : members_) step->queries.push_back(member.PlanQueries(entities, *step));
  step->users = queries.users;
  return step;
}

absl::StatusOr<MetricSums> TwoTower::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  if (!candidates_.defined()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  std::vector<torch::Tensor> vectors;
  for (size_t i = 0; i < members_.size(); ++i) vectors.push_back(members_[i].Queries(step.queries[i], step));
  return evaluation_.Evaluate(torch::cat(vectors, 1), candidates_, candidate_seen_bias_, step.users, step.softmax);
}

// ------------------------------------------------------------------------------------------------------ inference

std::unique_ptr<Step> TwoTower::PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) {
  return PlanEntities({.count = users.size(), .users = users, .purpose = purpose});
}

std::unique_ptr<Step> TwoTower::PlanGuest(absl::Span<const GuestRating> rated) {
  if (!has_histories_) return nullptr;
  return PlanEntities({.count = 1, .purpose = Entities::For::kNow, .guest = rated});
}

std::unique_ptr<Step> TwoTower::PlanEntities(const Entities& entities) {
  auto step = std::make_unique<TwoTowerStep>();
  for (TowerPair& member : members_) step->queries.push_back(member.PlanQueries(entities, *step));
  return step;
}

std::vector<torch::Tensor> TwoTower::UserInputs(Step& filled) {
  auto& step = static_cast<TwoTowerStep&>(filled);
  std::vector<torch::Tensor> inputs;
  for (size_t i = 0; i < members_.size(); ++i) inputs.push_back(members_[i].QueryInputs(step.queries[i], step));
  return inputs;
}

torch::Tensor TwoTower::EncodeUsers(const std::vector<torch::Tensor>& inputs) const {
  std::vector<torch::Tensor> vectors;
  for (size_t i = 0; i < members_.size(); ++i) vectors.push_back(members_[i].EncodeQueries(inputs[i]));
  return torch::cat(vectors, 1);
}

std::vector<torch::Tensor> TwoTower::MovieInputs() const {
  std::vector<torch::Tensor> inputs;
  for (const TowerPair& member : members_) {
    for (torch::Tensor& input : member.CandidateInputs()) inputs.push_back(std::move(input));
  }
  return inputs;
}

torch::Tensor TwoTower::EncodeMovies(const std::vector<torch::Tensor>& inputs) const {
  const size_t of_member = inputs.size() / members_.size();
  std::vector<torch::Tensor> vectors;
  for (size_t i = 0; i < members_.size(); ++i) {
    vectors.push_back(members_[i].EncodeCandidates(absl::MakeConstSpan(inputs).subspan(i * of_member, of_member)));
  }
  return torch::cat(vectors, 1) / static_cast<double>(members_.size());
}

// Each item is a row of its own, in one pass forward and one back.
std::vector<std::vector<float>> TwoTower::HistoryShares(Step& filled, size_t user, absl::Span<const uint32_t> items) {
  if (!has_histories_) return {};
  auto& step = static_cast<TwoTowerStep&>(filled);
  const auto count = static_cast<int64_t>(items.size());
  const torch::Tensor rows = torch::tensor(std::vector<int64_t>(items.begin(), items.end()), torch::kLong);
  const torch::Tensor vectors = candidates_.index_select(0, rows);
  std::vector<std::vector<float>> shares(items.size());
  int64_t first = 0;
  for (size_t i = 0; i < members_.size(); ++i) {
    const torch::Tensor inputs = members_[i].QueryInputs(step.queries[i], step);
    const torch::Tensor input = inputs.narrow(0, static_cast<int64_t>(user), 1).repeat({count, 1}).requires_grad_(true);
    const torch::Tensor output = members_[i].query().Output(input, members_[i].query_dense());
    const torch::Tensor score = (output * vectors.narrow(1, first, output.size(1))).sum();
    first += members_[i].candidates().size(1);
    const torch::Tensor gradients = torch::autograd::grad({score}, {input})[0];
    const std::vector<std::vector<float>> of_member = members_[i].query().HistoryShares(step.queries[i], user, gradients, step);
    for (size_t item = 0; item < shares.size(); ++item) {
      shares[item].resize(of_member[item].size(), 0.0F);
      for (size_t j = 0; j < shares[item].size(); ++j) shares[item][j] += of_member[item][j];
    }
  }
  return shares;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeTwoTower(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  return TwoTower::Make(config, data, split, device);
}

}  // namespace marquee
