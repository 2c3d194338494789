#include "worker/models/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "worker/models/dense.h"
#include "worker/models/distinct.h"
#include "worker/models/inference.h"
#include "worker/models/learning_rate.h"
#include "worker/models/retrieval_evaluation.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/timelines.h"
#include "worker/models/tower.h"

namespace marquee {
namespace {

// Places, padding included, that go through the network at once on the CPU: activations stay in cache, and matrices are large
// enough for products at full speed.
constexpr size_t kBlockPlaces = 4096;
constexpr float kInitScale = 0.05F;  // items and positions start uniform in +- this
constexpr double kNormEpsilon = 1e-5;
constexpr uint32_t kNoTarget = 0xffffffffU;

// The movies of a user, oldest first, as rows of the step's items; and what to predict after each of them.
struct Sequence {
  std::vector<uint32_t> items;
  std::vector<uint32_t> targets;  // candidates, or kNoTarget; in training
};

// Sequences of like length, which are padded to that of the longest.
struct Block {
  size_t begin = 0;  // in the step's sequences
  size_t end = 0;
  size_t longest = 0;
};

// Positions of tables in a step's rows.
constexpr size_t kItemRows = 0;
constexpr size_t kPositionRows = 1;
constexpr size_t kDenseRows = 2;

struct SequenceStep : Step {
  std::vector<Sequence> sequences;   // in training, ascending in length; in evaluation, of each user
  std::vector<uint32_t> items;       // of each row
  std::vector<uint32_t> candidates;  // rows
  std::vector<float> counts;         // of each candidate
  std::vector<float> bias;
  size_t targets = 0;
  DropoutKey dropout;

  std::vector<uint32_t> users;  // in evaluation, of each sequence
  SoftmaxExamples softmax;      // likewise: the items to be found
};

// One block of the network: attention, and a layer of the same width, each after a layer norm and with a way around it.
enum Leaf : size_t {
  kNorm1Gain,
  kNorm1Bias,
  kQueryWeight,
  kQueryBias,
  kKeyWeight,
  kKeyBias,
  kValueWeight,
  kValueBias,
  kOutputWeight,
  kOutputBias,
  kNorm2Gain,
  kNorm2Bias,
  kLayer1Weight,
  kLayer1Bias,
  kLayer2Weight,
  kLayer2Bias,
  kLeavesOfBlock,
};

class SequenceModel : public Model, public RetrievalInference {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                     const torch::Device& device);

  const std::vector<TableDefinition>& tables() const override { return tables_; }
  bool users_together() const override { return true; }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override;
  absl::StatusOr<double> Compute(Step& step) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override;
  absl::Status BeginEvaluation(Step& filled, bool test) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override;
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override;

  RetrievalInference* retrieval() override { return this; }
  std::unique_ptr<Step> PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) override;
  std::unique_ptr<Step> PlanGuest(absl::Span<const GuestRating> rated) override;
  // The indices of each user's last movies, oldest first, filled up to the greatest length; and how many they are.
  std::vector<torch::Tensor> UserInputs(Step& filled) override;
  torch::Tensor EncodeUsers(const std::vector<torch::Tensor>& inputs) const override;
  std::vector<torch::Tensor> MovieInputs() const override;  // their indices
  torch::Tensor EncodeMovies(const std::vector<torch::Tensor>& inputs) const override;

 private:
  // What the network is made of in a step.
  struct Weights {
    torch::Tensor items;      // [n, dim]
    torch::Tensor positions;  // [length, dim]; the first is that of the last movie
    DenseLeaves dense;
  };

  struct Gradients {
    torch::Tensor items;
    torch::Tensor positions;
    torch::Tensor candidates;
  };
  // What stands at each place of a block, [sequences x longest].
  struct Places {
    torch::Tensor items;
    torch::Tensor positions;
  };

  SequenceModel(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device,
                const Column& time);

  absl::Status AddTables(const std::string& item_key);
  void AddSequence(uint32_t user, SequenceStep& step);
  void AddQuery(uint32_t user, const UserTimelines& timelines, SequenceStep& step) const;
  void AddCandidates(SequenceStep& step);
  void PlanRows(const LearningRates::Rates& rates, SequenceStep& step) const;
  uint32_t ItemRow(uint32_t item, std::vector<uint32_t>& items);
  std::vector<Id> IdsOf(absl::Span<const uint32_t> items) const;
  std::vector<uint32_t> AllItems() const;

