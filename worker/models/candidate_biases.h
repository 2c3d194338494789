#ifndef MARQUEE_WORKER_MODELS_CANDIDATE_BIASES_H_
#define MARQUEE_WORKER_MODELS_CANDIDATE_BIASES_H_

// Numbers of the candidates that are added to a retrieval model's scores: one to all scores of a candidate, and one to those
// of queries in whose history the candidate is ("seen bias"). Both start at 0, and either may be absent.
//
// The first is a column of the candidates' vectors, met by a column of ones in the queries'.

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower.h"

namespace marquee {

class CandidateBiases {
 public:
  // Tables "bias_movie_id" and "seen_bias_movie_id", each after `prefix`.
  static absl::StatusOr<CandidateBiases> Make(bool bias, bool seen, const std::string& prefix, const TrialConfig& config,
                                              const Dataset& data, const Split& split, std::vector<TableDefinition>& tables);

  struct Inputs {
    size_t count = 0;  // candidates
    TowerInputs bias;
    TowerInputs seen;
  };
  Inputs Plan(absl::Span<const uint32_t> items, float learning_rate, Step& step);

  struct Pass {
    Tower::Pass bias;
    Tower::Pass seen;
    torch::Tensor seen_bias;  // [candidates], or undefined
  };
  Pass Forward(Inputs& inputs, const Step& step, const torch::Device& device) const;
  // Vectors with their column, without a history of gradients.
  torch::Tensor WithOnes(const torch::Tensor& queries) const;
  torch::Tensor WithBias(const torch::Tensor& candidates, const Pass& pass) const;

  // The loss's gradients, of vectors with columns, of those without.
  torch::Tensor QueryGradient(const SoftmaxResult& result) const { return WithoutColumn(result.query_gradient); }
  torch::Tensor CandidateGradient(const SoftmaxResult& result) const { return WithoutColumn(result.candidate_gradient); }
  // `scale` times the loss's gradients go to the step's rows.
  void Backward(const Pass& pass, const SoftmaxResult& result, double scale, Inputs& inputs, Step& step) const;

 private:
  torch::Tensor WithoutColumn(const torch::Tensor& gradient) const;

  std::optional<Tower> bias_;
  std::optional<Tower> seen_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_CANDIDATE_BIASES_H_
