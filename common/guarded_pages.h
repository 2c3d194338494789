#ifndef MARQUEE_COMMON_GUARDED_PAGES_H_
#define MARQUEE_COMMON_GUARDED_PAGES_H_

// A program's pages for people and answers for programs, kept from those who may not read them (common/web_access.h), with the
// headers that a browser should have with them. What the pages look like in common comes along: /page.css, /controls.css, and,
// where there is a token, the form at /login that asks for it.
//
//     GuardedPages pages(std::make_unique<WebServer>(4), token, {.name = "status", .title = "marquee: status", ...});
//     pages.AddFixed("/status.js", script, kScriptType);                                        // no secrets in it
//     pages.AddPage("/", [](const WebRequest&) { return WebResponse{.body = html, .type = kHtmlType}; });
//     pages.AddAnswer("/status.json", [](const WebRequest&) { return WebResponse{.body = "{}", .type = kJsonType}; });
//     absl::StatusOr<std::string> endpoint = pages.Start("127.0.0.1", 0);
//
// Handlers run on the server's threads until the destructor has returned.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"
#include "common/web_access.h"
#include "common/web_server.h"

namespace marquee {

inline constexpr char kHtmlType[] = "text/html; charset=utf-8";
inline constexpr char kStyleType[] = "text/css; charset=utf-8";
inline constexpr char kScriptType[] = "text/javascript; charset=utf-8";
inline constexpr char kJsonType[] = "application/json";

class GuardedPages {
 public:
  // An answer that says no to a program, and why.
  using Refusal = std::function<WebResponse(int status, const std::string& why)>;

  struct Options {
    std::string name;           // in the cookie: "status"
    std::string title;          // of the form that asks for the token
    std::string token_setting;  // where the token comes from, as the form says it: "status.token_file"
    std::string policy;         // Content-Security-Policy
    Refusal refusal;            // empty: in plain text
  };

  // An empty token: for everybody on this machine.
  GuardedPages(std::unique_ptr<WebServer> server, std::string token, Options options);

  // Before Start.

  // For people: who may not read is sent to the form. A link to a page may bring the token along (?token=...).
  void AddPage(const std::string& path, WebServer::Handler handler);
  // For programs: who may not read is told so.
  void AddAnswer(const std::string& path, WebServer::Handler handler);
  void AddPostedAnswer(const std::string& path, WebServer::Handler handler);
  // For everybody; and a part of a page that is the same until the program changes.
  void AddOpen(const std::string& path, WebServer::Handler handler) { server_->Get(path, std::move(handler)); }
  void AddFixed(const std::string& path, std::string_view text, const char* type);

  // See WebServer.
  absl::StatusOr<std::string> Start(const std::string& host, uint16_t port);

  // How many wrong tokens were shown.
  uint64_t refused_tokens() const { return refused_tokens_; }

 private:
  // With the headers that it has not got.
  WebResponse Hardened(WebResponse response) const;
  WebResponse Enter(const WebRequest& request);
  WebResponse Refuse() const;
  WebResponse Form(bool refused) const;
  WebResponse SendTo(const std::string& path) const;
  WebServer::Handler ForPrograms(WebServer::Handler handler) const;

  const WebAccess access_;
  const Options options_;
  std::atomic<uint16_t> port_{0};  // tells this page's cookie from those of others on this host
  std::atomic<uint64_t> refused_tokens_{0};
  std::unique_ptr<WebServer> server_;  // the last member: its threads use the others
};

// `text` with every `what` replaced by `by`.
std::string Replaced(std::string text, std::string_view what, std::string_view by);

}  // namespace marquee

#endif  // MARQUEE_COMMON_GUARDED_PAGES_H_
