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
  table.name = fmt::format("{}_{}", options.name, feature.table_name());
  table.dim = static_cast<uint32_t>(feature.width());
  table.seed = options.seed;
  const auto scale = static_cast<float>(feature.config().init_scale);
  table.initializer = {scale > 0 ? Initializer::Kind::kUniform : Initializer::Kind::kZeros, scale};
  const std::optional<OptimizerConfig>& own = feature.config().optimizer;
  table.optimizer = own.has_value() ? Optimizer::FromConfig(*own) : options.embedding_optimizer;
  return table;
}

// The feature's learning rate as a multiple of the embeddings'.
absl::StatusOr<float> RateOf(const FeatureConfig& feature, const Tower::Options& options) {
  if (!feature.optimizer.has_value()) return 1.0F;
  if (options.embedding_learning_rate > 0) {
    return static_cast<float>(feature.optimizer->learning_rate / options.embedding_learning_rate);
  }
  return absl::InvalidArgumentError(fmt::format("feature {}: optimizer: the model takes none of its features", feature.name));
}

}  // namespace

Tower::Options Tower::Options::FromConfig(const std::string& name, const TrialConfig& config) {
  return {.name = name,
          .dim = config.model.dim,
          .seed = config.seed,
          .embedding_optimizer = Optimizer::FromConfig(config.model.optimizer),
          .dense_optimizer = Optimizer::FromConfig(config.model.dense_optimizer),
          .embedding_learning_rate = config.model.optimizer.learning_rate};
}

absl::StatusOr<Tower> Tower::Make(const TowerConfig& config, const Options& options, const Dataset& data, const Split& split,
                                  std::vector<TableDefinition>& tables) {
  Tower tower(config);
  tower.sum_ = config.layers.empty() && !options.concatenate;
  if (absl::Status status = tower.AddFeatures(options, data, split, tables); !status.ok()) return Within(options, status);
  if (tower.sum_) {
    if (absl::Status status = tower.CheckSum(); !status.ok()) return Within(options, status);
  }
  if (config.layers.empty()) return tower;
  const DenseTensors::Options dense{.name = options.name, .seed = options.seed, .optimizer = options.dense_optimizer};
  absl::Status status = tower.dense_.AddLayers(dense, tower.input_width_, config.layers, tables);
  if (!status.ok()) return Within(options, status);
  tower.width_ = config.layers.back();
  return tower;
}

absl::Status Tower::AddFeatures(const Options& options, const Dataset& data, const Split& split,
                                std::vector<TableDefinition>& tables) {
  if (config_.features.empty()) return absl::InvalidArgumentError("features: none; a tower needs at least one");
  std::set<std::string> names;
  for (const FeatureConfig& config : config_.features) {
    if (!names.insert(config.table_name()).second) {
      return absl::InvalidArgumentError(fmt::format("feature {}: named twice", config.table_name()));
    }
    absl::StatusOr<Feature> feature = Feature::Make(config, options.dim, data, split);
    if (!feature.ok()) return feature.status();
    feature_tables_.push_back(tables.size());
    absl::StatusOr<float> rate = RateOf(config, options);
    if (!rate.ok()) return rate.status();
    feature_rates_.push_back(*rate);
    if (feature->embedded()) tables.push_back(EmbeddingTable(options, *feature));
    feature_columns_.push_back(sum_ ? 0 : input_width_);
    input_width_ = sum_ ? feature->width() : input_width_ + feature->width();
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

TowerInputs Tower::Plan(const Entities& entities, float learning_rate, Step& step) {
  TowerInputs inputs;
  inputs.count = entities.count;
  for (size_t i = 0; i < features_.size(); ++i) {
    Feature& feature = features_[i];
    TableRows rows;
    rows.table = feature_tables_[i];
    rows.dim = static_cast<uint32_t>(feature.width());
    rows.learning_rate = learning_rate * feature_rates_[i];
    inputs.features.push_back(feature.Plan(entities, rows.ids));
    if (!feature.embedded()) continue;
    inputs.features.back().rows = step.rows.size();
    rows.values.resize(rows.ids.size() * rows.dim);
    step.rows.push_back(std::move(rows));
  }
  return inputs;
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
  torch::Tensor x = ForwardLayers(input, dense, 0, config_.layers.size(), config_.dropout, dropout);
  if (sum_ && dropout != nullptr && config_.dropout > 0) {
    x = x * DropoutMask(x.size(0), x.size(1), config_.dropout, *dropout, 0).to(x.device());
  }
  if (config_.normalize) x = torch::nn::functional::normalize(x, torch::nn::functional::NormalizeFuncOptions().p(2).dim(1));
  return x;
}

void Tower::Scatter(TowerInputs& inputs, size_t begin, const torch::Tensor& input_gradient, Step& step) const {
  const torch::Tensor gradient = input_gradient.to(torch::kCPU).contiguous();
  const auto* in = gradient.data_ptr<float>();
  const size_t end = begin + static_cast<size_t>(gradient.size(0));
  // Each feature has rows of its own, so features are the unit of parallel work, and sums are always in the same order.
  at::parallel_for(0, static_cast<int64_t>(features_.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (!features_[i].embedded()) continue;
      FeatureInput& feature = inputs.features[i];
      features_[i].Scatter(feature, begin, end, in + feature_columns_[i], input_width_,
                           step.rows[feature.rows].gradients.data());
    }
  });
}

void Tower::Finish(TowerInputs& inputs, Step& step) const {
  inputs.begun = false;
  at::parallel_for(0, static_cast<int64_t>(features_.size()), 1, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) {
      if (features_[i].embedded()) features_[i].Finish(inputs.features[i], step.rows[inputs.features[i].rows].gradients.data());
    }
  });
}

