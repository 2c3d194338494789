// The readers of MovieLens, on made-up lines of the files' shape.

#include "dataset/movielens.h"

#include "dataset/wrangle.h"
#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kUsers = "1::F::1::10::48067\n2::M::56::16::70072-1234\n5::M::25::0::\n";
constexpr std::string_view kMovies =
    "3::Nobody's Film (1950)::Drama\n"
    "10::Les Mis\xe9rables (1995)::Drama|Musical\n"
    "7::It Has: One Colon (1999)::Animation|Children's|Comedy\n";
constexpr std::string_view kRatings = "1::10::5::978300760\n5::7::3::978302109\n1::7::1::978301968\n";

class MovieLens1MTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_.Write("users.dat", kUsers);
    folder_.Write("movies.dat", kMovies);
    folder_.Write("ratings.dat", kRatings);
  }

  absl::StatusOr<MovieLens> Read() {
    report_ = Report();
    return ReadMovieLens(folder_.path(), report_);
  }
  // The error after one file was replaced; "no error" if there was none.
  std::string ErrorWith(std::string_view file, std::string_view content) {
    folder_.Write(file, content);
    std::string message = MessageOf(Read());
    const size_t folder = message.find(folder_.path() + "/");
    return folder == std::string::npos ? message : message.erase(folder, folder_.path().size() + 1);
  }

  TempFolder folder_;
  Report report_;
};

TEST_F(MovieLens1MTest, ReadsItsFiles) {
  const absl::StatusOr<MovieLens> data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->name, "ml-1m");
  ASSERT_EQ(data->users.size(), 3);
  EXPECT_EQ(data->users[0].occupation, "K-12 student");
  EXPECT_EQ(data->users[0].occupation_label, 17);
  EXPECT_FALSE(data->users[0].male);
  EXPECT_EQ(data->users[0].bucketized_age, 1);
  EXPECT_FALSE(data->users[0].raw_age.has_value());
  EXPECT_TRUE(data->users[1].male);
  EXPECT_EQ(data->users[1].zip_code, "70072-1234");
  EXPECT_EQ(data->users[2].occupation, "other/not specified");
  ASSERT_EQ(data->movies.size(), 3);
  EXPECT_EQ(data->movies[1].title, "Les Misérables (1995)");
  EXPECT_THAT(data->movies[1].genres, ElementsAre(7, 12));
  EXPECT_EQ(data->movies[2].title, "It Has: One Colon (1999)");
  EXPECT_THAT(data->movies[2].genres, ElementsAre(2, 3, 4));
  ASSERT_EQ(data->ratings.size(), 3);
  EXPECT_EQ(data->ratings[1].user, 2);
  EXPECT_EQ(data->ratings[1].movie, 2);
  EXPECT_EQ(data->ratings[1].rating, 3);
  EXPECT_EQ(data->ratings[1].timestamp, 978302109);
  EXPECT_THAT(report_.text(), HasSubstr("movies.dat: 3 movies\n    is in Latin-1: made UTF-8 of it\n"));
  EXPECT_EQ(report_.count("ratings.dat", "ratings"), 3);
  EXPECT_EQ(report_.count("ratings.dat", "have no timestamp: null"), 0);
}

TEST_F(MovieLens1MTest, WritesTheReferenceTable) {
  const absl::StatusOr<DataTables> tables = WrangleMovieLens(folder_.path(), {}, report_);
  ASSERT_TRUE(tables.ok()) << tables.status();
  ASSERT_TRUE(WriteDataset(*tables, folder_ / "a.mq").ok());
  const auto data = *Dataset::Open(folder_ / "a.mq");
  EXPECT_EQ(data->items(), 3);
  EXPECT_EQ(data->rated_items(), 2);  // nobody rated movie 3: it comes last
  const Column& movie_id = data->item_key();
  EXPECT_EQ(movie_id.value(movie_id.code(0)), "10");
  EXPECT_EQ(movie_id.value(movie_id.code(2)), "3");
  std::vector<std::string> names;
  for (const auto& column : data->columns()) names.push_back(column->name());
  EXPECT_THAT(names, ElementsAre("bucketized_user_age", "movie_genres", "movie_id", "movie_title", "timestamp", "user_gender",
                                 "user_id", "user_occupation_label", "user_occupation_text", "user_rating", "user_zip_code",
                                 "director", "release_date", "star"));
  const Column& genres = *data->column("movie_genres");
  EXPECT_THAT(genres.codes(0), ElementsAre(7, 12));
  EXPECT_EQ(genres.value(7), "Drama");
  EXPECT_EQ(data->column("user_zip_code")->code(2), kNullCode);
  EXPECT_EQ(data->column("director")->code(0), kNullCode);
  EXPECT_TRUE(data->column("release_date")->is_null(0));
  EXPECT_EQ(data->column("user_rating")->number(0), 5);
  EXPECT_EQ(report_.count("table", "users with no user_zip_code"), 1);
  EXPECT_EQ(report_.count("table", "items with no director"), 3);
  EXPECT_EQ(report_.count("table", "items without: kept after the others, never candidates"), 1);
}

