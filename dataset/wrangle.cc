#include "dataset/wrangle.h"

#include <fmt/format.h>

#include <utility>

#include "absl/container/flat_hash_set.h"
#include "dataset/interactions.h"
#include "dataset/movielens.h"
#include "dataset/synthetic.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

size_t CountRepeatedPairs(const DataTables& tables) {
  absl::flat_hash_set<uint64_t> pairs;
  pairs.reserve(tables.user_of.size());
  for (size_t i = 0; i < tables.user_of.size(); ++i) pairs.insert((uint64_t{tables.user_of[i]} << 32U) | tables.item_of[i]);
  return tables.user_of.size() - pairs.size();
}

void TellTables(const DataTables& tables, Report& report) {
  report.Step("table", tables.user_of.size(), "rows");
  report.Reason(CountRepeatedPairs(tables), "repeat a (user, item) pair: kept");
  report.Reason(tables.users, "users");
  report.Reason(tables.rated_items, "items with a row: the candidates");
  report.Reason(tables.items - tables.rated_items, "items without: kept after the others, never candidates");
  for (const ColumnTable& column : tables.columns) {
    const char* const rows = column.level == Column::Level::kUser   ? "users"
                             : column.level == Column::Level::kItem ? "items"
                                                                    : "rows";
    if (column.nulls() > 0) report.Reason(column.nulls(), fmt::format("{} with no {}", rows, column.name));
  }
}

std::string_view LevelName(Column::Level level) {
  return level == Column::Level::kInteraction ? "interaction" : level == Column::Level::kUser ? "user" : "item";
}

std::string_view TypeName(Column::Type type) {
  return type == Column::Type::kId ? "id" : type == Column::Type::kIds ? "ids" : "number";
}

size_t NullsOf(const Column& column) {
  size_t nulls = 0;
  for (size_t row = 0; row < column.size(); ++row) {
    const bool null = column.type() == Column::Type::kId    ? column.code(row) == kNullCode
                      : column.type() == Column::Type::kIds ? column.codes(row).empty()
                                                            : column.is_null(row);
    nulls += null ? 1 : 0;
  }
  return nulls;
}

}  // namespace

absl::StatusOr<DataTables> WrangleMovieLens(const std::string& folder, const MoviesDatasetFiles& files, Report& report) {
  absl::StatusOr<MovieLens> data = ReadMovieLens(folder, report);
  if (!data.ok()) return data.status();
  const bool joins = !files.links.empty() || !files.metadata.empty() || !files.credits.empty();
  if (joins && data->edition == MovieLens::Edition::k100K) {
    return absl::InvalidArgumentError(
        "MovieLens 100K numbers its movies otherwise than links.csv does: leave out links, metadata and credits, or use "
        "MovieLens 1M");
  }
  if (absl::Status status = JoinMoviesDataset(files, data->ratings, data->movies, report); !status.ok()) return status;
  DataTables tables = MovieLensTables(data->name, data->users, data->movies, data->ratings);
  TellTables(tables, report);
  return tables;
}

absl::StatusOr<DataTables> WrangleInteractions(const std::string& csv, const std::string& schema, Report& report) {
  const absl::StatusOr<InteractionsSchema> loaded = LoadInteractionsSchema(schema);
  if (!loaded.ok()) return loaded.status();
  absl::StatusOr<DataTables> tables = ReadInteractions(csv, *loaded, report);
  if (tables.ok()) TellTables(*tables, report);
  return tables;
}

absl::StatusOr<DataTables> WrangleSynthetic(const std::string& shape, Report& report) {
  const absl::StatusOr<SyntheticShape> known = SyntheticShapeOf(shape);
  if (!known.ok()) return known.status();
  absl::StatusOr<DataTables> tables = MakeSynthetic(*known);
  if (!tables.ok()) return tables;
  report.Step(tables->name, tables->user_of.size(), fmt::format("made-up ratings, from seed {}", known->seed));
  TellTables(*tables, report);
  return tables;
}

std::string Describe(const Dataset& data) {
  std::string text =
      fmt::format("{}{}\n  checksum {:016x}\n  {} interactions, {} users, {} items, {} of them with interactions\n",
                  data.name(), data.synthetic() ? " (synthetic)" : "", data.checksum(), WithThousands(data.interactions()),
                  WithThousands(data.users()), WithThousands(data.items()), WithThousands(data.rated_items()));
  text += fmt::format("  {:<24} {:<12} {:<7} {:>10} {:>10}\n", "column", "level", "type", "distinct", "null");
  for (const auto& column : data.columns()) {
    const std::string distinct = column->type() == Column::Type::kNumber ? "" : WithThousands(column->values());
    text += fmt::format("  {:<24} {:<12} {:<7} {:>10} {:>10}\n", column->name(), LevelName(column->level()),
                        TypeName(column->type()), distinct, WithThousands(NullsOf(*column)));
  }
  return text;
}

}  // namespace marquee
