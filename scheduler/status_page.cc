#include "scheduler/status_page.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "common/chart_library.h"
#include "common/version.h"
#include "scheduler/status_assets.h"

namespace marquee {
namespace {

constexpr size_t kThreads = 4;
constexpr uintmax_t kMaxReportBytes = 64U << 20U;

// The chart library writes style attributes into its drawings.
constexpr char kPolicy[] =
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
// The report is one file with its scripts in it.
constexpr char kReportPolicy[] =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "frame-ancestors 'none'";

}  // namespace

StatusPage::StatusPage(std::string token, std::string report)
    : report_(std::move(report)),
      published_(std::make_shared<const Published>(Published{.json = "{}", .missing = "starts"})),
      pages_(std::make_unique<WebServer>(kThreads), std::move(token),
             {.name = "status",
              .title = "marquee: status",
              .token_setting = "status.token_file",
              .policy = kPolicy,
              .refusal = {}}) {}

void StatusPage::Publish(std::string json, std::string missing) {
  auto published = std::make_shared<const Published>(Published{.json = std::move(json), .missing = std::move(missing)});
  const std::lock_guard<std::mutex> lock(mutex_);
  published_.swap(published);
}

std::shared_ptr<const StatusPage::Published> StatusPage::published() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return published_;
}

WebResponse StatusPage::Report() const {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(report_, error);
  std::ifstream file(report_, std::ios::binary);
  if (error || size > kMaxReportBytes || !file) {
    return {.status = 404, .body = "There is no report yet: it is written when the sweep is over.\n"};
  }
  return {.body = std::string(std::istreambuf_iterator<char>(file), {}),
          .type = kHtmlType,
          .headers = {{"Content-Security-Policy", kReportPolicy}}};
}

absl::StatusOr<std::string> StatusPage::Serve(const StatusPlace& place) {
  pages_.AddOpen("/healthz", [](const WebRequest&) { return HealthResponse(); });
  pages_.AddOpen("/readyz", [this](const WebRequest&) { return ReadinessResponse(published()->missing); });
  pages_.AddPage("/", [](const WebRequest&) {
    return WebResponse{.body = Replaced(std::string(StatusHtml()), "VERSION", Version()), .type = kHtmlType};
  });
  pages_.AddAnswer("/status.json",
                   [this](const WebRequest&) { return WebResponse{.body = published()->json, .type = kJsonType}; });
  pages_.AddPage("/report.html", [this](const WebRequest&) { return Report(); });
  pages_.AddFixed("/status.css", StatusStyle(), kStyleType);
  pages_.AddFixed("/status.js", StatusScript(), kScriptType);
  pages_.AddFixed("/echarts.js", ChartLibrary(), kScriptType);
  absl::StatusOr<std::string> endpoint = pages_.Start(place.host, place.port);
  if (!endpoint.ok()) {
    return absl::Status(endpoint.status().code(), fmt::format("status page: {}", std::string(endpoint.status().message())));
  }
  return endpoint;
}

}  // namespace marquee
