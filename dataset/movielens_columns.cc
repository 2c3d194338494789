#include "dataset/movielens_columns.h"

#include <algorithm>
#include <utility>

#include "dataset/movielens_labels.h"

namespace marquee {
namespace {

using Level = Column::Level;
using Type = Column::Type;

template <typename T>
void AddOptional(const std::optional<T>& value, ColumnTable& column) {
  value.has_value() ? column.AddNumber(static_cast<double>(*value)) : column.AddNullNumber();
}

void AddText(const std::string& value, ColumnTable& column) { value.empty() ? column.AddNullId() : column.AddId(value); }

}  // namespace

DataTables MovieLensTables(std::string name, const std::vector<MovieLensUser>& users, const std::vector<MovieLensMovie>& movies,
                           const std::vector<MovieLensRating>& ratings) {
  ColumnTable age("bucketized_user_age", Level::kUser, Type::kNumber);
  ColumnTable genres("movie_genres", Level::kItem, Type::kIds);
  ColumnTable movie_id("movie_id", Level::kItem, Type::kId);
  ColumnTable title("movie_title", Level::kItem, Type::kId);
  ColumnTable timestamp("timestamp", Level::kInteraction, Type::kNumber);
  ColumnTable gender("user_gender", Level::kUser, Type::kId);
  ColumnTable user_id("user_id", Level::kUser, Type::kId);
  ColumnTable occupation_label("user_occupation_label", Level::kUser, Type::kNumber);
  ColumnTable occupation("user_occupation_text", Level::kUser, Type::kId);
  ColumnTable rating("user_rating", Level::kInteraction, Type::kNumber);
  ColumnTable zip_code("user_zip_code", Level::kUser, Type::kId);
  ColumnTable director("director", Level::kItem, Type::kId);
  ColumnTable release_date("release_date", Level::kItem, Type::kNumber);
  ColumnTable star("star", Level::kItem, Type::kId);
  ColumnTable raw_age("raw_user_age", Level::kUser, Type::kNumber);

  for (const MovieLensUser& user : users) {
    age.AddNumber(user.bucketized_age);
    gender.AddId(user.male ? "True" : "False");
    user_id.AddId(user.id);
    occupation_label.AddNumber(user.occupation_label);
    occupation.AddId(user.occupation);
    AddText(user.zip_code, zip_code);
    AddOptional(user.raw_age, raw_age);
  }
  for (const std::string_view label : kGenreLabels) genres.dictionary.Code(label);  // so that a code is the label's index
  for (const MovieLensMovie& movie : movies) {
    std::vector<std::string_view> labels;
    for (const uint32_t genre : movie.genres) labels.push_back(kGenreLabels[genre]);
    genres.AddIds(labels);
    movie_id.AddId(movie.id);
    AddText(movie.title, title);
    AddText(movie.director, director);
    AddOptional(movie.release_date, release_date);
    AddText(movie.star, star);
  }
  DataTables tables;
  tables.name = std::move(name);
  tables.users = users.size();
  tables.items = movies.size();
  for (const MovieLensRating& row : ratings) {
    tables.user_of.push_back(row.user);
    tables.item_of.push_back(row.movie);
    tables.label.push_back(row.rating);
    rating.AddNumber(row.rating);
    AddOptional(row.timestamp, timestamp);
  }
  const bool has_raw_age = std::any_of(users.begin(), users.end(), [](const auto& user) { return user.raw_age.has_value(); });
  for (ColumnTable* column : {&age, &genres, &movie_id, &title, &timestamp, &gender, &user_id, &occupation_label, &occupation,
                              &rating, &zip_code, &director, &release_date, &star}) {
    tables.columns.push_back(std::move(*column));
  }
  if (has_raw_age) tables.columns.push_back(std::move(raw_age));
  PutRatedItemsFirst(tables);
  return tables;
}

}  // namespace marquee
