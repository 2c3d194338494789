#include "dataset/movies_dataset.h"

#include <fmt/format.h>

#include <string_view>
#include <unordered_set>
#include <utility>

#include "dataset/csv.h"
#include "dataset/python_literal.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

using Fields = std::vector<std::string_view>;

// Things of one kind that were found, with the first ones as examples for the report.
struct Tally {
  uint64_t count = 0;
  std::vector<std::string> examples;

  void Add(std::string example) {
    constexpr size_t kKept = 10;
    if (count++ < kKept) examples.push_back(std::move(example));
  }
};

void Tell(const Tally& tally, std::string_view why, Report& report) { report.Reason(tally.count, why, tally.examples); }

std::string AtLine(const CsvReader& csv) { return fmt::format("line {}", csv.line()); }

std::string BaseName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

absl::Status CheckWidth(const CsvReader& csv, const Fields& fields) {
  if (fields.size() == csv.columns().size()) return absl::OkStatus();
  return csv.Error(fmt::format("{} fields; must be {}, as in the header", fields.size(), csv.columns().size()));
}

absl::StatusOr<int64_t> RequireInteger(const CsvReader& csv, size_t column, const Fields& fields) {
  const std::optional<int64_t> value = ParseInteger(fields[column]);
  if (value.has_value()) return *value;
  return csv.Error(fmt::format("column '{}': value '{}': must be a whole number", csv.columns()[column], fields[column]));
}

absl::StatusOr<PythonValue> ParseColumn(const CsvReader& csv, size_t column, const Fields& fields) {
  absl::StatusOr<PythonValue> value = ParsePythonLiteral(fields[column]);
  const std::string where = fmt::format("column '{}'", csv.columns()[column]);
  if (!value.ok()) return csv.Error(fmt::format("{}: {}", where, std::string(value.status().message())));
  if (value->As<PythonList>() == nullptr) return csv.Error(fmt::format("{}: must be a list", where));
  return value;
}

std::string TextOf(const PythonValue* value) {
  const auto* text = value == nullptr ? nullptr : value->As<std::string>();
  return text == nullptr ? std::string() : std::string(Trimmed(*text));
}

std::string FirstDirector(const PythonList& crew) {
  for (const PythonValue& person : crew) {
    if (TextOf(person.Find("job")) == "Director") return TextOf(person.Find("name"));
  }
  return "";
}

std::string FirstOfCast(const PythonList& cast) {
  for (const PythonValue& person : cast) {
    const PythonValue* order = person.Find("order");
    const auto* number = order == nullptr ? nullptr : order->As<int64_t>();
    if (number != nullptr && *number == 0) return TextOf(person.Find("name"));
  }
  return "";
}

// How many movies a value is missing for, and how many ratings these have.
struct Missing {
  Tally movies;
  uint64_t ratings = 0;

  void Add(const MovieLensMovie& movie, uint64_t ratings_of_movie) {
    movies.Add(movie.id);
    ratings += ratings_of_movie;
  }
};

void Tell(const Missing& missing, std::string_view why, Report& report) {
  report.Reason(missing.movies.count, fmt::format("{} ({} ratings)", why, WithThousands(missing.ratings)),
                missing.movies.examples);
}

class Joiner {
 public:
  Joiner(const std::vector<MovieLensRating>& ratings, std::vector<MovieLensMovie>& movies, Report& report)
      : ratings_of_(movies.size(), 0), movies_(movies), report_(report) {
    for (const MovieLensRating& row : ratings) ++ratings_of_[row.movie];
  }

  absl::Status Join(const MoviesDatasetFiles& files) {
    const absl::StatusOr<Links> links = ReadLinks(files.links, report_);
    if (!links.ok()) return links.status();
    FindTmdbIds(*links);
    if (!files.metadata.empty()) {
      const absl::StatusOr<ReleaseDates> dates = ReadMetadata(files.metadata, report_);
      if (!dates.ok()) return dates.status();
      JoinDates(*dates);
    }
    if (!files.credits.empty()) {
      const absl::StatusOr<CreditsByMovie> credits = ReadCredits(files.credits, report_);
      if (!credits.ok()) return credits.status();
      JoinCredits(*credits);
    }
    TellJoined();
    return absl::OkStatus();
  }

 private:
  void FindTmdbIds(const Links& links) {
    Missing no_link;
    Missing no_tmdb_id;
    Tally shared;
    std::unordered_map<int64_t, std::string> owner;
    for (size_t i = 0; i < movies_.size(); ++i) {
      const auto link = links.find(*ParseInteger(movies_[i].id));
      tmdb_ids_.push_back(link == links.end() ? std::nullopt : link->second);
      if (link == links.end()) {
        no_link.Add(movies_[i], ratings_of_[i]);
      } else if (!link->second.has_value()) {
        no_tmdb_id.Add(movies_[i], ratings_of_[i]);
      } else if (const auto [first, added] = owner.try_emplace(*link->second, movies_[i].id); !added) {
        shared.Add(fmt::format("{} and {}", first->second, movies_[i].id));
      }
    }
    report_.Step("movieId to tmdbId", movies_.size() - no_link.movies.count - no_tmdb_id.movies.count, "movies have a tmdbId");
    Tell(no_link, "are not in links: no director, star or date", report_);
    Tell(no_tmdb_id, "are in links without a tmdbId: likewise", report_);
    Tell(shared, "share their tmdbId with another movie: both take its values", report_);
  }