  Weights WeightsOf(Step& step, bool train) const;
  std::vector<Block> BlocksOf(const std::vector<Sequence>& sequences) const;
  Places PlacesOf(absl::Span<const Sequence> sequences, size_t longest) const;
  torch::Tensor Embed(const Weights& weights, const Places& places, int64_t longest) const;
  torch::Tensor Network(const torch::Tensor& input, const DenseLeaves& dense, const DropoutKey* dropout) const;
  torch::Tensor Attention(const torch::Tensor& x, const DenseLeaves& dense, size_t first) const;
  torch::Tensor Drop(const torch::Tensor& x, const DropoutKey* dropout, size_t number) const;
  double ComputeBlock(const SequenceStep& step, const Block& block, const Weights& weights, const torch::Tensor& candidates,
                      const DropoutKey& dropout, Gradients& gradients) const;

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const torch::Device device_;
  const Column& time_;
  const int64_t dim_;
  const LearningRates rates_;
  const UserTimelines train_;
  std::vector<TableDefinition> tables_;
  size_t item_table_ = 0;
  size_t position_table_ = 0;
  DenseTensors dense_;
  std::vector<float> logq_;  // by item; empty where it is not wanted
  DistinctCodes items_;
  DistinctCodes users_;
  DistinctCodes candidates_;             // items
  absl::flat_hash_set<uint32_t> batch_;  // interactions of the step that is being planned

  // Of the evaluation that has begun.
  Weights evaluated_;
  std::optional<UserTimelines> known_;  // for test
  std::optional<UserTimelines> all_;    // kNow
  RetrievalEvaluation evaluation_;
};

