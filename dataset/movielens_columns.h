#ifndef MARQUEE_DATASET_MOVIELENS_COLUMNS_H_
#define MARQUEE_DATASET_MOVIELENS_COLUMNS_H_

// The 14 columns of the wrangled MovieLens table, filled row by row: by the reader of the real files and by the synthetic
// generator alike. Not thread-safe.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/writer.h"

namespace marquee {

struct MovieLensUser {
  std::string id;
  int bucketized_age = 0;
  std::optional<int> raw_age;  // MovieLens 100K only
  bool male = false;
  std::string occupation;         // the text of the source
  uint32_t occupation_label = 0;  // index into kOccupationLabels
  std::string zip_code;
};

struct MovieLensMovie {
  std::string id;
  std::string title;                    // UTF-8
  std::vector<uint32_t> genres;         // indices into kGenreLabels
  std::string director;                 // empty: null
  std::string star;                     // empty: null
  std::optional<int64_t> release_date;  // Unix seconds; negative before 1970
};

struct MovieLensRating {
  uint32_t user = 0;  // indices into the users and movies
  uint32_t movie = 0;
  float rating = 0;
  std::optional<int64_t> timestamp;  // Unix seconds
};

// Puts rated movies first and unrated ones after, and the columns in the order of the reference table. A raw_user_age column
// follows them if any user has a raw age.
DataTables MovieLensTables(std::string name, const std::vector<MovieLensUser>& users, const std::vector<MovieLensMovie>& movies,
                           const std::vector<MovieLensRating>& ratings);

}  // namespace marquee

#endif  // MARQUEE_DATASET_MOVIELENS_COLUMNS_H_
