#include "serving/recommender.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <thread>

#include "dataset/evaluation.h"
#include "tests/unit/serving/kept_models.h"

namespace marquee {
namespace {

using testing::HasSubstr;

constexpr uint32_t kAsked = 7;  // a user

// What a user of the data has said, as a guest would say it.
std::vector<GuestRating> RatingsOf(const ServedModels& served, uint32_t user) {
  std::vector<GuestRating> ratings;
  const Dataset& data = served.model().data();
  for (size_t i = 0; i < data.user_of().size(); ++i) {
    if (data.user_of()[i] == user) ratings.push_back({.item = data.item_of()[i], .rating = data.label()[i]});
  }
  return ratings;
}

std::vector<uint32_t> MoviesOf(const std::vector<Recommendation>& recommendations) {
  std::vector<uint32_t> movies;
  for (const Recommendation& recommendation : recommendations) movies.push_back(recommendation.movie);
  return movies;
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  const double both = std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  return both / std::sqrt(std::inner_product(a.begin(), a.end(), a.begin(), 0.0) *
                          std::inner_product(b.begin(), b.end(), b.begin(), 0.0));
}

// A model that knows users by their ratings alone cannot tell the two apart.
TEST(RecommenderTest, AGuestWithAUsersRatingsIsThatUserToAModelOfHistories) {
  const auto served = Kept().Open(HistoryTowers());
  const Recommender& recommender = served->recommender();
  for (const uint32_t user : {0U, kAsked, 599U}) {
    const std::vector<GuestRating> ratings = RatingsOf(*served, user);
    const std::vector<float> of_user = recommender.VectorOf(user);
    const std::vector<float> of_guest = recommender.GuestVectorOf(ratings);
    ASSERT_EQ(of_user.size(), of_guest.size());
    for (size_t i = 0; i < of_user.size(); ++i) EXPECT_NEAR(of_user[i], of_guest[i], 1e-4) << user;

    const auto to_user = recommender.Recommend(user, {.unseen = true});
    const auto to_guest = recommender.RecommendToGuest(ratings, {});
    EXPECT_EQ(MoviesOf(to_user), MoviesOf(to_guest));
    ASSERT_EQ(to_user.size(), 10U);
    for (size_t i = 0; i < to_user.size(); ++i) {
      ASSERT_FALSE(to_user[i].reasons.empty());
      EXPECT_NEAR(to_user[i].reasons[0].share, to_guest[i].reasons[0].share, 1e-3);
    }
  }
}

// A vector that was learnt for the user, and one that is fitted to the same ratings: not the same, but off the users' mean in a
// like direction, and not in that of somebody else.
TEST(RecommenderTest, AGuestWithAUsersRatingsIsLikeThatUserToAModelOfIds) {
  const auto served = Kept().Open(IdTowers());
  const Recommender& recommender = served->recommender();
  const std::vector<float> mean = recommender.GuestVectorOf({});  // of a guest who has said nothing
  const auto off_mean = [&](std::vector<float> vector) {
    for (size_t i = 0; i < vector.size(); ++i) vector[i] -= mean[i];
    return vector;
  };
  double own = 0;
  double other = 0;
  for (uint32_t user = 0; user < 100; ++user) {
    const std::vector<float> of_user = off_mean(recommender.VectorOf(user));
    own += Cosine(of_user, off_mean(recommender.GuestVectorOf(RatingsOf(*served, user)))) / 100;
    other += Cosine(of_user, off_mean(recommender.GuestVectorOf(RatingsOf(*served, user + 100)))) / 100;
  }
  EXPECT_GT(own, other + 0.1);
  EXPECT_GT(own, 0.1);
  EXPECT_EQ(recommender.guest_reason_kind(), Recommender::ReasonKind::kHistory);
  EXPECT_EQ(recommender.reason_kind(), Recommender::ReasonKind::kLikeness);
}

TEST(RecommenderTest, AGuestWithAUsersRatingsIsPredictedLikeThatUser) {
  const auto served = Kept().Open(IdTowers(), Kept().Folder(FactorRatings()));
  const auto alone = Kept().Open(FactorRatings());
  const Recommender& recommender = served->recommender();
  double fitted = 0;
  double mean = 0;
  size_t count = 0;
  for (uint32_t user = 0; user < 60; ++user) {
    const std::vector<GuestRating> ratings = RatingsOf(*served, user);
    // All movies but those that the guest has rated, of both.
    const RecommendOptions all{.count = served->model().data().rated_items(), .unseen = true, .reasons = 0};
    std::vector<float> of_user(all.count);
    for (const Recommendation& movie : recommender.Recommend(user, all)) of_user[movie.movie] = *movie.rating;
    std::vector<float> of_nobody(all.count);
    for (const Recommendation& movie : alone->recommender().RecommendToGuest({}, all)) of_nobody[movie.movie] = *movie.rating;
    for (const Recommendation& movie : recommender.RecommendToGuest(ratings, all)) {
      fitted += std::pow(*movie.rating - of_user[movie.movie], 2);
      mean += std::pow(of_nobody[movie.movie] - of_user[movie.movie], 2);
      ++count;
    }
  }
  EXPECT_GT(count, 10'000U);
  EXPECT_LT(fitted, 0.5 * mean);
}

TEST(RecommenderTest, AnotherModelsPredictionsStandBesideMovies) {
  const auto plain = Kept().Open(HistoryTowers());
  EXPECT_FALSE(plain->recommender().predicts());
  const auto served = Kept().Open(HistoryTowers(), Kept().Folder(LayerRatings()));
  EXPECT_TRUE(served->recommender().predicts());
  EXPECT_FALSE(served->recommender().predicts_for_guests());  // layers take what they have learnt of each user
  const auto rater = Kept().Open(LayerRatings());
  const RecommendOptions all{.count = served->model().data().rated_items()};
  std::vector<float> predicted(all.count);
  for (const Recommendation& movie : rater->recommender().Recommend(kAsked, all)) predicted[movie.movie] = *movie.rating;
  const auto without = plain->recommender().Recommend(kAsked, {});
  const auto with = served->recommender().Recommend(kAsked, {});
  EXPECT_EQ(MoviesOf(with), MoviesOf(without));
  for (const Recommendation& movie : with) EXPECT_NEAR(*movie.rating, predicted[movie.movie], 1e-4);
  for (const Recommendation& movie : without) EXPECT_FALSE(movie.rating.has_value());
}

TEST(RecommenderTest, PredictionsOfUnfitModelsAreRefused) {
  const auto refusal = [](const TrialConfig& model, const TrialConfig& predictions) {
    return std::string(ServedModels::Open(Kept().Folder(model), Kept().Folder(predictions), "", Recommender::Index::kExact)
                           .status()
                           .message());
  };
  EXPECT_THAT(refusal(IdTowers(), HistoryTowers()), HasSubstr("trial history: its kind of model predicts no ratings"));
  EXPECT_THAT(refusal(FactorRatings(), LayerRatings()), HasSubstr("ranks movies by what it predicts itself"));
}

TEST(RecommenderTest, ManyThreadsGetWhatOneGets) {
  const auto served = Kept().Open(HistoryTowers(), Kept().Folder(FactorRatings()));
  const Recommender& recommender = served->recommender();
  constexpr uint32_t kUsers = 60;
  std::vector<std::vector<Recommendation>> to_users, to_guests;
  for (uint32_t user = 0; user < kUsers; ++user) {
    to_users.push_back(recommender.Recommend(user, {}));
    to_guests.push_back(recommender.RecommendToGuest(RatingsOf(*served, user), {}));
  }
  const auto expect_same = [](const std::vector<Recommendation>& got, const std::vector<Recommendation>& want) {
    ASSERT_EQ(MoviesOf(got), MoviesOf(want));
    for (size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(*got[i].score, *want[i].score);
      EXPECT_EQ(*got[i].rating, *want[i].rating);
      ASSERT_EQ(got[i].reasons.size(), want[i].reasons.size());
      for (size_t j = 0; j < got[i].reasons.size(); ++j) EXPECT_EQ(got[i].reasons[j].share, want[i].reasons[j].share);
    }
  };
  std::vector<std::thread> threads;
  for (uint32_t thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      for (uint32_t i = 0; i < kUsers; ++i) {
        const uint32_t user = (i * 7 + thread * 13) % kUsers;
        expect_same(recommender.Recommend(user, {}), to_users[user]);
        expect_same(recommender.RecommendToGuest(RatingsOf(*served, user), {}), to_guests[user]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(RecommenderTest, FindsUsersAndMoviesByKey) {
  const auto served = Kept().Open(IdTowers());
  const Recommender& recommender = served->recommender();
  for (const uint32_t row : {0U, 5U, 399U}) {
    EXPECT_EQ(*recommender.FindMovie(recommender.KeyOf(row)), row);
    EXPECT_EQ(*recommender.FindUser(recommender.UserKeyOf(row)), row);
  }
  EXPECT_THAT(std::string(recommender.FindUser("nobody").status().message()), HasSubstr("user_id nobody: not among the 600"));
  EXPECT_THAT(std::string(recommender.FindMovie("").status().message()), HasSubstr("movie_id : not among the 400 rated"));
}

}  // namespace
}  // namespace marquee
