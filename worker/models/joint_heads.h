#ifndef MARQUEE_WORKER_MODELS_JOINT_HEADS_H_
#define MARQUEE_WORKER_MODELS_JOINT_HEADS_H_

// The heads of a joint model over a query's and a candidate's vector (q and c, the towers' outputs, shared by both tasks):
//
//     retrieval   (A q) . (B c)
//     rating      [mean + b(u) + b(i)] + [p(u) . s(i)] + [(C q) . (D c)] + [layers over C q and D c together]
//
// p and s are factors of the rating's own, with implicit feedback if that is wanted (dot_term.h). A, B, C and D are a
// projection for each task and side, and absent where its width is 0. After the multi-task example of TensorFlow Recommenders;
// projections keep one task's geometry from being the other's.
//
// Tables "retrieval_query_weight", "retrieval_candidate_weight", "rating_query_weight", "rating_candidate_weight",
// "rating_layer0_weight" ..., and those of BiasTerm and DotTerm.

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/models/inference.h"
#include "worker/models/scorer.h"

namespace marquee {

class JointHeads {
 public:
  // `options` are of the model's tables, with an empty name.
  static absl::StatusOr<JointHeads> Make(const TrialConfig& config, const Tower::Options& options, int query_width,
                                         int candidate_width, const Dataset& data, const Split& split,
                                         const torch::Device& device, std::vector<TableDefinition>& tables);

  // The rating's own terms as a model: their optimizer and their learning rates.
  static ModelConfig OwnModel(const ModelConfig& model);

  // The rated examples of a step: rows of the query and candidate vectors, and what is wanted.
  struct Inputs {
    std::vector<uint32_t> query_of;
    std::vector<uint32_t> candidate_of;
    std::vector<float> labels;
    Scorer::Inputs own;
  };
  // Appends the rows of the rating's own terms, which train at `learning_rate`.
  Inputs Plan(absl::Span<const uint32_t> examples, std::vector<uint32_t> query_of, std::vector<uint32_t> candidate_of,
              std::vector<float> labels, Entities::For purpose, float learning_rate, Step& step);
  const DenseTensors& dense() const { return dense_; }
  // Appends the dense rows of those terms, and returns their position.
  size_t PlanOwnDense(float learning_rate, Step& step) const;

  struct Vectors {
    torch::Tensor query;
    torch::Tensor candidate;
  };
  Vectors Retrieval(const Vectors& shared, const DenseLeaves& leaves) const;
  Vectors Rating(const Vectors& shared, const DenseLeaves& leaves) const;
  // Ratings of the inputs' examples but for the rating's own terms: [n, 1], from rating vectors.
  torch::Tensor Products(const Inputs& inputs, const Vectors& rating, const DenseLeaves& leaves,
                         const DropoutKey* dropout) const;
  // The sums of its own terms, of each example, in training; `inputs.own.dense` must be set.
  std::vector<float> OwnScores(Inputs& inputs, Step& step, const DropoutKey& dropout) const;
  void BackwardOwn(Inputs& inputs, absl::Span<const float> gradients, Step& step) const;
  // And in evaluation, after KeepOwnDense.
  void KeepOwnDense(Step& filled, size_t first);
  std::vector<float> PredictOwn(Inputs& inputs, const Step& step) const;

  // See RatingInference: pairs of user i and item i, of whose vectors row i is given.
  Inputs PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items, Entities::For purpose, Step& step);
  RatingInference::Decomposition Decompose(Inputs& inputs, const Vectors& rating, const Step& step) const;
  std::vector<RatingInference::Part> parts(const DenseLeaves& leaves) const;

 private:
  torch::Tensor Layers(const torch::Tensor& query, const torch::Tensor& candidate, const DenseLeaves& leaves,
                       const DropoutKey* dropout) const;
  explicit JointHeads(const ModelConfig& model) : retrieval_(model.retrieval), rating_(model.rating) {}

  RetrievalHeadConfig retrieval_;
  RatingHeadConfig rating_;
  torch::Device device_ = torch::kCPU;
  DenseTensors dense_;
  size_t rating_first_ = 0;  // leaves before the rating's
  size_t layers_first_ = 0;
  size_t layers_ = 0;
  std::optional<Scorer> own_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_JOINT_HEADS_H_
