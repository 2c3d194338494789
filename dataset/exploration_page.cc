#include "dataset/exploration_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/page.h"
#include "dataset/text_file.h"

namespace marquee {
namespace {

using Groups = std::vector<RatingGroup>;
using Json = nlohmann::ordered_json;

constexpr size_t kListed = 15;          // movies, directors and stars in a list
constexpr size_t kMostCategories = 30;  // bars in a chart
constexpr int kBarHeight = 26;

// A mean of few ratings is an accident: one in ten thousand ratings, and at least five, must be a movie's.
uint64_t FewestRatings(const Dataset& data) { return std::max<uint64_t>(data.interactions() / 10000, 5); }

// Whole numbers as such; otherwise two decimals, and one of large numbers, which Unix seconds are.
std::string Shown(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{:.{}f}", value, std::abs(value) < 1000 ? 2 : 1);
}

std::string Mean(const RatingGroup& group) { return group.ratings == 0 ? "-" : fmt::format("{:.2f}", group.mean()); }

std::string Percent(double share) { return fmt::format("{:.1f}%", 100 * share); }

std::vector<std::string> NamesOf(const Groups& groups) {
  std::vector<std::string> names;
  for (const RatingGroup& group : groups) names.push_back(group.name);
  return names;
}

ChartSeries RatingsOf(const Groups& groups) {
  ChartSeries series{.name = "ratings", .values = Json::array()};
  for (const RatingGroup& group : groups) series.values.push_back(group.ratings);
  return series;
}

Groups First(const Groups& groups, size_t count) {
  return {groups.begin(), groups.begin() + static_cast<ptrdiff_t>(std::min(groups.size(), count))};
}

const RatingGroup& Largest(const Groups& groups) {
  return *std::max_element(groups.begin(), groups.end(), [](const auto& a, const auto& b) { return a.ratings < b.ratings; });
}

class Writer {
 public:
  Writer(const Dataset& data, const Exploration& exploration)
      : data_(data), exploration_(exploration), page_(Title(data), Subtitle(data)) {}

  std::string Write() {
    Overview();
    Times();
    People();
    Values();
    Movies();
    Places();
    Makers();
    return page_.Html();
  }

 private:
  static std::string Title(const Dataset& data) { return fmt::format("{}: what the data is like", data.name()); }
  static std::string Subtitle(const Dataset& data) {
    return fmt::format(
        "Made by wrangle --explore. Data file {:016x}.{}", data.checksum(),
        data.synthetic() ? " This data is synthetic: made up by a program, it says nothing of real people." : "");
  }

  void Overview() {
    page_.Section("Overview");
    double sum = 0;
    for (const float rating : data_.label()) sum += rating;
    const auto ratings = static_cast<double>(data_.interactions());
    const double cells = static_cast<double>(data_.users()) * static_cast<double>(data_.rated_items());
    std::vector<std::pair<std::string, std::string>> facts = {
        {"ratings", WithThousands(data_.interactions())},
        {"users", WithThousands(data_.users())},
        {"movies with ratings", WithThousands(data_.rated_items())},
        {"movies without", WithThousands(data_.items() - data_.rated_items())},
        {"of all (user, movie) pairs", Percent(ratings / cells)},
        {"mean rating", fmt::format("{:.2f}", sum / ratings)}};
    if (!exploration_.months.empty()) {
      facts.emplace_back("first month", exploration_.months.front().name);
      facts.emplace_back("last month", exploration_.months.back().name);
    }
    page_.Facts(facts);
    Page::Table table{.caption = "Summary statistics",
                      .columns = {"column", "count", "null", "mean", "std", "min", "25%", "50%", "75%", "max"}};
    for (const NumberSummary& number : exploration_.numbers) {
      table.rows.push_back({number.name, WithThousands(number.count), WithThousands(number.nulls)});
      for (const double value : {number.mean, number.deviation, number.min, number.lower_quartile, number.median,
                                 number.upper_quartile, number.max}) {
        table.rows.back().push_back(number.count == 0 ? "-" : Shown(value));
      }
    }
    table.note =
        "Over the joined table, so that a user's or movie's value counts once for each of its ratings. Times are Unix seconds.";
    if (data_.column("user_zip_code") != nullptr)
      table.note += " Of zip codes, the number that their first five characters are.";
    page_.Add(table);
  }

