#ifndef MARQUEE_DATASET_MOVIES_DATASET_H_
#define MARQUEE_DATASET_MOVIES_DATASET_H_

// Reads links.csv, movies_metadata.csv and credits.csv of The Movies Dataset, and joins them to the movies of MovieLens:
// movieId -> tmdbId -> first director, star (cast order 0) and release date. docs/data.md has the rules for rows that are not
// as they should be. Pure but for the files.

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "dataset/movielens_columns.h"
#include "dataset/report.h"

namespace marquee {

// tmdbId of each movieId; nullopt where the row has none.
using Links = std::unordered_map<int64_t, std::optional<int64_t>>;

// Release date of each tmdbId, in Unix seconds; nullopt where it is empty or no date.
using ReleaseDates = std::unordered_map<int64_t, std::optional<int64_t>>;

struct Credits {
  std::string director;  // of the crew, the first whose job is Director; empty if there is none
  std::string star;      // of the cast, whose order is 0; empty if there is none
};
using CreditsByMovie = std::unordered_map<int64_t, Credits>;  // by tmdbId

absl::StatusOr<Links> ReadLinks(const std::string& path, Report& report);
absl::StatusOr<ReleaseDates> ReadMetadata(const std::string& path, Report& report);
absl::StatusOr<CreditsByMovie> ReadCredits(const std::string& path, Report& report);

// Paths; empty where a file is not given.
struct MoviesDatasetFiles {
  std::string links;
  std::string metadata;
  std::string credits;
};

// Fills director, star and release date of `movies`. `ratings` are for the report alone. Refuses metadata or credits without
// links.
absl::Status JoinMoviesDataset(const MoviesDatasetFiles& files, const std::vector<MovieLensRating>& ratings,
                               std::vector<MovieLensMovie>& movies, Report& report);

}  // namespace marquee

#endif  // MARQUEE_DATASET_MOVIES_DATASET_H_
