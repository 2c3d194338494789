#ifndef MARQUEE_WORKER_MODELS_JOINT_H_
#define MARQUEE_WORKER_MODELS_JOINT_H_

// Retrieval and rating with one set of embeddings: a query and a candidate tower, and the heads of joint_heads.h over their
// outputs. The loss is the weighted sum of both tasks' means per example: as a sum over the batch, retrieval's would drown the
// other. Evaluation gives both tasks' metrics. See docs/models.md.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeJoint(const TrialConfig& config, const Dataset& data, const Split& split,
                                                 const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_JOINT_H_
