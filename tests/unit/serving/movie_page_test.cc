#include "serving/movie_page.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <thread>
#include <vector>

#include "tests/unit/serving/kept_models.h"

namespace marquee {
namespace {

using testing::HasSubstr;
using testing::Not;
using Json = nlohmann::json;

constexpr char kToken[] = "correct-horse-battery";

class MoviePageTest : public testing::Test {
 protected:
  httplib::Client Serve(const std::string& token, bool ready = true) {
    page_ = std::make_unique<MoviePage>(token, metrics_);
    const absl::StatusOr<std::string> endpoint = page_->Start("127.0.0.1", 0);
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = endpoint.value_or("");
    if (ready) Show();
    return httplib::Client("http://" + endpoint_);
  }
  void Show() {
    const std::shared_ptr<const ServedModels> served = Kept().Open(HistoryTowers());
    user_ = served->recommender().UserKeyOf(3);
    page_->Show({served, &served->api()});
  }
  std::string ForUser() const { return "/api/users/" + user_ + "/recommendations"; }

  Metrics metrics_{kServe};
  std::string endpoint_, user_;
  std::unique_ptr<MoviePage> page_;
};

Json ErrorOf(const httplib::Result& result, int status) {
  EXPECT_TRUE(result);
  EXPECT_EQ(result->status, status) << result->body;
  EXPECT_EQ(result->get_header_value("Content-Type"), "application/json");
  return Json::parse(result->body).at("error");
}

TEST_F(MoviePageTest, IsThereBeforeTheModelIs) {
  httplib::Client client = Serve("", /*ready=*/false);
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get("/readyz")->body, "not ready: the model is being loaded\n");
  EXPECT_EQ(client.Get("/")->status, 200);
  const auto early = client.Get("/api/model");
  EXPECT_THAT(ErrorOf(early, 503)["message"].get<std::string>(), HasSubstr("being loaded"));
  EXPECT_EQ(early->get_header_value("Retry-After"), "1");
  Show();
  EXPECT_EQ(client.Get("/readyz")->status, 200);
  EXPECT_EQ(client.Get("/api/model")->status, 200);
}

TEST_F(MoviePageTest, AnswersWhateverIsAskedInJson) {
  httplib::Client client = Serve("");
  EXPECT_EQ(Json::parse(client.Get(ForUser())->body)["movies"].size(), 10U);
  EXPECT_EQ(Json::parse(client.Get("/api/search?q=a&count=2")->body)["movies"].size(), 2U);
  EXPECT_EQ(ErrorOf(client.Get("/api/nothing"), 404)["message"],
            "there is no /api/nothing here; docs/serving.md lists what there is");
  EXPECT_EQ(ErrorOf(client.Get("/api/users/no%20body%2F1/recommendations"), 404)["value"], "no body/1");
  EXPECT_EQ(ErrorOf(client.Delete("/api/model"), 405)["message"], "DELETE is not taken here");
  const std::string large(MovieApi::kMostBodyBytes + 1, ' ');
  const Json error = ErrorOf(client.Post("/api/recommendations", large, "application/json"), 413);
  EXPECT_EQ(error["field"], "body");
  EXPECT_THAT(error["message"].get<std::string>(), HasSubstr("at most 131072 bytes"));
  // As curl -d sends it.
  EXPECT_EQ(ErrorOf(client.Post("/api/recommendations", "{}", "application/x-www-form-urlencoded"), 400)["field"], "ratings");
}

TEST_F(MoviePageTest, ABrowserIsToldToBeCareful) {
  httplib::Client client = Serve("");
  const auto page = client.Get("/");
  EXPECT_THAT(page->body, HasSubstr("/movies.js?"));
  EXPECT_THAT(page->get_header_value("Content-Security-Policy"), HasSubstr("default-src 'none'"));
  EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(client.Get("/api/model")->get_header_value("Cache-Control"), "no-store");
  EXPECT_EQ(ErrorOf(client.Get("/api/model", {{"Host", "rebound.example"}}), 403)["message"],
            "This page is for this machine only: ask for it as localhost or 127.0.0.1.");
}

TEST_F(MoviePageTest, WithATokenNothingOfTheModelIsOpen) {
  httplib::Client client = Serve(kToken);
  for (const std::string& path : {std::string("/api/model"), std::string("/api/search"), std::string("/metrics"), ForUser()}) {
    EXPECT_THAT(ErrorOf(client.Get(path), 401)["message"].get<std::string>(), HasSubstr("Bearer TOKEN")) << path;
  }
  ErrorOf(client.Post("/api/recommendations", "{}", "application/json"), 401);
  EXPECT_EQ(client.Get("/")->get_header_value("Location"), "/login");
  EXPECT_THAT(client.Get("/login")->body, HasSubstr("<code>--token-file</code>"));
  EXPECT_EQ(client.Get("/healthz")->status, 200);
  EXPECT_EQ(client.Get(ForUser(), {{"Authorization", fmt::format("Bearer {}", kToken)}})->status, 200);
  const auto entered = client.Post("/login", httplib::Params{{"token", kToken}});
  EXPECT_EQ(entered->status, 303);
  const std::string cookie = entered->get_header_value("Set-Cookie");
  EXPECT_THAT(cookie, HasSubstr("marquee_movies_"));
  EXPECT_THAT(cookie, Not(HasSubstr(kToken)));
  EXPECT_EQ(client.Get("/api/model", {{"Cookie", cookie.substr(0, cookie.find(';'))}})->status, 200);
}

TEST_F(MoviePageTest, CountsItsAnswers) {
  httplib::Client client = Serve("");
  client.Get(ForUser());
  client.Get(ForUser());
  client.Get("/api/users/nobody/recommendations");
  const std::string text = client.Get("/metrics")->body;
  EXPECT_THAT(text, HasSubstr("marquee_answers_total{question=\"user\",status=\"200\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("marquee_answers_total{question=\"user\",status=\"404\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("marquee_answer_seconds_count{question=\"user\"} 3\n"));
  EXPECT_THAT(text, HasSubstr("marquee_questions_in_hand 0\n"));
  EXPECT_THAT(text, HasSubstr("marquee_build_info{program=\"serve\""));
}

// More connections than threads, each left open by its client: the server closes them after an answer, so that all get one.
TEST_F(MoviePageTest, SilentConnectionsKeepNobodyWaiting) {
  Serve("");
  std::vector<std::unique_ptr<httplib::Client>> clients;
  for (int i = 0; i < 150; ++i) {
    clients.push_back(std::make_unique<httplib::Client>("http://" + endpoint_));
    clients.back()->set_keep_alive(true);
    clients.back()->set_read_timeout(1);  // less than a silent connection lasts
    const auto answer = clients.back()->Get("/api/model");
    ASSERT_TRUE(answer) << i << ": " << httplib::to_string(answer.error());
    EXPECT_EQ(answer->status, 200);
  }
}

}  // namespace
}  // namespace marquee
