#ifndef MARQUEE_SCHEDULER_FEATURE_INTERACTIONS_H_
#define MARQUEE_SCHEDULER_FEATURE_INTERACTIONS_H_

// Which pairs of features a kept model with cross layers (DCN-v2) has learnt to use: the block norms of its first cross layer
// (common/cross_norms.h), read from its files.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/dataset.h"
#include "scheduler/model_folder.h"

namespace marquee {

struct FeatureInteractions {
  std::string trial;
  std::vector<std::string> features;       // in the order of the configuration
  std::vector<std::vector<double>> norms;  // [a][b]: how strongly feature b is multiplied with feature a; means over members
};

// `folder` holds a kept model whose configuration has `cross`; `data` is what it was trained on, and says how many columns a
// number takes. Errors name the folder and what does not fit.
absl::StatusOr<FeatureInteractions> LoadFeatureInteractions(const std::string& folder, const Dataset& data);

}  // namespace marquee

#endif  // MARQUEE_SCHEDULER_FEATURE_INTERACTIONS_H_
