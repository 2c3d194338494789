#ifndef MARQUEE_WORKER_MODELS_DEVIATIONS_H_
#define MARQUEE_WORKER_MODELS_DEVIATIONS_H_

// What a rating says beyond its movie and its user: the label less mean, item's and user's deviation over the training rows,
// both shrunk (Koren, "Factorization meets the neighborhood", KDD 2008, baseline estimates). Immutable.

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "dataset/dataset.h"
#include "dataset/split.h"
#include "worker/models/history.h"

namespace marquee {

class Deviations {
 public:
  // `data` and `split` must outlive the object.
  Deviations(const Dataset& data, const Split& split);

  // Of any interaction; of users and items without training rows, less the mean alone.
  float Of(uint32_t interaction) const;
  // Of each of a guest's ratings, with a deviation of their own made of them.
  std::vector<float> OfGuest(absl::Span<const GuestRating> rated) const;

 private:
  const Dataset& data_;
  const Split& split_;
  double mean_ = 0;
  std::vector<float> items_;
  std::vector<float> users_;
};

}  // namespace marquee

#endif  // MARQUEE_WORKER_MODELS_DEVIATIONS_H_
