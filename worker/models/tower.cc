#include "worker/models/tower.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "absl/status/status.h"

namespace marquee {
namespace {

constexpr int64_t kGatherGrain = 512;  // entities for one thread

absl::Status Within(const Tower::Options& options, const absl::Status& status) {
  return {status.code(), fmt::format("{}: {}", options.name, std::string(status.message()))};
}

TableDefinition EmbeddingTable(const Tower::Options& options, const Feature& feature) {
  TableDefinition table;
  table.name = fmt::format("{}_{}", options.name, feature.name());
  table.dim = static_cast<uint32_t>(feature.width());
  table.seed = options.seed;
  const auto scale = static_cast<float>(feature.config().init_scale);
  table.initializer = {scale > 0 ? Initializer::Kind::kUniform : Initializer::Kind::kZeros, scale};
  table.optimizer = options.embedding_optimizer;
  return table;
}

TableDefinition WeightTable(const Tower::Options& options, size_t layer, int inputs, int units) {
  TableDefinition table;
  table.name = fmt::format("{}_layer{}_weight", options.name, layer);
  table.dim = static_cast<uint32_t>(inputs);
  table.seed = options.seed;
  table.initializer = {Initializer::Kind::kUniform, std::sqrt(6.0F / static_cast<float>(inputs + units))};
  table.optimizer = options.dense_optimizer;
  return table;
}

TableDefinition BiasTable(const Tower::Options& options, size_t layer, int units) {
  TableDefinition table;
  table.name = fmt::format("{}_layer{}_bias", options.name, layer);
  table.dim = static_cast<uint32_t>(units);
  table.seed = options.seed;
  table.optimizer = options.dense_optimizer;
  table.optimizer.max_norm = 0;
  table.optimizer.l2 = 0;
  return table;
}

TableRows NewRows(size_t table, uint32_t dim, float learning_rate) {
  TableRows rows;
  rows.table = table;
  rows.dim = dim;
  rows.learning_rate = learning_rate;
  return rows;
}

TableRows BlockRows(size_t table, int dim, int blocks, float learning_rate) {
  TableRows rows = NewRows(table, static_cast<uint32_t>(dim), learning_rate);
  rows.ids.resize(blocks);
  std::iota(rows.ids.begin(), rows.ids.end(), Id{0});
  rows.values.resize(rows.ids.size() * rows.dim);
  return rows;
}

// A bijection of 32 bits that leaves no bit alone (lowbias32, Chris Wellons, public domain). It becomes vector instructions.
inline uint32_t Mix32(uint32_t x, uint32_t key) {
  x = (x ^ (x >> 16U)) * 0x7feb352dU;
  x = (x ^ (x >> 15U) ^ key) * 0x846ca68bU;
  return x ^ (x >> 16U);
}

// 1 / (1 - rate) where an input is kept and 0 where it is dropped. Counter-based, so that it is the same on every device.
torch::Tensor DropoutMask(int64_t rows, int64_t columns, double rate, const DropoutKey& key, size_t layer) {
  torch::Tensor mask = torch::empty({rows, columns});
  auto* out = mask.data_ptr<float>();
  const auto threshold = static_cast<uint32_t>(rate * 0x1.0p32);
  const auto kept = static_cast<float>(1 / (1 - rate));
  const uint64_t stream = MixId(MixId(MixId(MixId(MixId(key.seed) ^ key.epoch) ^ key.step) ^ key.block) ^ layer);
  const auto first = static_cast<uint32_t>(stream);
  const auto stream_key = static_cast<uint32_t>(stream >> 32U);
  const auto size = static_cast<uint32_t>(rows * columns);
  for (uint32_t i = 0; i < size; ++i) out[i] = Mix32(first + i, stream_key) < threshold ? 0.0F : kept;
  return mask;
}

torch::Tensor OverBuffer(std::vector<float>& buffer, const std::vector<int64_t>& shape) {
  return torch::from_blob(buffer.data(), shape);
}

}  // namespace

absl::Span<const uint32_t> Entities::OfLevel(Column::Level level) const {
  switch (level) {
    case Column::Level::kInteraction:
      return interactions;
    case Column::Level::kUser:
      return users;
    case Column::Level::kItem:
      return items;
  }
  return {};
}

absl::StatusOr<Tower> Tower::Make(const TowerConfig& config, const Options& options, const Dataset& data, const Split& split,
                                  std::vector<TableDefinition>& tables) {
  Tower tower(config);
  if (absl::Status status = tower.AddFeatures(options, data, split, tables); !status.ok()) return Within(options, status);
  if (absl::Status status = config.layers.empty() ? tower.CheckSum() : tower.AddLayers(options, tables); !status.ok()) {
    return Within(options, status);
  }
  return tower;
}

absl::Status Tower::AddFeatures(const Options& options, const Dataset& data, const Split& split,
                                std::vector<TableDefinition>& tables) {
  if (config_.features.empty()) return absl::InvalidArgumentError("features: none; a tower needs at least one");
  std::set<std::string> names;
  for (const FeatureConfig& config : config_.features) {
    if (!names.insert(config.name).second)
      return absl::InvalidArgumentError(fmt::format("feature {}: named twice", config.name));
    absl::StatusOr<Feature> feature = Feature::Make(config, options.dim, data, split);
    if (!feature.ok()) return feature.status();
    feature_tables_.push_back(tables.size());
    if (feature->embedded()) tables.push_back(EmbeddingTable(options, *feature));
    feature_columns_.push_back(config_.layers.empty() ? 0 : input_width_);
    input_width_ = config_.layers.empty() ? feature->width() : input_width_ + feature->width();
    features_.push_back(*std::move(feature));
  }
  width_ = input_width_;
  return absl::OkStatus();
}

absl::Status Tower::CheckSum() const {
  for (const Feature& feature : features_) {
    if (!feature.embedded()) {
      return absl::InvalidArgumentError(fmt::format("feature {}: a number needs dense layers; give `layers`", feature.name()));
    }
    if (feature.width() != features_.front().width()) {
      return absl::InvalidArgumentError(
          fmt::format("feature {}: dim {}, but {} has {}; without layers embeddings are added and must have equal dims",
                      feature.name(), feature.width(), features_.front().name(), features_.front().width()));
    }
  }
  return absl::OkStatus();
}

absl::Status Tower::AddLayers(const Options& options, std::vector<TableDefinition>& tables) {
  for (size_t i = 0; i < config_.layers.size(); ++i) {
    const int units = config_.layers[i];
    constexpr auto kMax = static_cast<int>(kMaxDim);
    if (units < 1 || units > kMax) {
      return absl::InvalidArgumentError(fmt::format("layers[{}]: {} units; must be 1 to {}", i, units, kMax));
    }
    if (width_ > kMax) {
      return absl::InvalidArgumentError(fmt::format("layers[{}]: {} inputs; must be at most {}", i, width_, kMax));
    }
    layers_.push_back({tables.size(), tables.size() + 1, width_, units});
    tables.push_back(WeightTable(options, i, width_, units));
    tables.push_back(BiasTable(options, i, units));
    width_ = units;
  }
  return absl::OkStatus();
}

TowerInputs Tower::Plan(const Entities& entities, float learning_rate, Step& step) {
  TowerInputs inputs;
  inputs.count = entities.count;
  for (size_t i = 0; i < features_.size(); ++i) {
    Feature& feature = features_[i];
    TableRows rows = NewRows(feature_tables_[i], static_cast<uint32_t>(feature.width()), learning_rate);
    inputs.features.push_back(feature.Plan(entities.OfLevel(feature.level()), rows.ids));
    if (!feature.embedded()) continue;
    inputs.features.back().rows = step.rows.size();
    rows.values.resize(rows.ids.size() * rows.dim);
    step.rows.push_back(std::move(rows));
  }
  return inputs;
}

size_t Tower::PlanDense(float learning_rate, Step& step) const {
  const size_t first = step.rows.size();
  for (const Layer& layer : layers_) {
    step.rows.push_back(BlockRows(layer.weight_table, layer.inputs, layer.units, learning_rate));
    step.rows.push_back(BlockRows(layer.bias_table, layer.units, 1, learning_rate));
  }
  return first;
}

torch::Tensor Tower::Gather(const TowerInputs& inputs, size_t begin, size_t end, const Step& step) const {
  torch::Tensor input = torch::zeros({static_cast<int64_t>(end - begin), input_width_});
  auto* out = input.data_ptr<float>();
  at::parallel_for(static_cast<int64_t>(begin), static_cast<int64_t>(end), kGatherGrain, [&](int64_t from, int64_t to) {
    for (size_t i = 0; i < features_.size(); ++i) {
      const FeatureInput& feature = inputs.features[i];
      const float* values = features_[i].embedded() ? step.rows[feature.rows].values.data() : nullptr;
      features_[i].Gather(feature, from, to, values, out + (from - begin) * input_width_ + feature_columns_[i], input_width_);
    }
  });
  return input;
}

torch::Tensor Tower::Layers(const torch::Tensor& input, const DenseLeaves& dense, const DropoutKey* dropout) const {
  torch::Tensor x = input;
  for (size_t i = 0; i < layers_.size(); ++i) {
    x = at::linear(x, dense[2 * i], dense[2 * i + 1]);
    if (i + 1 == layers_.size()) break;
    x = x.relu_();
    if (dropout != nullptr && config_.dropout > 0) {
      x = x * DropoutMask(x.size(0), x.size(1), config_.dropout, *dropout, i).to(x.device());
    }
  }
  if (config_.normalize) x = torch::nn::functional::normalize(x, torch::nn::functional::NormalizeFuncOptions().p(2).dim(1));
  return x;
}

void Tower::Scatter(const TowerInputs& inputs, size_t begin, const torch::Tensor& input_gradient, Step& step) const {
  const torch::Tensor gradient = input_gradient.to(torch::kCPU).contiguous();
  const auto* in = gradient.data_ptr<float>();
  const size_t end = begin + static_cast<size_t>(gradient.size(0));
  // Each feature has rows of its own, so features are the unit of parallel work, and sums are always in the same order.
  at::parallel_for(0, static_cast<int64_t>(features_.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (!features_[i].embedded()) continue;
      const FeatureInput& feature = inputs.features[i];
      features_[i].Scatter(feature, begin, end, in + feature_columns_[i], input_width_,
                           step.rows[feature.rows].gradients.data());
    }
  });
}

