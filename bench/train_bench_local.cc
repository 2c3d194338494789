#include "bench/train_bench_local.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "dataset/permutation.h"
#include "worker/models/distinct.h"
#include "worker/models/softmax_loss.h"

namespace marquee {
namespace {

constexpr int kWarmUpSteps = 5;

// A column's values as rows of an embedding table; the last row is null's.
class LocalFeature : public torch::nn::Module {
 public:
  LocalFeature(const FeatureConfig& config, int model_dim, const Column& column, bool sparse)
      : column_(column), dim_(config.dim == 0 ? model_dim : config.dim) {
    const auto rows = static_cast<int64_t>(column.values()) + 1;
    if (column.type() == Column::Type::kId) {
      embedding_ = register_module("embedding", torch::nn::Embedding(torch::nn::EmbeddingOptions(rows, dim_).sparse(sparse)));
      torch::nn::init::uniform_(embedding_->weight, -config.init_scale, config.init_scale);
    } else {
      auto options = torch::nn::EmbeddingBagOptions(rows, dim_).sparse(sparse);
      if (config.pooling == FeatureConfig::Pooling::kMean) {
        options.mode(torch::kMean);
      } else {
        options.mode(torch::kSum);
      }
      bag_ = register_module("bag", torch::nn::EmbeddingBag(options));
      torch::nn::init::uniform_(bag_->weight, -config.init_scale, config.init_scale);
    }
  }

  const Column& column() const { return column_; }
  int dim() const { return dim_; }

  torch::Tensor Forward(const std::vector<uint32_t>& entities) {
    std::vector<int64_t> codes;
    codes.reserve(entities.size());
    if (column_.type() == Column::Type::kId) {
      const auto null_code = static_cast<uint32_t>(column_.values());
      for (const uint32_t row : entities) codes.push_back(std::min(column_.code(row), null_code));
      return embedding_->forward(torch::from_blob(codes.data(), {static_cast<int64_t>(codes.size())}, torch::kLong).clone());
    }
    std::vector<int64_t> offsets;
    for (const uint32_t row : entities) {
      offsets.push_back(static_cast<int64_t>(codes.size()));
      codes.insert(codes.end(), column_.codes(row).begin(), column_.codes(row).end());
    }
    return bag_->forward(torch::tensor(codes, torch::kLong), torch::tensor(offsets, torch::kLong));
  }

 private:
  const Column& column_;
  int dim_;
  torch::nn::Embedding embedding_{nullptr};
  torch::nn::EmbeddingBag bag_{nullptr};
};

class LocalTower : public torch::nn::Module {
 public:
  static absl::StatusOr<std::shared_ptr<LocalTower>> Make(const TowerConfig& config, int model_dim, const Dataset& data,
                                                          bool sparse) {
    auto tower = std::make_shared<LocalTower>();
    int width = 0;
    for (const FeatureConfig& feature : config.features) {
      const Column* column = data.column(feature.name);
      if (column == nullptr || column->type() == Column::Type::kNumber) {
        return absl::InvalidArgumentError(
            fmt::format("feature {}: the local trainer takes columns of type id and ids", feature.name));
      }
      tower->features_.push_back(
          tower->register_module(feature.name, std::make_shared<LocalFeature>(feature, model_dim, *column, sparse)));
      width += tower->features_.back()->dim();
    }
    tower->config_ = config;
    for (size_t i = 0; i < config.layers.size(); ++i) {
      tower->layers_.push_back(tower->register_module(fmt::format("layer{}", i), torch::nn::Linear(width, config.layers[i])));
      torch::nn::init::xavier_uniform_(tower->layers_.back()->weight);
      torch::nn::init::zeros_(tower->layers_.back()->bias);
      width = config.layers[i];
    }
    return tower;
  }

