#include "dataset/movielens.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "dataset/movielens_labels.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

using Fields = std::vector<std::string_view>;

constexpr double kMinRating = 0.5;
constexpr double kMaxRating = 5;

// The columns of flags in u.item, in order.
constexpr std::array<std::string_view, 19> kGenres100K = {
    "unknown",   "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime",    "Documentary", "Drama",  "Fantasy",
    "Film-Noir", "Horror", "Musical",   "Mystery",   "Romance",    "Sci-Fi", "Thriller", "War",         "Western"};

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

// What differs between the editions' ratings files.
struct RatingsFormat {
  std::string_view file;
  std::string_view separator;
  std::string_view users_file;
  std::string_view movies_file;
};
constexpr RatingsFormat kRatings1M = {"ratings.dat", "::", "users.dat", "movies.dat"};
constexpr RatingsFormat kRatings100K = {"u.data", "\t", "u.user", "u.item"};

// Ids as the files number them, and the row that each has here.
class IdIndex {
 public:
  explicit IdIndex(std::string_view what) : what_(what) {}

  // Takes the next row for an id. Refuses what is no positive number, and an id that was there before.
  absl::Status Add(std::string_view id, const LineReader& reader) {
    const std::optional<int64_t> number = ParseInteger(id);
    if (!number.has_value() || *number <= 0) {
      return reader.Error(fmt::format("{} '{}': must be a positive whole number", what_, id));
    }
    const auto [entry, added] = rows_.try_emplace(*number, static_cast<uint32_t>(rows_.size()), reader.line_number());
    if (added) return absl::OkStatus();
    return reader.Error(fmt::format("{} {} stands a second time; it was on line {}", what_, id, entry->second.second));
  }

  // The row of an id that a ratings line refers to.
  absl::StatusOr<uint32_t> Find(std::string_view id, std::string_view file, const LineReader& reader) const {
    const std::optional<int64_t> number = ParseInteger(id);
    if (!number.has_value()) return reader.Error(fmt::format("{} '{}': must be a whole number", what_, id));
    const auto found = rows_.find(*number);
    if (found == rows_.end()) return reader.Error(fmt::format("{} {} is not in {}", what_, id, file));
    return found->second.first;
  }

 private:
  std::string_view what_;
  absl::flat_hash_map<int64_t, std::pair<uint32_t, size_t>> rows_;  // row and line
};

absl::Status CheckFields(const Fields& fields, size_t count, std::string_view form, const LineReader& reader) {
  if (fields.size() == count) return absl::OkStatus();
  return reader.Error(fmt::format("{} fields; must be {}: {}", fields.size(), count, form));
}

absl::StatusOr<bool> ParseMale(std::string_view gender, const LineReader& reader) {
  if (gender == "M") return true;
  if (gender == "F") return false;
  return reader.Error(fmt::format("gender '{}': must be M or F", gender));
}

absl::StatusOr<MovieLensUser> ParseUser1M(const Fields& fields, const LineReader& reader) {
  if (absl::Status status = CheckFields(fields, 5, "UserID::Gender::Age::Occupation::Zip-code", reader); !status.ok())
    return status;
  const absl::StatusOr<bool> male = ParseMale(fields[1], reader);
  if (!male.ok()) return male.status();
  const std::optional<int64_t> age = ParseInteger(fields[2]);
  if (!age.has_value() || std::find(kAgeBuckets.begin(), kAgeBuckets.end(), *age) == kAgeBuckets.end()) {
    return reader.Error(fmt::format("age '{}': must be one of {}", fields[2], fmt::join(kAgeBuckets, ", ")));
  }
  const std::optional<int64_t> code = ParseInteger(fields[3]);
  if (!code.has_value() || *code < 0 || *code >= static_cast<int64_t>(kOccupationTexts1M.size())) {
    return reader.Error(fmt::format("occupation '{}': must be 0 to {}", fields[3], kOccupationTexts1M.size() - 1));
  }
  MovieLensUser user;
  user.id = fields[0];
  user.male = *male;
  user.bucketized_age = static_cast<int>(*age);
  user.occupation = kOccupationTexts1M[static_cast<size_t>(*code)];
  user.occupation_label = *OccupationLabel(user.occupation);
  user.zip_code = fields[4];
  return user;
}

