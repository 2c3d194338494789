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

struct MetricSum {
  double sum = 0;
  double weight = 0;
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
// candidates for the unseen columns.
absl::Status AddTopK(absl::Span<const float> scores, uint32_t target, absl::Span<const uint32_t> seen, MetricSums& sums);

// Adds one prediction, clipped to [1, 5], to squared_error and absolute_error.
absl::Status AddRatingError(float prediction, float rating, MetricSums& sums);

// Means, with rmse in place of squared_error and mae of absolute_error.
std::map<std::string, double> Finish(const MetricSums& sums);

struct Baseline {
  std::string name;                       // "popularity", "bias only", "global mean"
  std::map<std::string, double> metrics;  // on test
};

// Popularity (scores = counts in train and validation; top_K columns) and bias-only (mean + user + item bias with shrinkage
// chosen on validation; rmse and mae).
absl::StatusOr<std::vector<Baseline>> Baselines(const Dataset& data, const Split& split);

}  // namespace marquee

#endif  // MARQUEE_DATASET_EVALUATION_H_
