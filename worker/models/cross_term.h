#ifndef MARQUEE_WORKER_MODELS_CROSS_TERM_H_
#define MARQUEE_WORKER_MODELS_CROSS_TERM_H_

// DCN-v2 (Wang et al., "DCN V2: Improved deep & cross network", WWW 2021, arXiv 2008.13535): x0 is the concatenation of all
// features, and
//
//     x(l+1) = x0 * (W(l) x(l) + b(l)) + x(l)     elementwise; with rank r, W = U V, U [n, r] and V [r, n]
//
// The tower's layers are the deep part: stacked upon the last x, or parallel to the cross layers over x0. A last layer of width
// 1 takes the deep part's output, parallel together with the last x.
//
// Tables "tower_FEATURE", "tower_cross0_weight" (or "..._u" and "..._v") and "tower_cross0_bias", "tower_layer0_..." and
// "tower_output_...".

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/scorer.h"

namespace marquee {

// `model.cross` must be set.
absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeCrossTerm(const ModelConfig& model, Tower::Options options, const Dataset& data,
                                                         const Split& split, const torch::Device& device,
                                                         std::vector<TableDefinition>& tables);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_CROSS_TERM_H_
