#include "serving/movie_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace marquee {
namespace {

std::vector<float> Random(size_t rows, size_t width, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * width);
  for (size_t i = 0; i < values.size(); ++i) values[i] = normal(random) * (1 + static_cast<float>(i / width % 5));
  return values;
}

float Product(const std::vector<float>& a, size_t row, const std::vector<float>& query) {
  float sum = 0;
  for (size_t i = 0; i < query.size(); ++i) sum += a[row * query.size() + i] * query[i];
  return sum;
}

TEST(MovieIndex, ExactFindsTheLargestProducts) {
  constexpr size_t kWidth = 7;
  const std::vector<float> movies = Random(300, kWidth, 1);
  const std::vector<float> query = Random(1, kWidth, 2);
  std::vector<float> want;
  for (size_t i = 0; i < 300; ++i) want.push_back(Product(movies, i, query));
  std::sort(want.rbegin(), want.rend());
  const std::vector<MovieScore> found = MakeExactIndex(movies, kWidth)->Search(query, 20);
  ASSERT_EQ(found.size(), 20);
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].score, want[i], 1e-4);
    EXPECT_NEAR(Product(movies, found[i].movie, query), found[i].score, 1e-4);
  }
}

TEST(MovieIndex, OfEqualScoresTheFirstMovieComesFirst) {
  const std::vector<float> movies = {1, 0, 1, 0, 2, 0, 1, 0};
  const std::vector<float> query = {1, 5};
  const std::vector<MovieScore> found = MakeExactIndex(movies, 2)->Search(query, 4);
  std::vector<uint32_t> order;
  for (const MovieScore& movie : found) order.push_back(movie.movie);
  EXPECT_EQ(order, (std::vector<uint32_t>{2, 0, 1, 3}));
}

TEST(MovieIndex, AskedForMoreThanThereAreItGivesAll) {
  const std::vector<float> movies = Random(5, 3, 4);
  const std::vector<float> query = Random(1, 3, 5);
  EXPECT_EQ(MakeExactIndex(movies, 3)->Search(query, 50).size(), 5);
  EXPECT_EQ(MakeApproximateIndex(movies, 3)->Search(query, 50).size(), 5);
  EXPECT_TRUE(MakeApproximateIndex({}, 3)->Search(query, 50).empty());
}

// Lengths differ, so that the nearest and the largest product are not the same.
TEST(MovieIndex, ApproximateFindsNearlyAllOfTheExactOnes) {
  constexpr size_t kWidth = 24;
  const std::vector<float> movies = Random(4000, kWidth, 6);
  const std::vector<float> queries = Random(50, kWidth, 7);
  const auto exact = MakeExactIndex(movies, kWidth);
  const auto approximate = MakeApproximateIndex(movies, kWidth);
  EXPECT_GT(Recall(*approximate, *exact, queries, kWidth, 10), 0.95);
  EXPECT_GT(Recall(*approximate, *exact, queries, kWidth, 100), 0.9);
  EXPECT_EQ(Recall(*exact, *exact, queries, kWidth, 10), 1.0);
  // With little effort it finds fewer: what is measured is not always 1.
  EXPECT_LT(Recall(*MakeApproximateIndex(movies, kWidth, 1), *exact, queries, kWidth, 10), 0.95);
  const std::vector<float> query(queries.begin(), queries.begin() + kWidth);
  const std::vector<MovieScore> found = approximate->Search(query, 10);
  for (const MovieScore& movie : found) EXPECT_NEAR(movie.score, Product(movies, movie.movie, query), 2e-3);
}

}  // namespace
}  // namespace marquee
