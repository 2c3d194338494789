#include "worker/models/listwise.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "dataset/permutation.h"
#include "worker/models/learning_rate.h"
#include "worker/models/list_loss.h"
#include "worker/models/scorer.h"
#include "worker/models/scorer_inference.h"

namespace marquee {
namespace {

struct ListwiseStep : Step {
  Scorer::Inputs inputs;
  std::vector<float> labels;
  std::vector<size_t> offsets = {0};  // list i has the labels and scores [offsets[i], offsets[i + 1])
  DropoutKey dropout;
};

// The examples of each user in one part, ascending.
class UserExamples {
 public:
  UserExamples(const Dataset& data, const std::vector<uint32_t>& part) : examples_(data.users()) {
    for (const uint32_t example : part) examples_[data.user_of()[example]].push_back(example);
  }

  const std::vector<uint32_t>& Of(uint32_t user) const { return examples_[user]; }

 private:
  std::vector<std::vector<uint32_t>> examples_;
};

class Listwise : public Model {
 public:
  Listwise(const TrialConfig& config, const Dataset& data, const Split& split, Scorer scorer,
           std::vector<TableDefinition> tables)
      : config_(config),
        data_(data),
        split_(split),
        tables_(std::move(tables)),
        rates_(config.model, split.train.size()),
        scorer_(std::move(scorer)),
        inference_(scorer_, RatingInference::Meaning::kScore),
        parts_{UserExamples(data, split.train), UserExamples(data, split.validation), UserExamples(data, split.test)} {}

  const std::vector<TableDefinition>& tables() const override { return tables_; }
  absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) override;
  absl::StatusOr<double> Compute(Step& step) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() override;
  absl::Status BeginEvaluation(Step& filled, bool test) override;
  absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) override;
  absl::StatusOr<MetricSums> Evaluate(Step& filled) override;
  RatingInference* rating() override { return &inference_; }

 private:
  // Appends the list of one example.
  void AddList(uint32_t example, uint64_t key, std::vector<uint32_t>& listed) const;
  std::unique_ptr<ListwiseStep> PlanRows(absl::Span<const uint32_t> listed, std::vector<size_t> offsets, Entities::For purpose,
                                         float learning_rate);
  // The end of the block of whole lists that begins with list `first`.
  size_t EndOfBlock(const ListwiseStep& step, size_t first) const;
  double LossOf(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients) const;

  const TrialConfig config_;
  const Dataset& data_;
  const Split& split_;
  const std::vector<TableDefinition> tables_;
  const LearningRates rates_;
  Scorer scorer_;
  ScorerInference inference_;
  Entities::For evaluated_ = Entities::For::kValidation;
  const std::array<UserExamples, 3> parts_;  // train, validation, test
};

void Listwise::AddList(uint32_t example, uint64_t key, std::vector<uint32_t>& listed) const {
  const std::vector<uint32_t>& rated = parts_[0].Of(data_.user_of()[example]);
  const size_t size = std::min(rated.size(), static_cast<size_t>(config_.model.list_size));
  const size_t first = listed.size();
  listed.push_back(example);
  const Permutation drawn(rated.size(), key);
  for (size_t i = 0; listed.size() < first + size; ++i) {
    const uint32_t other = rated[drawn.At(i)];
    if (other != example) listed.push_back(other);
  }
  // Equal labels keep their order in a list: the example itself must not always be the first of them.
  std::swap(listed[first], listed[first + key % size]);
}

std::unique_ptr<ListwiseStep> Listwise::PlanRows(absl::Span<const uint32_t> listed, std::vector<size_t> offsets,
                                                 Entities::For purpose, float learning_rate) {
  auto step = std::make_unique<ListwiseStep>();
  step->labels.reserve(listed.size());
  for (const uint32_t example : listed) step->labels.push_back(split_.LabelOf(data_, example));
  step->offsets = std::move(offsets);
  step->inputs = scorer_.Plan(listed, purpose, learning_rate, *step);
  return step;
}

absl::StatusOr<std::unique_ptr<Step>> Listwise::Plan(absl::Span<const uint32_t> examples, uint32_t epoch,
                                                     uint64_t step_number) {
  const LearningRates::Rates rates = rates_.At(epoch, step_number);
  std::vector<uint32_t> listed;
  std::vector<size_t> offsets = {0};
  for (const uint32_t example : examples) {
    AddList(example, MixId(MixId(MixId(MixId(config_.seed) ^ epoch) ^ step_number) ^ example), listed);
    offsets.push_back(listed.size());
  }
  std::unique_ptr<ListwiseStep> step = PlanRows(listed, std::move(offsets), Entities::For::kTraining, rates.embedding);
  step->examples = examples.size();
  step->inputs.dense = scorer_.PlanDense(rates.dense, *step);
  step->dropout = {.seed = config_.seed, .epoch = epoch, .step = step_number};
  return step;
}

size_t Listwise::EndOfBlock(const ListwiseStep& step, size_t first) const {
  const size_t lists = step.offsets.size() - 1;
  size_t end = first + 1;
  while (end < lists && step.offsets[end + 1] - step.offsets[first] <= scorer_.block_size()) ++end;
  return end;
}