absl::Status CheckConfig(const ModelConfig& model) {
  const SequenceConfig& sequence = model.sequence;
  if (sequence.length < 1 || sequence.length > static_cast<int>(kMaxDim)) {
    return absl::InvalidArgumentError(fmt::format("sequence.length: {}; must be 1 to {}", sequence.length, kMaxDim));
  }
  if (sequence.blocks < 1)
    return absl::InvalidArgumentError(fmt::format("sequence.blocks: {}; must be 1 or more", sequence.blocks));
  if (sequence.heads < 1 || model.dim % sequence.heads != 0) {
    return absl::InvalidArgumentError(fmt::format("sequence.heads: {}; must divide the dim of {}", sequence.heads, model.dim));
  }
  if (model.loss.kind != LossConfig::Kind::kInBatchSoftmax && model.loss.kind != LossConfig::Kind::kFullSoftmax) {
    return absl::InvalidArgumentError("loss: sequence takes in_batch_softmax or full_softmax");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Model>> SequenceModel::Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                                           const torch::Device& device) {
  if (absl::Status status = CheckConfig(config.model); !status.ok()) return status;
  const std::string& name = config.model.sequence.time_column;
  const Column* time = data.column(name);
  if (time == nullptr || time->level() != Column::Level::kInteraction || time->type() != Column::Type::kNumber) {
    return absl::InvalidArgumentError(
        fmt::format("sequence.time_column: {}; must be a column of numbers or times of interactions", name));
  }
  std::unique_ptr<SequenceModel> model(new SequenceModel(config, data, split, device, *time));
  if (absl::Status status = model->AddTables(data.item_key().name()); !status.ok()) return status;
  return model;
}

SequenceModel::SequenceModel(const TrialConfig& config, const Dataset& data, const Split& split, const torch::Device& device,
                             const Column& time)
    : config_(config),
      data_(data),
      split_(split),
      device_(device),
      time_(time),
      dim_(config.model.dim),
      rates_(config.model, split.train.size()),
      train_(data, time, config.split.seed, {&split.train}),
      items_(data.items()),
      users_(data.users()),
      candidates_(data.items()),
      evaluation_(data, split, config.model.loss.temperature) {
  if (config.model.loss.logq) logq_ = LogShares(data, split);
}

absl::Status SequenceModel::AddTables(const std::string& item_key) {
  TableDefinition table;
  table.dim = static_cast<uint32_t>(dim_);
  table.seed = config_.seed;
  table.initializer = {Initializer::Kind::kUniform, kInitScale};
  table.optimizer = Optimizer::FromConfig(config_.model.optimizer);
  table.name = "sequence_" + item_key;
  item_table_ = tables_.size();
  tables_.push_back(table);
  table.name = "sequence_position";
  table.optimizer = Optimizer::FromConfig(config_.model.dense_optimizer);
  position_table_ = tables_.size();
  tables_.push_back(table);

  const DenseTensors::Options options{
      .name = "sequence", .seed = config_.seed, .optimizer = Optimizer::FromConfig(config_.model.dense_optimizer)};
  const int dim = config_.model.dim;
  absl::Status status = absl::OkStatus();
  const auto add_norm = [&](const std::string& name) {
    for (const std::string_view part : {"gain", "bias"}) {
      status.Update(dense_.AddBias(options, fmt::format("{}_{}", name, part), dim, tables_));
    }
  };
  const auto add_layer = [&](const std::string& name) {
    status.Update(dense_.AddWeight(options, name + "_weight", dim, dim, tables_));
    status.Update(dense_.AddBias(options, name + "_bias", dim, tables_));
  };
  for (int i = 0; i < config_.model.sequence.blocks; ++i) {
    const std::string block = fmt::format("block{}_", i);
    add_norm(block + "norm1");
    for (const std::string_view part : {"query", "key", "value", "output"}) add_layer(fmt::format("{}{}", block, part));
    add_norm(block + "norm2");
    for (const std::string_view part : {"layer1", "layer2"}) add_layer(fmt::format("{}{}", block, part));
  }
  add_norm("norm");
  return status;
}

// ------------------------------------------------------------------------------------------------------- planning

std::vector<uint32_t> SequenceModel::AllItems() const {
  std::vector<uint32_t> items(data_.rated_items());
  std::iota(items.begin(), items.end(), 0U);
  return items;
}

std::vector<Id> SequenceModel::IdsOf(absl::Span<const uint32_t> items) const {
  const Column& key = data_.item_key();
  std::vector<Id> ids;
  ids.reserve(items.size());
  for (const uint32_t item : items) {
    ids.push_back(key.code(item) == kNullCode ? FeatureId(key.name(), "") : key.id(key.code(item)));
  }
  return ids;
}

uint32_t SequenceModel::ItemRow(uint32_t item, std::vector<uint32_t>& items) {
  const uint32_t row = items_.SlotOf(item);
  if (row == items.size()) items.push_back(item);
  return row;
}

// The last `length` + 1 interactions; each but the first is a target if it is in the batch.
void SequenceModel::AddSequence(uint32_t user, SequenceStep& step) {
  absl::Span<const uint32_t> timeline = train_.Of(user);
  const auto most = static_cast<size_t>(config_.model.sequence.length) + 1;
  if (timeline.size() > most) timeline.remove_prefix(timeline.size() - most);
  Sequence sequence;
  bool any = false;
  for (size_t i = 0; i + 1 < timeline.size(); ++i) {
    sequence.items.push_back(ItemRow(data_.item_of()[timeline[i]], step.items));
    const bool target = batch_.contains(timeline[i + 1]);
    sequence.targets.push_back(target ? data_.item_of()[timeline[i + 1]] : kNoTarget);
    any |= target;
    step.targets += target ? 1 : 0;
  }
  if (any) step.sequences.push_back(std::move(sequence));
}

// Turns targets from items into candidates.
void SequenceModel::AddCandidates(SequenceStep& step) {
  const bool full = config_.model.loss.kind == LossConfig::Kind::kFullSoftmax;
  std::vector<uint32_t> items;
  candidates_.Begin();
  if (full) {
    items = AllItems();
    for (const uint32_t item : items) candidates_.SlotOf(item);
    step.counts.assign(items.size(), 1.0F);
  }
  for (Sequence& sequence : step.sequences) {
    for (uint32_t& target : sequence.targets) {
      if (target == kNoTarget) continue;
      const uint32_t item = target;
      target = candidates_.SlotOf(item);
      if (full) continue;
      if (target == items.size()) {
        items.push_back(item);
        step.counts.push_back(0.0F);
      }
      step.counts[target] += 1;
    }
  }
  for (const uint32_t item : items) {
    step.candidates.push_back(ItemRow(item, step.items));
    if (!logq_.empty()) step.bias.push_back(-logq_[item]);
  }
}

absl::StatusOr<std::unique_ptr<Step>> SequenceModel::Plan(absl::Span<const uint32_t> examples, uint32_t epoch,
                                                          uint64_t step_number) {
  auto step = std::make_unique<SequenceStep>();
  step->examples = examples.size();
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  batch_.clear();
  batch_.insert(examples.begin(), examples.end());
  items_.Begin();
  users_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t before = users_.count();
    const uint32_t user = data_.user_of()[example];
    if (users_.SlotOf(user) == before) AddSequence(user, *step);
  }
  std::stable_sort(step->sequences.begin(), step->sequences.end(),
                   [](const Sequence& a, const Sequence& b) { return a.items.size() < b.items.size(); });
  AddCandidates(*step);
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  PlanRows(rates, *step);
  return step;
}

