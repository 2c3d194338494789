#ifndef MARQUEE_WORKER_MODELS_TOWER_H_
#define MARQUEE_WORKER_MODELS_TOWER_H_

// A stack of dense layers over the concatenated inputs of some features; without layers, the sum of the features' embeddings.
//
// Its tables are one for each embedded feature ("query_user_id"), and two for each layer: "query_layer0_weight" and
// "query_layer0_bias" (see DenseTensors).
//
// One step: Plan -> (rows are filled) -> Forward and Backward of any number of blocks -> Finish. Rows are gathered, and their
// gradients summed, on the CPU, where they are; the dense layers run on the device. Not thread-safe.

#include <torch/torch.h>

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/table.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/dense.h"
#include "worker/models/feature.h"
#include "worker/models/model.h"

namespace marquee {

struct TowerInputs {
  size_t count = 0;  // of entities
  std::vector<FeatureInput> features;
  bool begun = false;  // by a Forward, until Finish
};

class Tower {
 public:
  struct Options {
    std::string name;  // prefix of its tables, and its name in errors
    int dim = 0;       // of embeddings whose feature names none
    uint64_t seed = 0;
    Optimizer embedding_optimizer;
    Optimizer dense_optimizer;
    double embedding_learning_rate = 0;  // features with an optimizer of their own learn in proportion to it
    bool concatenate = false;            // without layers, the output is the concatenated inputs

    static Options FromConfig(const std::string& name, const TrialConfig& config);
  };

  // Adds the tower's tables to `tables`. InvalidArgument, naming tower and feature: no features, or the same one twice; without
  // layers, a number, or features of unlike dims; a layer of no or too many units; a feature that does not fit the data.
  static absl::StatusOr<Tower> Make(const TowerConfig& config, const Options& options, const Dataset& data, const Split& split,
                                    std::vector<TableDefinition>& tables);

  int input_width() const { return input_width_; }
  int width() const { return width_; }  // of its output
  const std::vector<Feature>& features() const { return features_; }
  // Where each feature's inputs begin in the concatenation.
  const std::vector<size_t>& feature_columns() const { return feature_columns_; }

  const DenseTensors& dense() const { return dense_; }

  // Appends the features' tables to the step's.
  TowerInputs Plan(const Entities& entities, float learning_rate, Step& step);
  // Appends the dense tensors' tables; returns the position of the first.
  size_t PlanDense(float learning_rate, Step& step) const { return dense_.Plan(learning_rate, step); }

  // The output for entities [begin, end), from rows of `step`. Dropout is on if there is a key.
  struct Pass {
    size_t begin = 0;
    torch::Tensor input;   // [n, inputs], a leaf
    torch::Tensor output;  // [n, width()]
  };
  Pass Forward(TowerInputs& inputs, size_t begin, size_t end, const Step& step, const DenseLeaves& dense,
               const torch::Device& device, const DropoutKey* dropout) const;
  // Adds to the gradients of the step's rows and of the dense leaves.
  void Backward(const Pass& pass, const torch::Tensor& output_gradient, TowerInputs& inputs, Step& step) const;
  // After the last Backward: what histories have gathered goes to the gradients of the step's rows.
  void Finish(TowerInputs& inputs, Step& step) const;

  // The same in two steps, without dropout, for what a trained model is asked: the inputs of all entities, [n, input_width()],
  // and the output that they give.
  torch::Tensor Inputs(TowerInputs& inputs, const Step& step) const;
  torch::Tensor Output(const torch::Tensor& inputs, const DenseLeaves& dense) const { return Layers(inputs, dense, nullptr); }
  // The columns of concatenated inputs that hang on one level, side by side, [n, 0] if there are none; and all of them again
  // from those of users, movies and interactions.
  torch::Tensor ColumnsOf(Column::Level level, const torch::Tensor& inputs) const;
  torch::Tensor Joined(const torch::Tensor& users, const torch::Tensor& movies, const torch::Tensor& context) const;
  // For each of `gradients` [n, input_width()], what each movie of the entity's history adds to its inputs, times the gradient,
  // in the order of History::Of. Of no movies without features of kind history.
  std::vector<std::vector<float>> HistoryShares(const TowerInputs& inputs, size_t entity, const torch::Tensor& gradients,
                                                const Step& step) const;

  // See DenseTensors.
  DenseLeaves Leaves(Step& step, size_t first, const torch::Device& device, bool train) const {
    return dense_.Leaves(step, first, device, train);
  }

 private:
  explicit Tower(const TowerConfig& config) : config_(config) {}

  absl::Status AddFeatures(const Options& options, const Dataset& data, const Split& split,
                           std::vector<TableDefinition>& tables);
  absl::Status CheckSum() const;
  void Begin(TowerInputs& inputs, const Step& step) const;
  torch::Tensor Gather(const TowerInputs& inputs, size_t begin, size_t end, const Step& step) const;
  torch::Tensor Layers(const torch::Tensor& input, const DenseLeaves& dense, const DropoutKey* dropout) const;
  void Scatter(TowerInputs& inputs, size_t begin, const torch::Tensor& input_gradient, Step& step) const;

  TowerConfig config_;
  std::vector<Feature> features_;
  std::vector<size_t> feature_tables_;   // by feature; no meaning for numbers
  std::vector<float> feature_rates_;     // its learning rate as a multiple of the embeddings'
  std::vector<size_t> feature_columns_;  // where its inputs begin
  DenseTensors dense_;
  bool sum_ = false;  // of the embeddings; else they are concatenated
  int input_width_ = 0;
  int width_ = 0;
};

// Clears the gradients of all rows to zeros, and checks that the caller has filled their values.
absl::Status BeginGradients(Step& step);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TOWER_H_
