#ifndef MARQUEE_WORKER_MODELS_RETRIEVAL_BATCH_H_
#define MARQUEE_WORKER_MODELS_RETRIEVAL_BATCH_H_

// What a softmax over candidates is asked about a batch: its queries, its candidates, and which belong together. Not
// thread-safe.

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/distinct.h"
#include "worker/models/history.h"
#include "worker/models/softmax_loss.h"
#include "worker/models/tower.h"

namespace marquee {

// The queries of some examples: their distinct users, or each of them where a query depends on more than the user.
struct Queries {
  std::vector<uint32_t> users;         // of each query
  std::vector<uint32_t> interactions;  // likewise; only where each example is a query
  std::vector<uint32_t> of_example;

  Entities entities() const { return {.count = users.size(), .interactions = interactions, .users = users}; }
};

// A query is made of users' and interactions' columns, a candidate of items'. InvalidArgument names the feature that is not.
absl::Status CheckQueryAndCandidate(const Tower& query, const Tower& candidate);

bool HasHistory(const Tower& query);

struct RetrievalBatch {
  std::vector<uint32_t> examples;  // what is to be found: the whole batch, or what the mask leaves out of histories
  Queries queries;
  std::vector<uint32_t> items;         // the candidates
  std::vector<uint32_t> candidate_of;  // by example: index into items
  SoftmaxExamples softmax;
};

class RetrievalBatches {
 public:
  // `data` must outlive the object. With `seen`, batches say which candidates are in each query's history.
  RetrievalBatches(const Dataset& data, const Split& split, const LossConfig& loss, bool seen);

  Queries QueriesOf(absl::Span<const uint32_t> examples, bool each_example);
  std::vector<uint32_t> AllItems() const;
  RetrievalBatch Make(absl::Span<const uint32_t> batch, const HistoryMask* mask, bool each_example);

 private:
  void AddSeen(const HistoryMask* mask, RetrievalBatch& batch) const;

  const Dataset& data_;
  const LossConfig loss_;
  std::vector<float> log_shares_;   // by item: of the training rows; empty without logq
  std::optional<History> history_;  // of training, where seen candidates are asked for
  DistinctCodes users_;
  DistinctCodes items_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_RETRIEVAL_BATCH_H_
