#ifndef MARQUEE_SERVING_MOVIE_API_H_
#define MARQUEE_SERVING_MOVIE_API_H_

// What `marquee serve` answers, as JSON (docs/serving.md). Each answer is a function of the request alone. One that says no has
// the fitting HTTP status and
//
//     {"error": {"status": 400, "field": "ratings[2].rating", "value": "7", "message": "must be a number from 1 to 5"}}
//
// in which `field` and `value` are empty where no field is to blame. Immutable: any number of threads may ask.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "common/web_server.h"
#include "serving/kept_model.h"
#include "serving/recommender.h"
#include "serving/title_search.h"

namespace marquee {

// All movies that somebody has rated, to be found by their titles.
TitleSearch SearchOf(const KeptModel& model, const Recommender& recommender);

class MovieApi {
 public:
  static constexpr size_t kMostMovies = 100;    // in an answer
  static constexpr size_t kMostReasons = 10;    // for a movie
  static constexpr size_t kMostRatings = 1000;  // of a guest
  static constexpr size_t kMostBodyBytes = 128 << 10;

  // Both must outlive the object. `guests` is what PrepareForGuests has returned: if that is an error, guests are told why not.
  // `predictions_of` is the trial whose predictions are shown; empty: there are none.
  MovieApi(const KeptModel& model, const Recommender& recommender, absl::Status guests, std::string predictions_of);

  WebResponse About() const;
  WebResponse Search(const WebRequest& request) const;
  WebResponse Users(const WebRequest& request) const;
  WebResponse ForUser(const WebRequest& request) const;   // WebRequest::part is the user's key
  WebResponse ForGuest(const WebRequest& request) const;  // in the body

 private:
  nlohmann::ordered_json MovieJson(uint32_t movie) const;

  const KeptModel& model_;
  const Recommender& recommender_;
  const absl::Status guests_;
  const std::string predictions_of_;
  TitleSearch search_;
  std::vector<size_t> ratings_of_;                            // by movie
  std::vector<uint32_t> most_rated_;                          // kMostMovies of them
  std::vector<std::pair<std::string_view, uint32_t>> users_;  // by key, ascending
};

// An answer that says no. `message` says what would be right.
WebResponse ErrorResponse(int status, std::string_view field, std::string_view value, std::string_view message);
WebResponse JsonResponse(const nlohmann::ordered_json& json, int status = 200);

}  // namespace marquee

#endif  // MARQUEE_SERVING_MOVIE_API_H_
