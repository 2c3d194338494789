#include "worker/models/scorer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/bias_term.h"
#include "worker/models/cross_term.h"
#include "worker/models/deep_term.h"
#include "worker/models/dot_term.h"

namespace marquee {
namespace {

// Examples that go through dense layers at once on the CPU: their activations stay in a second-level cache. A GPU takes all.
constexpr size_t kBlock = 512;

// Members drop different units.
DropoutKey KeyOf(DropoutKey key, size_t member) {
  key.seed += member;
  return key;
}

}  // namespace

void AddScores(const torch::Tensor& outputs, absl::Span<float> scores) {
  const torch::Tensor column = outputs.detach().to(torch::kCPU).contiguous();
  const auto* from = column.data_ptr<float>();
  for (size_t i = 0; i < scores.size(); ++i) scores[i] += from[i];
}

torch::Tensor ScoreGradient(absl::Span<const float> gradients, const torch::Device& device) {
  torch::Tensor column = torch::empty({static_cast<int64_t>(gradients.size()), 1});
  std::copy(gradients.begin(), gradients.end(), column.data_ptr<float>());
  return column.to(device);
}

float MeanScore(const Dataset& data, const Split& split) {
  double sum = 0;
  for (const uint32_t example : split.train) sum += split.LabelOf(data, example);
  const double mean = sum / static_cast<double>(std::max<size_t>(split.train.size(), 1));
  return static_cast<float>(split.binary() ? std::log(mean / (1 - mean)) : mean);
}

absl::StatusOr<Scorer> Scorer::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                    const torch::Device& device, std::vector<TableDefinition>& tables) {
  const ModelConfig& model = config.model;
  Scorer scorer(data);
  scorer.device_ = device;
  scorer.block_size_ = device.is_cpu() ? kBlock : static_cast<size_t>(std::max(model.batch_size, 1));
  scorer.members_ = static_cast<size_t>(std::max(model.ensemble, 1));
  if (model.bias) scorer.mean_ = MeanScore(data, split);
  for (size_t member = 0; member < scorer.members_; ++member) {
    const Tower::Options options{.name = scorer.members_ == 1 ? "" : fmt::format("member{}_", member),
                                 .dim = model.dim,
                                 .seed = config.seed,
                                 .embedding_optimizer = Optimizer::FromConfig(model.optimizer),
                                 .dense_optimizer = Optimizer::FromConfig(model.dense_optimizer),
                                 .embedding_learning_rate = model.optimizer.learning_rate};
    if (absl::Status status = scorer.AddMember(config, options, split, device, tables); !status.ok()) return status;
  }
  return scorer;
}

absl::Status Scorer::AddMember(const TrialConfig& config, const Tower::Options& options, const Split& split,
                               const torch::Device& device, std::vector<TableDefinition>& tables) {
  const ModelConfig& model = config.model;
  const size_t before = terms_.size();
  const auto add = [&](absl::StatusOr<std::unique_ptr<ScoreTerm>> term) {
    if (term.ok()) terms_.push_back(*std::move(term));
    return term.status();
  };
  if (!model.tower.features.empty()) {
    const absl::Status status = add(model.cross.has_value() ? MakeCrossTerm(model, options, data_, split, device, tables)
                                                            : MakeDeepTerm(model, options, data_, split, device, tables));
    if (!status.ok()) return status;
  }
  if (model.dot.has_value()) {
    if (absl::Status status = add(MakeDotTerm(*model.dot, options, data_, split, device, tables)); !status.ok()) return status;
  }
  if (model.bias) {
    if (absl::Status status = add(MakeBiasTerm(options, data_, split, tables)); !status.ok()) return status;
  }
  if (terms_.size() == before) return absl::InvalidArgumentError("tower: none, and no dot and no bias; nothing gives a score");
  return absl::OkStatus();
}

Scorer::Inputs Scorer::Plan(absl::Span<const uint32_t> examples, Entities::For purpose, float learning_rate, Step& step) {
  std::vector<uint32_t> users;
  std::vector<uint32_t> items;
  for (auto* list : {&users, &items}) list->reserve(examples.size());
  for (const uint32_t example : examples) {
    users.push_back(data_.user_of()[example]);
    items.push_back(data_.item_of()[example]);
  }
  return PlanEntities({.count = examples.size(), .interactions = examples, .users = users, .items = items, .purpose = purpose},
                      learning_rate, step);
}

Scorer::Inputs Scorer::PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items, Entities::For purpose,
                                 Step& step) {
  return PlanEntities({.count = users.size(), .users = users, .items = items, .purpose = purpose}, 0, step);
}

Scorer::Inputs Scorer::PlanEntities(const Entities& entities, float learning_rate, Step& step) {
  Inputs inputs;
  for (const auto& term : terms_) inputs.terms.push_back(term->Plan(entities, learning_rate, step));
  return inputs;
}

size_t Scorer::PlanDense(float learning_rate, Step& step) const {
  const size_t first = step.rows.size();
  for (const auto& term : terms_) {
    for (const DenseTensors* dense : term->dense()) dense->Plan(learning_rate, step);
  }
  return first;
}

