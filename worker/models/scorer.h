#ifndef MARQUEE_WORKER_MODELS_SCORER_H_
#define MARQUEE_WORKER_MODELS_SCORER_H_

// What gives each (user, item) example a number, before any loss is taken of it: a sum of terms, one or more times over.
//
// A term is one file: BiasTerm (the mean is the scorer's), DotTerm (factors, with SVD++'s implicit feedback), DeepTerm (dense
// layers) and CrossTerm (DCN-v2). An ensemble is several members, each with terms and tables of its own, which differ in their
// initial values; each is trained on its own error, and their mean is the prediction.
//
// One step: Plan -> (rows are filled) -> Begin -> for each block of examples Score, then Backward with the gradient of the
// block that was scored last -> Finish. Evaluation: PlanDense -> KeepDense for all chunks; per chunk Plan -> BeginEvaluation ->
// Predict. Deterministic for a given number of threads. Not thread-safe.

#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/table.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/dense.h"
#include "worker/models/inference.h"
#include "worker/models/learning_rate.h"
#include "worker/models/tower.h"

namespace marquee {

// A term's part of one step: its inputs and what lies between forward and backward.
struct TermStep {
  virtual ~TermStep() = default;
  std::vector<DenseLeaves> leaves;  // of each of ScoreTerm::dense()
};

// See RatingInference::Decomposition; products are sums over these columns of users and movies.
struct TermSides {
  std::vector<torch::Tensor> users;
  std::vector<torch::Tensor> movies;
  std::vector<RatingInference::Sides> parts;
  std::vector<torch::Tensor> contexts;

  // The inputs of a tower, for a term that is a part.
  void AddPart(const Tower& tower, const torch::Tensor& inputs);
};

class ScoreTerm {
 public:
  virtual ~ScoreTerm() = default;

  // Appends the embedding rows that the examples need.
  virtual std::unique_ptr<TermStep> Plan(const Entities& examples, float learning_rate, Step& step) = 0;
  virtual std::vector<const DenseTensors*> dense() const { return {}; }

  // The values that blocks share, from rows of `step`. Dropout is on where there is a key.
  virtual void Begin(TermStep& /*term*/, const Step& /*step*/, const DropoutKey* /*dropout*/) const {}
  // Adds the scores of examples [begin, end) to `scores`, on the CPU.
  virtual void Score(TermStep& term, const Step& step, size_t begin, size_t end, const DropoutKey* dropout,
                     absl::Span<float> scores) const = 0;
  // Takes the gradients of the scores of the last block, and adds to those of rows and leaves, at Finish at the latest.
  virtual void Backward(TermStep& term, absl::Span<const float> gradients, Step& step) const = 0;
  virtual void Finish(TermStep& /*term*/, Step& /*step*/) const {}

  // After Begin without dropout: appends this term's columns to the sides of a product, or its inputs to those of parts.
  virtual void Decompose(TermStep& term, const Step& step, TermSides& sides) const = 0;
  // Appends the term's function, if it is a part. `leaves` are of the evaluation that has begun.
  virtual void AddParts(const std::vector<DenseLeaves>& /*leaves*/, std::vector<RatingInference::Part>& /*parts*/) const {}
};

// Adds a column of outputs [n, 1], of any device, to scores; and the gradient of such a column.
void AddScores(const torch::Tensor& outputs, absl::Span<float> scores);
torch::Tensor ScoreGradient(absl::Span<const float> gradients, const torch::Device& device);

// The mean of the training labels; of classes, its log-odds.
float MeanScore(const Dataset& data, const Split& split);

class Scorer {
 public:
  // The terms that `model` names. Adds their tables to `tables`. InvalidArgument names the term and what is wrong.
  static absl::StatusOr<Scorer> Make(const TrialConfig& config, const Dataset& data, const Split& split,
                                     const torch::Device& device, std::vector<TableDefinition>& tables);

  size_t members() const { return members_; }
  size_t block_size() const { return block_size_; }  // of examples that should go through at once

  struct Inputs {
    std::vector<std::unique_ptr<TermStep>> terms;  // of each member in turn
    size_t dense = 0;                              // position in Step::rows
  };
  // Histories and what examples leave out of them are as `purpose` says (Entities).
  Inputs Plan(absl::Span<const uint32_t> examples, Entities::For purpose, float learning_rate, Step& step);
  size_t PlanDense(float learning_rate, Step& step) const;

  // Training: `inputs.dense` must be set.
  void Begin(Inputs& inputs, Step& step, const DropoutKey& dropout) const;
  // Scores of examples [begin, end), of each member in turn.
  std::vector<float> Score(Inputs& inputs, const Step& step, size_t begin, size_t end, const DropoutKey& dropout) const;
  // The gradient of each of the scores of the last block.
  void Backward(Inputs& inputs, absl::Span<const float> gradients, Step& step) const;
  void Finish(Inputs& inputs, Step& step) const;

  // Keeps the dense tensors of the rows from `first` on for the chunks of an evaluation.
  void KeepDense(Step& filled, size_t first);
  bool has_dense() const { return kept_.size() == terms_.size(); }
  void BeginEvaluation(Inputs& inputs, const Step& step) const;
  // The mean of the members' scores.
  std::vector<float> Predict(Inputs& inputs, const Step& step, size_t begin, size_t end) const;

  // What the evaluated state says of users and items that need not have met (see RatingInference).
  Inputs PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items, Entities::For purpose, Step& step);
  RatingInference::Decomposition Decompose(Inputs& inputs, const Step& step) const;
  std::vector<RatingInference::Part> parts() const;

 private:
  explicit Scorer(const Dataset& data) : data_(data) {}

  Inputs PlanEntities(const Entities& entities, float learning_rate, Step& step);
  void AddTo(std::vector<float>& scores, Inputs& inputs, const Step& step, size_t begin, size_t end,
             const DropoutKey* dropout) const;
  absl::Status AddMember(const TrialConfig& config, const Tower::Options& options, const Split& split,
                         const torch::Device& device, std::vector<TableDefinition>& tables);

  const Dataset& data_;
  torch::Device device_ = torch::kCPU;
  size_t block_size_ = 0;
  size_t members_ = 0;
  float mean_ = 0;                                 // MeanScore, where there are biases
  std::vector<std::unique_ptr<ScoreTerm>> terms_;  // of each member in turn, equally many
  std::vector<std::vector<DenseLeaves>> kept_;     // by term, of the evaluation that has begun
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_SCORER_H_