TEST_F(MovieLens1MTest, TakesRatingsWithoutTimestamps) {
  folder_.Write("ratings.dat", "1::10::5\r\n5::7::3::\r\n1::7::1::978301968\r\n");
  const absl::StatusOr<MovieLens> data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_FALSE(data->ratings[0].timestamp.has_value());
  EXPECT_FALSE(data->ratings[1].timestamp.has_value());
  EXPECT_EQ(data->ratings[2].timestamp, 978301968);
  EXPECT_EQ(report_.count("ratings.dat", "have no timestamp: null"), 2);
}

TEST_F(MovieLens1MTest, KeepsRepeatedPairsAndCountsThem) {
  folder_.Write("ratings.dat", "1::10::5::1\n1::10::4::2\n1::7::1::3\n");
  const absl::StatusOr<DataTables> tables = WrangleMovieLens(folder_.path(), {}, report_);
  EXPECT_EQ(tables->label.size(), 3);
  EXPECT_EQ(report_.count("table", "repeat a (user, item) pair: kept"), 1);
}

TEST_F(MovieLens1MTest, StopsAtBrokenRatings) {
  EXPECT_THAT(ErrorWith("ratings.dat", "1::10::5::1\n1::10\n"), HasSubstr("ratings.dat:2: 2 fields; must be 4, or 3"));
  EXPECT_EQ(ErrorWith("ratings.dat", "1::10::5::1\n9::10::5::1\n"), "ratings.dat:2: user 9 is not in users.dat");
  EXPECT_EQ(ErrorWith("ratings.dat", "1::99::5::1\n"), "ratings.dat:1: movie 99 is not in movies.dat");
  EXPECT_EQ(ErrorWith("ratings.dat", "one::10::5::1\n"), "ratings.dat:1: user 'one': must be a whole number");
  EXPECT_EQ(ErrorWith("ratings.dat", "1::10::x::1\n"), "ratings.dat:1: rating 'x': must be 0.5 to 5");
  EXPECT_EQ(ErrorWith("ratings.dat", "1::10::5.5::1\n"), "ratings.dat:1: rating '5.5': must be 0.5 to 5");
  EXPECT_EQ(ErrorWith("ratings.dat", "1::10::nan::1\n"), "ratings.dat:1: rating 'nan': must be 0.5 to 5");
  EXPECT_EQ(ErrorWith("ratings.dat", "1::10::5::now\n"), "ratings.dat:1: timestamp 'now': must be Unix seconds, or nothing");
  EXPECT_EQ(ErrorWith("ratings.dat", "\n"), "ratings.dat: holds no ratings");
  EXPECT_THAT(ErrorWith("ratings.dat", std::string("1::10\0::5::1\n", 13)), HasSubstr("ratings.dat:1: a byte of value 0"));
}

TEST_F(MovieLens1MTest, StopsAtBrokenUsers) {
  EXPECT_EQ(ErrorWith("users.dat", "1::F::1::10\n"),
            "users.dat:1: 4 fields; must be 5: UserID::Gender::Age::Occupation::Zip-code");
  EXPECT_EQ(ErrorWith("users.dat", "1::X::1::10::1\n"), "users.dat:1: gender 'X': must be M or F");
  EXPECT_EQ(ErrorWith("users.dat", "1::F::2::10::1\n"), "users.dat:1: age '2': must be one of 1, 18, 25, 35, 45, 50, 56");
  EXPECT_EQ(ErrorWith("users.dat", "1::F::1::21::1\n"), "users.dat:1: occupation '21': must be 0 to 20");
  EXPECT_EQ(ErrorWith("users.dat", "1::F::1::-1::1\n"), "users.dat:1: occupation '-1': must be 0 to 20");
  EXPECT_EQ(ErrorWith("users.dat", "1::F::1::10::1\n2::M::1::1::1\n1::F::1::1::1\n"),
            "users.dat:3: user 1 stands a second time; it was on line 1");
  EXPECT_EQ(ErrorWith("users.dat", "0::F::1::10::1\n"), "users.dat:1: user '0': must be a positive whole number");
}

TEST_F(MovieLens1MTest, StopsAtBrokenMovies) {
  EXPECT_EQ(ErrorWith("movies.dat", "1::Title\n"), "movies.dat:1: 2 fields; must be 3: MovieID::Title::Genres");
  EXPECT_THAT(ErrorWith("movies.dat", "1::Title::Drama|Farce\n"),
              HasSubstr("movies.dat:1: genre 'Farce': must be one of Action, "));
  EXPECT_EQ(ErrorWith("movies.dat", "7::A::Drama\n7::B::Drama\n"),
            "movies.dat:2: movie 7 stands a second time; it was on line 1");
}

