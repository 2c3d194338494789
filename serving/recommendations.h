#ifndef MARQUEE_SERVING_RECOMMENDATIONS_H_
#define MARQUEE_SERVING_RECOMMENDATIONS_H_

// Recommendations for people and for programs. Pure.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "serving/recommender.h"

namespace marquee {

// A table with a line of reasons under each movie.
std::string RecommendationsText(const Recommender& recommender, uint32_t user, const std::vector<Recommendation>& movies);

// {"user", "rated": movies that the user has rated, "best_liked": [{"movie", "title", "rating"}], "reasons": "history" |
// "likeness" | "none", "movies": [{"movie", "title", "genres", "seen", "score", "rating", "liked", "because": [{"movie",
// "title", "rating", "share"}], "traits": [{"column", "value", "share"}]}]}; what a model does not give is not there.
nlohmann::ordered_json RecommendationsJson(const Recommender& recommender, uint32_t user,
                                           const std::vector<Recommendation>& movies);

// The same for a guest, who has rated `rated`: without "user", and with "rated_movies" in the place of "best_liked".
std::string GuestRecommendationsText(const Recommender& recommender, const std::vector<GuestRating>& rated,
                                     const std::vector<Recommendation>& movies);
nlohmann::ordered_json GuestRecommendationsJson(const Recommender& recommender, const std::vector<GuestRating>& rated,
                                                const std::vector<Recommendation>& movies);

}  // namespace marquee

#endif  // MARQUEE_SERVING_RECOMMENDATIONS_H_
