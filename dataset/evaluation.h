#ifndef MARQUEE_DATASET_EVALUATION_H_
#define MARQUEE_DATASET_EVALUATION_H_

// Ranking and error metrics as docs/evaluation.md defines them, as sums that are added over chunks and divided at the end; and
// the baselines that stand in every leaderboard. Functions are pure.

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "dataset/dataset.h"
#include "dataset/split.h"

namespace marquee {

inline constexpr std::array<int, 5> kTopK = {1, 5, 10, 50, 100};
inline constexpr std::array<int, 3> kHitRateK = {10, 50, 200};
inline constexpr int kNdcgK = 10;

// AUC is no sum over examples. What adds up is how many positive and negative ones have their logit in each bin of a fixed
// grid: 2^16 bins of width 1/1024 from -32 on; what lies beyond the ends counts as at the ends.
inline constexpr uint32_t kScoreBins = 1U << 16U;
uint32_t ScoreBinOf(float logit);  // not of a NaN

struct ScoreBin {
  uint64_t positives = 0;
  uint64_t negatives = 0;
};

struct MetricSum {
  double sum = 0;
  double weight = 0;
  std::map<uint32_t, ScoreBin> bins = {};  // of "auc" only

  void Add(const MetricSum& other);
};
using MetricSums = std::map<std::string, MetricSum>;  // by metric: "top_100", "squared_error" ...

// The items that a user has interacted with in given parts, for the `_unseen` columns.
class SeenItems {
 public:
  SeenItems(const Dataset& data, const std::vector<const std::vector<uint32_t>*>& parts);
  absl::Span<const uint32_t> Of(uint32_t user) const;  // item indices, ascending, each once

 private:
  std::vector<uint64_t> offsets_;
  std::vector<uint32_t> items_;
};

// The rank of `target` (0 = best) among `scores`: the number of strictly higher ones plus half of the equal ones, so that a
// constant model does not look perfect. An error if a score is NaN.
absl::StatusOr<double> RankOf(absl::Span<const float> scores, uint32_t target);

// Adds one test row to top_K and top_K_unseen for each K of kTopK: a hit if its rank is below K. `seen` is removed from the
// candidates for the unseen columns. Under a chronological split it adds to hr_K for each K of kHitRateK and to ndcg_10, which
// leave out what was seen.
absl::Status AddTopK(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen, MetricSums& sums,
                     bool chronological = false);

// What the one true item at `rank` gives to ndcg_10: 1 / log2(rank + 2) if the rank is below 10, and otherwise 0.
double NdcgOfRank(double rank);

// Adds one list, such as all test ratings of a user, to ndcg_10: of the list in the order of its scores, with the gain
// 2^rating - 1 at place i (from 0) divided by log2(i + 2), over that of the best order. Equal scores share their places' mean
// gain, as if their order were drawn by lot (McSherry and Najork, "Computing information retrieval performance measures
// efficiently in the presence of tied scores", ECIR 2008). An error if a score is NaN; lists without gain do not count.
// A list must be whole: chunks of a part cut through users.
absl::Status AddListNdcg(absl::Span<const float> scores, absl::Span<const float> ratings, MetricSums& sums);

// Predicted ratings are clipped to these.
inline constexpr float kLowestRating = 1;
inline constexpr float kHighestRating = 5;

// Adds one prediction, clipped to [1, 5], to squared_error and absolute_error.
absl::Status AddRatingError(float prediction, float rating, MetricSums& sums);

// Adds one prediction of a class to log_loss and auc. `logit` is the logarithm of the odds of a positive.
absl::Status AddBinary(float logit, bool positive, MetricSums& sums);

// log(1 + exp(-logit)) of a positive, log(1 + exp(logit)) of a negative; finite for every finite logit.
double LogisticLoss(double logit, bool positive);

// The probability that a positive has a higher score than a negative, equal ones counting half, where scores of one bin are
// equal. It differs from that of the scores themselves by at most half the share of (positive, negative) pairs whose two
// scores lie in one bin, and in practice by far less, since their order within a bin is nearly random. Needs both classes.
double Auc(const std::map<uint32_t, ScoreBin>& bins);

// Means, with rmse in place of squared_error and mae of absolute_error, and the AUC of its bins (none without both classes).
std::map<std::string, double> Finish(const MetricSums& sums);

struct Baseline {
  std::string name;                       // "popularity", "bias only", "global mean"
  std::map<std::string, double> metrics;  // on test
};

// Popularity (scores = counts in train and validation; top_K columns, and hr_K and ndcg_10 under a chronological split),
// bias-only (mean + user + item bias with shrinkage chosen on validation; rmse and mae) and the global mean. Under a binary
// split the latter two are of the log-odds: a logistic regression on user and item, and the share of positives; auc, log_loss.
absl::StatusOr<std::vector<Baseline>> Baselines(const Dataset& data, const Split& split);

}  // namespace marquee

#endif  // MARQUEE_DATASET_EVALUATION_H_
