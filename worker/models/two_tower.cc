#include "worker/models/two_tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/distinct.h"
#include "worker/models/learning_rate.h"
#include "worker/models/retrieval_evaluation.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

constexpr uint32_t kNotHere = 0xffffffffU;

// A batch's queries: its distinct users, or each of its examples where a query depends on more than the user.
struct Queries {
  std::vector<uint32_t> users;         // of each query
  std::vector<uint32_t> interactions;  // likewise; only where each example is a query
  std::vector<uint32_t> of_example;

  Entities entities() const { return {.count = users.size(), .interactions = interactions, .users = users}; }
};

struct TwoTowerStep : Step {
  TowerInputs query;
  TowerInputs candidate;
  TowerInputs bias;        // of the candidates
  TowerInputs seen_bias;   // likewise
  size_t query_dense = 0;  // positions in rows
  size_t candidate_dense = 0;
  SoftmaxExamples softmax;      // in evaluation, without counts, and positives are items
  std::vector<uint32_t> users;  // of each query; in evaluation
  DropoutKey dropout;
};

// The candidates' towers at work.
struct Candidates {
  Tower::Pass tower;
  Tower::Pass bias;
  Tower::Pass seen_bias;
  torch::Tensor vectors;  // [n, width], and one more column for the bias if there is one
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
  // The towers, in the order of their tables; a bias only where there is one.
  struct Towers {
    Tower query;
    Tower candidate;
    std::optional<Tower> bias;
    std::optional<Tower> seen_bias;
  };

  TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Towers towers,
           std::vector<TableDefinition> tables);

  Queries QueriesOf(absl::Span<const uint32_t> examples, bool each_example);
  void PlanTowers(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates,
                  TwoTowerStep& step);
  void PlanCandidates(absl::Span<const uint32_t> items, float learning_rate, TwoTowerStep& step);
  void AddSeen(const Queries& queries, const HistoryMask* mask, absl::Span<const uint32_t> items, SoftmaxExamples& examples);
  torch::Tensor QueryVectors(const torch::Tensor& output) const;
  Candidates ForwardCandidates(TwoTowerStep& step, const DenseLeaves& dense, const DropoutKey* dropout) const;
  void BackwardCandidates(const Candidates& candidates, const SoftmaxResult& result, TwoTowerStep& step) const;
  std::vector<uint32_t> AllCandidates() const;
  std::vector<uint32_t> BatchCandidates(absl::Span<const uint32_t> examples, std::vector<uint32_t>& candidate_of);

  const TrialConfig config_;
  const Dataset& data_;
  const torch::Device device_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Tower query_;
  Tower candidate_;
  std::optional<Tower> bias_;
  std::optional<Tower> seen_bias_;
  bool has_histories_ = false;
  bool query_per_example_ = false;  // since it has columns of interactions
  std::vector<float> logq_;  // by item: minus the logarithm of its share of the training rows; empty where it is not wanted
  DistinctCodes users_;
  DistinctCodes items_;
  std::optional<History> train_history_;  // where there is a seen bias

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
  for (const Feature& feature : query.features()) {
    if (feature.level() == Column::Level::kItem) {
      return absl::InvalidArgumentError(fmt::format(
          "query: feature {}: belongs to items; a query is made of users' and interactions' columns", feature.name()));
    }
  }
  for (const Feature& feature : candidate.features()) {
    if (feature.level() != Column::Level::kItem) {
      return absl::InvalidArgumentError(
          fmt::format("candidate: feature {}: belongs to {}; a candidate is made of items' columns", feature.name(),
                      feature.level() == Column::Level::kUser ? "users" : "interactions"));
    }
  }
  if (query.width() != candidate.width()) {
    return absl::InvalidArgumentError(
        fmt::format("query is {} wide and candidate {}; both towers must be equally wide", query.width(), candidate.width()));
  }
  return absl::OkStatus();
}

bool HasHistories(const Tower& query) {
  return std::any_of(query.features().begin(), query.features().end(),
                     [](const Feature& feature) { return feature.config().kind == FeatureConfig::Kind::kHistory; });
}

absl::Status CheckHistories(const ModelConfig& model, const Tower& query) {
  if (HasHistories(query)) return absl::OkStatus();
  if (model.loss.mask > 0) return absl::InvalidArgumentError("loss: mask; needs a feature of kind history in query");
  if (model.seen_bias) return absl::InvalidArgumentError("seen_bias: needs a feature of kind history in query");
  return absl::OkStatus();
}

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
  Towers towers{*std::move(query), *std::move(candidate), {}, {}};
  if (model.bias) {
    absl::StatusOr<Tower> bias = MakeItemBias("bias", config, data, split, tables);
    if (!bias.ok()) return bias.status();
    towers.bias = *std::move(bias);
  }
  if (model.seen_bias) {
    absl::StatusOr<Tower> bias = MakeItemBias("seen_bias", config, data, split, tables);
    if (!bias.ok()) return bias.status();
    towers.seen_bias = *std::move(bias);
  }
  return std::unique_ptr<Model>(new TwoTower(config, data, split, device, std::move(towers), std::move(tables)));
}

