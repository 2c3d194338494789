// The whole way from raw files to splits and baselines, on MovieLens 1M and The Movies Dataset where they are at hand. Where
// they are not, the synthetic data set walks the same way, and the numbers that only real files have are skipped.

#include <fmt/format.h>

#include <algorithm>

#include "dataset/evaluation.h"
#include "dataset/exploration.h"
#include "dataset/split.h"
#include "dataset/wrangle.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;

std::string_view ValueOf(const Dataset& data, std::string_view column, size_t interaction) {
  const Column& found = *data.column(column);
  const uint32_t code = found.code(data.RowOf(found.level(), interaction));
  return code == kNullCode ? "null" : found.value(code);
}

double NumberOf(const Dataset& data, std::string_view column, size_t interaction) {
  const Column& found = *data.column(column);
  return found.number(data.RowOf(found.level(), interaction));
}

// MovieLens 1M with The Movies Dataset, wrangled once for all tests.
struct Joined {
  Report report;
  TempFolder folder;
  std::shared_ptr<const Dataset> data;
};

const Joined* JoinedData() {
  static const std::unique_ptr<Joined> joined = [] {
    const std::optional<std::string> folder = RealData();
    if (!folder.has_value()) return std::unique_ptr<Joined>();
    const std::string movies = *folder + "/the-movies-dataset/";
    auto made = std::make_unique<Joined>();
    const absl::StatusOr<DataTables> tables = WrangleMovieLens(
        *folder + "/ml-1m", {movies + "links.csv", movies + "movies_metadata.csv", movies + "credits.csv"}, made->report);
    EXPECT_TRUE(tables.ok()) << tables.status();
    EXPECT_TRUE(WriteDataset(*tables, made->folder / "a.mq").ok());
    made->data = *Dataset::Open(made->folder / "a.mq");
    return made;
  }();
  return joined.get();
}

TEST(RealData, JoinsMovieLens1MWithTheMoviesDataset) {
  const Joined* const joined = JoinedData();
  if (joined == nullptr) GTEST_SKIP() << "no MovieLens 1M";
  const Report& report = joined->report;
  const std::shared_ptr<const Dataset>& data = joined->data;

  const auto count = [&](std::string_view step, std::string_view words) { return report.count(step, words); };
  EXPECT_EQ(count("ratings.dat", "ratings"), 1000209);
  EXPECT_EQ(count("users.dat", "users"), 6040);
  EXPECT_EQ(count("movies.dat", "movies"), 3883);
  EXPECT_EQ(count("links.csv", "rows"), 45843);
  EXPECT_EQ(count("links.csv", "have no tmdbId"), 219);
  EXPECT_EQ(count("links.csv", "have a tmdbId that stood before: kept"), 30);
  EXPECT_EQ(count("movies_metadata.csv", "rows"), 45466);
  EXPECT_EQ(count("movies_metadata.csv", "are malformed: left out"), 3);
  EXPECT_EQ(count("credits.csv", "rows"), 45476);
  EXPECT_EQ(count("movieId to tmdbId", "movies have a tmdbId"), 3828);
  EXPECT_EQ(count("movieId to tmdbId", "are not in links: no director, star or date (2,175 ratings)"), 23);
  EXPECT_EQ(count("movieId to tmdbId", "are in links without a tmdbId: likewise (627 ratings)"), 32);
  EXPECT_EQ(count("movieId to tmdbId", "share their tmdbId with another movie: both take its values"), 1);
  EXPECT_EQ(count("release dates", "have a tmdbId that is not in metadata: null (0 ratings)"), 0);
  EXPECT_EQ(count("release dates", "of the dates are before 1970: negative"), 589);
  EXPECT_EQ(count("directors and stars", "have a tmdbId that is not in credits: null (0 ratings)"), 0);
  EXPECT_EQ(count("joined", "rated movies"), 3667);
  EXPECT_EQ(count("joined", "ratings are of these"), 997407);
  EXPECT_EQ(count("table", "items with a row: the candidates"), 3706);
  EXPECT_EQ(count("table", "items without: kept after the others, never candidates"), 177);
  EXPECT_EQ(count("table", "repeat a (user, item) pair: kept"), 0);

  EXPECT_EQ(data->name(), "ml-1m");
  EXPECT_FALSE(data->synthetic());

  // The reference's first row.
  size_t row = 0;
  while (ValueOf(*data, "user_id", row) != "2497" || ValueOf(*data, "movie_id", row) != "1251") ++row;
  EXPECT_EQ(NumberOf(*data, "bucketized_user_age", row), 50);
  EXPECT_THAT(data->column("movie_genres")->codes(data->item_of()[row]), ElementsAre(7));
  EXPECT_EQ(ValueOf(*data, "movie_title", row), "8 1/2 (1963)");
  EXPECT_NEAR(NumberOf(*data, "timestamp", row), 974089380, 120);
  EXPECT_EQ(ValueOf(*data, "user_gender", row), "False");
  EXPECT_EQ(NumberOf(*data, "user_occupation_label", row), 14);
  EXPECT_EQ(ValueOf(*data, "user_occupation_text", row), "sales/marketing");
  EXPECT_EQ(data->label()[row], 3);
  EXPECT_EQ(ValueOf(*data, "user_zip_code", row), "37922");
  EXPECT_EQ(ValueOf(*data, "director", row), "Federico Fellini");
  EXPECT_EQ(NumberOf(*data, "release_date", row), -217123200);
  EXPECT_EQ(ValueOf(*data, "star", row), "Marcello Mastroianni");

  size_t odd_zip_codes = 0;
  const Column& zip = *data->column("user_zip_code");
  for (size_t user = 0; user < data->users(); ++user) odd_zip_codes += zip.value(zip.code(user)).size() != 5 ? 1 : 0;
  EXPECT_EQ(odd_zip_codes, 81);
}