  torch::Tensor Forward(const std::vector<uint32_t>& interactions, const std::vector<uint32_t>& users,
                        const std::vector<uint32_t>& items) {
    std::vector<torch::Tensor> inputs;
    for (const auto& feature : features_) {
      const Column::Level level = feature->column().level();
      inputs.push_back(feature->Forward(level == Column::Level::kUser   ? users
                                        : level == Column::Level::kItem ? items
                                                                        : interactions));
    }
    if (layers_.empty()) return Normalized(std::accumulate(inputs.begin() + 1, inputs.end(), inputs.front()));
    torch::Tensor x = torch::cat(inputs, 1);
    for (size_t i = 0; i < layers_.size(); ++i) {
      x = layers_[i]->forward(x);
      if (i + 1 == layers_.size()) break;
      x = torch::relu(x);
      if (config_.dropout > 0) x = torch::dropout(x, config_.dropout, /*train=*/true);
    }
    return Normalized(x);
  }

  std::vector<torch::Tensor> EmbeddingParameters() const {
    std::vector<torch::Tensor> all;
    for (const auto& feature : features_) {
      for (const torch::Tensor& parameter : feature->parameters()) all.push_back(parameter);
    }
    return all;
  }
  std::vector<torch::Tensor> DenseParameters() const {
    std::vector<torch::Tensor> all;
    for (const auto& layer : layers_) {
      for (const torch::Tensor& parameter : layer->parameters()) all.push_back(parameter);
    }
    return all;
  }

 private:
  torch::Tensor Normalized(const torch::Tensor& x) const {
    return config_.normalize ? torch::nn::functional::normalize(x, torch::nn::functional::NormalizeFuncOptions().dim(1)) : x;
  }

  TowerConfig config_;
  std::vector<std::shared_ptr<LocalFeature>> features_;
  std::vector<torch::nn::Linear> layers_;
};

absl::StatusOr<std::unique_ptr<torch::optim::Optimizer>> MakeOptimizer(const OptimizerConfig& config,
                                                                       std::vector<torch::Tensor> parameters) {
  switch (config.kind) {
    case OptimizerConfig::Kind::kSgd:
      return std::make_unique<torch::optim::SGD>(std::move(parameters), torch::optim::SGDOptions(config.learning_rate));
    case OptimizerConfig::Kind::kAdagrad:
      return std::make_unique<torch::optim::Adagrad>(std::move(parameters),
                                                     torch::optim::AdagradOptions(config.learning_rate)
                                                         .initial_accumulator_value(config.initial_accumulator)
                                                         .eps(config.epsilon));
    default:
      return absl::InvalidArgumentError("optimizer.kind: the local trainer takes sgd and adagrad");
  }
}

// The optimizers of some towers: one for embeddings, one for dense layers.
class LocalOptimizers {
 public:
  static absl::StatusOr<LocalOptimizers> Make(const ModelConfig& model,
                                              const std::vector<std::shared_ptr<LocalTower>>& towers) {
    std::vector<torch::Tensor> embeddings;
    std::vector<torch::Tensor> dense;
    for (const auto& tower : towers) {
      for (const torch::Tensor& parameter : tower->EmbeddingParameters()) embeddings.push_back(parameter);
      for (const torch::Tensor& parameter : tower->DenseParameters()) dense.push_back(parameter);
    }
    LocalOptimizers made;
    for (auto& [config, parameters] : {std::pair{model.optimizer, embeddings}, {model.dense_optimizer, dense}}) {
      if (parameters.empty()) continue;
      auto optimizer = MakeOptimizer(config, parameters);
      if (!optimizer.ok()) return optimizer.status();
      made.optimizers_.push_back(*std::move(optimizer));
    }
    return made;
  }

  void ZeroGradients() {
    for (const auto& optimizer : optimizers_) optimizer->zero_grad();
  }
  void Step() {
    for (const auto& optimizer : optimizers_) optimizer->step();
  }

