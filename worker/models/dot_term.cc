#include "worker/models/dot_term.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "worker/models/distinct.h"
#include "worker/models/implicit.h"
#include "worker/models/vectors.h"

namespace marquee {
namespace {

// Vectors of one side of the product, a row for each distinct entity.
struct Side {
  TowerInputs inputs;
  std::vector<uint32_t> of_example;
  Tower::Pass pass;
  torch::Tensor vectors;  // on the CPU, as are the gradients
  torch::Tensor gradients;

  const float* Vector(size_t example) const { return Row(vectors, example); }
  float* Gradient(size_t example) const { return Row(gradients, example); }

 private:
  float* Row(const torch::Tensor& matrix, size_t example) const {
    return matrix.data_ptr<float>() + of_example[example] * static_cast<size_t>(matrix.size(1));
  }
};

struct DotStep : TermStep {
  Side user;
  Side item;
  ImplicitInputs implicit;
  // Of the last block.
  size_t begin = 0;
  std::vector<float> users;  // a whole vector for each example
};

class DotTerm : public ScoreTerm {
 public:
  DotTerm(const Dataset& data, const torch::Device& device, Tower user, Tower item, std::optional<ImplicitFeedback> implicit)
      : device_(device),
        user_(std::move(user)),
        item_(std::move(item)),
        width_(static_cast<size_t>(user_.width())),
        implicit_(std::move(implicit)),
        users_(data.users()),
        items_(data.items()) {
    for (const Feature& feature : user_.features()) user_per_example_ |= feature.per_interaction();
  }

  std::vector<const DenseTensors*> dense() const override { return {&user_.dense(), &item_.dense()}; }

  std::unique_ptr<TermStep> Plan(const Entities& examples, float learning_rate, Step& step) override;
  void Begin(TermStep& term, const Step& step, const DropoutKey* dropout) const override;
  void Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* dropout,
             absl::Span<float> scores) const override;
  void Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const override;
  void Finish(TermStep& term, Step& step) const override;
  void Decompose(TermStep& term, const Step& step, TermSides& sides) const override;

 private:
  void AddUser(const DotStep& state, const Step& step, size_t example, float* vector) const;

  torch::Device device_;
  Tower user_;
  Tower item_;
  size_t width_;
  bool user_per_example_ = false;
  std::optional<ImplicitFeedback> implicit_;
  DistinctCodes users_;
  DistinctCodes items_;
};

std::vector<uint32_t> Distinct(absl::Span<const uint32_t> codes, DistinctCodes& distinct, std::vector<uint32_t>& of_example) {
  std::vector<uint32_t> found;
  distinct.Begin();
  of_example.reserve(codes.size());
  for (const uint32_t code : codes) {
    of_example.push_back(distinct.SlotOf(code));
    if (of_example.back() == found.size()) found.push_back(code);
  }
  return found;
}

std::unique_ptr<TermStep> DotTerm::Plan(const Entities& examples, float learning_rate, Step& step) {
  auto term = std::make_unique<DotStep>();
  const std::vector<uint32_t> items = Distinct(examples.items, items_, term->item.of_example);
  term->item.inputs = item_.Plan({.count = items.size(), .items = items, .purpose = examples.purpose}, learning_rate, step);
  if (user_per_example_) {
    for (uint32_t i = 0; i < examples.count; ++i) term->user.of_example.push_back(i);
    term->user.inputs = user_.Plan(examples, learning_rate, step);
  } else {
    const std::vector<uint32_t> users = Distinct(examples.users, users_, term->user.of_example);
    term->user.inputs = user_.Plan({.count = users.size(), .users = users, .purpose = examples.purpose}, learning_rate, step);
  }
  if (implicit_.has_value()) term->implicit = implicit_->Plan(examples, learning_rate, step);
  return term;
}

void DotTerm::Begin(TermStep& term, const Step& step, const DropoutKey* dropout) const {
  auto& state = static_cast<DotStep&>(term);
  const auto forward = [&](const Tower& tower, const DenseLeaves& leaves, uint64_t block, Side& side) {
    DropoutKey key;
    if (dropout != nullptr) key = *dropout;
    key.block = block;
    side.pass = tower.Forward(side.inputs, 0, side.inputs.count, step, leaves, device_, dropout == nullptr ? nullptr : &key);
    side.vectors = side.pass.output.detach().to(torch::kCPU).contiguous();
    side.gradients = torch::zeros_like(side.vectors);
  };
  // Numbers of blocks that no block of examples has.
  forward(user_, state.leaves[0], ~uint64_t{0}, state.user);
  forward(item_, state.leaves[1], ~uint64_t{1}, state.item);
  if (implicit_.has_value()) implicit_->Begin(state.implicit, step);
}

void DotTerm::AddUser(const DotStep& state, const Step& step, size_t example, float* vector) const {
  AddScaled(state.user.Vector(example), 1.0F, width_, vector);
  if (implicit_.has_value()) implicit_->Add(state.implicit, step, example, vector);
}

void DotTerm::Decompose(TermStep& term, const Step& step, TermSides& sides) const {
  const auto& state = static_cast<const DotStep&>(term);
  const auto count = static_cast<int64_t>(state.user.of_example.size());
  const torch::Tensor users = torch::zeros({count, static_cast<int64_t>(width_)});
  const torch::Tensor items = torch::zeros_like(users);
  for (size_t i = 0; i < state.user.of_example.size(); ++i) {
    AddUser(state, step, i, users.data_ptr<float>() + i * width_);
    std::copy_n(state.item.Vector(i), width_, items.data_ptr<float>() + i * width_);
  }
  sides.users.push_back(users);
  sides.movies.push_back(items);
}

void DotTerm::Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* /*dropout*/,
                    absl::Span<float> scores) const {
  auto& state = static_cast<DotStep&>(term);
  state.begin = begin;
  state.users.assign((end - begin) * width_, 0.0F);
  for (size_t i = 0; i < scores.size(); ++i) {
    float* user = state.users.data() + i * width_;
    AddUser(state, step, begin + i, user);
    scores[i] += Product(user, state.item.Vector(begin + i), width_);
  }
}

