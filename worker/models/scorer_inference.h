#ifndef MARQUEE_WORKER_MODELS_SCORER_INFERENCE_H_
#define MARQUEE_WORKER_MODELS_SCORER_INFERENCE_H_

// What a trained scorer says of pairs, for the models that are a scorer and a loss.

#include <memory>
#include <vector>

#include "worker/models/inference.h"
#include "worker/models/scorer.h"

namespace marquee {

class ScorerInference : public RatingInference {
 public:
  // `scorer` must outlive the object.
  ScorerInference(Scorer& scorer, Meaning meaning) : scorer_(scorer), meaning_(meaning) {}

  Meaning meaning() const override { return meaning_; }
  std::unique_ptr<Step> PlanPairs(absl::Span<const uint32_t> users, absl::Span<const uint32_t> items,
                                  Entities::For purpose) override;
  std::vector<float> Predict(Step& filled) override;
  Decomposition Decompose(Step& filled) override;
  std::vector<Part> parts() const override { return scorer_.parts(); }

 private:
  Scorer& scorer_;
  Meaning meaning_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_SCORER_INFERENCE_H_
