#include "scheduler/status_page.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <thread>
#include <vector>

#include "tests/unit/common/temporary_folder.h"

namespace marquee {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr char kToken[] = "correct-horse-battery";

class StatusPageTest : public ::testing::Test {
 protected:
  httplib::Client Serve(const std::string& token) {
    page_ = std::make_unique<StatusPage>(token, folder_.Path("report.html"));
    const absl::StatusOr<std::string> endpoint = page_->Serve({});
    EXPECT_TRUE(endpoint.ok()) << endpoint.status();
    endpoint_ = endpoint.value_or("");
    return httplib::Client("http://" + endpoint_);
  }

  TemporaryFolder folder_;
  std::unique_ptr<StatusPage> page_;
  std::string endpoint_;
};

TEST_F(StatusPageTest, ServesWhatWasPublishedLastToManyWhileItChanges) {
  Serve("");
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([this] {
      httplib::Client client("http://" + endpoint_);
      for (int request = 0; request < 50; ++request) {
        const auto json = client.Get("/status.json");
        ASSERT_TRUE(json);
        EXPECT_EQ(json->status, 200);
        EXPECT_EQ(json->body.front(), '{');
        EXPECT_EQ(json->body.back(), '}');
        ASSERT_TRUE(client.Get("/readyz"));
      }
    });
  }
  for (int i = 0; i < 1000; ++i) page_->Publish(fmt::format("{{\"made\": {}}}", i), i % 2 == 0 ? "a server" : "");
  for (std::thread& reader : readers) reader.join();
  httplib::Client client("http://" + endpoint_);
  EXPECT_EQ(client.Get("/status.json")->body, "{\"made\": 999}");
  EXPECT_EQ(client.Get("/readyz")->status, 200);
}

TEST_F(StatusPageTest, ReportIsThereOnceItIsWritten) {
  httplib::Client client = Serve("");
  EXPECT_EQ(client.Get("/report.html")->status, 404);
  folder_.Write("report.html", "<p>all of it</p>");
  EXPECT_EQ(client.Get("/report.html")->body, "<p>all of it</p>");
}

TEST_F(StatusPageTest, WithATokenNothingOfTheSweepIsOpen) {
  httplib::Client client = Serve(kToken);
  page_->Publish("{\"secret\": 1}", "");
  folder_.Write("report.html", "secret");
  for (const char* path : {"/", "/status.json", "/report.html", "/?token=wrong", "/login"}) {
    const auto answer = client.Get(path);
    EXPECT_THAT(answer->body, Not(HasSubstr("secret"))) << path;
    EXPECT_THAT(answer->body, Not(HasSubstr("/status.js"))) << path;
    EXPECT_EQ(answer->get_header_value("Set-Cookie"), "") << path;
  }
  EXPECT_EQ(page_->refused_tokens(), 1U);
  EXPECT_EQ(client.Get("/healthz")->status, 200);

  const auto entered = client.Post("/login", httplib::Params{{"token", kToken}});
  EXPECT_EQ(entered->status, 303);
  const std::string cookie = entered->get_header_value("Set-Cookie");
  EXPECT_THAT(cookie, HasSubstr(fmt::format("marquee_status_{}=", endpoint_.substr(endpoint_.rfind(':') + 1))));
  EXPECT_EQ(client.Get("/status.json", {{"Cookie", cookie.substr(0, cookie.find(';'))}})->body, "{\"secret\": 1}");
  EXPECT_EQ(client.Get("/status.json", {{"Authorization", fmt::format("Bearer {}", kToken)}})->status, 200);
}

TEST_F(StatusPageTest, LargeFormsAreRefused) {
  httplib::Client client = Serve(kToken);
  EXPECT_EQ(client.Post("/login", httplib::Params{{"token", std::string(5000, 'x')}})->status, 413);
  EXPECT_EQ(client.Post("/status.json", httplib::Params{{"token", kToken}})->status, 404);
}

}  // namespace
}  // namespace marquee