void Scorer::Begin(Inputs& inputs, Step& step, const DropoutKey& dropout) const {
  size_t first = inputs.dense;
  for (size_t i = 0; i < terms_.size(); ++i) {
    inputs.terms[i]->leaves.clear();
    for (const DenseTensors* dense : terms_[i]->dense()) {
      inputs.terms[i]->leaves.push_back(dense->Leaves(step, first, device_, /*train=*/true));
      first += dense->size();
    }
    const DropoutKey key = KeyOf(dropout, i / (terms_.size() / members_));
    terms_[i]->Begin(*inputs.terms[i], step, &key);
  }
}

void Scorer::AddTo(std::vector<float>& scores, Inputs& inputs, const Step& step, size_t begin, size_t end,
                   const DropoutKey* dropout) const {
  const size_t count = end - begin;
  for (size_t i = 0; i < terms_.size(); ++i) {
    const size_t member = i / (terms_.size() / members_);
    const DropoutKey key = KeyOf(dropout == nullptr ? DropoutKey{} : *dropout, member);
    const absl::Span<float> out(scores.data() + member * count, count);
    terms_[i]->Score(*inputs.terms[i], step, begin, end, dropout == nullptr ? nullptr : &key, out);
  }
}

std::vector<float> Scorer::Score(Inputs& inputs, const Step& step, size_t begin, size_t end, const DropoutKey& dropout) const {
  std::vector<float> scores(members_ * (end - begin), mean_);
  AddTo(scores, inputs, step, begin, end, &dropout);
  return scores;
}

void Scorer::Backward(Inputs& inputs, absl::Span<const float> gradients, Step& step) const {
  const size_t count = gradients.size() / members_;
  const size_t terms = terms_.size() / members_;
  for (size_t i = 0; i < terms_.size(); ++i) {
    terms_[i]->Backward(*inputs.terms[i], gradients.subspan(i / terms * count, count), step);
  }
}

void Scorer::Finish(Inputs& inputs, Step& step) const {
  size_t first = inputs.dense;
  for (size_t i = 0; i < terms_.size(); ++i) {
    terms_[i]->Finish(*inputs.terms[i], step);
    for (const DenseLeaves& leaves : inputs.terms[i]->leaves) {
      CollectGradients(leaves, first, step);
      first += leaves.size();
    }
  }
}

void Scorer::KeepDense(Step& filled, size_t first) {
  kept_.assign(terms_.size(), {});
  for (size_t i = 0; i < terms_.size(); ++i) {
    for (const DenseTensors* dense : terms_[i]->dense()) {
      DenseLeaves leaves = dense->Leaves(filled, first, device_, /*train=*/false);
      for (torch::Tensor& leaf : leaves) leaf = leaf.clone();
      kept_[i].push_back(std::move(leaves));
      first += dense->size();
    }
  }
}

void Scorer::BeginEvaluation(Inputs& inputs, const Step& step) const {
  for (size_t i = 0; i < terms_.size(); ++i) {
    inputs.terms[i]->leaves = kept_[i];
    terms_[i]->Begin(*inputs.terms[i], step, nullptr);
  }
}

std::vector<float> Scorer::Predict(Inputs& inputs, const Step& step, size_t begin, size_t end) const {
  const size_t count = end - begin;
  std::vector<float> scores(members_ * count, mean_);
  AddTo(scores, inputs, step, begin, end, nullptr);
  std::vector<float> mean(count, 0.0F);
  for (size_t i = 0; i < scores.size(); ++i) mean[i % count] += scores[i] / static_cast<float>(members_);
  return mean;
}

void TermSides::AddPart(const Tower& tower, const torch::Tensor& inputs) {
  parts.push_back({tower.ColumnsOf(Column::Level::kUser, inputs), tower.ColumnsOf(Column::Level::kItem, inputs)});
  contexts.push_back(tower.ColumnsOf(Column::Level::kInteraction, inputs).narrow(0, 0, 1));
}

RatingInference::Decomposition Scorer::Decompose(Inputs& inputs, const Step& step) const {
  BeginEvaluation(inputs, step);
  TermSides sides;
  for (size_t i = 0; i < terms_.size(); ++i) terms_[i]->Decompose(*inputs.terms[i], step, sides);
  RatingInference::Decomposition result;
  result.constant = mean_;
  if (!sides.users.empty()) {
    result.factors = {torch::cat(sides.users, 1), torch::cat(sides.movies, 1) / static_cast<double>(members_)};
  }
  result.parts = std::move(sides.parts);
  result.contexts = std::move(sides.contexts);
  return result;
}

std::vector<RatingInference::Part> Scorer::parts() const {
  std::vector<RatingInference::Part> parts;
  for (size_t i = 0; i < terms_.size(); ++i) terms_[i]->AddParts(kept_[i], parts);
  for (RatingInference::Part& part : parts) part.weight /= static_cast<double>(members_);
  return parts;
}

}  // namespace marquee
