#include "serving/fold_in.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace marquee {
namespace {

constexpr size_t kWidth = 4;
constexpr uint32_t kUsers = 400, kMovies = 60;

// Users and movies with random vectors, whose ratings are 3 plus their product, with a little noise.
class FoldInTest : public testing::Test {
 protected:
  FoldInTest() {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < kUsers * kWidth; ++i) users_.push_back(normal(random));
    for (size_t i = 0; i < kMovies * kWidth; ++i) movies_.push_back(0.5F * normal(random));
    for (uint32_t user = 0; user < kUsers; ++user) {
      for (uint32_t movie = user % 5; movie < kMovies; movie += 5) {
        examples_.push_back({.user = user, .movie = movie, .rating = 3 + Product(user, movie) + 0.1F * normal(random)});
      }
    }
  }

  float Product(uint32_t user, uint32_t movie) const {
    float sum = 0;
    for (size_t i = 0; i < kWidth; ++i) sum += users_[user * kWidth + i] * movies_[movie * kWidth + i];
    return sum;
  }
  FoldIn Make() const { return FoldIn(users_, movies_, kWidth, examples_, FoldIn::Wanted::kRating, 3); }
  float Predicted(const FoldIn::Fitted& fitted, uint32_t movie) const {
    float sum = 0;
    for (size_t i = 0; i < kWidth; ++i) sum += fitted.vector[static_cast<Eigen::Index>(i)] * movies_[movie * kWidth + i];
    return sum;
  }

  std::vector<float> users_, movies_;
  std::vector<FoldIn::Example> examples_;
};

TEST_F(FoldInTest, ManyRatingsFindTheUserTheyAreOf) {
  const FoldIn fold_in = Make();
  std::vector<GuestRating> rated;
  for (uint32_t movie = 0; movie < 30; ++movie) rated.push_back({.item = movie, .rating = 3 + Product(17, movie)});
  const FoldIn::Fitted fitted = fold_in.Fit(rated);
  for (uint32_t movie = 30; movie < kMovies; ++movie) EXPECT_NEAR(Predicted(fitted, movie), Product(17, movie), 0.1) << movie;
}

TEST_F(FoldInTest, WithoutRatingsItIsTheMean) {
  const FoldIn::Fitted fitted = Make().Fit({});
  for (size_t i = 0; i < kWidth; ++i) {
    float mean = 0;
    for (uint32_t user = 0; user < kUsers; ++user) mean += users_[user * kWidth + i] / kUsers;
    EXPECT_NEAR(fitted.vector[static_cast<Eigen::Index>(i)], mean, 1e-3);
  }
}

TEST_F(FoldInTest, SharesAndTheMeanAddUpToTheProduct) {
  const FoldIn fold_in = Make();
  const std::vector<GuestRating> rated = {{.item = 1, .rating = 5}, {.item = 2, .rating = 1}, {.item = 8, .rating = 4}};
  const FoldIn::Fitted fitted = fold_in.Fit(rated);
  const float of_mean = Predicted(fold_in.Fit({}), 33);
  float sum = of_mean;
  for (const float share : fold_in.Shares(fitted, 33)) sum += share;
  EXPECT_NEAR(sum, Predicted(fitted, 33), 1e-3);
}

}  // namespace
}  // namespace marquee
