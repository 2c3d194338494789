#include "serving/movie_page.h"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <utility>

#include "common/log.h"
#include "common/version.h"
#include "serving/movie_assets.h"

namespace marquee {
namespace {

// A connection holds a thread while it is open, and most that are open are silent.
constexpr size_t kThreads = 64;
constexpr int kMostInHand = 32;  // recommendations

constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'";

std::string WhyNot(const WebRequest& request, int status) {
  switch (status) {
    case 404:
      return fmt::format("there is no {} here; docs/serving.md lists what there is", request.path);
    case 405:
      return fmt::format("{} is not taken here", request.method);
    case 413:
      return fmt::format("the body must be at most {} bytes long (8192 without Content-Type: application/json)",
                         MovieApi::kMostBodyBytes);
    case 500:
      return "this should not have happened; the log says more";
    default:
      return "the request could not be read";
  }
}

std::unique_ptr<WebServer> MakeServer() {
  auto server = std::make_unique<WebServer>(kThreads, MovieApi::kMostBodyBytes);
  server->OnError([](const WebRequest& request, int status) {
    return ErrorResponse(status, status == 413 ? "body" : "", "", WhyNot(request, status));
  });
  return server;
}

// One of the recommendations that are being made.
struct InHand {
  InHand(std::atomic<int>& held, prometheus::Gauge& shown) : count(held), gauge(shown), number(++held) { gauge.Increment(); }
  ~InHand() {
    --count;
    gauge.Decrement();
  }
  InHand(const InHand&) = delete;
  InHand& operator=(const InHand&) = delete;

  std::atomic<int>& count;
  prometheus::Gauge& gauge;
  const int number;
};

WebResponse ComeAgain(const std::string& why) {
  WebResponse response = ErrorResponse(503, "", "", why);
  response.headers.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace

MoviePage::MoviePage(std::string token, Metrics& metrics)
    : metrics_(metrics),
      pages_(MakeServer(), std::move(token),
             {.name = "movies",
              .title = "marquee: movies",
              .token_setting = "--token-file",
              .policy = kPolicy,
              .refusal = [](int status, const std::string& why) { return ErrorResponse(status, "", "", why); }}) {
  pages_.AddOpen("/healthz", [](const WebRequest&) { return HealthResponse(); });
  pages_.AddOpen("/readyz",
                 [this](const WebRequest&) { return ReadinessResponse(api() == nullptr ? "the model is being loaded" : ""); });
  pages_.AddPage("/", Counted("page", [](const WebRequest&) {
                   return WebResponse{.body = Replaced(std::string(MoviesHtml()), "VERSION", Version()), .type = kHtmlType};
                 }));
  pages_.AddFixed("/movies.css", MoviesStyle(), kStyleType);
  pages_.AddFixed("/movies.js", MoviesScript(), kScriptType);
  pages_.AddAnswer("/metrics", [this](const WebRequest&) {
    return WebResponse{.body = metrics_.Text(), .type = "text/plain; version=0.0.4; charset=utf-8"};
  });
  pages_.AddAnswer("/api/model", Asked("model", [](const MovieApi& api, const WebRequest&) { return api.About(); }));
  pages_.AddAnswer("/api/search", Asked("search", &MovieApi::Search));
  pages_.AddAnswer("/api/users", Asked("users", &MovieApi::Users));
  pages_.AddAnswer("/api/users/*/recommendations", Asked("user", Bounded(&MovieApi::ForUser)));
  pages_.AddPostedAnswer("/api/recommendations", Asked("guest", Bounded(&MovieApi::ForGuest)));
}

absl::StatusOr<std::string> MoviePage::Start(const std::string& host, uint16_t port) {
  absl::StatusOr<std::string> endpoint = pages_.Start(host, port);
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(), fmt::format("movie page: {}", std::string(endpoint.status().message())));
  }
  return endpoint;
}

void MoviePage::Show(std::shared_ptr<const MovieApi> api) {
  const std::lock_guard<std::mutex> lock(mutex_);
  api_ = std::move(api);
}

std::shared_ptr<const MovieApi> MoviePage::api() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return api_;
}

WebServer::Handler MoviePage::Counted(const std::string& name, WebServer::Handler handler) {
  prometheus::Histogram& seconds = metrics_.Get(metric::kAnswerSeconds, {name});
  return [this, name, &seconds, handler = std::move(handler)](const WebRequest& request) {
    const auto start = std::chrono::steady_clock::now();
    WebResponse response = handler(request);
    seconds.Observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    metrics_.Get(metric::kAnswers, {name, fmt::format("{}", response.status)}).Increment();
    return response;
  };
}

WebServer::Handler MoviePage::Asked(const std::string& name, Question question) {
  return Counted(name, [this, name, question = std::move(question)](const WebRequest& request) {
    const std::shared_ptr<const MovieApi> shown = api();
    if (shown == nullptr) return ComeAgain("the model is being loaded; ask again soon");
    try {
      return question(*shown, request);
    } catch (const std::exception& error) {  // of LibTorch: a bug
      LogError("a question could not be answered", {{"question", name}, {"error", error.what()}});
      return ErrorResponse(500, "", "", WhyNot(request, 500));
    }
  });
}

MoviePage::Question MoviePage::Bounded(Question question) {
  prometheus::Gauge& gauge = metrics_.Get(metric::kQuestionsInHand);
  return [this, &gauge, question = std::move(question)](const MovieApi& shown, const WebRequest& request) {
    const InHand hand(in_hand_, gauge);
    if (hand.number > kMostInHand) {
      return ComeAgain(fmt::format("{} recommendations are being made, which is as many as are made at once", kMostInHand));
    }
    return question(shown, request);
  };
}

}  // namespace marquee
