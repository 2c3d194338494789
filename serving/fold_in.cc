#include "serving/fold_in.h"

#include <Eigen/Cholesky>
#include <algorithm>

namespace marquee {
namespace {

constexpr double kLeastNoise = 1e-4;  // as a share of the products' own mean square, so that the system can be solved

// The straight line of least squares; flat where more stars come with a lower score, which no rater would mean.
struct Line {
  double offset = 0;
  double slope = 0;
};

Line LineOf(absl::Span<const FoldIn::Example> examples, const std::vector<float>& scores) {
  const auto count = static_cast<double>(std::max<size_t>(examples.size(), 1));
  double rating = 0;
  double score = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    rating += examples[i].rating / count;
    score += scores[i] / count;
  }
  double both = 0;
  double square = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    both += (examples[i].rating - rating) * (scores[i] - score);
    square += (examples[i].rating - rating) * (examples[i].rating - rating);
  }
  const double slope = square > 0 ? std::max(both / square, 0.0) : 0.0;
  return {score - slope * rating, slope};
}

}  // namespace

FoldIn::FoldIn(absl::Span<const float> users, absl::Span<const float> movies, size_t width, absl::Span<const Example> examples,
               Wanted wanted, float constant)
    : movies_(Eigen::Map<const Matrix>(movies.data(), static_cast<Eigen::Index>(movies.size() / width),
                                       static_cast<Eigen::Index>(width))) {
  const Eigen::Map<const Matrix> all(users.data(), static_cast<Eigen::Index>(users.size() / width),
                                     static_cast<Eigen::Index>(width));
  mean_ = all.colwise().mean();
  const Matrix centred = all.rowwise() - mean_.transpose();
  covariance_ = centred.transpose() * centred / static_cast<float>(std::max<Eigen::Index>(all.rows() - 1, 1));

  std::vector<float> scores;
  for (const Example& example : examples) scores.push_back(all.row(example.user).dot(movies_.row(example.movie)));
  const Line line = wanted == Wanted::kRating ? Line{-constant, 1.0} : LineOf(examples, scores);
  offset_ = static_cast<float>(line.offset);
  slope_ = static_cast<float>(line.slope);
  double missed = 0;
  double squares = 0;
  for (size_t i = 0; i < examples.size(); ++i) {
    const double error = WantedOf(examples[i].rating) - scores[i];
    missed += error * error;
    squares += static_cast<double>(scores[i]) * scores[i];
  }
  if (missed > 0) noise_ = static_cast<float>(std::max(missed, kLeastNoise * squares) / static_cast<double>(examples.size()));
}

FoldIn::Fitted FoldIn::Fit(absl::Span<const GuestRating> ratings) const {
  const auto count = static_cast<Eigen::Index>(ratings.size());
  Eigen::MatrixXf rated(count, mean_.size());
  Eigen::VectorXf missing(count);
  for (Eigen::Index i = 0; i < count; ++i) {
    const GuestRating& one = ratings[static_cast<size_t>(i)];
    rated.row(i) = movies_.row(one.item);
    missing[i] = WantedOf(one.rating) - mean_.dot(movies_.row(one.item));
  }
  Fitted fitted{mean_, covariance_ * rated.transpose()};
  if (count == 0) return fitted;
  Eigen::MatrixXf system = rated * fitted.directions;
  system.diagonal().array() += noise_;
  const Eigen::VectorXf weights = system.ldlt().solve(missing);
  fitted.directions.array().rowwise() *= weights.transpose().array();
  fitted.vector += fitted.directions.rowwise().sum();
  return fitted;
}

std::vector<float> FoldIn::Shares(const Fitted& fitted, uint32_t movie) const {
  const Eigen::VectorXf shares = fitted.directions.transpose() * movies_.row(movie).transpose();
  return {shares.data(), shares.data() + shares.size()};
}

}  // namespace marquee