  void Times() {
    page_.Section("When people rate");
    if (exploration_.months.empty())
      return page_.Text("The data has no column 'timestamp' with times: this cannot be answered.");
    if (exploration_.without_time > 0) {
      page_.Text(fmt::format("{} ratings have no time and are left out here.", WithThousands(exploration_.without_time)));
    }
    const RatingGroup& month = Largest(exploration_.months);
    page_.Text(fmt::format(
        "The busiest month was {} with {} of all ratings; the busiest calendar month is {}, the busiest "
        "weekday {}. Times are UTC.",
        month.name, ShareOf(month), Largest(exploration_.months_of_year).name, Largest(exploration_.weekdays).name));
    page_.Add(Page::Chart{.title = "Ratings over time, by month",
                          .options = LineChart(NamesOf(exploration_.months), {RatingsOf(exploration_.months)})});
    Bars("Ratings by calendar month, all years together", exploration_.months_of_year);
    Bars("Ratings by weekday", exploration_.weekdays);
  }

  void People() {
    page_.Section("Who rates");
    if (Answered(exploration_.genders, "user_gender", "men or women")) {
      page_.Add(GroupTable("Men and women", exploration_.genders, "gender", "users"));
    }
    if (Answered(exploration_.ages, "bucketized_user_age", "which ages")) {
      page_.Text(fmt::format("Most ratings come from the age group that begins at {}: {}.", Largest(exploration_.ages).name,
                             ShareOf(Largest(exploration_.ages))));
      Bars("Ratings by age group (its lower end)", exploration_.ages);
      page_.Add(
          GroupTable("Age groups", exploration_.ages, "from age", "users", "In MovieLens 1M, 1 stands for all under 18."));
    }
    if (Answered(exploration_.occupations, "user_occupation_text", "which occupations")) {
      Bars("Ratings by occupation", exploration_.occupations, /*lying=*/true);
      page_.Add(GroupTable("Occupations", exploration_.occupations, "occupation", "users"));
    }
  }

  void Values() {
    page_.Section("How people rate");
    std::vector<std::string> values;
    ChartSeries all{.name = "ratings", .values = Json::array()};
    for (const auto& [value, count] : exploration_.by_value) {
      values.push_back(fmt::format("{:g}", value));
      all.values.push_back(count);
    }
    page_.Add(Page::Chart{.title = "How often each rating is given", .options = BarChart(values, {all})});
    if (!Answered(exploration_.genders, "user_gender", "the distribution for men and for women")) return;
    std::vector<ChartSeries> by_gender;
    for (const RatingGroup& gender : exploration_.genders) {
      by_gender.push_back({.name = gender.name, .values = Json::array()});
      for (const auto& [value, count] : exploration_.by_value) {
        const auto found = gender.by_value.find(value);
        const double share = found == gender.by_value.end() ? 0 : static_cast<double>(found->second);
        by_gender.back().values.push_back(std::round(1000 * share / static_cast<double>(gender.ratings)) / 10);
      }
    }
    Json options = BarChart(values, by_gender);
    options["yAxis"]["axisLabel"] = {{"formatter", "{value} %"}};
    page_.Add(
        Page::Chart{.title = "Ratings of men and of women, in percent of each",
                    .options = std::move(options),
                    .note = "Each gender's bars add up to 100 %, so that the two can be compared although one rates more."});
  }

  void Movies() {
    page_.Section("Which movies");
    const uint64_t fewest = FewestRatings(data_);
    page_.Text(
        fmt::format("Most loved and worst are by mean rating, among movies with at least {} ratings: a mean of fewer says "
                    "little.",
                    fewest));
    page_.Add(MovieTable("Most rated", First(exploration_.movies, kListed)));
    page_.Add(MovieTable("Most loved", ByMean(exploration_.movies, fewest, /*worst=*/false, kListed)));
    page_.Add(MovieTable("Worst", ByMean(exploration_.movies, fewest, /*worst=*/true, kListed)));
    Json points = Json::array();
    for (const RatingGroup& movie : exploration_.movies) {
      if (movie.ratings < fewest) continue;
      points.push_back({{"name", movie.name}, {"value", {movie.ratings, std::round(100 * movie.mean()) / 100}}});
    }
    const Json options = {
        {"tooltip", {{"trigger", "item"}, {"formatter", "{b}<br>ratings, mean: {c}"}}},
        {"xAxis", {{"type", "log"}, {"name", "ratings"}, {"nameLocation", "middle"}, {"nameGap", 24}, {"min", "dataMin"}}},
        {"yAxis", {{"type", "value"}, {"name", "mean rating"}, {"scale", true}}},
        {"series", {{{"type", "scatter"}, {"symbolSize", 5}, {"itemStyle", {{"opacity", 0.5}}}, {"data", points}}}}};
    page_.Add(Page::Chart{.title = "How often a movie is rated, and how well",
                          .options = options,
                          .note = "A point is a movie; the axis of ratings is logarithmic.",
                          .height = 380});
    if (Answered(exploration_.genres, "movie_genres", "which genres")) {
      page_.Add(GroupTable("Genres", exploration_.genres, "genre", "movies", "A movie counts in each of its genres."));
    }
  }

