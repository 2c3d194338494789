#include "dataset/exploration.h"

#include "dataset/exploration_page.h"
#include "dataset/movielens_columns.h"
#include "dataset/synthetic.h"
#include "tests/unit/dataset/small_tables.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::vector<std::string> NamesOf(const std::vector<RatingGroup>& groups) {
  std::vector<std::string> names;
  for (const RatingGroup& group : groups) names.push_back(group.name);
  return names;
}

MovieLensUser User(const std::string& id, int age, bool male, const std::string& occupation, const std::string& zip) {
  MovieLensUser user;
  user.id = id;
  user.bucketized_age = age;
  user.male = male;
  user.occupation = occupation;
  user.zip_code = zip;
  return user;
}

MovieLensMovie Movie(const std::string& id, const std::string& title, const std::vector<uint32_t>& genres,
                     const std::string& director, const std::string& star) {
  MovieLensMovie movie;
  movie.id = id;
  movie.title = title;
  movie.genres = genres;
  movie.director = director;
  movie.star = star;
  return movie;
}

class ExplorationTest : public testing::Test {
 protected:
  std::shared_ptr<const Dataset> Open(const DataTables& tables) {
    const absl::Status written = WriteDataset(tables, folder_ / "a.mq");
    EXPECT_TRUE(written.ok()) << written;
    return *Dataset::Open(folder_ / "a.mq");
  }

  // Two women and a man, four movies of which one has no rating.
  std::shared_ptr<const Dataset> ThreeUsers() {
    const std::vector<MovieLensUser> users = {User("1", 25, false, "artist", "90210"),
                                              User("2", 18, true, "writer", "98107-2117"),
                                              User("3", 25, false, "writer", "V3N4P")};
    const std::vector<MovieLensMovie> movies = {Movie("10", "Ten", {0, 4}, "Ada", "Bo"), Movie("11", "Eleven", {4}, "Ada", ""),
                                                Movie("12", "Twelve <b>", {}, "Cy", "Bo"),
                                                Movie("13", "Unrated", {7}, "Ada", "Di")};
    // 2000-04-30 is a Sunday, 2000-07-01 a Saturday, 1969-12-31 a Wednesday.
    const std::vector<MovieLensRating> ratings = {
        {0, 0, 5, 957052800}, {1, 0, 4, 957139199}, {2, 0, 5, 962409600}, {0, 1, 3, 962409600}, {1, 2, 1, std::nullopt}};
    return Open(MovieLensTables("three <users>", users, movies, ratings));
  }

  TempFolder folder_;
};

TEST(Summarize, IsWhatPandasDescribeGives) {
  const NumberSummary summary = Summarize("n", {4, 1, 3, 2, 10}, 2);
  EXPECT_EQ(summary.count, 5);
  EXPECT_EQ(summary.nulls, 2);
  EXPECT_DOUBLE_EQ(summary.mean, 4);
  EXPECT_DOUBLE_EQ(summary.deviation, std::sqrt(50.0 / 4));
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.lower_quartile, 2);
  EXPECT_EQ(summary.median, 3);
  EXPECT_EQ(summary.upper_quartile, 4);
  EXPECT_EQ(summary.max, 10);
  EXPECT_DOUBLE_EQ(Summarize("n", {1, 2}, 0).upper_quartile, 1.75);
  EXPECT_EQ(Summarize("n", {7}, 0).deviation, 0);
  EXPECT_EQ(Summarize("n", {}, 3).count, 0);
}

TEST_F(ExplorationTest, CountsByEveryQuestion) {
  const auto data = ThreeUsers();
  const Exploration found = Explore(*data);
  EXPECT_EQ(found.by_value, (std::map<float, uint64_t>{{1, 1}, {3, 1}, {4, 1}, {5, 2}}));
  EXPECT_THAT(NamesOf(found.months), ElementsAre("2000-04", "2000-05", "2000-06", "2000-07"));
  EXPECT_EQ(found.months[0].ratings, 2);
  EXPECT_EQ(found.months[1].ratings, 0);
  EXPECT_EQ(found.months_of_year[3].ratings, 2);
  EXPECT_EQ(found.months_of_year[6].name, "July");
  EXPECT_EQ(found.weekdays[6].ratings, 2);
  EXPECT_EQ(found.weekdays[5].ratings, 2);
  EXPECT_EQ(found.weekdays[5].name, "Saturday");
  EXPECT_EQ(found.without_time, 1);

  ASSERT_THAT(NamesOf(found.genders), ElementsAre("women", "men"));
  EXPECT_EQ(found.genders[0].members, 2);
  EXPECT_EQ(found.genders[0].ratings, 3);
  EXPECT_DOUBLE_EQ(found.genders[0].mean(), 13.0 / 3);
  EXPECT_EQ(found.genders[1].by_value, (std::map<float, uint64_t>{{1, 1}, {4, 1}}));
  EXPECT_THAT(NamesOf(found.ages), ElementsAre("18", "25"));
  EXPECT_THAT(NamesOf(found.occupations), ElementsAre("writer", "artist"));
  EXPECT_THAT(NamesOf(found.regions), ElementsAre("9: AK CA HI OR WA", "elsewhere"));

  EXPECT_THAT(NamesOf(found.movies), ElementsAre("Ten", "Eleven", "Twelve <b>"));
  EXPECT_THAT(NamesOf(found.genres), ElementsAre("Comedy", "Action"));
  EXPECT_THAT(NamesOf(found.directors), ElementsAre("Ada", "Cy"));
  EXPECT_EQ(found.directors[0].members, 2);  // what nobody rated does not count
  EXPECT_THAT(NamesOf(found.stars), ElementsAre("Bo"));
  EXPECT_EQ(found.stars[0].ratings, 4);
}

