#include "serving/movie_api.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/numbers.h"
#include "common/trial_config.h"
#include "common/version.h"
#include "dataset/evaluation.h"
#include "serving/recommendations.h"

namespace marquee {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostText = 200;      // bytes of what is searched for
constexpr size_t kMostShown = 80;      // bytes of a wrong value in an answer
constexpr size_t kExampleUsers = 200;  // among which a page may choose

// What was wrong with a request.
struct Refused {
  int status = 400;
  std::string field = {};
  std::string value = {};
  std::string message = {};
};

using Wrong = std::optional<Refused>;

std::string Shown(std::string_view text) {
  return text.size() <= kMostShown ? std::string(text) : std::string(text.substr(0, kMostShown)) + "…";
}

std::string ShownJson(const Json& json) {
  return Shown(json.is_string() ? json.get<std::string>() : json.dump(-1, ' ', false, Json::error_handler_t::replace));
}

WebResponse Answer(const Refused& refused) {
  return ErrorResponse(refused.status, refused.field, refused.value, refused.message);
}

// Whole, and nothing else: "7", not "7.5" or "7 movies".
Wrong ReadCount(const std::string& field, const std::string& text, size_t least, size_t most, size_t& to) {
  uint32_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < least || number > most) {
    return Refused{
        .field = field, .value = Shown(text), .message = fmt::format("must be a whole number from {} to {}", least, most)};
  }
  to = number;
  return std::nullopt;
}

Wrong ReadFlag(const std::string& field, const std::string& text, bool& to) {
  if (text != "true" && text != "false") {
    return Refused{.field = field, .value = Shown(text), .message = "must be true or false"};
  }
  to = text == "true";
  return std::nullopt;
}

Wrong CheckNames(const WebRequest& request, const std::vector<std::string>& known) {
  for (const auto& [name, value] : request.parameters) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return Refused{.field = Shown(name),
                   .value = Shown(value),
                   .message = fmt::format("is no parameter here; there are {}", fmt::join(known, ", "))};
  }
  return std::nullopt;
}

Wrong ReadQuery(const WebRequest& request, std::string& text, size_t& count) {
  if (Wrong wrong = CheckNames(request, {"q", "count"})) return wrong;
  text = request.parameter("q");
  if (text.size() > kMostText) {
    return Refused{.field = "q", .value = Shown(text), .message = fmt::format("must be at most {} bytes long", kMostText)};
  }
  if (!request.parameters.contains("count")) return std::nullopt;
  return ReadCount("count", request.parameter("count"), 1, MovieApi::kMostMovies, count);
}

Wrong ReadOptions(const WebRequest& request, RecommendOptions& options) {
  if (Wrong wrong = CheckNames(request, {"count", "reasons", "unseen"})) return wrong;
  for (const auto& [name, value] : request.parameters) {
    Wrong wrong;
    if (name == "count") wrong = ReadCount(name, value, 1, MovieApi::kMostMovies, options.count);
    if (name == "reasons") wrong = ReadCount(name, value, 0, MovieApi::kMostReasons, options.reasons);
    if (name == "unseen") wrong = ReadFlag(name, value, options.unseen);
    if (wrong) return wrong;
  }
  return std::nullopt;
}

Wrong CheckFields(const Json& object, const std::string& within, const std::vector<std::string>& known) {
  for (const auto& [name, value] : object.items()) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return Refused{.field = within + Shown(name),
                   .value = ShownJson(value),
                   .message = fmt::format("is no field here; there are {}", fmt::join(known, ", "))};
  }
  return std::nullopt;
}