  void Places() {
    page_.Section("Where people rate");
    if (!Answered(exploration_.regions, "user_zip_code", "rating by location")) return;
    page_.Text(
        "A location here is the first digit of the zip code, which stands for one of the ten national areas of the US Postal "
        "Service. Finer areas would have too few users for their means to differ by more than chance.");
    Bars("Ratings by area", exploration_.regions, /*lying=*/true);
    page_.Add(GroupTable("Areas", exploration_.regions, "area", "users"));
  }

  void Makers() {
    page_.Section("Directors and stars");
    Busiest("The busiest directors", exploration_.directors, "director");
    Busiest("The busiest stars", exploration_.stars, "star");
  }

  void Busiest(std::string_view title, const Groups& groups, std::string_view column) {
    if (!Answered(groups, column, fmt::format("who the busiest {}s are", column))) return;
    const Groups busiest = First(groups, kListed);
    ChartSeries movies{.name = "movies", .values = Json::array()};
    for (const RatingGroup& group : busiest) movies.values.push_back(group.members);
    page_.Add(Page::Chart{.title = fmt::format("{}, by movies with ratings", title),
                          .options = LyingBarChart(NamesOf(busiest), {movies}),
                          .height = HeightOf(busiest.size())});
    page_.Add(GroupTable(title, busiest, column, "movies"));
  }

  // False, after saying why, where the data has nothing to answer with.
  bool Answered(const Groups& groups, std::string_view column, std::string_view question) {
    if (!groups.empty()) return true;
    const bool has = data_.column(column) != nullptr;
    page_.Text(fmt::format("The data {} '{}': {} cannot be answered.", has ? "has only nulls in the column" : "has no column",
                           column, question));
    return false;
  }

  static int HeightOf(size_t bars) { return 60 + kBarHeight * static_cast<int>(bars); }

  void Bars(std::string_view title, const Groups& groups, bool lying = false) {
    const Groups shown = First(groups, kMostCategories);
    const bool all = shown.size() == groups.size();
    page_.Add(Page::Chart{
        .title = std::string(title),
        .options = lying ? LyingBarChart(NamesOf(shown), {RatingsOf(shown)}) : BarChart(NamesOf(shown), {RatingsOf(shown)}),
        .note = all ? "" : fmt::format("The first {} of {}.", shown.size(), groups.size()),
        .height = lying ? HeightOf(shown.size()) : 300});
  }

  std::string ShareOf(const RatingGroup& group) const {
    return Percent(static_cast<double>(group.ratings) / static_cast<double>(data_.interactions()));
  }

  Page::Table GroupTable(std::string_view caption, const Groups& groups, std::string_view head, std::string_view members,
                         std::string_view note = "") const {
    Page::Table table{.caption = std::string(caption),
                      .columns = {std::string(head), std::string(members), "ratings", "share", "mean rating"},
                      .note = std::string(note)};
    for (const RatingGroup& group : groups) {
      table.rows.push_back(
          {group.name, WithThousands(group.members), WithThousands(group.ratings), ShareOf(group), Mean(group)});
    }
    return table;
  }

  static Page::Table MovieTable(std::string_view caption, const Groups& movies) {
    Page::Table table{.caption = std::string(caption), .columns = {"movie", "ratings", "mean rating"}};
    for (const RatingGroup& movie : movies) table.rows.push_back({movie.name, WithThousands(movie.ratings), Mean(movie)});
    return table;
  }

  const Dataset& data_;
  const Exploration& exploration_;
  Page page_;
};

}  // namespace

std::string ExplorationPage(const Dataset& data, const Exploration& exploration) { return Writer(data, exploration).Write(); }

}  // namespace marquee