TEST(RealData, ReadsMovieLens100K) {
  const std::optional<std::string> folder = RealData();
  if (!folder.has_value()) GTEST_SKIP() << "no MovieLens 100K";
  Report report;
  const absl::StatusOr<DataTables> tables = WrangleMovieLens(*folder + "/ml-100k", {}, report);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ(tables->label.size(), 100000);
  EXPECT_EQ(tables->users, 943);
  EXPECT_EQ(tables->items, 1682);
  EXPECT_EQ(tables->rated_items, 1682);
  EXPECT_EQ(tables->column("release_date")->nulls(), 1);
}

// Real where it is at hand: popularity .183 and .259 are the project's own reference figures for this split.
TEST(RealData, SplitsAndBaselines) {
  const std::optional<std::string> folder = RealData();
  if (!folder.has_value()) std::cout << "synthetic data serves in its place\n";
  Report report;
  const absl::StatusOr<DataTables> tables =
      folder.has_value() ? WrangleMovieLens(*folder + "/ml-1m", {}, report) : WrangleSynthetic("ml-1m", report);
  ASSERT_TRUE(tables.ok()) << tables.status();
  const TempFolder temp;
  ASSERT_TRUE(WriteDataset(*tables, temp / "a.mq").ok());
  const auto data = *Dataset::Open(temp / "a.mq");
  const absl::StatusOr<Split> split = MakeSplit(*data, SplitConfig{});
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_NEAR(static_cast<double>(split->test.size()), 250052, 2200);  // five standard deviations
  EXPECT_NEAR(static_cast<double>(split->validation.size()), 37508, 1000);
  const std::vector<Baseline> baselines = *Baselines(*data, *split);
  EXPECT_NEAR(baselines[0].metrics.at("top_100"), 0.183, 0.01);
  EXPECT_NEAR(baselines[0].metrics.at("top_100_unseen"), 0.259, 0.02);
  EXPECT_NEAR(baselines[1].metrics.at("rmse"), folder.has_value() ? 0.909 : 0.882, 0.004);
}

