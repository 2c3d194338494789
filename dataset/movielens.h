#ifndef MARQUEE_DATASET_MOVIELENS_H_
#define MARQUEE_DATASET_MOVIELENS_H_

// Reads the original files of MovieLens 1M (ratings.dat, users.dat, movies.dat) and 100K (u.data, u.user, u.item). A file that
// is not as its README says stops with file, line and reason; docs/data.md has the rules. Pure but for the files.

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/movielens_columns.h"
#include "dataset/report.h"

namespace marquee {

struct MovieLens {
  enum class Edition { k1M, k100K };
  Edition edition = Edition::k1M;
  std::string name;  // "ml-1m", "ml-100k"
  std::vector<MovieLensUser> users;
  std::vector<MovieLensMovie> movies;  // director and star empty; release_date from u.item only
  std::vector<MovieLensRating> ratings;
};

// `folder` holds the files of either edition.
absl::StatusOr<MovieLens> ReadMovieLens(const std::string& folder, Report& report);

}  // namespace marquee

#endif  // MARQUEE_DATASET_MOVIELENS_H_
