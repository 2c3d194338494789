#include "scheduler/status_page.h"

#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "common/chart_library.h"
#include "common/page.h"
#include "common/version.h"
#include "scheduler/status_assets.h"

namespace marquee {
namespace {

constexpr size_t kThreads = 4;
constexpr uintmax_t kMaxReportBytes = 64U << 20U;
constexpr char kHtml[] = "text/html; charset=utf-8";
constexpr char kStyles[] = "text/css; charset=utf-8";
constexpr char kScripts[] = "text/javascript; charset=utf-8";

// The chart library writes style attributes into its drawings.
constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
// The report is one file with its scripts in it.
constexpr char kReportPolicy[] =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'";

WebResponse Hardened(WebResponse response, const char* policy = kPolicy) {
  bool says_caching = false;
  for (const auto& header : response.headers) says_caching |= header.first == "Cache-Control";
  if (!says_caching) response.headers.emplace_back("Cache-Control", "no-store");
  response.headers.emplace_back("Content-Security-Policy", policy);
  response.headers.emplace_back("X-Content-Type-Options", "nosniff");
  response.headers.emplace_back("X-Frame-Options", "DENY");
  response.headers.emplace_back("Referrer-Policy", "no-referrer");
  return response;
}

WebResponse SendTo(const std::string& path) { return Hardened({.status = 303, .headers = {{"Location", path}}}); }

// A part of the page that is the same until the program changes.
WebServer::Handler Fixed(std::string_view text, const char* type) {
  return [text, type](const WebRequest&) {
    return Hardened({.body = std::string(text), .type = type, .headers = {{"Cache-Control", "private, max-age=3600"}}});
  };
}

std::string Replaced(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

WebResponse LoginForm(bool refused) {
  return Hardened({.status = refused ? 403 : 200,
                   .body = Replaced(std::string(LoginHtml()), "REFUSED", refused ? "This is not the token." : ""),
                   .type = kHtml});
}

}  // namespace

StatusPage::StatusPage(StatusAccess access, std::string report)
    : access_(std::move(access)),
      report_(std::move(report)),
      published_(std::make_shared<const Published>(Published{.json = "{}", .missing = "starts"})),
      server_(kThreads) {}

void StatusPage::Publish(std::string json, std::string missing) {
  auto published = std::make_shared<const Published>(Published{.json = std::move(json), .missing = std::move(missing)});
  const std::lock_guard<std::mutex> lock(mutex_);
  published_.swap(published);
}

std::shared_ptr<const StatusPage::Published> StatusPage::published() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return published_;
}

WebServer::Handler StatusPage::Guarded(bool person, WebServer::Handler handler) {
  return [this, person, handler = std::move(handler)](const WebRequest& request) {
    return access_.Allows(request) ? handler(request) : Refuse(person, request);
  };
}

WebResponse StatusPage::Refuse(bool person, const WebRequest&) const {
  if (!access_.needs_token()) {
    return Hardened({.status = 403, .body = "This page is for this machine only: ask for it as localhost or 127.0.0.1.\n"});
  }
  if (person) return SendTo("/login");
  return Hardened(
      {.status = 401, .body = "A token is needed: Authorization: Bearer TOKEN\n", .headers = {{"WWW-Authenticate", "Bearer"}}});
}

// Somebody shows the token, in a form or in a link: from then on a cookie speaks for him, and the token stands in no address.
WebResponse StatusPage::Enter(const WebRequest& request) {
  if (!access_.IsToken(request.parameter("token"))) {
    ++refused_tokens_;
    return LoginForm(true);
  }
  WebResponse response = SendTo("/");
  response.headers.emplace_back("Set-Cookie", access_.Cookie(port_));
  return response;
}

WebResponse StatusPage::Report() const {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(report_, error);
  std::ifstream file(report_, std::ios::binary);
  if (error || size > kMaxReportBytes || !file) {
    return Hardened({.status = 404, .body = "There is no report yet: it is written when the sweep is over.\n"});
  }
  return Hardened({.body = std::string(std::istreambuf_iterator<char>(file), {}), .type = kHtml}, kReportPolicy);
}

absl::StatusOr<std::string> StatusPage::Serve(const StatusPlace& place) {
  server_.Get("/healthz", [](const WebRequest&) { return HealthResponse(); });
  server_.Get("/readyz", [this](const WebRequest&) { return ReadinessResponse(published()->missing); });
  server_.Get("/", [this](const WebRequest& request) {
    if (access_.needs_token() && request.parameters.contains("token")) return Enter(request);
    if (!access_.Allows(request)) return Refuse(true, request);
    return Hardened({.body = Replaced(std::string(StatusHtml()), "VERSION", Version()), .type = kHtml});
  });
  server_.Get("/status.json", Guarded(false, [this](const WebRequest&) {
                return Hardened({.body = published()->json, .type = "application/json"});
              }));
  server_.Get("/report.html", Guarded(true, [this](const WebRequest&) { return Report(); }));
  // No secrets in these, and the form to log in needs the styles.
  server_.Get("/page.css", Fixed(PageStyle(), kStyles));
  server_.Get("/status.css", Fixed(StatusStyle(), kStyles));
  server_.Get("/status.js", Fixed(StatusScript(), kScripts));
  server_.Get("/echarts.js", Fixed(ChartLibrary(), kScripts));
  if (access_.needs_token()) {
    server_.Get("/login", [](const WebRequest&) { return LoginForm(false); });
    server_.PostForm("/login", [this](const WebRequest& request) { return Enter(request); });
  }
  absl::StatusOr<std::string> endpoint = server_.Start(place.host, place.port);
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(), fmt::format("status page: {}", std::string(endpoint.status().message())));
  }
  port_ = static_cast<uint16_t>(std::atoi(endpoint->substr(endpoint->rfind(':') + 1).c_str()));
  return endpoint;
}

}  // namespace marquee
