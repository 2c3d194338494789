#ifndef MARQUEE_WORKER_MODELS_SEQUENCE_H_
#define MARQUEE_WORKER_MODELS_SEQUENCE_H_

// Which movie a user rates next: causal self-attention over the last movies that the user has rated, in time order (Kang and
// McAuley, "Self-attentive sequential recommendation", ICDM 2018), with a softmax over all movies at all positions, as Petrov
// and Macdonald ("gSASRec", RecSys 2023) and Tikhonovich et al. ("eSASRec", RecSys 2025) found to be better than one negative
// for each positive. See docs/models.md.
//
// It trains on whole users: an epoch's examples come user by user, each with all of its user's sequence as input, and the
// interactions of the batch as targets.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeSequence(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_SEQUENCE_H_