// {"movie": "1", "rating": 5}
Wrong ReadRating(const Json& json, const std::string& field, const Recommender& recommender, GuestRating& to) {
  if (!json.is_object()) {
    return Refused{.field = field, .value = ShownJson(json), .message = "must be an object: {\"movie\": \"1\", \"rating\": 5}"};
  }
  if (Wrong wrong = CheckFields(json, field + ".", {"movie", "rating"})) return wrong;
  const Json movie = json.value("movie", Json());
  if (!movie.is_string() && !movie.is_number_integer()) {
    return Refused{
        .field = field + ".movie", .value = ShownJson(movie), .message = "must be a movie's key, as /api/search gives it"};
  }
  const std::string key = movie.is_string() ? movie.get<std::string>() : movie.dump();
  const absl::StatusOr<uint32_t> found = recommender.FindMovie(key);
  if (!found.ok()) {
    return Refused{.status = 404,
                   .field = field + ".movie",
                   .value = Shown(key),
                   .message = std::string(found.status().message()) + "; /api/search finds movies by their titles"};
  }
  const Json rating = json.value("rating", Json());
  if (!rating.is_number() || !(rating.get<double>() >= kLowestRating && rating.get<double>() <= kHighestRating)) {
    return Refused{.field = field + ".rating",
                   .value = ShownJson(rating),
                   .message = fmt::format("must be a number from {:g} to {:g}", kLowestRating, kHighestRating)};
  }
  to = {.item = *found, .rating = rating.get<float>()};
  return std::nullopt;
}

Wrong ReadRatings(const Json& body, const Recommender& recommender, std::vector<GuestRating>& to) {
  const Json ratings = body.value("ratings", Json());
  if (!ratings.is_array() || ratings.empty() || ratings.size() > MovieApi::kMostRatings) {
    return Refused{.field = "ratings",
                   .value = ShownJson(ratings),
                   .message = fmt::format("must be a list of 1 to {} ratings: [{{\"movie\": \"1\", \"rating\": 5}}]",
                                          MovieApi::kMostRatings)};
  }
  absl::flat_hash_set<uint32_t> rated;
  for (size_t i = 0; i < ratings.size(); ++i) {
    const std::string field = fmt::format("ratings[{}]", i);
    if (Wrong wrong = ReadRating(ratings[i], field, recommender, to.emplace_back())) return wrong;
    if (rated.insert(to.back().item).second) continue;
    return Refused{.field = field + ".movie",
                   .value = ShownJson(ratings[i]["movie"]),
                   .message = "is rated already; each movie may be rated once"};
  }
  return std::nullopt;
}

// {"ratings": [...], "count": 10, "reasons": 3}
Wrong ReadGuest(const std::string& text, const Recommender& recommender, std::vector<GuestRating>& ratings,
                RecommendOptions& options) {
  Json body;
  try {
    body = Json::parse(text);
  } catch (const Json::parse_error& error) {
    return Refused{.field = "body", .value = Shown(text), .message = fmt::format("is no JSON, at byte {}", error.byte)};
  }
  if (!body.is_object()) {
    return Refused{.field = "body",
                   .value = Shown(text),
                   .message = "must be an object: {\"ratings\": [{\"movie\": \"1\", \"rating\": 5}], \"count\": 10}"};
  }
  if (Wrong wrong = CheckFields(body, "", {"ratings", "count", "reasons"})) return wrong;
  if (Wrong wrong = ReadRatings(body, recommender, ratings)) return wrong;
  if (body.contains("count")) {
    if (Wrong wrong = ReadCount("count", body["count"].dump(), 1, MovieApi::kMostMovies, options.count)) return wrong;
  }
  if (body.contains("reasons")) return ReadCount("reasons", body["reasons"].dump(), 0, MovieApi::kMostReasons, options.reasons);
  return std::nullopt;
}

}  // namespace

