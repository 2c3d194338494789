#ifndef MARQUEE_WORKER_MODELS_HISTORY_VALUES_H_
#define MARQUEE_WORKER_MODELS_HISTORY_VALUES_H_

// What a history feature reads: users' histories as far as they are known, and the weight of each of their movies.
//
// Weights other than 1 are (x - mean) / deviation over the training interactions, and 0 where x is not known. For `rating`, x
// is the rating; for `deviation`, what it says beyond its movie and user (deviations.h). For `age`, x is log(1 + seconds) from
// the rating to the user's last one in the same history. Not thread-safe: histories of more than train are made when they are
// first asked for.

#include <cmath>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/deviations.h"
#include "worker/models/history.h"

namespace marquee {

class HistoryValues {
 public:
  struct Part {
    History history;
    std::vector<float> weights;  // as history.interactions(); empty: 1
  };

  // InvalidArgument for a time column that is none, where one is needed. `data` and `split` must outlive the object.
  static absl::StatusOr<HistoryValues> Make(const FeatureConfig& config, const Dataset& data, const Split& split);

  const Part& part(Known known);
  // Of a guest's ratings, whose times are not known. Empty: 1.
  std::vector<float> WeightsOf(absl::Span<const GuestRating> rated) const;
  const Dataset& data() const { return *data_; }

 private:
  HistoryValues(FeatureConfig::Weight weight, const Column* time, const Dataset& data, const Split& split);

  Part MakePart(const std::vector<const std::vector<uint32_t>*>& parts) const;
  std::vector<double> Raw(const History& history) const;  // NaN where not known
  float Normalized(double raw) const { return std::isnan(raw) ? 0.0F : static_cast<float>((raw - mean_) / deviation_); }

  FeatureConfig::Weight weight_;
  const Column* time_;  // kAge
  const Dataset* data_;
  const Split* split_;
  std::optional<Deviations> deviations_;  // kDeviation
  double mean_ = 0;
  double deviation_ = 1;
  Part train_;
  std::optional<Part> train_and_validation_;
  std::optional<Part> all_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_HISTORY_VALUES_H_
