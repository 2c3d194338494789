#ifndef MARQUEE_WORKER_MODELS_SOFTMAX_LOSS_H_
#define MARQUEE_WORKER_MODELS_SOFTMAX_LOSS_H_

// The softmax cross-entropy of a batch of (query, candidate) examples, and its gradients.
//
// Each example is one class among the batch's candidates: -log(exp(x_e) / sum over j of exp(x_j)), with x = score / temperature
// + bias. In a batch of 8192 examples only about 3,000 queries and candidates differ, so the sum runs over distinct candidates,
// each times its count: the same loss and gradients as over the 8192. A query's row of scores is computed once for all of
// its examples. Rows are worked on in blocks that stay in cache, from scores to gradients; the matrix is never held whole.
//
// Deterministic for a given number of threads.

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "dataset/dataset.h"
#include "dataset/split.h"

namespace marquee {

// Examples grouped by query: those of query q have the candidates positives[offsets[q]] .. positives[offsets[q + 1] - 1].
struct SoftmaxExamples {
  std::vector<uint32_t> offsets;    // queries + 1
  std::vector<uint32_t> positives;  // rows of the candidates
  std::vector<float> counts;        // by candidate: how often it stands among the classes; at least 1
  std::vector<float> bias;          // by candidate, added to its score; empty: none

  // Where there is a seen bias: it is added to the scores of query q and the candidates seen[seen_offsets[q]] ..
  // seen[seen_offsets[q + 1] - 1], each once.
  std::vector<uint32_t> seen_offsets;
  std::vector<uint32_t> seen;
};

// Groups examples by query: sets `offsets` and `positives` from each example's query, of `queries`, and candidate.
void GroupByQuery(absl::Span<const uint32_t> query_of, absl::Span<const uint32_t> candidate_of, size_t queries,
                  SoftmaxExamples& examples);

// The logarithm of each item's share of the training rows, as if items without any had one: minus it is the bias of the logQ
// correction (Yi et al., RecSys 2019).
std::vector<float> LogShares(const Dataset& data, const Split& split);

struct SoftmaxOptions {
  double temperature = 1.0;
  bool remove_accidental_hits = false;  // an example's own candidate counts once, however often it stands among the classes
  // Above 0: of a query's candidates that are no positive of it, only the so many that weigh most in its sum are classes, and
  // those equal to the last of them; besides them an example's own candidate alone. 0: all candidates are classes.
  int hard_negatives = 0;
};

struct SoftmaxResult {
  double loss = 0;                   // sum over examples
  torch::Tensor query_gradient;      // of the mean over examples
  torch::Tensor candidate_gradient;  // likewise
  torch::Tensor seen_bias_gradient;  // likewise; undefined without a seen bias
};

// `queries` is [q, d], `candidates` [c, d] and `seen_bias` [c] or undefined, contiguous floats on one device.
SoftmaxResult SoftmaxLoss(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                          const SoftmaxExamples& examples, const SoftmaxOptions& options);

// The two ways in which SoftmaxLoss does it, for tests: rows of a block by hand on the CPU, and tensor operations.
SoftmaxResult SoftmaxLossInBlocks(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                                  const SoftmaxExamples& examples, const SoftmaxOptions& options);
SoftmaxResult SoftmaxLossWhole(const torch::Tensor& queries, const torch::Tensor& candidates, const torch::Tensor& seen_bias,
                               const SoftmaxExamples& examples, const SoftmaxOptions& options);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_SOFTMAX_LOSS_H_
