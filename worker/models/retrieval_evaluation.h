#ifndef MARQUEE_WORKER_MODELS_RETRIEVAL_EVALUATION_H_
#define MARQUEE_WORKER_MODELS_RETRIEVAL_EVALUATION_H_

// The ranking of all rated items for each query, and what it gives to top_K, hr_K, ndcg_10 and the loss: softmax cross-entropy
// of score / temperature over all rated items. Deterministic for a given number of threads. Not thread-safe.

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dataset/dataset.h"
#include "dataset/evaluation.h"
#include "dataset/split.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/top_k.h"

namespace marquee {

class RetrievalEvaluation {
 public:
  // `data` and `split` must outlive the object.
  RetrievalEvaluation(const Dataset& data, const Split& split, double temperature)
      : data_(data), split_(split), temperature_(temperature) {}

  // Seen are the items of train or, for test, of train and validation.
  void Begin(bool test);
  bool test() const { return test_; }

  // `queries` is [q, d] and `candidates` [rated items, d], on one device; `seen_bias` [rated items] on the CPU, added to the
  // scores of what the query's user has seen, or undefined. users[q] is the query's user; `examples` (its offsets and
  // positives, which are items) are what to find. OutOfRange for scores that are not finite.
  absl::StatusOr<MetricSums> Evaluate(const torch::Tensor& queries, const torch::Tensor& candidates,
                                      const torch::Tensor& seen_bias, absl::Span<const uint32_t> users,
                                      const SoftmaxExamples& examples) const;

 private:
  struct QueryResult {
    TopKCounts top_k;
    double loss = 0;
    bool finite = true;
  };

  QueryResult EvaluateQuery(absl::Span<float> scores, const torch::Tensor& seen_bias, uint32_t user,
                            absl::Span<const uint32_t> targets) const;

  const Dataset& data_;
  const Split& split_;
  const double temperature_;
  std::optional<SeenItems> seen_;
  bool test_ = false;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_RETRIEVAL_EVALUATION_H_
