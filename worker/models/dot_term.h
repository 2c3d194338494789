#ifndef MARQUEE_WORKER_MODELS_DOT_TERM_H_
#define MARQUEE_WORKER_MODELS_DOT_TERM_H_

// The product of a user's and an item's vector, each the output of a tower: matrix factorisation. With implicit feedback (see
// implicit.h) that is added to the user's vector, as SVD++ has it (Koren, "Factorization meets the neighborhood", KDD 2008).
//
// Towers run once for each distinct user and item of a step; the user's for each example if it has a column of interactions.
// Tables "user_...", "item_..." and "implicit_...".

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/scorer.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeDotTerm(const DotConfig& config, const Tower::Options& options,
                                                       const Dataset& data, const Split& split, const torch::Device& device,
                                                       std::vector<TableDefinition>& tables);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_DOT_TERM_H_