void Tower::Begin(TowerInputs& inputs, const Step& step) const {
  if (inputs.begun) return;
  for (size_t i = 0; i < features_.size(); ++i) {
    if (features_[i].embedded()) features_[i].Begin(inputs.features[i], step.rows[inputs.features[i].rows].values.data());
  }
  inputs.begun = true;
}

torch::Tensor Tower::Inputs(TowerInputs& inputs, const Step& step) const {
  Begin(inputs, step);
  return Gather(inputs, 0, inputs.count, step);
}

torch::Tensor Tower::ColumnsOf(Column::Level level, const torch::Tensor& inputs) const {
  std::vector<torch::Tensor> columns = {inputs.narrow(1, 0, 0)};
  for (size_t i = 0; i < features_.size(); ++i) {
    if (features_[i].level() == level) {
      columns.push_back(inputs.narrow(1, static_cast<int64_t>(feature_columns_[i]), features_[i].width()));
    }
  }
  return torch::cat(columns, 1);
}

torch::Tensor Tower::Joined(const torch::Tensor& users, const torch::Tensor& movies, const torch::Tensor& context) const {
  std::vector<torch::Tensor> columns;
  int64_t next_user = 0;
  int64_t next_movie = 0;
  int64_t next_context = 0;
  for (const Feature& feature : features_) {
    const bool of_user = feature.level() == Column::Level::kUser;
    const bool of_movie = feature.level() == Column::Level::kItem;
    int64_t& next = of_user ? next_user : of_movie ? next_movie : next_context;
    columns.push_back((of_user ? users : of_movie ? movies : context).narrow(1, next, feature.width()));
    next += feature.width();
  }
  return torch::cat(columns, 1);
}

std::vector<std::vector<float>> Tower::HistoryShares(const TowerInputs& inputs, size_t entity, const torch::Tensor& gradients,
                                                     const Step& step) const {
  const torch::Tensor rows = gradients.to(torch::kCPU).contiguous();
  std::vector<std::vector<float>> shares(static_cast<size_t>(rows.size(0)));
  for (size_t i = 0; i < features_.size(); ++i) {
    if (features_[i].config().kind != FeatureConfig::Kind::kHistory) continue;
    const FeatureInput& input = inputs.features[i];
    const float* const values = step.rows[input.rows].values.data();
    for (size_t row = 0; row < shares.size(); ++row) {
      const float* const gradient = rows.data_ptr<float>() + row * input_width_ + feature_columns_[i];
      const std::vector<float> of_feature = features_[i].HistoryShares(input, entity, values, gradient);
      shares[row].resize(of_feature.size(), 0.0F);
      for (size_t j = 0; j < of_feature.size(); ++j) shares[row][j] += of_feature[j];
    }
  }
  return shares;
}

Tower::Pass Tower::Forward(TowerInputs& inputs, size_t begin, size_t end, const Step& step, const DenseLeaves& dense,
                           const torch::Device& device, const DropoutKey* dropout) const {
  Begin(inputs, step);
  torch::Tensor input = Gather(inputs, begin, end, step).to(device).requires_grad_(at::GradMode::is_enabled());
  torch::Tensor output = Layers(input, dense, dropout);
  return {begin, std::move(input), std::move(output)};
}

void Tower::Backward(const Pass& pass, const torch::Tensor& output_gradient, TowerInputs& inputs, Step& step) const {
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