 private:
  std::vector<std::unique_ptr<torch::optim::Optimizer>> optimizers_;
};

class LocalTwoTower : public LocalTrainer {
 public:
  static absl::StatusOr<std::unique_ptr<LocalTrainer>> Make(const ModelConfig& model, const Dataset& data, const Split& split,
                                                            bool sparse) {
    auto query = LocalTower::Make(model.query, model.dim, data, sparse);
    if (!query.ok()) return query.status();
    auto candidate = LocalTower::Make(model.candidate, model.dim, data, sparse);
    if (!candidate.ok()) return candidate.status();
    auto optimizers = LocalOptimizers::Make(model, {*query, *candidate});
    if (!optimizers.ok()) return optimizers.status();
    auto trainer = std::make_unique<LocalTwoTower>(model, data);
    trainer->query_ = *std::move(query);
    trainer->candidate_ = *std::move(candidate);
    trainer->optimizers_ = *std::move(optimizers);
    std::vector<float> counts(data.items(), 0);
    for (const uint32_t example : split.train) counts[data.item_of()[example]] += 1;
    for (const float count : counts) {
      trainer->logq_.push_back(std::log(std::max(count, 1.0F) / static_cast<float>(split.train.size())));
    }
    return trainer;
  }

  LocalTwoTower(ModelConfig model, const Dataset& data)
      : model_(std::move(model)), data_(data), user_slots_(data.users()), item_slots_(data.items()) {}

  double Train(absl::Span<const uint32_t> examples) override {
    std::vector<uint32_t> users;
    std::vector<uint32_t> items;
    const SoftmaxExamples softmax = Group(examples, users, items);
    optimizers_.ZeroGradients();
    const torch::Tensor query = query_->Forward({}, users, items);
    const torch::Tensor candidate = candidate_->Forward({}, users, items);
    const SoftmaxResult result = SoftmaxLoss(query.detach(), candidate.detach(), /*seen_bias=*/{}, softmax,
                                             {model_.loss.temperature, model_.loss.remove_accidental_hits});
    torch::autograd::backward({query, candidate}, {result.query_gradient, result.candidate_gradient});
    optimizers_.Step();
    return result.loss;
  }

 private:
  SoftmaxExamples Group(absl::Span<const uint32_t> examples, std::vector<uint32_t>& users, std::vector<uint32_t>& items) {
    std::vector<uint32_t> query_of;
    std::vector<uint32_t> candidate_of;
    user_slots_.Begin();
    item_slots_.Begin();
    for (const uint32_t example : examples) {
      query_of.push_back(user_slots_.SlotOf(data_.user_of()[example]));
      if (query_of.back() == users.size()) users.push_back(data_.user_of()[example]);
      candidate_of.push_back(item_slots_.SlotOf(data_.item_of()[example]));
      if (candidate_of.back() == items.size()) items.push_back(data_.item_of()[example]);
    }
    SoftmaxExamples softmax;
    softmax.counts.assign(items.size(), 0.0F);
    for (const uint32_t candidate : candidate_of) softmax.counts[candidate] += 1;
    if (model_.loss.kind == LossConfig::Kind::kFullSoftmax) {
      for (uint32_t& candidate : candidate_of) candidate = items[candidate];
      items.resize(data_.rated_items());
      std::iota(items.begin(), items.end(), 0U);
      softmax.counts.assign(items.size(), 1.0F);
    }
    if (model_.loss.logq) {
      for (const uint32_t item : items) softmax.bias.push_back(-logq_[item]);
    }
    GroupByQuery(query_of, candidate_of, users.size(), softmax);
    return softmax;
  }

