#ifndef MARQUEE_WORKER_MODELS_DENSE_H_
#define MARQUEE_WORKER_MODELS_DENSE_H_

// Dense tensors as tables of blocks: a matrix [units, inputs] has a row for each unit with the weights into it, a vector is one
// row. So max-norm and clipping bound each unit's incoming weights. Vectors (biases) are under no max-norm and no L2.
//
// One step: Plan -> (rows are filled) -> Leaves -> forward and backward through LibTorch -> CollectGradients. On the CPU leaves
// are the step's values themselves, and what backward adds lands in the step's gradients; elsewhere CollectGradients copies
// them there. Not thread-safe.

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/table.h"
#include "worker/models/model.h"

namespace marquee {

// What makes a step's dropout masks, and nothing else.
struct DropoutKey {
  uint64_t seed = 0;
  uint32_t epoch = 0;
  uint64_t step = 0;
  uint64_t block = 0;  // of the step's examples
};

// 1 / (1 - rate) where an input is kept and 0 where it is dropped, [rows, columns] on the CPU. Counter-based, so that it is the
// same on every device. `number` tells the masks of one key apart.
torch::Tensor DropoutMask(int64_t rows, int64_t columns, double rate, const DropoutKey& key, size_t number);

// Dense tensors as leaves over the rows of a step.
using DenseLeaves = std::vector<torch::Tensor>;

class DenseTensors {
 public:
  struct Options {
    std::string name;  // prefix of its tables
    uint64_t seed = 0;
    Optimizer optimizer;
  };

  // Each adds a table to `tables`; leaves come in the order of these calls. Weights start uniform in
  // +-sqrt(6 / (inputs + units)) (Glorot and Bengio, 2010), biases at zero. InvalidArgument: no or too many inputs or units.
  absl::Status AddWeight(const Options& options, const std::string& name, int inputs, int units,
                         std::vector<TableDefinition>& tables);
  absl::Status AddBias(const Options& options, const std::string& name, int units, std::vector<TableDefinition>& tables);

  // A weight and a bias for each layer: "NAME_layer0_weight", "NAME_layer0_bias" ...
  absl::Status AddLayers(const Options& options, int inputs, const std::vector<int>& widths,
                         std::vector<TableDefinition>& tables);

  size_t size() const { return tensors_.size(); }

  // Appends the tensors' tables to the step's; returns the position of the first.
  size_t Plan(float learning_rate, Step& step) const;
  DenseLeaves Leaves(Step& step, size_t first, const torch::Device& device, bool train) const;

 private:
  struct Tensor {
    size_t table = 0;
    int inputs = 0;
    int units = 0;  // 0: a vector
  };

  std::vector<Tensor> tensors_;
};

// Copies that outlive the step, without gradients.
DenseLeaves Kept(const DenseLeaves& leaves);

void CollectGradients(const DenseLeaves& leaves, size_t first, Step& step);

// `layers` pairs of weight and bias from leaves[first] on: ReLU and dropout (where there is a key) after each but the last.
// `first_mask` numbers the dropout masks, which must differ among the stacks of one model.
torch::Tensor ForwardLayers(const torch::Tensor& input, const DenseLeaves& leaves, size_t first, size_t layers, double dropout,
                            const DropoutKey* key, size_t first_mask = 0);

// OutOfRange, naming the step, for a loss that is not finite.
absl::Status CheckLoss(double loss, const DropoutKey& step);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_DENSE_H_
