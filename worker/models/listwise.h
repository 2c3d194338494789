#ifndef MARQUEE_WORKER_MODELS_LISTWISE_H_
#define MARQUEE_WORKER_MODELS_LISTWISE_H_

// Ranks what a user has rated: a scorer's terms (see scorer.h) trained on lists of one user's items (see list_loss.h).
//
// Each example of a batch makes a list: itself and up to list_size - 1 others that its user has rated in the training rows,
// drawn without replacement by (seed, epoch, step, example). So lists do not depend on which of a user's examples a batch
// holds, and a user counts in proportion to what it has rated. A list's loss is divided by its length.
//
// Evaluation is of whole lists: all rows of a user in a part, in the chunk that holds the first of them. Metrics are ndcg_10
// and the loss, of the whole list, as a mean over users. See docs/models.md.

#include <torch/torch.h>

#include <memory>

#include "absl/status/statusor.h"
#include "worker/models/model.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<Model>> MakeListwise(const TrialConfig& config, const Dataset& data, const Split& split,
                                                    const torch::Device& device);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_LISTWISE_H_
