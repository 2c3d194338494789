#ifndef MARQUEE_WORKER_MODELS_MODEL_H_
#define MARQUEE_WORKER_MODELS_MODEL_H_

// A model over pulled rows: what a worker computes between pull and push. Knows nothing of the network.
//
// One training step is Plan (which rows, each once) -> the caller fills the rows' values -> Compute (loss, gradients of the
// same rows). Plans are independent of each other, so that the next one's rows can be pulled while this one computes. Dense
// tensors are tables of blocks and come in the same way. Results depend on the values and (seed, epoch, step) alone.
//
// Not thread-safe. Errors: InvalidArgument for a configuration that does not fit the data (a feature that is no column, named);
// a loss or score that is not finite is OutOfRange.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/id.h"
#include "common/table.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/evaluation.h"
#include "dataset/split.h"

namespace marquee {

// One table's rows in a step.
struct TableRows {
  size_t table = 0;  // index into Model::tables()
  uint32_t dim = 0;
  float learning_rate = 0;       // for the push, by the schedule
  std::vector<Id> ids;           // each once
  std::vector<float> values;     // ids.size() x dim: filled by the caller
  std::vector<float> gradients;  // likewise: filled by Compute
};

class Step {
 public:
  virtual ~Step() = default;
  std::vector<TableRows> rows;  // each table at most once
  size_t examples = 0;
};

class RetrievalInference;
class RatingInference;

class Model {
 public:
  virtual ~Model() = default;

  // Tables to be created, dense ones included; without numbers and trial prefix.
  virtual const std::vector<TableDefinition>& tables() const = 0;

  // Whether an epoch's examples should come user by user (worker/models/training_order.h), and not one by one in a random
  // order.
  virtual bool users_together() const { return false; }

  // `examples` are interaction indices. `step` counts from 0 within the epoch.
  virtual absl::StatusOr<std::unique_ptr<Step>> Plan(absl::Span<const uint32_t> examples, uint32_t epoch, uint64_t step) = 0;

  // Sum of the losses of the step's examples; the gradients are of their mean. Where only some examples are targets (masked
  // histories), the mean over those times the number of all.
  virtual absl::StatusOr<double> Compute(Step& step) = 0;

  // Evaluation of one state of the tables. First the rows that all chunks need (candidates, dense tensors): plan, fill, begin.
  // Then per chunk: plan, fill, evaluate. Evaluation plans have no gradients, and dropout is off.
  virtual absl::StatusOr<std::unique_ptr<Step>> PlanEvaluation() = 0;
  virtual absl::Status BeginEvaluation(Step& filled, bool test) = 0;  // test: seen = train and validation, else train
  virtual absl::StatusOr<std::unique_ptr<Step>> PlanEvaluationChunk(absl::Span<const uint32_t> examples) = 0;
  virtual absl::StatusOr<MetricSums> Evaluate(Step& filled) = 0;

  // What the trained model can be asked (worker/models/inference.h), of the state that BeginEvaluation has begun; or null.
  virtual RetrievalInference* retrieval() { return nullptr; }
  virtual RatingInference* rating() { return nullptr; }
};

// `device` is "cpu", "cuda" or "auto" (cuda where there is one). `data` and `split` must outlive the model.
absl::StatusOr<std::unique_ptr<Model>> MakeModel(const TrialConfig& config, const Dataset& data, const Split& split,
                                                 const std::string& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_MODEL_H_