WebResponse JsonResponse(const Json& json, int status) {
  // Titles and keys may be any bytes.
  return {
      .status = status, .body = json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n", .type = "application/json"};
}

WebResponse ErrorResponse(int status, std::string_view field, std::string_view value, std::string_view message) {
  Json error = {{"status", status}, {"field", field}, {"value", value}, {"message", message}};
  return JsonResponse({{"error", std::move(error)}}, status);
}

TitleSearch SearchOf(const KeptModel& model, const Recommender& recommender) {
  std::vector<TitleSearch::Movie> movies(model.data().rated_items());
  for (uint32_t movie = 0; movie < movies.size(); ++movie) movies[movie].title = recommender.TitleOf(movie);
  for (const uint32_t movie : model.data().item_of()) ++movies[movie].ratings;
  return TitleSearch(movies);
}

MovieApi::MovieApi(const KeptModel& model, const Recommender& recommender, absl::Status guests, std::string predictions_of)
    : model_(model),
      recommender_(recommender),
      guests_(std::move(guests)),
      predictions_of_(std::move(predictions_of)),
      search_(SearchOf(model, recommender)),
      ratings_of_(model.data().rated_items(), 0),
      most_rated_(model.data().rated_items()) {
  for (const uint32_t movie : model.data().item_of()) ++ratings_of_[movie];
  std::iota(most_rated_.begin(), most_rated_.end(), 0U);
  std::stable_sort(most_rated_.begin(), most_rated_.end(),
                   [&](uint32_t a, uint32_t b) { return ratings_of_[a] > ratings_of_[b]; });
  if (most_rated_.size() > kMostMovies) most_rated_.resize(kMostMovies);
  const Column& key = model.data().user_key();
  for (uint32_t user = 0; user < model.data().users(); ++user) {
    if (key.code(user) != kNullCode) users_.emplace_back(key.value(key.code(user)), user);
  }
  std::sort(users_.begin(), users_.end());
}

Json MovieApi::MovieJson(uint32_t movie) const {
  return {{"movie", recommender_.KeyOf(movie)},
          {"title", recommender_.TitleOf(movie)},
          {"genres", recommender_.GenresOf(movie)},
          {"ratings", ratings_of_[movie]}};
}

WebResponse MovieApi::About() const {
  const Dataset& data = model_.data();
  Json json = {{"trial", model_.manifest().trial},
               {"data",
                {{"name", data.name()},
                 {"synthetic", data.synthetic()},
                 {"users", data.users()},
                 {"movies", data.rated_items()},
                 {"ratings", data.item_of().size()}}},
               {"rating", {{"least", kLowestRating}, {"most", kHighestRating}}},
               {"guests", guests_.ok()}};
  if (!guests_.ok()) json["no_guests"] = std::string(guests_.message());
  json["predictions_of"] = predictions_of_;
  json["predicts_for_guests"] = recommender_.predicts_for_guests();
  json["example_users"] = Json::array();
  const size_t stride = std::max<size_t>(users_.size() / kExampleUsers, 1);
  for (size_t i = 0; i < users_.size(); i += stride) json["example_users"].push_back(users_[i].first);
  json["version"] = Version();
  return JsonResponse(json);
}

WebResponse MovieApi::Search(const WebRequest& request) const {
  std::string text;
  size_t count = 10;
  if (const Wrong wrong = ReadQuery(request, text, count)) return Answer(*wrong);
  Json json = {{"query", text}, {"movies", Json::array()}};
  const std::vector<uint32_t> found = SearchWords(text).empty() ? most_rated_ : search_.Find(text, count);
  for (size_t i = 0; i < std::min(count, found.size()); ++i) json["movies"].push_back(MovieJson(found[i]));
  return JsonResponse(json);
}

WebResponse MovieApi::Users(const WebRequest& request) const {
  std::string text;
  size_t count = 10;
  if (const Wrong wrong = ReadQuery(request, text, count)) return Answer(*wrong);
  Json json = {{"query", text}, {"users", Json::array()}};
  auto user = std::partition_point(users_.begin(), users_.end(), [&](const auto& entry) { return entry.first < text; });
  for (; user != users_.end() && json["users"].size() < count; ++user) {
    if (user->first.substr(0, text.size()) != text) break;
    json["users"].push_back({{"user", user->first}, {"rated", recommender_.RatedBy(user->second)}});
  }
  return JsonResponse(json);
}

WebResponse MovieApi::ForUser(const WebRequest& request) const {
  RecommendOptions options{.unseen = true};
  if (const Wrong wrong = ReadOptions(request, options)) return Answer(*wrong);
  const absl::StatusOr<uint32_t> user = recommender_.FindUser(request.part);
  if (!user.ok()) {
    return ErrorResponse(404, "user", Shown(request.part),
                         std::string(user.status().message()) + "; /api/users?q= finds users by the beginning of their key");
  }
  return JsonResponse(RecommendationsJson(recommender_, *user, recommender_.Recommend(*user, options)));
}

WebResponse MovieApi::ForGuest(const WebRequest& request) const {
  std::vector<GuestRating> ratings;
  RecommendOptions options;
  if (const Wrong wrong = ReadGuest(request.body, recommender_, ratings, options)) return Answer(*wrong);
  if (!guests_.ok()) return ErrorResponse(409, "", "", std::string(guests_.message()));
  return JsonResponse(GuestRecommendationsJson(recommender_, ratings, recommender_.RecommendToGuest(ratings, options)));
}

}  // namespace marquee