void DotTerm::Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const {
  auto& state = static_cast<DotStep&>(term);
  for (size_t i = 0; i < gradients.size(); ++i) {
    const size_t example = state.begin + i;
    const float* item = state.item.Vector(example);
    AddScaled(state.users.data() + i * width_, gradients[i], width_, state.item.Gradient(example));
    AddScaled(item, gradients[i], width_, state.user.Gradient(example));
    if (implicit_.has_value()) implicit_->Scatter(state.implicit, example, item, gradients[i], step);
  }
}

void DotTerm::Finish(TermStep& term, Step& step) const {
  auto& state = static_cast<DotStep&>(term);
  if (implicit_.has_value()) implicit_->Finish(state.implicit, step);
  user_.Backward(state.user.pass, state.user.gradients.to(device_), state.user.inputs, step);
  item_.Backward(state.item.pass, state.item.gradients.to(device_), state.item.inputs, step);
  user_.Finish(state.user.inputs, step);
  item_.Finish(state.item.inputs, step);
}

absl::Status CheckTowers(const Tower& user, const Tower& item) {
  for (const Feature& feature : user.features()) {
    if (feature.level() != Column::Level::kItem) continue;
    return absl::InvalidArgumentError(
        fmt::format("dot.user: feature {}: belongs to items; must be of users or interactions", feature.name()));
  }
  for (const Feature& feature : item.features()) {
    if (feature.level() == Column::Level::kItem) continue;
    return absl::InvalidArgumentError(fmt::format("dot.item: feature {}: belongs to {}; must be of items", feature.name(),
                                                  feature.level() == Column::Level::kUser ? "users" : "interactions"));
  }
  if (user.width() == item.width()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("dot: user is {} wide and item {}; both must be equally wide", user.width(), item.width()));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeDotTerm(const DotConfig& config, const Tower::Options& options,
                                                       const Dataset& data, const Split& split, const torch::Device& device,
                                                       std::vector<TableDefinition>& tables) {
  Tower::Options named = options;
  named.name = options.name + "user";
  absl::StatusOr<Tower> user = Tower::Make(config.user, named, data, split, tables);
  if (!user.ok()) return user.status();
  named.name = options.name + "item";
  absl::StatusOr<Tower> item = Tower::Make(config.item, named, data, split, tables);
  if (!item.ok()) return item.status();
  if (absl::Status status = CheckTowers(*user, *item); !status.ok()) return status;
  std::optional<ImplicitFeedback> implicit;
  if (config.implicit.has_value()) {
    implicit.emplace(*config.implicit, options, static_cast<size_t>(user->width()), data, split, tables);
  }
  return std::make_unique<DotTerm>(data, device, *std::move(user), *std::move(item), std::move(implicit));
}

}  // namespace marquee