absl::StatusOr<MovieLensUser> ParseUser100K(const Fields& fields, const LineReader& reader) {
  if (absl::Status status = CheckFields(fields, 5, "user id|age|gender|occupation|zip code", reader); !status.ok())
    return status;
  const absl::StatusOr<bool> male = ParseMale(fields[2], reader);
  if (!male.ok()) return male.status();
  const std::optional<int64_t> age = ParseInteger(fields[1]);
  if (!age.has_value() || *age < 0 || *age > 150) return reader.Error(fmt::format("age '{}': must be 0 to 150", fields[1]));
  const std::optional<uint32_t> label = OccupationLabel(fields[3]);
  if (!label.has_value()) return reader.Error(fmt::format("occupation '{}': is none of those in u.occupation", fields[3]));
  MovieLensUser user;
  user.id = fields[0];
  user.male = *male;
  user.raw_age = static_cast<int>(*age);
  user.bucketized_age = AgeBucket(*user.raw_age);
  user.occupation = fields[3];
  user.occupation_label = *label;
  user.zip_code = fields[4];
  return user;
}

absl::StatusOr<MovieLensMovie> ParseMovie1M(const Fields& fields, const LineReader& reader) {
  if (absl::Status status = CheckFields(fields, 3, "MovieID::Title::Genres", reader); !status.ok()) return status;
  MovieLensMovie movie;
  movie.id = fields[0];
  movie.title = fields[1];
  Fields genres;
  if (!fields[2].empty()) SplitFields(fields[2], "|", &genres);
  for (const std::string_view genre : genres) {
    const std::optional<uint32_t> label = GenreLabel(genre);
    if (!label.has_value()) {
      return reader.Error(fmt::format("genre '{}': must be one of {}", genre, fmt::join(kGenreLabels, ", ")));
    }
    movie.genres.push_back(*label);
  }
  return movie;
}

// "01-Jan-1995"; the day may have one digit.
std::optional<int64_t> ParseDate100K(std::string_view text) {
  Fields parts;
  SplitFields(text, "-", &parts);
  if (parts.size() != 3) return std::nullopt;
  const std::optional<int64_t> day = ParseInteger(parts[0]);
  const auto month = std::find(kMonths.begin(), kMonths.end(), parts[1]);
  const std::optional<int64_t> year = ParseInteger(parts[2]);
  if (!day.has_value() || *day < 1 || *day > 31 || month == kMonths.end()) return std::nullopt;
  if (!year.has_value() || *year < 1000 || *year > 9999) return std::nullopt;
  return UnixSecondsOfDay(static_cast<int>(*year), static_cast<unsigned>(month - kMonths.begin()) + 1,
                          static_cast<unsigned>(*day));
}

absl::StatusOr<MovieLensMovie> ParseMovie100K(const Fields& fields, const LineReader& reader) {
  constexpr size_t kFirstFlag = 5;
  constexpr std::string_view kForm = "movie id|title|release date|video release date|IMDb URL|19 genre flags";
  if (absl::Status status = CheckFields(fields, kFirstFlag + kGenres100K.size(), kForm, reader); !status.ok()) return status;
  MovieLensMovie movie;
  movie.id = fields[0];
  movie.title = fields[1];
  if (!fields[2].empty()) {
    movie.release_date = ParseDate100K(fields[2]);
    if (!movie.release_date.has_value()) {
      return reader.Error(fmt::format("release date '{}': must be a day such as 01-Jan-1995, or nothing", fields[2]));
    }
  }
  for (size_t i = 0; i < kGenres100K.size(); ++i) {
    const std::string_view flag = fields[kFirstFlag + i];
    if (flag != "0" && flag != "1")
      return reader.Error(fmt::format("flag of genre {} '{}': must be 0 or 1", kGenres100K[i], flag));
    if (flag == "1") movie.genres.push_back(*GenreLabel(kGenres100K[i]));
  }
  return movie;
}

// Reads one row per line of a file whose first field is an id.
template <typename Row>
absl::StatusOr<std::vector<Row>> ReadRows(const std::string& folder, std::string_view name, std::string_view separator,
                                          absl::StatusOr<Row> (*parse)(const Fields&, const LineReader&), std::string_view unit,
                                          IdIndex& index, Report& report) {
  const absl::StatusOr<LineFile> file = LineFile::Read(fmt::format("{}/{}", folder, name));
  if (!file.ok()) return file.status();
  LineReader reader(*file);
  std::vector<Row> rows;
  Fields fields;
  for (std::string_view line; reader.Next(&line);) {
    fields.clear();
    SplitFields(line, separator, &fields);
    absl::StatusOr<Row> row = parse(fields, reader);
    if (!row.ok()) return row.status();
    if (absl::Status status = index.Add(row->id, reader); !status.ok()) return status;
    rows.push_back(*std::move(row));
  }
  report.Step(name, rows.size(), unit);
  if (file->was_latin1) report.Note("is in Latin-1: made UTF-8 of it");
  return rows;
}