DenseLeaves Tower::Leaves(Step& step, size_t first, const torch::Device& device, bool train) const {
  DenseLeaves leaves;
  for (size_t i = 0; i < layers_.size(); ++i) {
    for (const bool weight : {true, false}) {
      TableRows& rows = step.rows[first + leaves.size()];
      const auto shape =
          weight ? std::vector<int64_t>{layers_[i].units, layers_[i].inputs} : std::vector<int64_t>{layers_[i].units};
      torch::Tensor leaf = OverBuffer(rows.values, shape).to(device);
      if (train) {
        leaf.requires_grad_(true);
        if (device.is_cpu()) leaf.mutable_grad() = OverBuffer(rows.gradients, shape);
      }
      leaves.push_back(std::move(leaf));
    }
  }
  return leaves;
}

void Tower::CollectGradients(const DenseLeaves& leaves, size_t first, Step& step) const {
  for (size_t i = 0; i < leaves.size(); ++i) {
    if (leaves[i].device().is_cpu()) continue;
    OverBuffer(step.rows[first + i].gradients, leaves[i].sizes().vec()).copy_(leaves[i].grad());
  }
}

Tower::Pass Tower::Forward(const TowerInputs& inputs, size_t begin, size_t end, const Step& step, const DenseLeaves& dense,
                           const torch::Device& device, const DropoutKey* dropout) const {
  torch::Tensor input = Gather(inputs, begin, end, step).to(device).requires_grad_(at::GradMode::is_enabled());
  torch::Tensor output = Layers(input, dense, dropout);
  return {begin, std::move(input), std::move(output)};
}

void Tower::Backward(const Pass& pass, const torch::Tensor& output_gradient, const TowerInputs& inputs, Step& step) const {
  if (pass.output.is_same(pass.input)) return Scatter(inputs, pass.begin, output_gradient, step);
  torch::autograd::backward({pass.output}, {output_gradient});
  Scatter(inputs, pass.begin, pass.input.grad(), step);
}

absl::Status BeginGradients(Step& step) {
  for (TableRows& rows : step.rows) {
    if (rows.values.size() != rows.ids.size() * rows.dim) {
      return absl::InvalidArgumentError(fmt::format("step.rows[table {}].values: {} floats for {} rows of dim {}", rows.table,
                                                    rows.values.size(), rows.ids.size(), rows.dim));
    }
    rows.gradients.assign(rows.values.size(), 0.0F);
  }
  return absl::OkStatus();
}

}  // namespace marquee
