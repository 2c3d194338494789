#ifndef MARQUEE_TESTS_UNIT_SERVING_KEPT_MODELS_H_
#define MARQUEE_TESTS_UNIT_SERVING_KEPT_MODELS_H_

// Small models for tests, trained in this process on the small synthetic data and kept in folders, as a sweep leaves them.

#include <memory>
#include <string>

#include "common/trial_config.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "serving/serve.h"
#include "tests/unit/common/temporary_folder.h"

namespace marquee {

// A query made of nothing but the movies that the user has rated, and how.
TrialConfig HistoryTowers();
// A vector learnt for each user.
TrialConfig IdTowers();
// Ratings from factors and biases, and with dense layers over ids.
TrialConfig FactorRatings();
TrialConfig LayerRatings();

class KeptModels {
 public:
  KeptModels();

  // Trains and keeps it, the first time; its folder.
  std::string Folder(const TrialConfig& config);
  // Ready to answer.
  std::unique_ptr<ServedModels> Open(const TrialConfig& config, const std::string& predictions = "",
                                     Recommender::Index index = Recommender::Index::kExact);

 private:
  void Keep(const TrialConfig& config);

  TemporaryFolder folder_;
  std::string data_file_;
  std::shared_ptr<const Dataset> data_;
};

// One for all tests of the program.
KeptModels& Kept();

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_SERVING_KEPT_MODELS_H_