void SequenceModel::PlanRows(const LearningRates::Rates& rates, SequenceStep& step) const {
  const auto add = [&](size_t table, float rate, std::vector<Id> ids) {
    TableRows rows;
    rows.table = table;
    rows.dim = static_cast<uint32_t>(dim_);
    rows.learning_rate = rate;
    rows.ids = std::move(ids);
    rows.values.resize(rows.ids.size() * rows.dim);
    step.rows.push_back(std::move(rows));
  };
  add(item_table_, rates.embedding, IdsOf(step.items));
  std::vector<Id> positions(config_.model.sequence.length);
  std::iota(positions.begin(), positions.end(), Id{0});
  add(position_table_, rates.dense, std::move(positions));
  dense_.Plan(rates.dense, step);
}

// ------------------------------------------------------------------------------------------------------ the network

SequenceModel::Weights SequenceModel::WeightsOf(Step& step, bool train) const {
  const auto over = [&](TableRows& rows) {
    const auto count = static_cast<int64_t>(rows.ids.size());
    return torch::from_blob(rows.values.data(), {count, dim_}).to(device_);
  };
  return {over(step.rows[kItemRows]), over(step.rows[kPositionRows]), dense_.Leaves(step, kDenseRows, device_, train)};
}

std::vector<Block> SequenceModel::BlocksOf(const std::vector<Sequence>& sequences) const {
  std::vector<Block> blocks;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const size_t longest = std::max<size_t>(sequences[i].items.size(), 1);
    const bool fits = !blocks.empty() && (i + 1 - blocks.back().begin) * longest <= kBlockPlaces;
    if (!fits) blocks.push_back({i, i, 0});
    blocks.back().end = i + 1;
    blocks.back().longest = std::max(blocks.back().longest, longest);
  }
  return blocks;
}

// Rows of items and positions of a block's places; places after the end of a sequence repeat row 0.
SequenceModel::Places SequenceModel::PlacesOf(absl::Span<const Sequence> sequences, size_t longest) const {
  const size_t count = sequences.size() * longest;
  std::vector<int64_t> items(count, 0);
  std::vector<int64_t> positions(count, 0);
  for (size_t s = 0; s < sequences.size(); ++s) {
    const size_t length = sequences[s].items.size();
    for (size_t i = 0; i < length; ++i) {
      items[s * longest + i] = sequences[s].items[i];
      positions[s * longest + i] = static_cast<int64_t>(length - 1 - i);
    }
  }
  return {torch::tensor(items, torch::kLong).to(device_), torch::tensor(positions, torch::kLong).to(device_)};
}

torch::Tensor SequenceModel::Drop(const torch::Tensor& x, const DropoutKey* dropout, size_t number) const {
  const double rate = config_.model.sequence.dropout;
  if (dropout == nullptr || rate == 0) return x;
  const int64_t rows = x.numel() / dim_;
  return x * DropoutMask(rows, dim_, rate, *dropout, number).to(x.device()).view(x.sizes());
}

torch::Tensor LayerNorm(const torch::Tensor& x, const torch::Tensor& gain, const torch::Tensor& bias) {
  return at::layer_norm(x, {x.size(-1)}, gain + 1, bias, kNormEpsilon);
}

