#ifndef MARQUEE_WORKER_MODELS_DEEP_TERM_H_
#define MARQUEE_WORKER_MODELS_DEEP_TERM_H_

// A tower over columns of any level with a last layer of width 1 (He et al., "Neural collaborative filtering", WWW 2017, the
// MLP part). Tables "tower_...".

#include <torch/torch.h>

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/scorer.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeDeepTerm(const ModelConfig& model, Tower::Options options, const Dataset& data,
                                                        const Split& split, const torch::Device& device,
                                                        std::vector<TableDefinition>& tables);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_DEEP_TERM_H_
