#include "serving/movie_api.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "serving/recommendations.h"
#include "tests/unit/serving/kept_models.h"

namespace marquee {
namespace {

using testing::HasSubstr;
using Json = nlohmann::json;

class MovieApiTest : public testing::Test {
 protected:
  MovieApiTest() : served_(Kept().Open(HistoryTowers())), api_(served_->api()) {}

  std::string MovieKey(uint32_t movie) const { return served_->recommender().KeyOf(movie); }
  std::string UserKey(uint32_t user) const { return served_->recommender().UserKeyOf(user); }
  WebResponse ForUser(const std::string& user, std::map<std::string, std::string> parameters = {}) const {
    return api_.ForUser({.part = user, .parameters = std::move(parameters)});
  }
  WebResponse Posted(const std::string& body) const { return api_.ForGuest({.body = body}); }

  std::unique_ptr<ServedModels> served_;
  const MovieApi& api_;
};

Json Answer(const WebResponse& response, int status = 200) {
  EXPECT_EQ(response.status, status) << response.body;
  EXPECT_EQ(response.type, "application/json");
  return Json::parse(response.body);
}

// An answer that says no: to which field, for which value, and why.
void ExpectError(const WebResponse& response, int status, const std::string& field, const std::string& value,
                 const std::string& message) {
  const Json error = Answer(response, status).at("error");
  EXPECT_EQ(error.at("status"), status);
  EXPECT_EQ(error.at("field"), field);
  EXPECT_EQ(error.at("value"), value);
  EXPECT_THAT(error.at("message").get<std::string>(), HasSubstr(message));
}

TEST_F(MovieApiTest, AnswersAUserAsTheRecommenderDoes) {
  const Recommender& recommender = served_->recommender();
  const RecommendOptions options{.count = 4, .unseen = true, .reasons = 2};
  const Json want = Json::parse(RecommendationsJson(recommender, 5, recommender.Recommend(5, options)).dump());
  const Json got = Answer(ForUser(UserKey(5), {{"count", "4"}, {"reasons", "2"}}));
  EXPECT_EQ(got, want);
  EXPECT_EQ(got["movies"].size(), 4U);
  for (const Json& movie : got["movies"]) EXPECT_FALSE(movie["seen"].get<bool>());
  EXPECT_EQ(got["reasons"], "history");
}

TEST_F(MovieApiTest, ShowsWhatAUserHasSeenWhenAsked) {
  const Json got = Answer(ForUser(UserKey(5), {{"count", "100"}, {"unseen", "false"}}));
  size_t seen = 0;
  for (const Json& movie : got["movies"]) seen += movie["seen"].get<bool>() ? 1 : 0;
  EXPECT_GT(seen, 0U);
  EXPECT_EQ(got["movies"].size(), 100U);
}

TEST_F(MovieApiTest, AnswersAGuest) {
  const std::string body =
      fmt::format(R"({{"ratings": [{{"movie": "{}", "rating": 5}}, {{"movie": {}, "rating": 1.5}}], "count": 3}})", MovieKey(3),
                  MovieKey(8));
  const Json got = Answer(Posted(body));
  EXPECT_EQ(got["rated"], 2);
  EXPECT_EQ(got["rated_movies"][0]["movie"], MovieKey(3));
  EXPECT_EQ(got["rated_movies"][1]["rating"], 1.5);
  ASSERT_EQ(got["movies"].size(), 3U);
  for (const Json& movie : got["movies"]) {
    EXPECT_NE(movie["movie"], MovieKey(3));
    EXPECT_NE(movie["movie"], MovieKey(8));
  }
}

TEST_F(MovieApiTest, SearchFindsTitlesAndWithoutWordsTheMostRated) {
  const std::string title = served_->recommender().TitleOf(12);
  const Json found = Answer(api_.Search({.parameters = {{"q", title}, {"count", "3"}}}));
  EXPECT_EQ(found["query"], title);
  ASSERT_LE(found["movies"].size(), 3U);
  EXPECT_EQ(found["movies"][0]["title"], title);
  const Json most = Answer(api_.Search({}));
  ASSERT_EQ(most["movies"].size(), 10U);
  size_t before = SIZE_MAX;
  for (const Json& movie : most["movies"]) {
    EXPECT_LE(movie["ratings"].get<size_t>(), before);
    before = movie["ratings"];
  }
  EXPECT_GT(before, 0U);
  EXPECT_TRUE(Answer(api_.Search({.parameters = {{"q", "zzzz qqqq"}}}))["movies"].empty());
}

TEST_F(MovieApiTest, UsersAreFoundByTheBeginningOfTheirKeys) {
  const std::string key = UserKey(41);
  const Json users = Answer(api_.Users({.parameters = {{"q", key}}}))["users"];
  ASSERT_FALSE(users.empty());
  EXPECT_EQ(users[0]["user"], key);
  EXPECT_EQ(users[0]["rated"], served_->recommender().RatedBy(41));
  for (const Json& user : users) EXPECT_EQ(user["user"].get<std::string>().rfind(key, 0), 0U);
  EXPECT_TRUE(Answer(api_.Users({.parameters = {{"q", "nobody"}}}))["users"].empty());
}

TEST_F(MovieApiTest, SaysWhatItIs) {
  const Json about = Answer(api_.About());
  EXPECT_EQ(about["trial"], "history");
  EXPECT_EQ(about["data"]["movies"], 400);
  EXPECT_EQ(about["data"]["synthetic"], true);
  EXPECT_EQ(about["guests"], true);
  EXPECT_EQ(about["predictions_of"], "");
  EXPECT_FALSE(about["example_users"].empty());
}

TEST_F(MovieApiTest, RefusesWhatIsNotThere) {
  ExpectError(ForUser("99999999"), 404, "user", "99999999", "user_id 99999999: not among the 600 users");
  ExpectError(Posted(R"({"ratings": [{"movie": "no such", "rating": 5}]})"), 404, "ratings[0].movie", "no such",
              "not among the 400 rated movies");
}

TEST_F(MovieApiTest, RefusesWrongParameters) {
  for (const char* count : {"0", "101", "-1", "ten", "1.5", "", "99999999999999999999"}) {
    ExpectError(ForUser(UserKey(0), {{"count", count}}), 400, "count", count, "must be a whole number from 1 to 100");
  }
  ExpectError(ForUser(UserKey(0), {{"unseen", "maybe"}}), 400, "unseen", "maybe", "must be true or false");
  ExpectError(ForUser(UserKey(0), {{"reasons", "11"}}), 400, "reasons", "11", "from 0 to 10");
  ExpectError(ForUser(UserKey(0), {{"limit", "5"}}), 400, "limit", "5", "there are count, reasons, unseen");
  ExpectError(api_.Search({.parameters = {{"q", "a"}, {"count", "1000"}}}), 400, "count", "1000", "from 1 to 100");
  const std::string endless(201, 'x');
  ExpectError(api_.Search({.parameters = {{"q", endless}}}), 400, "q", endless.substr(0, 80) + "…", "at most 200 bytes");
}

TEST_F(MovieApiTest, RefusesWrongBodies) {
  ExpectError(Posted("{\"ratings\": ["), 400, "body", "{\"ratings\": [", "is no JSON, at byte 14");
  ExpectError(Posted(""), 400, "body", "", "is no JSON");
  ExpectError(Posted("[]"), 400, "body", "[]", "must be an object");
  ExpectError(Posted("{}"), 400, "ratings", "null", "must be a list of 1 to 1000 ratings");
  ExpectError(Posted(R"({"ratings": []})"), 400, "ratings", "[]", "must be a list of 1 to 1000 ratings");
  ExpectError(Posted(R"({"ratings": {"1": 5}})"), 400, "ratings", "{\"1\":5}", "must be a list");
  ExpectError(Posted(R"({"ratings": [5]})"), 400, "ratings[0]", "5", "must be an object");
  ExpectError(Posted(R"({"rating": []})"), 400, "rating", "[]", "is no field here; there are ratings, count, reasons");

  const auto rating = [&](const std::string& value) {
    return fmt::format(R"({{"ratings": [{{"movie": "{}", "rating": 4}}, {{"movie": "{}", "rating": {}}}]}})", MovieKey(0),
                       MovieKey(1), value);
  };
  for (const char* wrong : {"0", "6", "5.01", "-3", "null", "true", "[]", "1e300"}) {
    const std::string shown = Json::parse(wrong).dump();
    ExpectError(Posted(rating(wrong)), 400, "ratings[1].rating", shown, "must be a number from 1 to 5");
  }
  ExpectError(Posted(rating("\"five\"")), 400, "ratings[1].rating", "five", "must be a number from 1 to 5");
  ExpectError(Posted(rating("4, \"when\": 7")), 400, "ratings[1].when", "7", "there are movie, rating");
  ExpectError(
      Posted(fmt::format(R"({{"ratings": [{{"movie": "{0}", "rating": 4}}, {{"movie": "{0}", "rating": 4}}]}})", MovieKey(0))),
      400, "ratings[1].movie", MovieKey(0), "is rated already");
  ExpectError(Posted(R"({"ratings": [{"rating": 4}]})"), 400, "ratings[0].movie", "null", "must be a movie's key");
  ExpectError(Posted(fmt::format(R"({{"ratings": [{{"movie": "{}", "rating": 4}}], "count": "3"}})", MovieKey(0))), 400,
              "count", "\"3\"", "must be a whole number");
}

TEST(MovieApi, SaysWhyAModelTakesNoGuests) {
  const auto served = Kept().Open(LayerRatings());
  const Json about = Answer(served->api().About());
  EXPECT_EQ(about["guests"], false);
  EXPECT_THAT(about["no_guests"].get<std::string>(), HasSubstr("cannot be fitted to a few ratings"));
  EXPECT_EQ(about["predictions_of"], "layers");
  const std::string body = fmt::format(R"({{"ratings": [{{"movie": "{}", "rating": 4}}]}})", served->recommender().KeyOf(0));
  ExpectError(served->api().ForGuest({.body = body}), 409, "", "", "cannot be fitted to a few ratings");
  const Json to_user = Answer(served->api().ForUser({.part = served->recommender().UserKeyOf(0)}));
  for (const Json& movie : to_user["movies"]) EXPECT_GE(movie["rating"].get<double>(), 1.0);
}

}  // namespace
}  // namespace marquee