// A place attends to itself and to those before it; so padding, which comes last, needs no mask.
torch::Tensor SequenceModel::Attention(const torch::Tensor& x, const DenseLeaves& dense, size_t first) const {
  // Sizes of -1 are for recording the function for any number of sequences (serving/torch_script.h).
  const int64_t length = x.size(1);
  const int64_t heads = config_.model.sequence.heads;
  const int64_t width = dim_ / heads;
  const auto project = [&](Leaf weight, Leaf bias) {
    const torch::Tensor y = at::linear(x, dense[first + weight], dense[first + bias]);
    return y.view({-1, length, heads, width}).transpose(1, 2).reshape({-1, length, width});
  };
  const torch::Tensor query = project(kQueryWeight, kQueryBias);
  const torch::Tensor key = project(kKeyWeight, kKeyBias);
  const torch::Tensor value = project(kValueWeight, kValueBias);
  const torch::Tensor later = torch::full({length, length}, -std::numeric_limits<float>::infinity(), x.options()).triu(1);
  const torch::Tensor scores = at::baddbmm(later, query, key.transpose(1, 2), 1.0, 1 / std::sqrt(static_cast<double>(width)));
  const torch::Tensor mixed = at::bmm(scores.softmax(-1), value);
  const torch::Tensor joined = mixed.view({-1, heads, length, width}).transpose(1, 2).reshape({-1, length, dim_});
  return at::linear(joined, dense[first + kOutputWeight], dense[first + kOutputBias]);
}

// [sequences, longest, dim] to the same.
torch::Tensor SequenceModel::Network(const torch::Tensor& input, const DenseLeaves& dense, const DropoutKey* dropout) const {
  size_t number = 0;
  torch::Tensor x = Drop(input, dropout, number++);
  for (int block = 0; block < config_.model.sequence.blocks; ++block) {
    const size_t first = block * kLeavesOfBlock;
    const auto leaf = [&](Leaf which) { return dense[first + which]; };
    x = x + Drop(Attention(LayerNorm(x, leaf(kNorm1Gain), leaf(kNorm1Bias)), dense, first), dropout, number++);
    torch::Tensor y = at::linear(LayerNorm(x, leaf(kNorm2Gain), leaf(kNorm2Bias)), leaf(kLayer1Weight), leaf(kLayer1Bias));
    y = Drop(y.relu(), dropout, number++);
    x = x + Drop(at::linear(y, leaf(kLayer2Weight), leaf(kLayer2Bias)), dropout, number++);
  }
  const size_t last = config_.model.sequence.blocks * kLeavesOfBlock;
  return LayerNorm(x, dense[last], dense[last + 1]);
}

torch::Tensor SequenceModel::Embed(const Weights& weights, const Places& places, int64_t longest) const {
  const torch::Tensor items = weights.items.index_select(0, places.items) * std::sqrt(static_cast<double>(dim_));
  return (items + weights.positions.index_select(0, places.positions)).view({-1, longest, dim_});
}

// --------------------------------------------------------------------------------------------------------- training

// The places that are followed by a target, each a query of its own.
SoftmaxExamples ExamplesOf(const SequenceStep& step, const Block& block, std::vector<int64_t>& places) {
  SoftmaxExamples examples;
  examples.counts = step.counts;
  examples.bias = step.bias;
  for (size_t s = block.begin; s < block.end; ++s) {
    const Sequence& sequence = step.sequences[s];
    for (size_t i = 0; i < sequence.targets.size(); ++i) {
      if (sequence.targets[i] == kNoTarget) continue;
      places.push_back(static_cast<int64_t>((s - block.begin) * block.longest + i));
      examples.positives.push_back(sequence.targets[i]);
    }
  }
  examples.offsets.resize(examples.positives.size() + 1);
  std::iota(examples.offsets.begin(), examples.offsets.end(), 0U);
  return examples;
}

double SequenceModel::ComputeBlock(const SequenceStep& step, const Block& block, const Weights& weights,
                                   const torch::Tensor& candidates, const DropoutKey& dropout, Gradients& gradients) const {
  const auto sequences = absl::MakeConstSpan(step.sequences).subspan(block.begin, block.end - block.begin);
  const Places places = PlacesOf(sequences, block.longest);
  const torch::Tensor input = Embed(weights, places, static_cast<int64_t>(block.longest)).detach().requires_grad_(true);
  const torch::Tensor output = Network(input, weights.dense, &dropout).view({-1, dim_});

  std::vector<int64_t> asked;
  const SoftmaxExamples examples = ExamplesOf(step, block, asked);
  const torch::Tensor asked_places = torch::tensor(asked, torch::kLong).to(device_);
  const LossConfig& loss = config_.model.loss;
  const SoftmaxResult result =
      SoftmaxLoss(output.detach().index_select(0, asked_places), candidates, {}, examples,
                  {.temperature = loss.temperature, .remove_accidental_hits = loss.remove_accidental_hits});
  if (!std::isfinite(result.loss)) return result.loss;

  // Of the mean over the step, not over the block.
  const double share = static_cast<double>(asked.size()) / static_cast<double>(step.targets);
  torch::autograd::backward({output}, {torch::zeros_like(output).index_copy_(0, asked_places, result.query_gradient * share)});
  const torch::Tensor gradient = input.grad().view({-1, dim_});
  gradients.items.index_add_(0, places.items, gradient, std::sqrt(static_cast<double>(dim_)));
  gradients.positions.index_add_(0, places.positions, gradient);
  gradients.candidates.add_(result.candidate_gradient, share);
  return result.loss;
}