TEST_F(MovieLens1MTest, NamesMissingFiles) {
  std::filesystem::remove(folder_ / "users.dat");
  EXPECT_THAT(MessageOf(Read()), HasSubstr("users.dat: cannot open"));
  std::filesystem::remove(folder_ / "ratings.dat");
  EXPECT_THAT(MessageOf(Read()), HasSubstr("holds neither ratings.dat (MovieLens 1M) nor u.data (MovieLens 100K)"));
}

class MovieLens100KTest : public MovieLens1MTest {
 protected:
  static std::string Item(std::string_view head, std::string_view flags) {
    std::string line(head);
    for (const char flag : flags) line.append("|").push_back(flag);
    return line + "\n";
  }

  void SetUp() override {
    folder_.Write("u.user", "1|24|M|technician|85711\n2|53|F|other|94043\n3|7|M|none|T8H1N\n");
    folder_.Write("u.item", Item("1|Toys (1995)|01-Jan-1995||http://x/y?Toys%20(1995)", "0001110000000000000") +
                                Item("2|caf\xe9 (1971)|4-Feb-1961||", "1000000000000000000") +
                                Item("3|unknown|||", "0000000000000000000"));
    folder_.Write("u.data", "1\t2\t3\t881250949\n2\t1\t5\t891717742\n");
  }
};

TEST_F(MovieLens100KTest, ReadsItsFiles) {
  const absl::StatusOr<MovieLens> data = Read();
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->name, "ml-100k");
  EXPECT_EQ(data->users[0].raw_age, 24);
  EXPECT_EQ(data->users[0].bucketized_age, 18);
  EXPECT_EQ(data->users[0].occupation, "technician");
  EXPECT_EQ(data->users[0].occupation_label, 18);
  EXPECT_EQ(data->users[2].bucketized_age, 1);
  EXPECT_EQ(data->users[2].occupation_label, 11);
  EXPECT_EQ(data->users[2].zip_code, "T8H1N");
  EXPECT_THAT(data->movies[0].genres, ElementsAre(2, 3, 4));
  EXPECT_EQ(data->movies[0].release_date, 788918400);
  EXPECT_EQ(data->movies[1].title, "café (1971)");
  EXPECT_EQ(data->movies[1].release_date, -281059200);
  EXPECT_THAT(data->movies[1].genres, ElementsAre(17));
  EXPECT_FALSE(data->movies[2].release_date.has_value());
  EXPECT_TRUE(data->movies[2].genres.empty());
  EXPECT_EQ(data->ratings[1].timestamp, 891717742);
}

TEST_F(MovieLens100KTest, KeepsAgesInYears) {
  const absl::StatusOr<DataTables> tables = WrangleMovieLens(folder_.path(), {}, report_);
  ASSERT_TRUE(tables.ok()) << tables.status();
  EXPECT_EQ(tables->columns.size(), 15);
  EXPECT_THAT(tables->column("raw_user_age")->numbers, ElementsAre(24, 53, 7));
}

TEST_F(MovieLens100KTest, StopsAtBrokenFiles) {
  EXPECT_THAT(ErrorWith("u.item", "1|Toys|01-Jan-1995||\n"), HasSubstr("u.item:1: 5 fields; must be 24: movie id|title|"));
  EXPECT_EQ(ErrorWith("u.item", Item("1|T|1995||", "0001110000000000000")),
            "u.item:1: release date '1995': must be a day such as 01-Jan-1995, or nothing");
  EXPECT_EQ(ErrorWith("u.item", Item("1|T|31-Feb-1995||", "0001110000000000000")),
            "u.item:1: release date '31-Feb-1995': must be a day such as 01-Jan-1995, or nothing");
  EXPECT_EQ(ErrorWith("u.item", Item("1|T|||", "0020000000000000000")),
            "u.item:1: flag of genre Adventure '2': must be 0 or 1");
  SetUp();
  EXPECT_EQ(ErrorWith("u.user", "1|24|M|wizard|85711\n"), "u.user:1: occupation 'wizard': is none of those in u.occupation");
  EXPECT_EQ(ErrorWith("u.user", "1|old|M|other|85711\n"), "u.user:1: age 'old': must be 0 to 150");
}

// links.csv speaks of the ids of MovieLens 1M and later: joined to 100K it would give every movie another one's director.
TEST_F(MovieLens100KTest, RefusesLinks) {
  const MoviesDatasetFiles files{folder_.Write("links.csv", "movieId,imdbId,tmdbId\n1,1,862\n"), "", ""};
  EXPECT_THAT(MessageOf(WrangleMovieLens(folder_.path(), files, report_)), HasSubstr("numbers its movies otherwise"));
}

}  // namespace
}  // namespace marquee
