#ifndef MARQUEE_WORKER_MODELS_BIAS_TERM_H_
#define MARQUEE_WORKER_MODELS_BIAS_TERM_H_

// b(u) + b(i): one number for each user and each item, which start at 0 (Koren, "Factorization meets the neighborhood", KDD
// 2008). Tables "bias_user_id" and "bias_movie_id", with the embeddings' optimizer but without max-norm.

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/models/scorer.h"

namespace marquee {

absl::StatusOr<std::unique_ptr<ScoreTerm>> MakeBiasTerm(Tower::Options options, const Dataset& data, const Split& split,
                                                        std::vector<TableDefinition>& tables);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_BIAS_TERM_H_