absl::StatusOr<double> SequenceModel::Compute(Step& planned) {
  auto& step = static_cast<SequenceStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  if (step.targets == 0) return 0.0;
  const Weights weights = WeightsOf(step, /*train=*/true);
  const torch::Tensor candidate_rows =
      torch::tensor(std::vector<int64_t>(step.candidates.begin(), step.candidates.end()), torch::kLong).to(device_);
  const torch::Tensor candidates = weights.items.index_select(0, candidate_rows);
  Gradients gradients{torch::zeros_like(weights.items), torch::zeros_like(weights.positions), torch::zeros_like(candidates)};
  double loss = 0;
  DropoutKey dropout = step.dropout;
  for (const Block& block : BlocksOf(step.sequences)) {
    loss += ComputeBlock(step, block, weights, candidates, dropout, gradients);
    ++dropout.block;
  }
  if (absl::Status status = CheckLoss(loss, step.dropout); !status.ok()) return status;
  gradients.items.index_add_(0, candidate_rows, gradients.candidates);
  const auto collect = [&](const torch::Tensor& from, TableRows& to) {
    torch::from_blob(to.gradients.data(), from.sizes()).copy_(from);
  };
  collect(gradients.items, step.rows[kItemRows]);
  collect(gradients.positions, step.rows[kPositionRows]);
  CollectGradients(weights.dense, kDenseRows, step);
  return loss / static_cast<double>(step.targets) * static_cast<double>(step.examples);
}

// ------------------------------------------------------------------------------------------------------- evaluation

absl::StatusOr<std::unique_ptr<Step>> SequenceModel::PlanEvaluation() {
  auto step = std::make_unique<SequenceStep>();
  step->items = AllItems();
  PlanRows({}, *step);
  return step;
}

absl::Status SequenceModel::BeginEvaluation(Step& filled, bool test) {
  const torch::NoGradGuard no_grad;
  const Weights weights = WeightsOf(filled, /*train=*/false);
  evaluated_ = {weights.items.clone(), weights.positions.clone(), {}};
  for (const torch::Tensor& leaf : weights.dense) evaluated_.dense.push_back(leaf.clone());
  evaluation_.Begin(test);
  if (test && !known_.has_value()) {
    known_.emplace(data_, time_, config_.split.seed,
                   std::vector<const std::vector<uint32_t>*>{&split_.train, &split_.validation});
  }
  return absl::OkStatus();
}

void SequenceModel::AddQuery(uint32_t user, const UserTimelines& timelines, SequenceStep& step) const {
  step.users.push_back(user);
  absl::Span<const uint32_t> timeline = timelines.Of(user);
  const auto most = static_cast<size_t>(config_.model.sequence.length);
  if (timeline.size() > most) timeline.remove_prefix(timeline.size() - most);
  Sequence& sequence = step.sequences.emplace_back();
  for (const uint32_t interaction : timeline) sequence.items.push_back(data_.item_of()[interaction]);
}

absl::StatusOr<std::unique_ptr<Step>> SequenceModel::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  auto step = std::make_unique<SequenceStep>();
  step->examples = examples.size();
  const UserTimelines& timelines = evaluation_.test() ? *known_ : train_;
  std::vector<uint32_t> query_of;
  std::vector<uint32_t> targets;
  users_.Begin();
  for (const uint32_t example : examples) {
    const uint32_t user = data_.user_of()[example];
    query_of.push_back(users_.SlotOf(user));
    targets.push_back(data_.item_of()[example]);
    if (query_of.back() < step->users.size()) continue;
    AddQuery(user, timelines, *step);
  }
  GroupByQuery(query_of, targets, step->users.size(), step->softmax);
  return step;
}

