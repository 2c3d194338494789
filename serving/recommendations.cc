#include "serving/recommendations.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace marquee {
namespace {

constexpr size_t kWidestTitle = 44;
constexpr size_t kBestLiked = 5;

// At most `width` bytes, and none in the middle of a character.
std::string Shortened(const std::string& text, size_t width) {
  if (text.size() <= width) return text;
  size_t end = width - 1;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  return text.substr(0, end) + "…";
}

std::string Reasons(const Recommender& recommender, Recommender::ReasonKind kind, const std::vector<Reason>& reasons) {
  std::vector<std::string> titles;
  for (const Reason& reason : reasons) {
    titles.push_back(fmt::format("{} (rated {:g})", recommender.TitleOf(reason.movie), reason.rating));
  }
  const bool history = kind == Recommender::ReasonKind::kHistory;
  return fmt::format("{} {}", history ? "because of" : "like", fmt::join(titles, ", "));
}

std::string_view Name(Recommender::ReasonKind kind) {
  switch (kind) {
    case Recommender::ReasonKind::kHistory:
      return "history";
    case Recommender::ReasonKind::kLikeness:
      return "likeness";
    case Recommender::ReasonKind::kNone:
      return "none";
  }
  return "none";
}

// What the model says of a movie: "predicted 4.3", "liked 87 %", "score 12.3".
std::string Figures(const Recommendation& movie) {
  std::vector<std::string> figures;
  if (movie.rating.has_value()) figures.push_back(fmt::format("predicted {:.1f}", *movie.rating));
  if (movie.liked.has_value()) figures.push_back(fmt::format("liked {:.0f} %", 100 * *movie.liked));
  if (movie.score.has_value()) figures.push_back(fmt::format("score {:.2f}", *movie.score));
  if (movie.seen) figures.emplace_back("seen");
  return fmt::format("{}", fmt::join(figures, ", "));
}

std::string MoviesText(const Recommender& recommender, Recommender::ReasonKind kind,
                       const std::vector<Recommendation>& movies) {
  if (movies.empty()) return "none\n";
  std::string text;
  size_t number = 1;
  for (const Recommendation& movie : movies) {
    const std::string title = Shortened(recommender.TitleOf(movie.movie), kWidestTitle);
    text += fmt::format("{:>3}  {:<{}}  {}\n", number++, title, kWidestTitle, Figures(movie));
    if (const auto genres = recommender.GenresOf(movie.movie); !genres.empty()) {
      text += fmt::format("     {}\n", fmt::join(genres, ", "));
    }
    if (!movie.reasons.empty()) text += fmt::format("     {}\n", Reasons(recommender, kind, movie.reasons));
  }
  return text;
}

nlohmann::ordered_json MoviesJson(const Recommender& recommender, const std::vector<Recommendation>& movies) {
  using Json = nlohmann::ordered_json;
  Json json = Json::array();
  for (const Recommendation& movie : movies) {
    Json& entry = json.emplace_back(Json::object());
    entry["movie"] = recommender.KeyOf(movie.movie);
    entry["title"] = recommender.TitleOf(movie.movie);
    entry["genres"] = recommender.GenresOf(movie.movie);
    entry["seen"] = movie.seen;
    if (movie.score.has_value()) entry["score"] = *movie.score;
    if (movie.rating.has_value()) entry["rating"] = *movie.rating;
    if (movie.liked.has_value()) entry["liked"] = *movie.liked;
    entry["because"] = Json::array();
    for (const Reason& reason : movie.reasons) {
      entry["because"].push_back({{"movie", recommender.KeyOf(reason.movie)},
                                  {"title", recommender.TitleOf(reason.movie)},
                                  {"rating", reason.rating},
                                  {"share", reason.share}});
    }
    entry["traits"] = Json::array();
    for (const Trait& trait : movie.traits) {
      entry["traits"].push_back({{"column", trait.column}, {"value", trait.value}, {"share", trait.share}});
    }
  }
  return json;
}

}  // namespace

std::string RecommendationsText(const Recommender& recommender, uint32_t user, const std::vector<Recommendation>& movies) {
  return fmt::format("Movies for user {}, who has rated {}\n\n{}", recommender.UserKeyOf(user), recommender.RatedBy(user),
                     MoviesText(recommender, recommender.reason_kind(), movies));
}

nlohmann::ordered_json RecommendationsJson(const Recommender& recommender, uint32_t user,
                                           const std::vector<Recommendation>& movies) {
  using Json = nlohmann::ordered_json;
  Json json = {{"user", recommender.UserKeyOf(user)}, {"rated", recommender.RatedBy(user)}, {"best_liked", Json::array()}};
  for (const Reason& liked : recommender.BestLiked(user, kBestLiked)) {
    json["best_liked"].push_back(
        {{"movie", recommender.KeyOf(liked.movie)}, {"title", recommender.TitleOf(liked.movie)}, {"rating", liked.rating}});
  }
  json["reasons"] = Name(recommender.reason_kind());
  json["movies"] = MoviesJson(recommender, movies);
  return json;
}

std::string GuestRecommendationsText(const Recommender& recommender, const std::vector<GuestRating>& rated,
                                     const std::vector<Recommendation>& movies) {
  std::string text = "Movies for somebody who has rated\n";
  for (const GuestRating& rating : rated)
    text += fmt::format("     {:g}  {}\n", rating.rating, recommender.TitleOf(rating.item));
  return text + "\n" + MoviesText(recommender, recommender.guest_reason_kind(), movies);
}

nlohmann::ordered_json GuestRecommendationsJson(const Recommender& recommender, const std::vector<GuestRating>& rated,
                                                const std::vector<Recommendation>& movies) {
  using Json = nlohmann::ordered_json;
  Json json = {{"rated", rated.size()}, {"rated_movies", Json::array()}};
  for (const GuestRating& rating : rated) {
    json["rated_movies"].push_back(
        {{"movie", recommender.KeyOf(rating.item)}, {"title", recommender.TitleOf(rating.item)}, {"rating", rating.rating}});
  }
  json["reasons"] = Name(recommender.guest_reason_kind());
  json["movies"] = MoviesJson(recommender, movies);
  return json;
}

}  // namespace marquee
