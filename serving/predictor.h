#ifndef MARQUEE_SERVING_PREDICTOR_H_
#define MARQUEE_SERVING_PREDICTOR_H_

// A rating model ready to predict for one user after the other: what it makes of movies is computed once, of the user once for
// each question (RatingInference::Decomposition). Not thread-safe.

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "serving/kept_model.h"
#include "worker/models/inference.h"

namespace marquee {

class Predictor {
 public:
  // The model's side of one user.
  struct User {
    torch::Tensor factors;              // [1, d], or undefined
    std::vector<torch::Tensor> inputs;  // of each part, [1, n]
  };

  // Both must outlive the object.
  Predictor(KeptModel& model, RatingInference& rating);

  User Of(uint32_t user);
  // The first `count` users' factors, [count, d].
  torch::Tensor FactorsOfUsers(size_t count);
  std::vector<float> Predict(const User& user, absl::Span<const uint32_t> movies) const;

  // Whether a prediction is no more than the constant and the product of factors.
  bool only_factors() const { return parts_.empty() && factors_.defined(); }
  double constant() const { return constant_; }
  // What the model makes of movies, [movies, d]: factors, or else what its layers are given of them. Undefined: nothing.
  torch::Tensor MovieVectors() const;

 private:
  RatingInference::Decomposition Decompose(const std::vector<uint32_t>& users, const std::vector<uint32_t>& movies);

  KeptModel& model_;
  RatingInference& rating_;
  const std::vector<RatingInference::Part> parts_;
  double constant_ = 0;
  torch::Tensor factors_;              // of movies
  std::vector<torch::Tensor> inputs_;  // likewise, of each part
  std::vector<torch::Tensor> contexts_;
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_PREDICTOR_H_
