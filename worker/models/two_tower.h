#ifndef MARQUEE_WORKER_MODELS_TWO_TOWER_H_
#define MARQUEE_WORKER_MODELS_TWO_TOWER_H_

// Retrieval: a query tower over the user and a candidate tower over the item; the score is the product of their outputs.
// Trained with a softmax over the batch's candidates or over all rated items. See docs/models.md.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeTwoTower(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_TWO_TOWER_H_
