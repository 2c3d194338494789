#ifndef MARQUEE_WORKER_MODELS_RANKING_H_
#define MARQUEE_WORKER_MODELS_RANKING_H_

// Rating prediction: one tower over user, item and interaction features with a last layer of width 1, and, if wanted, the mean
// rating plus a bias of the user and of the item. Trained on the squared error; or, under a binary split, on the logistic loss,
// and then the output is the log-odds of a positive. See docs/models.md.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeRanking(const TrialConfig& config, const Dataset& data, const Split& split,
                                                   const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_RANKING_H_