  void JoinDates(const ReleaseDates& dates) {
    Missing absent;
    Missing no_date;
    Tally early;
    uint64_t found = 0;
    for (size_t i = 0; i < movies_.size(); ++i) {
      if (!tmdb_ids_[i].has_value()) continue;
      const auto date = dates.find(*tmdb_ids_[i]);
      if (date == dates.end()) {
        absent.Add(movies_[i], ratings_of_[i]);
        joined_[i] = false;
      } else if (!date->second.has_value()) {
        no_date.Add(movies_[i], ratings_of_[i]);
      } else {
        movies_[i].release_date = date->second;
        if (*date->second < 0) early.Add(movies_[i].id);
        ++found;
      }
    }
    report_.Step("release dates", found, "movies have one");
    Tell(absent, "have a tmdbId that is not in metadata: null", report_);
    Tell(no_date, "are in metadata without a date: null", report_);
    Tell(early, "of the dates are before 1970: negative", report_);
  }

  void JoinCredits(const CreditsByMovie& credits) {
    Missing absent;
    Missing no_director;
    Missing no_star;
    uint64_t found = 0;
    for (size_t i = 0; i < movies_.size(); ++i) {
      if (!tmdb_ids_[i].has_value()) continue;
      const auto people = credits.find(*tmdb_ids_[i]);
      if (people == credits.end()) {
        absent.Add(movies_[i], ratings_of_[i]);
        joined_[i] = false;
        continue;
      }
      movies_[i].director = people->second.director;
      movies_[i].star = people->second.star;
      if (movies_[i].director.empty()) no_director.Add(movies_[i], ratings_of_[i]);
      if (movies_[i].star.empty()) no_star.Add(movies_[i], ratings_of_[i]);
      ++found;
    }
    report_.Step("directors and stars", found, "movies have credits");
    Tell(absent, "have a tmdbId that is not in credits: null", report_);
    Tell(no_director, "have no Director in their crew: null", report_);
    Tell(no_star, "have no cast of order 0: null", report_);
  }

  void TellJoined() {
    uint64_t rated_movies = 0;
    uint64_t ratings = 0;
    uint64_t all = 0;
    for (size_t i = 0; i < movies_.size(); ++i) {
      all += ratings_of_[i];
      if (!tmdb_ids_[i].has_value() || !joined_[i] || ratings_of_[i] == 0) continue;
      ++rated_movies;
      ratings += ratings_of_[i];
    }
    report_.Step("joined", rated_movies, "rated movies");
    report_.Reason(ratings, "ratings are of these");
    report_.Reason(all - ratings, "ratings are of others: kept, with null director, star and date");
  }

  std::vector<uint64_t> ratings_of_;
  std::vector<MovieLensMovie>& movies_;
  Report& report_;
  std::vector<std::optional<int64_t>> tmdb_ids_;
  std::vector<bool> joined_ = std::vector<bool>(movies_.size(), true);  // where there is a tmdbId
};

}  // namespace

absl::StatusOr<Links> ReadLinks(const std::string& path, Report& report) {
  absl::StatusOr<CsvReader> csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  const absl::StatusOr<size_t> movie_column = csv->ColumnOf("movieId");
  if (!movie_column.ok()) return movie_column.status();
  const absl::StatusOr<size_t> tmdb_column = csv->ColumnOf("tmdbId");
  if (!tmdb_column.ok()) return tmdb_column.status();

  Links links;
  std::unordered_set<int64_t> tmdb_ids;
  uint64_t rows = 0;
  uint64_t without_tmdb_id = 0;
  Tally repeated;
  Tally shared;
  Fields fields;
  while (true) {
    const absl::StatusOr<bool> more = csv->Next(&fields);
    if (!more.ok()) return more.status();
    if (!*more) break;
    ++rows;
    if (absl::Status status = CheckWidth(*csv, fields); !status.ok()) return status;
    const absl::StatusOr<int64_t> movie = RequireInteger(*csv, *movie_column, fields);
    if (!movie.ok()) return movie.status();
    std::optional<int64_t> tmdb_id;
    if (!fields[*tmdb_column].empty()) {
      const absl::StatusOr<int64_t> value = RequireInteger(*csv, *tmdb_column, fields);
      if (!value.ok()) return value.status();
      tmdb_id = *value;
      if (!tmdb_ids.insert(*value).second) shared.Add(fmt::format("{}", *value));
    } else {
      ++without_tmdb_id;
    }
    if (!links.try_emplace(*movie, tmdb_id).second) repeated.Add(AtLine(*csv));
  }
  report.Step(BaseName(path), rows, "rows");
  report.Reason(without_tmdb_id, "have no tmdbId");
  Tell(shared, "have a tmdbId that stood before: kept", report);
  Tell(repeated, "have a movieId that stood before: left out, the first one counts", report);
  return links;
}