  ModelConfig model_;
  const Dataset& data_;
  std::shared_ptr<LocalTower> query_;
  std::shared_ptr<LocalTower> candidate_;
  LocalOptimizers optimizers_;
  std::vector<float> logq_;
  DistinctCodes user_slots_;
  DistinctCodes item_slots_;
};

class LocalRanking : public LocalTrainer {
 public:
  static absl::StatusOr<std::unique_ptr<LocalTrainer>> Make(const ModelConfig& model, const Dataset& data, bool sparse) {
    TowerConfig config = model.tower;
    config.layers.push_back(1);
    auto tower = LocalTower::Make(config, model.dim, data, sparse);
    if (!tower.ok()) return tower.status();
    std::vector<std::shared_ptr<LocalTower>> towers = {*tower};
    auto trainer = std::make_unique<LocalRanking>(data);
    trainer->tower_ = *tower;
    if (model.bias) {
      TowerConfig bias;
      for (const Column* key : {&data.user_key(), &data.item_key()}) {
        bias.features.push_back({.name = key->name(), .dim = 1, .init_scale = 0});
      }
      auto made = LocalTower::Make(bias, 1, data, sparse);
      if (!made.ok()) return made.status();
      trainer->bias_ = *made;
      towers.push_back(*made);
    }
    auto optimizers = LocalOptimizers::Make(model, towers);
    if (!optimizers.ok()) return optimizers.status();
    trainer->optimizers_ = *std::move(optimizers);
    return trainer;
  }

  explicit LocalRanking(const Dataset& data) : data_(data) {}

  double Train(absl::Span<const uint32_t> examples) override {
    const std::vector<uint32_t> interactions(examples.begin(), examples.end());
    std::vector<uint32_t> users;
    std::vector<uint32_t> items;
    std::vector<float> labels;
    for (const uint32_t example : examples) {
      users.push_back(data_.user_of()[example]);
      items.push_back(data_.item_of()[example]);
      labels.push_back(data_.label()[example]);
    }
    optimizers_.ZeroGradients();
    torch::Tensor prediction = tower_->Forward(interactions, users, items);
    if (bias_ != nullptr) prediction = prediction + bias_->Forward(interactions, users, items);
    const torch::Tensor loss = torch::mse_loss(prediction.flatten(), torch::tensor(labels));
    loss.backward();
    optimizers_.Step();
    return loss.item<double>() * static_cast<double>(examples.size());
  }

 private:
  const Dataset& data_;
  std::shared_ptr<LocalTower> tower_;
  std::shared_ptr<LocalTower> bias_;
  LocalOptimizers optimizers_;
};

// A trainer and the order in which it sees the examples.
class TimedRun {
 public:
  TimedRun(LocalTrainer& trainer, const TrialConfig& config, const Split& split)
      : trainer_(trainer), split_(split), order_(split.train.size(), config.seed), batch_(config.model.batch_size) {}

  size_t Step() {
    examples_.clear();
    for (size_t i = 0; i < batch_; ++i) examples_.push_back(split_.train[order_.At(position_++ % order_.size())]);
    trainer_.Train(examples_);
    return examples_.size();
  }

 private:
  LocalTrainer& trainer_;
  const Split& split_;
  Permutation order_;
  size_t batch_;
  size_t position_ = 0;
  std::vector<uint32_t> examples_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LocalTrainer>> LocalTrainer::Make(const TrialConfig& config, const Dataset& data,
                                                                 const Split& split, bool sparse_gradients) {
  return config.model.kind == ModelConfig::Kind::kTwoTower ? LocalTwoTower::Make(config.model, data, split, sparse_gradients)
                                                           : LocalRanking::Make(config.model, data, sparse_gradients);
}

absl::StatusOr<double> LocalExamplesPerSecond(const TrialConfig& config, const Dataset& data, const Split& split,
                                              double seconds) {
  using Clock = std::chrono::steady_clock;
  double best = 0;
  for (const bool sparse : {false, true}) {
    auto trainer = LocalTrainer::Make(config, data, split, sparse);
    if (!trainer.ok()) return trainer.status();
    TimedRun run(**trainer, config, split);
    for (int i = 0; i < kWarmUpSteps; ++i) run.Step();
    const Clock::time_point start = Clock::now();
    double examples = 0;
    double elapsed = 0;
    while (elapsed < seconds) {
      examples += static_cast<double>(run.Step());
      elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    }
    best = std::max(best, examples / elapsed);
  }
  return best;
}

}  // namespace marquee
