#include "worker/models/two_tower.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/distinct.h"
#include "worker/models/learning_rate.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/top_k.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

constexpr int64_t kScoreBlock = 128;  // queries scored at once in evaluation
constexpr int64_t kQueryGrain = 8;    // queries for one thread

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
  size_t query_dense = 0;  // positions in rows
  size_t candidate_dense = 0;
  SoftmaxExamples softmax;      // in evaluation, without counts, and positives are items
  std::vector<uint32_t> users;  // of each query; in evaluation
  DropoutKey dropout;
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

 private:
  struct QueryResult {
    TopKCounts top_k;
    double loss = 0;
    bool finite = true;
  };

  TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
           Tower candidate, std::vector<TableDefinition> tables);

  Queries QueriesOf(absl::Span<const uint32_t> examples);
  std::vector<uint32_t> AllCandidates() const;
  std::vector<uint32_t> BatchCandidates(absl::Span<const uint32_t> examples, std::vector<uint32_t>& candidate_of);
  QueryResult EvaluateQuery(const TwoTowerStep& step, size_t query, absl::Span<const float> scores) const;

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const torch::Device device_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Tower query_;
  Tower candidate_;
  bool query_per_example_ = false;
  std::vector<float> logq_;  // by item: minus the logarithm of its share of the training rows; empty where it is not wanted
  DistinctCodes users_;
  DistinctCodes items_;

  // Of the evaluation that has begun.
  torch::Tensor candidates_;
  DenseLeaves query_dense_;
  std::optional<SeenItems> seen_;
  bool seen_is_for_test_ = false;
};

