#ifndef MARQUEE_WORKER_MODELS_RANKING_H_
#define MARQUEE_WORKER_MODELS_RANKING_H_

// Rating prediction: a scorer's terms (see scorer.h) trained on each example's squared error; or, under a binary split, on the
// logistic loss, and then the score is the log-odds of a positive. DCN-v2 is the same with cross layers among the terms. See
// docs/models.md.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeRanking(const TrialConfig& config, const Dataset& data, const Split& split,
                                                   const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_RANKING_H_