// The reference report's summary statistics of the ratings table, in its own digits.
TEST(RealData, SummariesAreTheReferenceReports) {
  const Joined* const joined = JoinedData();
  if (joined == nullptr) GTEST_SKIP() << "no MovieLens 1M";
  const Exploration exploration = Explore(*joined->data);
  std::map<std::string, NumberSummary> summaries;
  for (const NumberSummary& summary : exploration.numbers) summaries[summary.name] = summary;
  struct Row {
    const char* column;
    const char* text;
  };
  for (const Row& row :
       {Row{"bucketized_user_age", "1000209 29.7 11.8 1 25 25 35 56"},
        Row{"user_occupation_label", "1000209 11.1 6.6 0 6 12 17 21"}, Row{"user_rating", "1000209 3.6 1.1 1 3 4 4 5"},
        Row{"user_zip_code", "1000209 54230.9 32090.6 231 23185 55129 90004 99945"}}) {
    const NumberSummary& s = summaries.at(row.column);
    EXPECT_EQ(fmt::format("{} {:.1f} {:.1f} {} {} {} {} {}", s.count, s.mean, s.deviation, s.min, s.lower_quartile, s.median,
                          s.upper_quartile, s.max),
              row.text)
        << row.column;
  }
  // To five digits: a quarter of the timestamps in the folder of the tests may be estimates.
  const NumberSummary& time = summaries.at("timestamp");
  EXPECT_EQ(time.count, 1000209);
  EXPECT_NEAR(time.mean, 972243695.4, 1e-5 * 972243695);
  EXPECT_NEAR(time.deviation, 12152558.9, 1e-5 * 12152558);
  EXPECT_EQ(time.min, 956703932);
  EXPECT_NEAR(time.lower_quartile, 965302637, 1e-5 * 965302637);
  EXPECT_NEAR(time.median, 973018006, 1e-5 * 973018006);
  EXPECT_NEAR(time.upper_quartile, 975220939, 1e-5 * 975220939);
  EXPECT_EQ(time.max, 1046454590);
}

TEST(RealData, ExplorationAnswersTheReportsQuestions) {
  const Joined* const joined = JoinedData();
  if (joined == nullptr) GTEST_SKIP() << "no MovieLens 1M";
  const Exploration found = Explore(*joined->data);
  const auto most = [](const std::vector<RatingGroup>& groups) {
    return std::max_element(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.ratings < b.ratings; })
        ->name;
  };
  EXPECT_EQ(found.months.front().name, "2000-04");
  EXPECT_EQ(found.months.back().name, "2003-02");
  EXPECT_EQ(most(found.months_of_year), "November");
  EXPECT_EQ(found.genders[1].name, "men");
  EXPECT_EQ(found.genders[1].ratings, 753769);
  EXPECT_EQ(most(found.ages), "25");
  EXPECT_EQ(found.occupations.front().name, "college/grad student");
  EXPECT_EQ(found.movies.front().name, "American Beauty (1999)");
  EXPECT_EQ(found.movies.front().ratings, 3428);
  EXPECT_EQ(ByMean(found.movies, 100, false, 1).front().name,
            "Seven Samurai (The Magnificent Seven) (Shichinin no samurai) (1954)");
  EXPECT_EQ(ByMean(found.movies, 100, true, 1).front().name, "Kazaam (1996)");
  EXPECT_EQ(found.directors.front().name, "Alfred Hitchcock");
  EXPECT_EQ(found.stars.front().name, "Mel Gibson");
  uint64_t all = 0;
  for (const RatingGroup& region : found.regions) all += region.ratings;
  EXPECT_EQ(all, 1000209);
}

// The protocols by time and by class on real ratings. MovieLens 1M has many ratings of one user in one second.
TEST(RealData, ProtocolsAndTheirBaselines) {
  const Joined* const joined = JoinedData();
  if (joined == nullptr) GTEST_SKIP() << "no MovieLens 1M";
  const std::shared_ptr<const Dataset>& data = joined->data;

  const Split last = *MakeSplit(*data, {.protocol = SplitConfig::Protocol::kLeaveLastOut});
  EXPECT_EQ(last.test.size(), 6040);
  EXPECT_EQ(last.validation.size(), 6040);
  EXPECT_EQ(last.train.size(), 1000209 - 2 * 6040);
  const std::map<std::string, double> popularity = Baselines(*data, last)->front().metrics;
  EXPECT_NEAR(popularity.at("hr_10"), 0.0396, 0.004);
  EXPECT_NEAR(popularity.at("ndcg_10"), 0.0201, 0.003);

  const Split time = *MakeSplit(*data, SplitConfig::Of(SplitConfig::Protocol::kTime));
  EXPECT_NEAR(static_cast<double>(time.test.size()), 100021, 20);
  EXPECT_NEAR(static_cast<double>(time.validation.size()), 100021, 20);

  const Split binary = *MakeSplit(*data, SplitConfig::Of(SplitConfig::Protocol::kBinarized));
  EXPECT_EQ(binary.train.size() + binary.validation.size() + binary.test.size(), 1000209 - 261197);
  const std::map<std::string, double> bias = Baselines(*data, binary)->at(1).metrics;
  EXPECT_NEAR(bias.at("auc"), 0.8745, 0.003);
  EXPECT_NEAR(bias.at("log_loss"), 0.3438, 0.004);
}

}  // namespace
}  // namespace marquee