TwoTower::TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device,
                   Towers towers, std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      device_(device),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      query_(std::move(towers.query)),
      candidate_(std::move(towers.candidate)),
      bias_(std::move(towers.bias)),
      seen_bias_(std::move(towers.seen_bias)),
      has_histories_(HasHistories(query_)),
      users_(data.users()),
      items_(data.items()),
      evaluation_(data, split, config.model.loss.temperature) {
  for (const Feature& feature : query_.features()) query_per_example_ |= feature.level() == Column::Level::kInteraction;
  if (config.model.loss.logq) logq_ = LogShares(data, split);
  if (seen_bias_.has_value()) train_history_.emplace(data, std::vector<const std::vector<uint32_t>*>{&split.train});
}

Queries TwoTower::QueriesOf(absl::Span<const uint32_t> examples, bool each_example) {
  Queries queries;
  queries.of_example.reserve(examples.size());
  if (each_example) queries.interactions.assign(examples.begin(), examples.end());
  users_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t user = data_.user_of()[example];
    const auto next = static_cast<uint32_t>(queries.users.size());
    const uint32_t query = each_example ? next : users_.SlotOf(user);
    if (query == next) queries.users.push_back(user);
    queries.of_example.push_back(query);
  }
  return queries;
}

std::vector<uint32_t> TwoTower::AllCandidates() const {
  std::vector<uint32_t> items(data_.rated_items());
  std::iota(items.begin(), items.end(), 0U);
  return items;
}

std::vector<uint32_t> TwoTower::BatchCandidates(absl::Span<const uint32_t> examples, std::vector<uint32_t>& candidate_of) {
  std::vector<uint32_t> items;
  candidate_of.reserve(examples.size());
  items_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t item = data_.item_of()[example];
    candidate_of.push_back(items_.SlotOf(item));
    if (candidate_of.back() == items.size()) items.push_back(item);
  }
  return items;
}

void TwoTower::PlanCandidates(absl::Span<const uint32_t> items, float learning_rate, TwoTowerStep& step) {
  const Entities entities{.count = items.size(), .items = items};
  step.candidate = candidate_.Plan(entities, learning_rate, step);
  if (bias_.has_value()) step.bias = bias_->Plan(entities, learning_rate, step);
  if (seen_bias_.has_value()) step.seen_bias = seen_bias_->Plan(entities, learning_rate, step);
}

void TwoTower::PlanTowers(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates,
                          TwoTowerStep& step) {
  step.query = query_.Plan(queries, rates.embedding, step);
  PlanCandidates(items, rates.embedding, step);
  step.query_dense = query_.PlanDense(rates.dense, step);
  step.candidate_dense = candidate_.PlanDense(rates.dense, step);
}

// Which candidates are in the history of each query.
void TwoTower::AddSeen(const Queries& queries, const HistoryMask* mask, absl::Span<const uint32_t> items,
                       SoftmaxExamples& examples) {
  std::vector<uint32_t> candidate_of(data_.items(), kNotHere);
  for (size_t i = 0; i < items.size(); ++i) candidate_of[items[i]] = static_cast<uint32_t>(i);
  examples.seen_offsets.push_back(0);
  for (size_t q = 0; q < queries.users.size(); ++q) {
    const uint32_t target = mask == nullptr ? data_.item_of()[queries.interactions[q]] : kNotHere;
    for (const uint32_t interaction : train_history_->Of(queries.users[q])) {
      const uint32_t item = data_.item_of()[interaction];
      const uint32_t candidate = candidate_of[item];
      const bool left_out = mask != nullptr ? mask->LeavesOut(interaction) : item == target;
      if (left_out || candidate == kNotHere) continue;
      const bool again = examples.seen.size() > examples.seen_offsets.back() && examples.seen.back() == candidate;
      if (!again) examples.seen.push_back(candidate);
    }
    examples.seen_offsets.push_back(static_cast<uint32_t>(examples.seen.size()));
  }
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::Plan(absl::Span<const uint32_t> batch, uint32_t epoch, uint64_t step_number) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = batch.size();
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  const HistoryMask epoch_mask(config_.seed, epoch, config_.model.loss.mask);
  const HistoryMask* mask = config_.model.loss.mask > 0 ? &epoch_mask : nullptr;
  std::vector<uint32_t> examples(batch.begin(), batch.end());
  if (mask != nullptr) std::erase_if(examples, [&](uint32_t example) { return !mask->LeavesOut(example); });
  const Queries queries = QueriesOf(examples, query_per_example_ || (has_histories_ && mask == nullptr));

  std::vector<uint32_t> candidate_of;
  std::vector<uint32_t> items = BatchCandidates(examples, candidate_of);
  step->softmax.counts.assign(items.size(), 0.0F);
  for (const uint32_t candidate : candidate_of) step->softmax.counts[candidate] += 1;
  if (config_.model.loss.kind == LossConfig::Kind::kFullSoftmax) {
    for (uint32_t& candidate : candidate_of) candidate = items[candidate];
    items = AllCandidates();
    step->softmax.counts.assign(items.size(), 1.0F);
  }
  if (!logq_.empty()) {
    for (const uint32_t item : items) step->softmax.bias.push_back(-logq_[item]);
  }
  GroupByQuery(queries.of_example, candidate_of, queries.users.size(), step->softmax);
  if (seen_bias_.has_value()) AddSeen(queries, mask, items, step->softmax);

  Entities entities = queries.entities();
  entities.mask = mask;
  PlanTowers(entities, items, rates_.At(epoch, step_number), *step);
  return step;
}

