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

namespace marquee {

// Examples grouped by query: those of query q have the candidates positives[offsets[q]] .. positives[offsets[q + 1] - 1].
struct SoftmaxExamples {
  std::vector<uint32_t> offsets;    // queries + 1
  std::vector<uint32_t> positives;  // rows of the candidates
  std::vector<float> counts;        // by candidate: how often it stands among the classes; at least 1
  std::vector<float> bias;          // by candidate, added to its score; empty: none
};

// Groups examples by query: sets `offsets` and `positives` from each example's query, of `queries`, and candidate.
void GroupByQuery(absl::Span<const uint32_t> query_of, absl::Span<const uint32_t> candidate_of, size_t queries,
                  SoftmaxExamples& examples);

struct SoftmaxOptions {
  double temperature = 1.0;
  bool remove_accidental_hits = false;  // an example's own candidate counts once, however often it stands among the classes
};

struct SoftmaxResult {
  double loss = 0;                   // sum over examples
  torch::Tensor query_gradient;      // of the mean over examples
  torch::Tensor candidate_gradient;  // likewise
};

// `queries` is [q, d] and `candidates` [c, d], contiguous floats on one device.
SoftmaxResult SoftmaxLoss(const torch::Tensor& queries, const torch::Tensor& candidates, const SoftmaxExamples& examples,
                          const SoftmaxOptions& options);

// The two ways in which SoftmaxLoss does it, for tests: rows of a block by hand on the CPU, and tensor operations.
SoftmaxResult SoftmaxLossInBlocks(const torch::Tensor& queries, const torch::Tensor& candidates,
                                  const SoftmaxExamples& examples, const SoftmaxOptions& options);
SoftmaxResult SoftmaxLossWhole(const torch::Tensor& queries, const torch::Tensor& candidates, const SoftmaxExamples& examples,
                               const SoftmaxOptions& options);

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_SOFTMAX_LOSS_H_