TEST_F(ExplorationTest, SummariesAreOverTheJoinedTable) {
  const auto data = ThreeUsers();
  std::map<std::string, NumberSummary> by_name;
  for (const NumberSummary& summary : Explore(*data).numbers) {
    by_name[summary.name] = summary;
  }
  EXPECT_DOUBLE_EQ(by_name.at("bucketized_user_age").mean, (3 * 25 + 2 * 18) / 5.0);
  EXPECT_EQ(by_name.at("timestamp").nulls, 1);
  EXPECT_EQ(by_name.at("release_date").nulls, 5);
  EXPECT_EQ(by_name.at("user_zip_code").count, 4);  // V3N4P is no number
  EXPECT_EQ(by_name.at("user_zip_code").max, 98107);
}

TEST(ByMean, KeepsThoseWithEnoughRatings) {
  const std::vector<RatingGroup> groups = {{.name = "a", .ratings = 10, .by_value = {{3, 10}}},
                                           {.name = "b", .ratings = 2, .by_value = {{5, 2}}},
                                           {.name = "c", .ratings = 9, .by_value = {{4, 9}}},
                                           {.name = "d", .ratings = 8, .by_value = {{1, 8}}}};
  EXPECT_THAT(NamesOf(ByMean(groups, 5, false, 2)), ElementsAre("c", "a"));
  EXPECT_THAT(NamesOf(ByMean(groups, 5, true, 9)), ElementsAre("d", "a", "c"));
}

TEST_F(ExplorationTest, ThePageAnswersEveryQuestion) {
  const auto data = Open(*MakeSynthetic({"tiny", 60, 50, 1500, 10, 3}));
  const std::string page = ExplorationPage(*data, Explore(*data));
  for (const char* part :
       {"synthetic: made up by a program", "Summary statistics", "Ratings over time, by month", "Ratings by weekday",
        "Men and women", "Age groups", "Occupations", "Ratings of men and of women, in percent of each", "Most rated",
        "Most loved", "Worst", "Ratings by area", "The busiest directors", "The busiest stars", "at least 5 ratings"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_THAT(page, Not(HasSubstr("cannot be answered")));
}

TEST_F(ExplorationTest, ThePageSaysWhatTheDataLacks) {
  const auto plain = Open(KeysOnly(2, 2, {{0, 0, 3}, {1, 1, 4}}));
  const std::string page = ExplorationPage(*plain, Explore(*plain));
  for (const char* column :
       {"timestamp", "user_gender", "bucketized_user_age", "user_occupation_text", "user_zip_code", "movie_genres"}) {
    EXPECT_THAT(page, HasSubstr(std::string("The data has no column '") + column));
  }
  EXPECT_THAT(page, HasSubstr("The data has no column 'director': who the busiest directors are cannot be answered."));

  // MovieLens without The Movies Dataset has the column, and nothing in it.
  const auto nulls =
      Open(MovieLensTables("m", {User("1", 1, true, "artist", "1")}, {Movie("1", "One", {}, "", "")}, {{0, 0, 3, 1}}));
  EXPECT_THAT(ExplorationPage(*nulls, Explore(*nulls)),
              HasSubstr("The data has only nulls in the column 'star': who the busiest stars are cannot be answered."));
}

TEST_F(ExplorationTest, TitlesAreEscaped) {
  const auto data = ThreeUsers();
  EXPECT_THAT(ExplorationPage(*data, Explore(*data)),
              AllOf(HasSubstr("Twelve &lt;b&gt;"), HasSubstr("<h1>three &lt;users&gt;: what"), Not(HasSubstr("Twelve <b>"))));
}

}  // namespace
}  // namespace marquee
