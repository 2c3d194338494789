#ifndef MARQUEE_WORKER_MODELS_TOWER_PAIR_H_
#define MARQUEE_WORKER_MODELS_TOWER_PAIR_H_

// One member of a two-tower model: a query and a candidate tower with the candidates' biases, and the softmax that trains them.
//
// A step: Plan -> (rows are filled) -> Train. An evaluation: PlanCandidates -> BeginEvaluation; then, for each chunk,
// PlanQueries -> Queries. Not thread-safe.

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/models/candidate_biases.h"
#include "worker/models/learning_rate.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower.h"

namespace marquee {

class TowerPair {
 public:
  // Tables "query_...", "candidate_...", "bias_..." and "seen_bias_...", each after `prefix`.
  static absl::StatusOr<TowerPair> Make(const std::string& prefix, const TrialConfig& config, const Dataset& data,
                                        const Split& split, const torch::Device& device, std::vector<TableDefinition>& tables);

  const Tower& query() const { return query_; }

  struct Inputs {
    TowerInputs query;
    TowerInputs candidate;
    CandidateBiases::Inputs biases;
    size_t query_dense = 0;  // positions in rows
    size_t candidate_dense = 0;
  };
  Inputs Plan(const Entities& queries, absl::Span<const uint32_t> items, const LearningRates::Rates& rates, Step& step);
  // The sum of the losses of `examples`; gradients of their mean go to the step's rows. Of a loss that is not finite, none do.
  double Train(Inputs& inputs, const SoftmaxExamples& examples, const DropoutKey& dropout, Step& step) const;

  // No queries.
  Inputs PlanCandidates(absl::Span<const uint32_t> items, Step& step);
  void BeginEvaluation(Inputs& inputs, Step& filled);
  TowerInputs PlanQueries(const Entities& queries, Step& step) { return query_.Plan(queries, 0, step); }
  torch::Tensor Queries(TowerInputs& inputs, const Step& step) const;
  // Of the evaluation that has begun: vectors as wide as those of queries, and on the CPU, [candidates] or undefined.
  const torch::Tensor& candidates() const { return candidates_; }
  const torch::Tensor& seen_bias() const { return candidate_seen_bias_; }
  const DenseLeaves& query_dense() const { return query_dense_; }

  // See RetrievalInference, whose tensors are on the CPU. Movies have one input, or two: the second is their bias.
  torch::Tensor QueryInputs(TowerInputs& inputs, const Step& step) const { return query_.Inputs(inputs, step); }
  torch::Tensor EncodeQueries(const torch::Tensor& inputs) const;
  std::vector<torch::Tensor> CandidateInputs() const;
  torch::Tensor EncodeCandidates(absl::Span<const torch::Tensor> inputs) const;

 private:
  // The candidates' tower at work.
  struct Candidates {
    Tower::Pass tower;
    CandidateBiases::Pass biases;
    torch::Tensor vectors;  // with their bias
  };

  TowerPair(const LossConfig& loss, const torch::Device& device, Tower query, Tower candidate, CandidateBiases biases)
      : options_{.temperature = loss.temperature,
                 .remove_accidental_hits = loss.remove_accidental_hits,
                 .hard_negatives = loss.hard_negatives},
        device_(device),
        query_(std::move(query)),
        candidate_(std::move(candidate)),
        biases_(std::move(biases)) {}

  Candidates ForwardCandidates(Inputs& inputs, const DenseLeaves& dense, const DropoutKey* dropout, const Step& step) const;

  SoftmaxOptions options_;
  torch::Device device_;
  Tower query_;
  Tower candidate_;
  CandidateBiases biases_;

  // Of the evaluation that has begun.
  torch::Tensor candidates_;
  torch::Tensor candidate_seen_bias_;
  torch::Tensor candidate_inputs_;
  torch::Tensor candidate_bias_;  // [candidates, 1], or undefined
  DenseLeaves query_dense_;
  DenseLeaves candidate_dense_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TOWER_PAIR_H_