absl::Status CheckLossConfig(const LossConfig& loss) {
  if (loss.kind != LossConfig::Kind::kInBatchSoftmax && loss.kind != LossConfig::Kind::kFullSoftmax) {
    return absl::InvalidArgumentError("loss: two_tower takes in_batch_softmax or full_softmax");
  }
  if (!(loss.temperature > 0)) {
    return absl::InvalidArgumentError(fmt::format("loss: temperature {}; must be above 0", loss.temperature));
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

absl::StatusOr<std::unique_ptr<Model>> TwoTower::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                      const torch::Device& device) {
  const ModelConfig& model = config.model;
  if (absl::Status status = CheckLossConfig(model.loss); !status.ok()) return status;
  Tower::Options options{.name = "query",
                         .dim = model.dim,
                         .seed = config.seed,
                         .embedding_optimizer = Optimizer::FromConfig(model.optimizer),
                         .dense_optimizer = Optimizer::FromConfig(model.dense_optimizer)};
  std::vector<TableDefinition> tables;
  absl::StatusOr<Tower> query = Tower::Make(model.query, options, data, split, tables);
  if (!query.ok()) return query.status();
  options.name = "candidate";
  absl::StatusOr<Tower> candidate = Tower::Make(model.candidate, options, data, split, tables);
  if (!candidate.ok()) return candidate.status();
  if (absl::Status status = CheckTowers(*query, *candidate); !status.ok()) return status;
  return std::unique_ptr<Model>(
      new TwoTower(config, data, split, device, *std::move(query), *std::move(candidate), std::move(tables)));
}

std::vector<float> LogShares(const Dataset& data, const Split& split) {
  std::vector<double> counts(data.items(), 0);
  for (const uint32_t example : split.train) counts[data.item_of()[example]] += 1;
  std::vector<float> shares;
  for (const double count : counts) {
    shares.push_back(static_cast<float>(std::log(std::max(count, 1.0) / static_cast<double>(split.train.size()))));
  }
  return shares;
}

TwoTower::TwoTower(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device, Tower query,
                   Tower candidate, std::vector<TableDefinition> tables)
    : config_(config),
      data_(data),
      split_(split),
      device_(device),
      tables_(std::move(tables)),
      rates_(config.model, split.train.size()),
      query_(std::move(query)),
      candidate_(std::move(candidate)),
      users_(data.users()),
      items_(data.items()) {
  for (const Feature& feature : query_.features()) query_per_example_ |= feature.level() == Column::Level::kInteraction;
  if (config.model.loss.logq) logq_ = LogShares(data, split);
}

Queries TwoTower::QueriesOf(absl::Span<const uint32_t> examples) {
  Queries queries;
  queries.of_example.reserve(examples.size());
  if (query_per_example_) queries.interactions.assign(examples.begin(), examples.end());
  users_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t user = data_.user_of()[example];
    const auto next = static_cast<uint32_t>(queries.users.size());
    const uint32_t query = query_per_example_ ? next : users_.SlotOf(user);
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

absl::StatusOr<std::unique_ptr<Step>> TwoTower::Plan(absl::Span<const uint32_t> examples, uint32_t epoch,
                                                     uint64_t step_number) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = examples.size();
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  const Queries queries = QueriesOf(examples);

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

  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  step->query = query_.Plan(queries.entities(), rates.embedding, *step);
  step->candidate = candidate_.Plan({.count = items.size(), .items = items}, rates.embedding, *step);
  step->query_dense = query_.PlanDense(rates.dense, *step);
  step->candidate_dense = candidate_.PlanDense(rates.dense, *step);
  return step;
}

absl::StatusOr<double> TwoTower::Compute(Step& planned) {
  auto& step = static_cast<TwoTowerStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  const DenseLeaves query_dense = query_.Leaves(step, step.query_dense, device_, /*train=*/true);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/true);
  const Tower::Pass query = query_.Forward(step.query, 0, step.query.count, step, query_dense, device_, &step.dropout);
  DropoutKey candidate_dropout = step.dropout;
  candidate_dropout.block = 1;
  const Tower::Pass candidate =
      candidate_.Forward(step.candidate, 0, step.candidate.count, step, candidate_dense, device_, &candidate_dropout);

  const LossConfig& loss = config_.model.loss;
  const SoftmaxResult result =
      SoftmaxLoss(query.output.detach(), candidate.output.detach(), step.softmax,
                  {.temperature = loss.temperature, .remove_accidental_hits = loss.remove_accidental_hits});
  if (absl::Status status = CheckLoss(result.loss, step.dropout); !status.ok()) return status;
  query_.Backward(query, result.query_gradient, step.query, step);
  candidate_.Backward(candidate, result.candidate_gradient, step.candidate, step);
  CollectGradients(query_dense, step.query_dense, step);
  CollectGradients(candidate_dense, step.candidate_dense, step);
  return result.loss;
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluation() {
  auto step = std::make_unique<TwoTowerStep>();
  const std::vector<uint32_t> items = AllCandidates();
  step->candidate = candidate_.Plan({.count = items.size(), .items = items}, 0, *step);
  step->query_dense = query_.PlanDense(0, *step);
  step->candidate_dense = candidate_.PlanDense(0, *step);
  return step;
}

absl::Status TwoTower::BeginEvaluation(Step& filled, bool test) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  const DenseLeaves candidate_dense = candidate_.Leaves(step, step.candidate_dense, device_, /*train=*/false);
  candidates_ =
      candidate_.Forward(step.candidate, 0, step.candidate.count, step, candidate_dense, device_, nullptr).output.contiguous();
  query_dense_ = query_.Leaves(step, step.query_dense, device_, /*train=*/false);
  for (torch::Tensor& leaf : query_dense_) leaf = leaf.clone();
  if (!seen_.has_value() || seen_is_for_test_ != test) {
    std::vector<const std::vector<uint32_t>*> parts = {&split_.train};
    if (test) parts.push_back(&split_.validation);
    seen_.emplace(data_, parts);
    seen_is_for_test_ = test;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> TwoTower::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  auto step = std::make_unique<TwoTowerStep>();
  step->examples = examples.size();
  const Queries queries = QueriesOf(examples);
  std::vector<uint32_t> targets;
  for (const uint32_t example : examples) targets.push_back(data_.item_of()[example]);
  GroupByQuery(queries.of_example, targets, queries.users.size(), step->softmax);
  step->query = query_.Plan(queries.entities(), 0, *step);
  step->users = queries.users;
  return step;
}

TwoTower::QueryResult TwoTower::EvaluateQuery(const TwoTowerStep& step, size_t query, absl::Span<const float> scores) const {
  QueryResult result;
  const Eigen::Map<const Eigen::ArrayXf> row(scores.data(), static_cast<Eigen::Index>(scores.size()));
  result.finite = (row * 0.0F).sum() == 0.0F;
  if (!result.finite) return result;

  const float top = row.maxCoeff();
  const auto inverse_temperature = static_cast<float>(1 / config_.model.loss.temperature);
  const double log_sum = std::log(static_cast<double>(((row - top) * inverse_temperature).exp().sum()));
  const absl::Span<const uint32_t> seen = seen_->Of(step.users[query]);
  for (size_t e = step.softmax.offsets[query]; e < step.softmax.offsets[query + 1]; ++e) {
    const uint32_t target = step.softmax.positives[e];
    result.top_k.Add(scores, target, seen);
    result.loss += log_sum + static_cast<double>(top - scores[target]) * inverse_temperature;
  }
  return result;
}

absl::StatusOr<MetricSums> TwoTower::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<TwoTowerStep&>(filled);
  if (!candidates_.defined()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  const torch::Tensor queries = query_.Forward(step.query, 0, step.query.count, step, query_dense_, device_, nullptr).output;
  const torch::Tensor transposed = candidates_.t();
  const int64_t columns = candidates_.size(0);
  const auto count = static_cast<int64_t>(step.query.count);

  std::vector<QueryResult> results(step.query.count);
  for (int64_t begin = 0; begin < count; begin += kScoreBlock) {
    const int64_t rows = std::min(kScoreBlock, count - begin);
    const torch::Tensor scores = torch::mm(queries.narrow(0, begin, rows), transposed).to(torch::kCPU);
    const auto* data = scores.data_ptr<float>();
    at::parallel_for(0, rows, kQueryGrain, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        results[begin + i] = EvaluateQuery(step, begin + i, {data + i * columns, static_cast<size_t>(columns)});
      }
    });
  }

  TopKCounts top_k;
  MetricSum loss{.sum = 0, .weight = static_cast<double>(step.examples)};
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].finite) {
      return absl::OutOfRangeError(fmt::format("scores of user index {}: not all are finite", step.users[i]));
    }
    top_k.Add(results[i].top_k);
    loss.sum += results[i].loss;
  }
  MetricSums sums;
  top_k.AddTo(sums, split_.chronological());
  sums["loss"] = loss;
  return sums;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeTwoTower(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  return TwoTower::Make(config, data, split, device);
}

}  // namespace marquee
