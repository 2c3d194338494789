#include "scheduler/examples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace marquee {
namespace {

using testing::HasSubstr;

TEST(Examples, AreWhatTheProgramSays) {
  const auto users = ParseExamples(R"({"users": [{"user": "7", "rated": 31, "best_liked": [{"title": "A"}, {"title": "B"}],
      "movies": [{"title": "C", "genres": ["Comedy", "War"], "score": 1.25, "because": [{"title": "A"}]},
                 {"title": "D", "genres": [], "score": 1.2, "rating": 3.96, "because": []},
                 {"title": "E", "genres": [], "liked": 0.876, "because": []}]}]})");
  ASSERT_TRUE(users.ok()) << users.status().ToString();
  ASSERT_EQ(users->size(), 1);
  const ExampleUser& user = users->front();
  EXPECT_EQ(user.user, "7");
  EXPECT_EQ(user.rated, 31);
  EXPECT_EQ(user.best_liked, "A, B");
  ASSERT_EQ(user.movies.size(), 3);
  EXPECT_EQ(user.movies[0].genres, "Comedy, War");
  EXPECT_EQ(user.movies[0].says, "score 1.25");
  EXPECT_EQ(user.movies[0].because, "A");
  EXPECT_EQ(user.movies[1].says, "predicted 4.0");
  EXPECT_EQ(user.movies[2].says, "liked 88 %");
}

TEST(Examples, TextThatIsNoneIsRefused) {
  for (const char* text : {"", "{}", R"({"users": [{"user": "7"}]})", "[1"}) {
    EXPECT_THAT(std::string(ParseExamples(text).status().message()), HasSubstr("its answer is none")) << text;
  }
}

TEST(Examples, AProgramThatFailsIsSaidWithItsLog) {
  const std::string log = testing::TempDir() + "/it's a log";
  const auto examples = AskForExamples("t", "/no/model", "/no/data", {"1"}, log);
  ASSERT_FALSE(examples.ok());
  // Beside the tests there is no such program; beside the scheduler there is, and then the log is named.
  EXPECT_THAT(std::string(examples.status().message()), testing::AnyOf(HasSubstr("marquee"), HasSubstr(log)));
}

}  // namespace
}  // namespace marquee