// A column of ones for the candidates' bias.
torch::Tensor TwoTower::QueryVectors(const torch::Tensor& output) const {
  const torch::Tensor vectors = output.detach();
  return bias_.has_value() ? torch::cat({vectors, vectors.new_ones({vectors.size(0), 1})}, 1) : vectors;
}

Candidates TwoTower::ForwardCandidates(TwoTowerStep& step, const DenseLeaves& dense, const DropoutKey* dropout) const {
  Candidates candidates;
  const size_t count = step.candidate.count;
  candidates.tower = candidate_.Forward(step.candidate, 0, count, step, dense, device_, dropout);
  candidates.vectors = candidates.tower.output.detach().contiguous();
  if (bias_.has_value()) {
    candidates.bias = bias_->Forward(step.bias, 0, count, step, {}, device_, nullptr);
    candidates.vectors = torch::cat({candidates.vectors, candidates.bias.output.detach()}, 1);
  }
  if (seen_bias_.has_value()) candidates.seen_bias = seen_bias_->Forward(step.seen_bias, 0, count, step, {}, device_, nullptr);
  return candidates;
}

void TwoTower::BackwardCandidates(const Candidates& candidates, const SoftmaxResult& result, TwoTowerStep& step) const {
  const int64_t width = candidate_.width();
  candidate_.Backward(candidates.tower, result.candidate_gradient.narrow(1, 0, width), step.candidate, step);
  if (bias_.has_value()) bias_->Backward(candidates.bias, result.candidate_gradient.narrow(1, width, 1), step.bias, step);
  if (seen_bias_.has_value()) {
    seen_bias_->Backward(candidates.seen_bias, result.seen_bias_gradient.unsqueeze(1), step.seen_bias, step);
  }
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
  const torch::Tensor seen_bias =
      seen_bias_.has_value() ? candidates.seen_bias.output.detach().flatten().contiguous() : torch::Tensor();
  const SoftmaxResult result = SoftmaxLoss(QueryVectors(query.output), candidates.vectors, seen_bias, step.softmax, options);
  if (absl::Status status = CheckLoss(result.loss, step.dropout); !status.ok()) return status;
  query_.Backward(query, result.query_gradient.narrow(1, 0, query_.width()), step.query, step);
  BackwardCandidates(candidates, result, step);
  query_.Finish(step.query, step);
  candidate_.Finish(step.candidate, step);
  CollectGradients(query_dense, step.query_dense, step);
  CollectGradients(candidate_dense, step.candidate_dense, step);
  // Of all the step's examples, whether they were targets or history.
  return result.loss * static_cast<double>(step.examples) / static_cast<double>(step.softmax.positives.size());
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluation() {
  auto step = std::make_unique<TwoTowerStep>();
  const std::vector<uint32_t> items = AllCandidates();
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
  if (seen_bias_.has_value()) candidate_seen_bias_ = candidates.seen_bias.output.flatten().to(torch::kCPU).contiguous();
  query_dense_ = query_.Leaves(step, step.query_dense, device_, /*train=*/false);
  for (torch::Tensor& leaf : query_dense_) leaf = leaf.clone();
  evaluation_.Begin(test);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = examples.size();
  const Queries queries = QueriesOf(examples, query_per_example_);
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
      QueryVectors(query_.Forward(step.query, 0, step.query.count, step, query_dense_, device_, nullptr).output);
  return evaluation_.Evaluate(queries, candidates_, candidate_seen_bias_, step.users, step.softmax);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeTwoTower(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  return TwoTower::Make(config, data, split, device);
}

}  // namespace marquee