absl::StatusOr<MetricSums> SequenceModel::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  const auto& step = static_cast<const SequenceStep&>(filled);
  if (!evaluated_.items.defined()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  // Shortest first, for blocks of like length.
  std::vector<size_t> order(step.sequences.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return step.sequences[a].items.size() < step.sequences[b].items.size(); });
  std::vector<Sequence> sorted;
  for (const size_t query : order) sorted.push_back(step.sequences[query]);

  // Of a user without movies, zeros: no movie is better than another.
  const torch::Tensor queries = torch::zeros({static_cast<int64_t>(order.size()), dim_}, evaluated_.items.options());
  for (const Block& block : BlocksOf(sorted)) {
    const auto sequences = absl::MakeConstSpan(sorted).subspan(block.begin, block.end - block.begin);
    const torch::Tensor input = Embed(evaluated_, PlacesOf(sequences, block.longest), static_cast<int64_t>(block.longest));
    const torch::Tensor output = Network(input, evaluated_.dense, nullptr);
    for (size_t s = 0; s < sequences.size(); ++s) {
      const auto length = static_cast<int64_t>(sequences[s].items.size());
      if (length == 0) continue;
      queries[static_cast<int64_t>(order[block.begin + s])].copy_(output[static_cast<int64_t>(s)][length - 1]);
    }
  }
  return evaluation_.Evaluate(queries, evaluated_.items, {}, step.users, step.softmax);
}

// ------------------------------------------------------------------------------------------------------ inference

std::unique_ptr<Step> SequenceModel::PlanUsers(absl::Span<const uint32_t> users, Entities::For purpose) {
  auto step = std::make_unique<SequenceStep>();
  std::vector<const std::vector<uint32_t>*> parts = {&split_.train, &split_.validation};
  if (purpose == Entities::For::kNow) parts.push_back(&split_.test);
  std::optional<UserTimelines>& timelines = purpose == Entities::For::kNow ? all_ : known_;
  if (!timelines.has_value()) timelines.emplace(data_, time_, config_.split.seed, parts);
  for (const uint32_t user : users) AddQuery(user, *timelines, *step);
  return step;
}

std::unique_ptr<Step> SequenceModel::PlanGuest(absl::Span<const GuestRating> rated) {
  auto step = std::make_unique<SequenceStep>();
  const auto most = static_cast<size_t>(config_.model.sequence.length);
  if (rated.size() > most) rated.remove_prefix(rated.size() - most);
  Sequence& sequence = step->sequences.emplace_back();
  for (const GuestRating& one : rated) sequence.items.push_back(one.item);
  return step;
}

std::vector<torch::Tensor> SequenceModel::UserInputs(Step& filled) {
  const auto& step = static_cast<const SequenceStep&>(filled);
  const auto count = static_cast<int64_t>(step.sequences.size());
  const torch::Tensor movies = torch::zeros({count, config_.model.sequence.length}, torch::kLong);
  const torch::Tensor lengths = torch::zeros({count}, torch::kLong);
  for (int64_t i = 0; i < count; ++i) {
    const std::vector<uint32_t>& items = step.sequences[static_cast<size_t>(i)].items;
    std::copy(items.begin(), items.end(), movies[i].data_ptr<int64_t>());
    lengths[i] = static_cast<int64_t>(items.size());
  }
  return {movies, lengths};
}

// Of a user without movies, zeros, as in Evaluate.
torch::Tensor SequenceModel::EncodeUsers(const std::vector<torch::Tensor>& inputs) const {
  const torch::Tensor movies = inputs[0].to(device_);
  const torch::Tensor lengths = inputs[1].to(device_).unsqueeze(1);
  const int64_t length = config_.model.sequence.length;
  const torch::Tensor places = torch::arange(length, lengths.options()).unsqueeze(0);
  const torch::Tensor positions = (lengths - 1 - places).clamp_min(0);
  const torch::Tensor input = Embed(evaluated_, {movies.flatten(), positions.flatten()}, length);
  const torch::Tensor output = Network(input, evaluated_.dense, nullptr);
  const torch::Tensor last = (places == lengths - 1).to(output.scalar_type()).unsqueeze(2);
  return (output * last).sum(1).to(torch::kCPU);
}

std::vector<torch::Tensor> SequenceModel::MovieInputs() const {
  return {torch::arange(static_cast<int64_t>(data_.rated_items()), torch::kLong)};
}

torch::Tensor SequenceModel::EncodeMovies(const std::vector<torch::Tensor>& inputs) const {
  return evaluated_.items.index_select(0, inputs[0].to(device_)).to(torch::kCPU);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeSequence(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  return SequenceModel::Make(config, data, split, device);
}

}  // namespace marquee
