// wrangle: raw files in, one data file out, that workers map and read in place. See docs/data.md.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>

#include "common/command_line.h"
#include "dataset/atomic_file.h"
#include "dataset/dataset.h"
#include "dataset/exploration.h"
#include "dataset/exploration_page.h"
#include "dataset/table_csv.h"
#include "dataset/wrangle.h"
#include "dataset/writer.h"

namespace marquee {
namespace {

constexpr const char* kExamples = R"(Examples:
  MovieLens 1M alone (ml-1m.zip of GroupLens: ratings.dat, users.dat, movies.dat), or 100K (u.data, u.user, u.item):
    wrangle --movielens ml-1m --out ml-1m.mq

  With directors, stars and release dates of The Movies Dataset (Kaggle), and the table of 14 columns as CSV for people:
    wrangle --movielens ml-1m --links links.csv --metadata movies_metadata.csv --credits credits.csv \
            --out ml-1m.mq --csv ml-1m.csv

  No files at hand: a made-up data set of the shape of MovieLens 1M (or `small`, for tests). Results say that it is synthetic:
    wrangle --synthetic ml-1m --out synthetic.mq

  Your own interactions, any CSV with a header, and a schema that says what its columns are (docs/data.md):
    wrangle --interactions orders.csv --schema orders.yaml --out orders.mq
      # orders.yaml
      columns:
        customer: {feature: user}                             # user | item | label | time | id | ids | number
        product:  {feature: item}
        stars:    {feature: label}
        bought:   {feature: time}                             # Unix seconds, 2026-01-31, 2026-01-31T12:00:00Z
        tags:     {feature: ids, level: item, separator: "|"} # level: interaction (default) | user | item

  What is in a data file:
    wrangle --describe ml-1m.mq

