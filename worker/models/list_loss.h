#ifndef MARQUEE_WORKER_MODELS_LIST_LOSS_H_
#define MARQUEE_WORKER_MODELS_LIST_LOSS_H_

// Losses of one list of items with scores s and labels y, and their gradients with respect to the scores. Pure functions.

#include "absl/types/span.h"

namespace marquee {

// The negative log-likelihood of the order by falling label under the Plackett-Luce model of the scores (Xia et al., "Listwise
// approach to learning to rank: theory and algorithm", ICML 2008):
//
//     sum over places k of: log(sum over places j >= k of exp(s(j))) - s(k)
//
// Equal labels stand in the order in which they are given. `gradients` is as long as the list, and is overwritten.
double ListMle(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients);

// The cross-entropy of the scores' softmax against the labels' softmax (ListNet with top-one probabilities: Cao et al.,
// "Learning to rank: from pairwise approach to listwise approach", ICML 2007).
double ListSoftmax(absl::Span<const float> scores, absl::Span<const float> labels, absl::Span<float> gradients);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_LIST_LOSS_H_
