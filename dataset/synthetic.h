#ifndef MARQUEE_DATASET_SYNTHETIC_H_
#define MARQUEE_DATASET_SYNTHETIC_H_

// A made-up data set of the shape of MovieLens, for where no real files are at hand. It is marked synthetic in the file.
//
// What is planted, so that models have something to find: every user and movie has a vector of tastes. A user's comes partly
// from gender, age and occupation; a movie's partly from its genres, director and star. Users choose movies in proportion to
// popularity x exp(taste match), without repetition; ratings are mean + user bias + movie bias + taste match + noise, rounded
// to 1 .. 5. Popularity and activity have long tails. Everything follows from one seed.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/writer.h"

namespace marquee {

struct SyntheticShape {
  std::string name;  // "ml-1m"; the data set is named "synthetic ml-1m"
  uint32_t users = 0;
  uint32_t movies = 0;  // all of them rated
  uint64_t ratings = 0;
  uint32_t min_ratings_per_user = 20;
  uint64_t seed = 1;
};

// "ml-1m" (6,040 users, 3,706 movies, 1,000,209 ratings) or "small" (600, 400, 40,000; for tests).
absl::StatusOr<SyntheticShape> SyntheticShapeOf(std::string_view name);

// Refuses a shape that cannot be filled: too few or too many ratings for its users and movies.
absl::StatusOr<DataTables> MakeSynthetic(const SyntheticShape& shape);

}  // namespace marquee

#endif  // MARQUEE_DATASET_SYNTHETIC_H_
