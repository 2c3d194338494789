#include "worker/models/implicit.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "worker/models/deviations.h"
#include "worker/models/vectors.h"

namespace marquee {
namespace {

float Scale(size_t count) { return count == 0 ? 0.0F : 1 / std::sqrt(static_cast<float>(count)); }

TableDefinition Table(const std::string& name, const ImplicitConfig& config, const Tower::Options& options, size_t width) {
  TableDefinition table;
  table.name = options.name + name;
  table.dim = static_cast<uint32_t>(width);
  table.seed = options.seed;
  const auto scale = static_cast<float>(config.init_scale);
  table.initializer = {scale > 0 ? Initializer::Kind::kUniform : Initializer::Kind::kZeros, scale};
  table.optimizer = options.embedding_optimizer;
  if (config.l2.has_value()) table.optimizer.l2 = static_cast<float>(*config.l2);
  return table;
}

}  // namespace

RatedItems::RatedItems(const Dataset& data, const Split& split) {
  const marquee::Deviations deviations(data, split);
  std::vector<std::vector<std::pair<uint32_t, float>>> by_user(data.users());
  for (const uint32_t example : split.train) {
    by_user[data.user_of()[example]].emplace_back(data.item_of()[example], deviations.Of(example));
  }
  offsets_.push_back(0);
  for (auto& rated : by_user) {
    std::stable_sort(rated.begin(), rated.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    // Of several ratings of one item, the last.
    for (size_t i = 0; i < rated.size(); ++i) {
      if (i + 1 < rated.size() && rated[i + 1].first == rated[i].first) continue;
      items_.push_back(rated[i].first);
      deviations_.push_back(rated[i].second);
    }
    offsets_.push_back(items_.size());
  }
}

ImplicitFeedback::ImplicitFeedback(const ImplicitConfig& config, const Tower::Options& options, size_t width,
                                   const Dataset& data, const Split& split, std::vector<TableDefinition>& tables)
    : config_(config),
      data_(data),
      width_(width),
      table_(tables.size()),
      rated_(data, split),
      users_(data.users()),
      items_(data.items()) {
  const std::string& key = data.item_key().name();
  tables.push_back(Table(fmt::format("implicit_{}", key), config, options, width));
  if (config.ratings) tables.push_back(Table(fmt::format("implicit_ratings_{}", key), config, options, width));
}

size_t ImplicitFeedback::PlanTable(size_t table, const std::vector<Id>& ids, float learning_rate, Step& step) const {
  TableRows rows;
  rows.table = table;
  rows.dim = static_cast<uint32_t>(width_);
  rows.learning_rate = learning_rate;
  rows.ids = ids;
  rows.values.resize(ids.size() * width_);
  step.rows.push_back(std::move(rows));
  return step.rows.size() - 1;
}

ImplicitInputs ImplicitFeedback::Plan(const Entities& examples, float learning_rate, Step& step) {
  ImplicitInputs inputs;
  std::vector<Id> ids;
  users_.Begin();
  items_.Begin();
  const bool leave_out = config_.leave_out && examples.purpose == Entities::For::kTraining;
  for (size_t e = 0; e < examples.count; ++e) {
    const uint32_t user = examples.users[e];
    const absl::Span<const uint32_t> items = rated_.Items(user);
    inputs.user_of.push_back(users_.SlotOf(user));
    if (inputs.user_of.back() + 1 == inputs.offsets.size()) {
      for (const uint32_t item : items) {
        inputs.slots.push_back(items_.SlotOf(item));
        if (inputs.slots.back() == ids.size()) ids.push_back(data_.item_key().id(data_.item_key().code(item)));
      }
      const absl::Span<const float> deviations = rated_.Deviations(user);
      inputs.deviations.insert(inputs.deviations.end(), deviations.begin(), deviations.end());
      inputs.offsets.push_back(inputs.slots.size());
    }
    const auto own = std::lower_bound(items.begin(), items.end(), examples.items[e]);
    const bool out = leave_out && own != items.end() && *own == examples.items[e];
    inputs.left_out.push_back(out ? inputs.offsets[inputs.user_of.back()] + (own - items.begin()) : ImplicitInputs::kNone);
    inputs.scale.push_back(Scale(items.size() - (out ? 1 : 0)));
  }
  inputs.rows = PlanTable(table_, ids, learning_rate, step);
  if (config_.ratings) inputs.rating_rows = PlanTable(table_ + 1, ids, learning_rate, step);
  return inputs;
}

void ImplicitFeedback::Begin(ImplicitInputs& inputs, const Step& step) const {
  const size_t users = inputs.offsets.size() - 1;
  inputs.sums.assign(users * width_, 0.0F);
  inputs.gradients.assign(users * width_, 0.0F);
  const float* y = step.rows[inputs.rows].values.data();
  const float* x = config_.ratings ? step.rows[inputs.rating_rows].values.data() : nullptr;
  for (size_t u = 0; u < users; ++u) {
    float* sum = inputs.sums.data() + u * width_;
    for (size_t j = inputs.offsets[u]; j < inputs.offsets[u + 1]; ++j) {
      AddScaled(y + inputs.slots[j] * width_, 1.0F, width_, sum);
      if (x != nullptr) AddScaled(x + inputs.slots[j] * width_, inputs.deviations[j], width_, sum);
    }
  }
}

void ImplicitFeedback::Add(const ImplicitInputs& inputs, const Step& step, size_t example, float* vector) const {
  const float scale = inputs.scale[example];
  AddScaled(inputs.sums.data() + inputs.user_of[example] * width_, scale, width_, vector);
  const size_t out = inputs.left_out[example];
  if (out == ImplicitInputs::kNone) return;
  AddScaled(step.rows[inputs.rows].values.data() + inputs.slots[out] * width_, -scale, width_, vector);
  if (!config_.ratings) return;
  AddScaled(step.rows[inputs.rating_rows].values.data() + inputs.slots[out] * width_, -scale * inputs.deviations[out], width_,
            vector);
}

void ImplicitFeedback::Scatter(ImplicitInputs& inputs, size_t example, const float* gradient, float scale, Step& step) const {
  scale *= inputs.scale[example];
  AddScaled(gradient, scale, width_, inputs.gradients.data() + inputs.user_of[example] * width_);
  const size_t out = inputs.left_out[example];
  if (out == ImplicitInputs::kNone) return;
  AddScaled(gradient, -scale, width_, step.rows[inputs.rows].gradients.data() + inputs.slots[out] * width_);
  if (!config_.ratings) return;
  AddScaled(gradient, -scale * inputs.deviations[out], width_,
            step.rows[inputs.rating_rows].gradients.data() + inputs.slots[out] * width_);
}

void ImplicitFeedback::Finish(const ImplicitInputs& inputs, Step& step) const {
  float* y = step.rows[inputs.rows].gradients.data();
  float* x = config_.ratings ? step.rows[inputs.rating_rows].gradients.data() : nullptr;
  for (size_t u = 0; u + 1 < inputs.offsets.size(); ++u) {
    const float* sum = inputs.gradients.data() + u * width_;
    for (size_t j = inputs.offsets[u]; j < inputs.offsets[u + 1]; ++j) {
      AddScaled(sum, 1.0F, width_, y + inputs.slots[j] * width_);
      if (x != nullptr) AddScaled(sum, inputs.deviations[j], width_, x + inputs.slots[j] * width_);
    }
  }
}

}  // namespace marquee