absl::StatusOr<ReleaseDates> ReadMetadata(const std::string& path, Report& report) {
  absl::StatusOr<CsvReader> csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  const absl::StatusOr<size_t> id_column = csv->ColumnOf("id");
  if (!id_column.ok()) return id_column.status();
  const absl::StatusOr<size_t> date_column = csv->ColumnOf("release_date");
  if (!date_column.ok()) return date_column.status();

  ReleaseDates dates;
  uint64_t rows = 0;
  uint64_t without_date = 0;
  Tally malformed;
  Tally repeated;
  Tally bad_dates;
  Fields fields;
  while (true) {
    const absl::StatusOr<bool> more = csv->Next(&fields);
    if (!more.ok()) return more.status();
    if (!*more) break;
    ++rows;
    const std::optional<int64_t> id = fields.size() == csv->columns().size() ? ParseInteger(fields[*id_column]) : std::nullopt;
    if (!id.has_value()) {
      malformed.Add(fields.size() == csv->columns().size()
                        ? fmt::format("line {} (id '{}' is no number)", csv->line(), fields[*id_column])
                        : fmt::format("line {} ({} fields, must be {})", csv->line(), fields.size(), csv->columns().size()));
      continue;
    }
    const std::string_view text = fields[*date_column];
    const std::optional<int64_t> date = ParseIsoDate(text);
    if (text.empty()) ++without_date;
    if (!text.empty() && !date.has_value()) bad_dates.Add(fmt::format("line {} ('{}')", csv->line(), text));
    if (!dates.try_emplace(*id, date).second) repeated.Add(AtLine(*csv));
  }
  if (malformed.count * 2 > rows) {
    return absl::InvalidArgumentError(fmt::format("{}: {} of {} rows are malformed, the first at {}", path, malformed.count,
                                                  rows, malformed.examples.front()));
  }
  report.Step(BaseName(path), rows, "rows");
  Tell(malformed, "are malformed: left out", report);
  Tell(repeated, "have an id that stood before: left out, the first one counts", report);
  report.Reason(without_date, "have no release date");
  Tell(bad_dates, "have a release date that is no day: null", report);
  return dates;
}

absl::StatusOr<CreditsByMovie> ReadCredits(const std::string& path, Report& report) {
  absl::StatusOr<CsvReader> csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  const absl::StatusOr<size_t> cast_column = csv->ColumnOf("cast");
  if (!cast_column.ok()) return cast_column.status();
  const absl::StatusOr<size_t> crew_column = csv->ColumnOf("crew");
  if (!crew_column.ok()) return crew_column.status();
  const absl::StatusOr<size_t> id_column = csv->ColumnOf("id");
  if (!id_column.ok()) return id_column.status();

  CreditsByMovie credits;
  uint64_t rows = 0;
  Tally repeated;
  Fields fields;
  while (true) {
    const absl::StatusOr<bool> more = csv->Next(&fields);
    if (!more.ok()) return more.status();
    if (!*more) break;
    ++rows;
    if (absl::Status status = CheckWidth(*csv, fields); !status.ok()) return status;
    const absl::StatusOr<int64_t> id = RequireInteger(*csv, *id_column, fields);
    if (!id.ok()) return id.status();
    const absl::StatusOr<PythonValue> cast = ParseColumn(*csv, *cast_column, fields);
    if (!cast.ok()) return cast.status();
    const absl::StatusOr<PythonValue> crew = ParseColumn(*csv, *crew_column, fields);
    if (!crew.ok()) return crew.status();
    Credits people{FirstDirector(*crew->As<PythonList>()), FirstOfCast(*cast->As<PythonList>())};
    if (!credits.try_emplace(*id, std::move(people)).second) repeated.Add(AtLine(*csv));
  }
  report.Step(BaseName(path), rows, "rows");
  Tell(repeated, "have an id that stood before: left out, the first one counts", report);
  return credits;
}

absl::Status JoinMoviesDataset(const MoviesDatasetFiles& files, const std::vector<MovieLensRating>& ratings,
                               std::vector<MovieLensMovie>& movies, Report& report) {
  if (files.links.empty()) {
    if (files.metadata.empty() && files.credits.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError("metadata and credits need links.csv, which says which tmdbId a movieId has");
  }
  return Joiner(ratings, movies, report).Join(files);
}

}  // namespace marquee
