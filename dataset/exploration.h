#ifndef MARQUEE_DATASET_EXPLORATION_H_
#define MARQUEE_DATASET_EXPLORATION_H_

// Counts and means that tell a reader what a data file is like: who rates, when, where, how and what. The page that shows them
// is made by dataset/exploration_page.h. What a data file has no column for stays empty. Functions are pure.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dataset/dataset.h"

namespace marquee {

// As pandas' `describe` has it: the deviation divides by count - 1, quartiles interpolate between neighbours.
struct NumberSummary {
  std::string name;
  uint64_t count = 0;  // without nulls
  uint64_t nulls = 0;
  double mean = 0;
  double deviation = 0;
  double min = 0;
  double lower_quartile = 0;
  double median = 0;
  double upper_quartile = 0;
  double max = 0;
};
NumberSummary Summarize(std::string name, std::vector<double> values, uint64_t nulls);

// The ratings that have something in common.
struct RatingGroup {
  std::string name;
  uint64_t members = 0;  // users or movies of the group; 0 where ratings themselves are grouped
  uint64_t ratings = 0;
  std::map<float, uint64_t> by_value = {};

  double mean() const;  // 0 without ratings
};

struct Exploration {
  std::vector<NumberSummary> numbers;  // of the joined table: a value for each rating
  std::map<float, uint64_t> by_value;  // how often each rating was given

  // From the time column; months are "2000-04". Times are UTC.
  std::vector<RatingGroup> months;          // from the first to the last one, empty ones too
  std::vector<RatingGroup> months_of_year;  // January ..
  std::vector<RatingGroup> weekdays;        // Monday ..
  uint64_t without_time = 0;

  // By columns of users.
  std::vector<RatingGroup> genders;      // "men", "women"
  std::vector<RatingGroup> ages;         // ascending
  std::vector<RatingGroup> occupations;  // most ratings first
  std::vector<RatingGroup> regions;      // by the first digit of the zip code

  // By columns of movies.
  std::vector<RatingGroup> movies;     // every rated one, most ratings first
  std::vector<RatingGroup> genres;     // most ratings first; a movie counts in each of its genres
  std::vector<RatingGroup> directors;  // most movies first
  std::vector<RatingGroup> stars;
};
Exploration Explore(const Dataset& data);

// Those with at least `min_ratings`, best mean first; with `worst`, worst first. At most `count`.
std::vector<RatingGroup> ByMean(const std::vector<RatingGroup>& groups, uint64_t min_ratings, bool worst, size_t count);

}  // namespace marquee

#endif  // MARQUEE_DATASET_EXPLORATION_H_