  What the data is like, as one page for a browser: who rates, when, where, how and what:
    wrangle --explore ml-1m.mq --out ml-1m.html

Each step's row count is printed, and why rows or values are missing. A file that is not as it should be stops the run with
file, line and reason; --out is replaced only when everything went well.)";

struct Arguments {
  std::string movielens;
  MoviesDatasetFiles files;
  std::string interactions;
  std::string schema;
  std::string synthetic;
  std::string describe;
  std::string explore;
  std::string out;
  std::string csv;
};

// What the help shows in place of an option's value.
void NameType(CLI::Option* option) {
  if (option->get_expected_max() == 0) return;
  option->type_name(option->check_lname("movielens") ? "DIR" : option->check_lname("synthetic") ? "NAME" : "FILE");
}

int Fail(const absl::Status& status) {
  std::fflush(stdout);
  fmt::print(stderr, "wrangle: {}\n", std::string(status.message()));
  return 1;
}

absl::StatusOr<DataTables> MakeTables(const Arguments& arguments, Report& report) {
  if (!arguments.movielens.empty()) return WrangleMovieLens(arguments.movielens, arguments.files, report);
  if (!arguments.interactions.empty()) return WrangleInteractions(arguments.interactions, arguments.schema, report);
  return WrangleSynthetic(arguments.synthetic, report);
}

// Writes the data file under `path`, reads it back, and writes the table for people where it is wanted.
absl::StatusOr<std::shared_ptr<const Dataset>> WriteFiles(const DataTables& tables, const std::string& path,
                                                          const std::string& csv) {
  if (absl::Status status = WriteDataset(tables, path); !status.ok()) return status;
  absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(path);
  if (!data.ok() || csv.empty()) return data;
  if (absl::Status status = WriteTableCsv(**data, {"movie_genres"}, csv); !status.ok()) return status;
  return data;
}

int Wrangle(const Arguments& arguments) {
  Report report;
  const absl::StatusOr<DataTables> tables = MakeTables(arguments, report);
  fmt::print("{}", report.text());
  if (!tables.ok()) return Fail(tables.status());
  const std::string staged = arguments.out + ".new";
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = WriteFiles(*tables, staged, arguments.csv);
  std::error_code error;
  if (data.ok()) std::filesystem::rename(staged, arguments.out, error);
  if (!data.ok() || error) {
    std::error_code ignored;
    std::filesystem::remove(staged, ignored);
    return Fail(data.ok() ? absl::UnknownError(fmt::format("{}: {}", arguments.out, error.message())) : data.status());
  }
  fmt::print("wrote {}: {}", arguments.out, Describe(**data));
  if (!arguments.csv.empty()) fmt::print("wrote {}\n", arguments.csv);
  return 0;
}

int DescribeFile(const std::string& path) {
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(path);
  if (!data.ok()) return Fail(data.status());
  fmt::print("{}", Describe(**data));
  return 0;
}

int ExploreFile(const std::string& path, const std::string& page) {
  const absl::StatusOr<std::shared_ptr<const Dataset>> data = Dataset::Open(path);
  if (!data.ok()) return Fail(data.status());
  const std::string html = ExplorationPage(**data, Explore(**data));
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(page);
  if (!file.ok()) return Fail(file.status());
  if (absl::Status status = file->Write(html.data(), html.size()); !status.ok()) return Fail(status);
  if (absl::Status status = file->Commit(); !status.ok()) return Fail(status);
  fmt::print("wrote {}\n", page);
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Makes a marquee data file of MovieLens, of your own interactions, or a synthetic one.", "wrangle");
  app.footer(kExamples);
  Arguments arguments;
  CLI::Option_group* const source = app.add_option_group("source", "Exactly one of");
  CLI::Option* const movielens = source->add_option("--movielens", arguments.movielens, "Folder of MovieLens 1M or 100K");
  CLI::Option* const interactions = source->add_option("--interactions", arguments.interactions, "Your own CSV file");
  source->add_option("--synthetic", arguments.synthetic, "A made-up data set: ml-1m or small");
  CLI::Option* const describe = source->add_option("--describe", arguments.describe, "Print what a data file holds");
  CLI::Option* const explore = source->add_option("--explore", arguments.explore, "Make a page of what a data file is like");
  source->require_option(1);
  app.add_option("--links", arguments.files.links, "links.csv: movieId to tmdbId")->needs(movielens);
  app.add_option("--metadata", arguments.files.metadata, "movies_metadata.csv: release dates")->needs(movielens);
  app.add_option("--credits", arguments.files.credits, "credits.csv: directors and stars")->needs(movielens);
  CLI::Option* const schema = app.add_option("--schema", arguments.schema, "YAML: what the columns of --interactions are");
  schema->needs(interactions);
  interactions->needs(schema);
  CLI::Option* const out =
      app.add_option("--out", arguments.out, "Data file to write, or with --explore the page")->excludes(describe);
  app.add_option("--csv", arguments.csv, "Also write the joined table as CSV, for people")->needs(out)->excludes(explore);
  for (CLI::Option* const option : app.get_options()) NameType(option);
  for (CLI::Option* const option : source->get_options()) NameType(option);
  if (const std::optional<int> code = ParseCommandLine(app, argc, argv)) return *code;

  if (!arguments.describe.empty()) return DescribeFile(arguments.describe);
  if (arguments.out.empty()) {
    return Fail(absl::InvalidArgumentError(
        fmt::format("--out FILE is missing: where to write the {}", arguments.explore.empty() ? "data file" : "page")));
  }
  if (arguments.out == arguments.explore) {
    return Fail(absl::InvalidArgumentError("--explore and --out name the same file"));
  }
  if (!arguments.explore.empty()) return ExploreFile(arguments.explore, arguments.out);
  if (arguments.out == arguments.csv) return Fail(absl::InvalidArgumentError("--out and --csv name the same file"));
  return Wrangle(arguments);
}

}  // namespace
}  // namespace marquee

int main(int argc, char** argv) { return marquee::Main(argc, argv); }
