#ifndef MARQUEE_SERVING_FOLD_IN_H_
#define MARQUEE_SERVING_FOLD_IN_H_

// A user's vector for somebody who is not among the users, fitted to ratings of a few movies: regularised least squares,
//
//     the v that makes  sum over ratings of (v . movie - wanted)^2 / noise + (v - mean)' covariance^-1 (v - mean)  least
//
// with the mean and the covariance of the users' vectors, and the mean square of what their scores miss as the noise: no more
// is assumed than that a newcomer is one of these users. Without ratings it is the users' mean. It is found in the space of the
// ratings (Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 2.1), so that columns in which all
// users are alike, such as that of a bias, need no care. Immutable.

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "worker/models/history.h"

namespace marquee {

class FoldIn {
 public:
  // What a rating wants of the product: to be the rating less `constant`, or whatever straight line says best which product the
  // users' own ratings have come with.
  enum class Wanted { kRating, kScore };

  struct Example {
    uint32_t user = 0;
    uint32_t movie = 0;
    float rating = 0;
  };

  // Vectors are rows of `width`; `examples` are the users' own ratings, best such as the model was not trained on.
  FoldIn(absl::Span<const float> users, absl::Span<const float> movies, size_t width, absl::Span<const Example> examples,
         Wanted wanted, float constant = 0);

  // The vector, and what each rating adds to the mean: columns, in the order of the ratings.
  struct Fitted {
    Eigen::VectorXf vector;
    Eigen::MatrixXf directions;
  };
  Fitted Fit(absl::Span<const GuestRating> ratings) const;

  // How much each rating adds to the product with a movie. Together with the mean's product, it is the whole of it.
  std::vector<float> Shares(const Fitted& fitted, uint32_t movie) const;

  float WantedOf(float rating) const { return offset_ + slope_ * rating; }
  float noise() const { return noise_; }

 private:
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  Matrix movies_;
  Eigen::VectorXf mean_;
  Eigen::MatrixXf covariance_;
  float offset_ = 0;
  float slope_ = 1;
  float noise_ = 1;
};

}  // namespace marquee

#endif  // MARQUEE_SERVING_FOLD_IN_H_
