#ifndef MARQUEE_TESTS_UNIT_WORKER_MODELS_TINY_DATA_H_
#define MARQUEE_TESTS_UNIT_WORKER_MODELS_TINY_DATA_H_

// Small made-up data for tests of models, with planted tastes: users and items fall into groups, users rate items of their own
// group more often and higher. Columns of every type and level, with nulls.
//
//   users         user_id, user_gender (id), bucketized_user_age (number), user_zip_code (id, null for every third)
//   items         movie_id, movie_genres (ids; none for every fifth), release_date (number, null for every fourth), director
//   (id) interactions  timestamp (number), user_rating (number: the label)

#include <memory>

#include "dataset/dataset.h"
#include "dataset/split.h"

namespace marquee {

inline constexpr uint32_t kTinyGroups = 4;

struct TinyData {
  std::shared_ptr<const Dataset> data;
  Split split;
};

TinyData MakeTinyData(uint32_t users = 60, uint32_t items = 40, uint32_t interactions = 1500);

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_WORKER_MODELS_TINY_DATA_H_