absl::StatusOr<MovieLensRating> ParseRating(const Fields& fields, const RatingsFormat& format, const IdIndex& users,
                                            const IdIndex& movies, const LineReader& reader) {
  if (fields.size() != 3 && fields.size() != 4) {
    return reader.Error(
        fmt::format("{} fields; must be 4, or 3 without a timestamp: user, movie, rating, timestamp", fields.size()));
  }
  const absl::StatusOr<uint32_t> user = users.Find(fields[0], format.users_file, reader);
  if (!user.ok()) return user.status();
  const absl::StatusOr<uint32_t> movie = movies.Find(fields[1], format.movies_file, reader);
  if (!movie.ok()) return movie.status();
  const std::optional<double> rating = ParseNumber(fields[2]);
  if (!rating.has_value() || *rating < kMinRating || *rating > kMaxRating) {
    return reader.Error(fmt::format("rating '{}': must be {} to {}", fields[2], kMinRating, kMaxRating));
  }
  MovieLensRating row{*user, *movie, static_cast<float>(*rating), std::nullopt};
  if (fields.size() == 4 && !fields[3].empty()) {
    row.timestamp = ParseInteger(fields[3]);
    if (!row.timestamp.has_value())
      return reader.Error(fmt::format("timestamp '{}': must be Unix seconds, or nothing", fields[3]));
  }
  return row;
}

absl::StatusOr<std::vector<MovieLensRating>> ReadRatings(const std::string& folder, const RatingsFormat& format,
                                                         const IdIndex& users, const IdIndex& movies, Report& report) {
  const absl::StatusOr<LineFile> file = LineFile::Read(fmt::format("{}/{}", folder, format.file));
  if (!file.ok()) return file.status();
  LineReader reader(*file);
  std::vector<MovieLensRating> ratings;
  size_t without_timestamp = 0;
  Fields fields;
  for (std::string_view line; reader.Next(&line);) {
    fields.clear();
    SplitFields(line, format.separator, &fields);
    const absl::StatusOr<MovieLensRating> row = ParseRating(fields, format, users, movies, reader);
    if (!row.ok()) return row.status();
    without_timestamp += row->timestamp.has_value() ? 0 : 1;
    ratings.push_back(*row);
  }
  if (ratings.empty()) return absl::InvalidArgumentError(fmt::format("{}: holds no ratings", file->path));
  report.Step(format.file, ratings.size(), "ratings");
  report.Reason(without_timestamp, "have no timestamp: null");
  return ratings;
}

absl::Status ReadAll(const std::string& folder, MovieLens& data, Report& report) {
  IdIndex user_index("user");
  IdIndex movie_index("movie");
  const bool is_1m = data.edition == MovieLens::Edition::k1M;
  const RatingsFormat& format = is_1m ? kRatings1M : kRatings100K;
  const std::string_view separator = is_1m ? "::" : "|";
  absl::StatusOr<std::vector<MovieLensUser>> users = ReadRows<MovieLensUser>(
      folder, format.users_file, separator, is_1m ? ParseUser1M : ParseUser100K, "users", user_index, report);
  if (!users.ok()) return users.status();
  absl::StatusOr<std::vector<MovieLensMovie>> movies = ReadRows<MovieLensMovie>(
      folder, format.movies_file, separator, is_1m ? ParseMovie1M : ParseMovie100K, "movies", movie_index, report);
  if (!movies.ok()) return movies.status();
  absl::StatusOr<std::vector<MovieLensRating>> ratings = ReadRatings(folder, format, user_index, movie_index, report);
  if (!ratings.ok()) return ratings.status();
  data.users = *std::move(users);
  data.movies = *std::move(movies);
  data.ratings = *std::move(ratings);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<MovieLens> ReadMovieLens(const std::string& folder, Report& report) {
  const auto has = [&](std::string_view file) { return std::filesystem::exists(fmt::format("{}/{}", folder, file)); };
  MovieLens data;
  if (has(kRatings1M.file)) {
    data.edition = MovieLens::Edition::k1M;
    data.name = "ml-1m";
  } else if (has(kRatings100K.file)) {
    data.edition = MovieLens::Edition::k100K;
    data.name = "ml-100k";
  } else {
    return absl::NotFoundError(fmt::format(
        "{}: holds neither ratings.dat (MovieLens 1M) nor u.data (MovieLens 100K); unpack ml-1m.zip and name its folder",
        folder));
  }
  if (absl::Status status = ReadAll(folder, data, report); !status.ok()) return status;
  return data;
}

}  // namespace marquee