double Listwise::LossOf(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients) const {
  const double loss = config_.model.loss.kind == LossConfig::Kind::kListMle ? ListMle(scores, labels, gradients)
                                                                            : ListSoftmax(scores, labels, gradients);
  return loss / static_cast<double>(scores.size());
}

absl::StatusOr<double> Listwise::Compute(Step& planned) {
  auto& step = static_cast<ListwiseStep&>(planned);
  if (absl::Status status = BeginGradients(step); !status.ok()) return status;
  scorer_.Begin(step.inputs, step, step.dropout);
  const size_t lists = step.offsets.size() - 1;
  double loss = 0;
  DropoutKey dropout = step.dropout;
  for (size_t first = 0; first < lists; ++dropout.block) {
    const size_t last = EndOfBlock(step, first);
    const size_t begin = step.offsets[first];
    const size_t count = step.offsets[last] - begin;
    const std::vector<float> scores = scorer_.Score(step.inputs, step, begin, begin + count, dropout);
    std::vector<float> gradients(scores.size());
    for (size_t list = first; list < last; ++list) {
      const size_t size = step.offsets[list + 1] - step.offsets[list];
      const absl::Span<const float> labels(step.labels.data() + step.offsets[list], size);
      for (size_t member = 0; member < scorer_.members(); ++member) {
        const size_t at = member * count + step.offsets[list] - begin;
        const absl::Span<float> slope(gradients.data() + at, size);
        loss += LossOf({scores.data() + at, size}, labels, slope);
        for (float& g : slope) g /= static_cast<float>(size * step.examples);
      }
    }
    scorer_.Backward(step.inputs, gradients, step);
    first = last;
  }
  scorer_.Finish(step.inputs, step);
  loss /= static_cast<double>(scorer_.members());
  if (absl::Status status = CheckLoss(loss, step.dropout); !status.ok()) return status;
  return loss;
}

absl::StatusOr<std::unique_ptr<Step>> Listwise::PlanEvaluation() {
  auto step = std::make_unique<ListwiseStep>();
  step->inputs.dense = scorer_.PlanDense(0, *step);
  return step;
}

absl::Status Listwise::BeginEvaluation(Step& filled, bool test) {
  evaluated_ = test ? Entities::For::kTest : Entities::For::kValidation;
  scorer_.KeepDense(filled, static_cast<ListwiseStep&>(filled).inputs.dense);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Step>> Listwise::PlanEvaluationChunk(absl::Span<const uint32_t> examples) {
  std::vector<uint32_t> listed;
  std::vector<size_t> offsets = {0};
  for (const uint32_t example : examples) {
    for (const UserExamples& part : parts_) {
      const std::vector<uint32_t>& list = part.Of(data_.user_of()[example]);
      if (list.empty() || list.front() != example) continue;
      listed.insert(listed.end(), list.begin(), list.end());
      offsets.push_back(listed.size());
    }
  }
  std::unique_ptr<ListwiseStep> step = PlanRows(listed, std::move(offsets), evaluated_, 0);
  step->examples = examples.size();
  return step;
}

absl::StatusOr<MetricSums> Listwise::Evaluate(Step& filled) {
  const torch::NoGradGuard no_grad;
  auto& step = static_cast<ListwiseStep&>(filled);
  if (!scorer_.has_dense()) return absl::FailedPreconditionError("Evaluate before BeginEvaluation");
  scorer_.BeginEvaluation(step.inputs, step);
  MetricSums sums;
  MetricSum& loss = sums["loss"];
  const size_t lists = step.offsets.size() - 1;
  for (size_t first = 0; first < lists;) {
    const size_t last = EndOfBlock(step, first);
    const size_t begin = step.offsets[first];
    const std::vector<float> scores = scorer_.Predict(step.inputs, step, begin, step.offsets[last]);
    for (size_t list = first; list < last; ++list) {
      const size_t size = step.offsets[list + 1] - step.offsets[list];
      const absl::Span<const float> of_list(scores.data() + step.offsets[list] - begin, size);
      const absl::Span<const float> labels(step.labels.data() + step.offsets[list], size);
      for (const float score : of_list) {
        if (!std::isfinite(score)) return absl::OutOfRangeError(fmt::format("a score is {}", score));
      }
      if (absl::Status status = AddListNdcg(of_list, labels, sums); !status.ok()) return status;
      std::vector<float> gradients(size);
      loss.Add({.sum = LossOf(of_list, labels, absl::MakeSpan(gradients)), .weight = 1});
    }
    first = last;
  }
  return sums;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> MakeListwise(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device) {
  const LossConfig::Kind loss = config.model.loss.kind;
  if (loss != LossConfig::Kind::kListMle && loss != LossConfig::Kind::kListSoftmax) {
    return absl::InvalidArgumentError("loss: listwise takes list_mle or softmax");
  }
  if (config.model.list_size < 2) {
    return absl::InvalidArgumentError(fmt::format("list_size: {}; must be at least 2", config.model.list_size));
  }
  std::vector<TableDefinition> tables;
  absl::StatusOr<Scorer> scorer = Scorer::Make(config, data, split, device, tables);
  if (!scorer.ok()) return scorer.status();
  return std::make_unique<Listwise>(config, data, split, *std::move(scorer), std::move(tables));
}

}  // namespace marquee
