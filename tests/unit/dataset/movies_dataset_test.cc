// Links, metadata and credits, on made-up rows: one test for each rule of docs/data.md.

#include "dataset/movies_dataset.h"

#include <fmt/format.h>

#include "tests/unit/dataset/test_files.h"

namespace marquee {
namespace {

using testing::HasSubstr;

MovieLensMovie Movie(std::string_view id) {
  MovieLensMovie movie;
  movie.id = id;
  movie.title = "T";
  return movie;
}

class MoviesDatasetTest : public testing::Test {
 protected:
  std::string Links(std::string_view rows) {
    return folder_.Write("links.csv", fmt::format("movieId,imdbId,tmdbId\n{}", rows));
  }
  std::string Metadata(std::string_view rows) {
    return folder_.Write("movies_metadata.csv", fmt::format("adult,id,overview,release_date\n{}", rows));
  }
  std::string Credits(std::string_view rows) { return folder_.Write("credits.csv", fmt::format("cast,crew,id\n{}", rows)); }

  TempFolder folder_;
  Report report_;
};

TEST_F(MoviesDatasetTest, ReadsLinks) {
  const auto links = ReadLinks(Links("1,0114709,862\n2,0113497,\n3,1,862\n1,5,7\n"), report_);
  ASSERT_TRUE(links.ok()) << links.status();
  EXPECT_EQ(links->size(), 3);
  EXPECT_EQ(links->at(1), 862);
  EXPECT_EQ(links->at(2), std::nullopt);
  EXPECT_EQ(links->at(3), 862);
  EXPECT_EQ(report_.count("links.csv", "rows"), 4);
  EXPECT_EQ(report_.count("links.csv", "have no tmdbId"), 1);
  EXPECT_EQ(report_.count("links.csv", "have a tmdbId that stood before: kept"), 1);
  EXPECT_EQ(report_.count("links.csv", "have a movieId that stood before: left out, the first one counts"), 1);
}

TEST_F(MoviesDatasetTest, StopsAtBrokenLinks) {
  EXPECT_THAT(MessageOf(ReadLinks(Links("1,2,3\nx,2,3\n"), report_)),
              HasSubstr("links.csv:3: column 'movieId': value 'x': must be a whole number"));
  EXPECT_THAT(MessageOf(ReadLinks(Links("1,2,3.0\n"), report_)), HasSubstr("links.csv:2: column 'tmdbId': value '3.0'"));
  EXPECT_THAT(MessageOf(ReadLinks(Links("1,2\n"), report_)), HasSubstr("links.csv:2: 2 fields; must be 3, as in the header"));
  EXPECT_THAT(MessageOf(ReadLinks(folder_.Write("l.csv", "movieId,imdbId\n1,2\n"), report_)),
              HasSubstr("l.csv:1: no column 'tmdbId'"));
  EXPECT_THAT(MessageOf(ReadLinks(folder_ / "none.csv", report_)), HasSubstr("none.csv: cannot open"));
}

TEST_F(MoviesDatasetTest, ReadsDatesBefore1970) {
  const auto dates =
      ReadMetadata(Metadata("False,422,\"Guido, a\n\"\"director\"\"\",1963-02-14\nFalse,1,,1995-10-30\nFalse,2,,\n"), report_);
  ASSERT_TRUE(dates.ok()) << dates.status();
  EXPECT_EQ(dates->at(422), -217123200);
  EXPECT_EQ(dates->at(1), 815011200);
  EXPECT_EQ(dates->at(2), std::nullopt);
  EXPECT_EQ(report_.count("movies_metadata.csv", "have no release date"), 1);
}

// The three real ones: an overview with a line end that was not quoted cuts a row in two.
TEST_F(MoviesDatasetTest, LeavesOutMalformedMetadataRows) {
  const auto dates = ReadMetadata(Metadata("False,10,good,2001-01-01\n"
                                           "False,11,first half\n"
                                           "second half,2001-01-02\n"
                                           "x, - Written by somebody,0.065736,1\n"
                                           "False,12,good,2001-01-03\n"
                                           "False,13,good,2001-01-03\n"),
                                  report_);
  ASSERT_TRUE(dates.ok()) << dates.status();
  EXPECT_EQ(dates->size(), 3);
  EXPECT_FALSE(dates->contains(11));
  EXPECT_EQ(report_.count("movies_metadata.csv", "are malformed: left out"), 3);
  EXPECT_THAT(report_.text(), HasSubstr("line 3 (3 fields, must be 4), line 4 (2 fields, must be 4), "
                                        "line 5 (id ' - Written by somebody' is no number)"));
}

TEST_F(MoviesDatasetTest, RefusesMetadataThatIsMostlyMalformed) {
  EXPECT_THAT(MessageOf(ReadMetadata(Metadata("a,b\nc,d\nFalse,12,good,2001-01-03\n"), report_)),
              HasSubstr("movies_metadata.csv: 2 of 3 rows are malformed, the first at line 2"));
}

TEST_F(MoviesDatasetTest, TakesTheFirstOfRepeatedMetadata) {
  const auto dates = ReadMetadata(Metadata("False,1,,2001-01-01\nFalse,1,,2002-02-02\n"), report_);
  EXPECT_EQ(dates->at(1), 978307200);
  EXPECT_EQ(report_.count("movies_metadata.csv", "have an id that stood before: left out, the first one counts"), 1);
}

TEST_F(MoviesDatasetTest, MakesNullOfWhatIsNoDate) {
  const auto dates = ReadMetadata(Metadata("False,1,,1\nFalse,2,,2001-02-30\n"), report_);
  EXPECT_EQ(dates->at(1), std::nullopt);
  EXPECT_EQ(dates->at(2), std::nullopt);
  EXPECT_EQ(report_.count("movies_metadata.csv", "have a release date that is no day: null"), 2);
}

TEST_F(MoviesDatasetTest, ReadsDirectorAndStar) {
  const auto credits = ReadCredits(
      Credits(
          "\"[{'name': 'Second', 'order': 1}, {'name': \"\"Conan O'Brien\"\", 'order': 0}]\","
          "\"[{'job': 'Writer', 'name': 'W'}, {'job': 'Director', 'name': 'Miloš D'}, {'job': 'Director', 'name': 'E'}]\",862\n"
          "[],[],5\n"
          "\"[{'name': 'X', 'order': 3}]\",\"[{'job': 'Director', 'name': None}]\",6\n"
          "[],\"[{'job': 'Director', 'name': 'late'}]\",5\n"),
      report_);
  ASSERT_TRUE(credits.ok()) << credits.status();
  EXPECT_EQ(credits->at(862).director, "Miloš D");
  EXPECT_EQ(credits->at(862).star, "Conan O'Brien");
  EXPECT_EQ(credits->at(5).director, "");  // the first row of id 5 counts
  EXPECT_EQ(credits->at(6).director, "");
  EXPECT_EQ(credits->at(6).star, "");
  EXPECT_EQ(report_.count("credits.csv", "have an id that stood before: left out, the first one counts"), 1);
}

TEST_F(MoviesDatasetTest, StopsAtBrokenCredits) {
  EXPECT_THAT(MessageOf(ReadCredits(Credits("[],[],1\n\"[{'name': }]\",[],2\n"), report_)),
              HasSubstr("credits.csv:3: column 'cast': character 11: '}' where a value must be"));
  EXPECT_THAT(MessageOf(ReadCredits(Credits("[],{},1\n"), report_)), HasSubstr("credits.csv:2: column 'crew': must be a list"));
  EXPECT_THAT(MessageOf(ReadCredits(Credits("[],[],x\n"), report_)), HasSubstr("credits.csv:2: column 'id': value 'x'"));
  EXPECT_THAT(MessageOf(ReadCredits(Credits("[],[]\n"), report_)), HasSubstr("credits.csv:2: 2 fields; must be 3"));
  EXPECT_THAT(MessageOf(ReadCredits(Credits("[],\"[{'a'"), report_)), HasSubstr("credits.csv:2: a quoted field begins here"));
}

// Genuine rows in full, where they are at hand: cast lists with nested quotes, escapes and None.
TEST_F(MoviesDatasetTest, ReadsGenuineRows) {
  const std::optional<std::string> data = RealData();
  if (!data.has_value() || !std::filesystem::exists(*data + "/samples")) GTEST_SKIP() << "the samples are licensed data";
  const auto credits = ReadCredits(*data + "/samples/credits_35_rows.csv", report_);
  ASSERT_TRUE(credits.ok()) << credits.status();
  EXPECT_EQ(credits->size(), 35);
  EXPECT_EQ(credits->at(862).director, "John Lasseter");
  EXPECT_EQ(credits->at(862).star, "Tom Hanks");
  const auto dates = ReadMetadata(*data + "/samples/movies_metadata_29_rows.csv", report_);
  ASSERT_TRUE(dates.ok()) << dates.status();
  EXPECT_EQ(dates->size(), 29);
  EXPECT_EQ(dates->at(862), 815011200);
  EXPECT_EQ(report_.count("movies_metadata_29_rows.csv", "are malformed: left out"), 0);
}

TEST_F(MoviesDatasetTest, JoinsAndTellsWhyValuesAreMissing) {
  const MoviesDatasetFiles files{
      Links("1,0,100\n2,0,\n4,0,100\n5,0,101\n6,0,999\n"), Metadata("False,100,,1969-12-31\nFalse,101,,\n"),
      Credits("\"[{'name': 'S', 'order': 0}]\",\"[{'job': 'Director', 'name': 'D'}]\",100\n[],[],101\n")};
  std::vector<MovieLensMovie> movies;
  for (const char* const id : {"1", "2", "3", "4", "5", "6"}) movies.push_back(Movie(id));
  const std::vector<MovieLensRating> ratings = {{0, 0, 5, 1}, {0, 1, 5, 1}, {0, 2, 5, 1},
                                                {1, 2, 5, 1}, {0, 3, 5, 1}, {0, 5, 4, 1}};
  ASSERT_TRUE(JoinMoviesDataset(files, ratings, movies, report_).ok());
  EXPECT_EQ(movies[0].director, "D");
  EXPECT_EQ(movies[0].star, "S");
  EXPECT_EQ(movies[0].release_date, -86400);
  EXPECT_EQ(movies[3].director, "D");  // 4 shares its tmdbId with 1
  for (const size_t other : {1, 2, 4, 5}) {
    EXPECT_EQ(movies[other].director, "") << other;
    EXPECT_EQ(movies[other].release_date, std::nullopt) << other;
  }
  const auto count = [&](std::string_view step, std::string_view words) { return report_.count(step, words); };
  EXPECT_EQ(count("movieId to tmdbId", "movies have a tmdbId"), 4);
  EXPECT_EQ(count("movieId to tmdbId", "are not in links: no director, star or date (2 ratings)"), 1);
  EXPECT_EQ(count("movieId to tmdbId", "are in links without a tmdbId: likewise (1 ratings)"), 1);
  EXPECT_EQ(count("movieId to tmdbId", "share their tmdbId with another movie: both take its values"), 1);
  EXPECT_EQ(count("release dates", "have a tmdbId that is not in metadata: null (1 ratings)"), 1);
  EXPECT_EQ(count("release dates", "are in metadata without a date: null (0 ratings)"), 1);
  EXPECT_EQ(count("release dates", "of the dates are before 1970: negative"), 2);
  EXPECT_EQ(count("directors and stars", "have a tmdbId that is not in credits: null (1 ratings)"), 1);
  EXPECT_EQ(count("directors and stars", "have no Director in their crew: null (0 ratings)"), 1);
  EXPECT_EQ(count("directors and stars", "have no cast of order 0: null (0 ratings)"), 1);
  EXPECT_EQ(count("joined", "rated movies"), 2);
  EXPECT_EQ(count("joined", "ratings are of these"), 2);
  EXPECT_EQ(count("joined", "ratings are of others: kept, with null director, star and date"), 4);
}

TEST_F(MoviesDatasetTest, JoinsWhatIsGiven) {
  std::vector<MovieLensMovie> movies = {Movie("1")};
  const std::string links = Links("1,0,100\n");
  ASSERT_TRUE(JoinMoviesDataset({links, Metadata("False,100,,1970-01-02\n"), ""}, {}, movies, report_).ok());
  EXPECT_EQ(movies[0].release_date, 86400);
  EXPECT_EQ(movies[0].director, "");
  ASSERT_TRUE(JoinMoviesDataset({"", "", ""}, {}, movies, report_).ok());
  EXPECT_THAT(MessageOf(JoinMoviesDataset({"", "m.csv", ""}, {}, movies, report_)), HasSubstr("need links.csv"));
}

}  // namespace
}  // namespace marquee
