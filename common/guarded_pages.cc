#include "common/guarded_pages.h"

#include <fmt/format.h>

#include <cstdlib>
#include <utility>

#include "common/page.h"

namespace marquee {
namespace {

// {0}: the page's title, {1}: where the token comes from, {2}: what was wrong with the last one.
constexpr char kForm[] = R"(<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{0}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/page.css">
<link rel="stylesheet" href="/controls.css">
</head>
<body>
<header><h1>{0}</h1><p>This page is shown to those who know its token: the first line of <code>{1}</code>.</p></header>
<main>
<form method="post" action="/login" class="login">
<label for="token">Token</label>
<input id="token" name="token" type="password" autocomplete="current-password" required autofocus>
<button type="submit">Show the page</button>
</form>
<p class="refused" role="alert">{2}</p>
</main>
</body>
</html>
)";

constexpr char kControls[] = R"(
:root { --bad: #b3261e; --bad-paper: #fbe9e7; --warn: #8a5a00; --warn-paper: #fdf3dc; --ok: #22713f; --ok-paper: #e4f0e8; }
@media (prefers-color-scheme: dark) {
  :root { --bad: #ff8f85; --bad-paper: #3d1f1c; --warn: #f0c060; --warn-paper: #372b12; --ok: #74cf97; --ok-paper: #1f3a2b; }
}
[hidden] { display: none !important; }
.problem { max-width: none; margin: .75rem 0 0; padding: 10px 14px; border-radius: 8px; font-weight: 600; }
.problem.error { background: var(--bad-paper); color: var(--bad); }
.problem.warning { background: var(--warn-paper); color: var(--warn); }
.problem.ok { background: var(--ok-paper); color: var(--ok); }
select, input, button { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--line); border-radius: 6px; padding: 5px 8px; }
:is(select, input, button, a):focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button { cursor: pointer; background: var(--accent); color: var(--paper); border-color: var(--accent); padding: 6px 14px; }
.login { display: flex; flex-wrap: wrap; gap: 8px 12px; align-items: center; margin: 1.5rem 0; }
.refused { color: var(--bad); font-weight: 600; }
@media (max-width: 600px) { select, input { font-size: 16px; } }
)";

WebResponse PlainRefusal(int status, const std::string& why) { return {.status = status, .body = why + "\n"}; }

}  // namespace

GuardedPages::GuardedPages(std::unique_ptr<WebServer> server, std::string token, Options options)
    : access_(options.name, std::move(token)), options_(std::move(options)), server_(std::move(server)) {
  AddFixed("/page.css", PageStyle(), kStyleType);
  AddFixed("/controls.css", kControls, kStyleType);
  if (!access_.needs_token()) return;
  server_->Get("/login", [this](const WebRequest&) { return Form(false); });
  server_->Post("/login", [this](const WebRequest& request) { return Enter(request); });
}

void GuardedPages::AddPage(const std::string& path, WebServer::Handler handler) {
  server_->Get(path, [this, handler = std::move(handler)](const WebRequest& request) {
    if (access_.needs_token() && request.parameters.contains("token")) return Enter(request);
    if (access_.Allows(request)) return Hardened(handler(request));
    return access_.needs_token() ? SendTo("/login") : Refuse();
  });
}

void GuardedPages::AddAnswer(const std::string& path, WebServer::Handler handler) {
  server_->Get(path, ForPrograms(std::move(handler)));
}

void GuardedPages::AddPostedAnswer(const std::string& path, WebServer::Handler handler) {
  server_->Post(path, ForPrograms(std::move(handler)));
}

void GuardedPages::AddFixed(const std::string& path, std::string_view text, const char* type) {
  server_->Get(path, [this, text, type](const WebRequest&) {
    return Hardened({.body = std::string(text), .type = type, .headers = {{"Cache-Control", "private, max-age=3600"}}});
  });
}

WebServer::Handler GuardedPages::ForPrograms(WebServer::Handler handler) const {
  return [this, handler = std::move(handler)](const WebRequest& request) {
    return access_.Allows(request) ? Hardened(handler(request)) : Refuse();
  };
}

WebResponse GuardedPages::Hardened(WebResponse response) const {
  const auto add = [&](const char* name, const std::string& value) {
    for (const auto& header : response.headers) {
      if (header.first == name) return;
    }
    response.headers.emplace_back(name, value);
  };
  add("Cache-Control", "no-store");
  add("Content-Security-Policy", options_.policy);
  add("X-Content-Type-Options", "nosniff");
  add("X-Frame-Options", "DENY");
  add("Referrer-Policy", "no-referrer");
  return response;
}

WebResponse GuardedPages::Refuse() const {
  const Refusal refusal = options_.refusal ? options_.refusal : PlainRefusal;
  if (!access_.needs_token()) {
    return Hardened(refusal(403, "This page is for this machine only: ask for it as localhost or 127.0.0.1."));
  }
  WebResponse response = refusal(401, "A token is needed: Authorization: Bearer TOKEN");
  response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return Hardened(std::move(response));
}

// Somebody shows the token, in a form or in a link: from then on a cookie speaks for him, and the token stands in no address.
WebResponse GuardedPages::Enter(const WebRequest& request) {
  if (!access_.IsToken(request.parameter("token"))) {
    ++refused_tokens_;
    return Form(true);
  }
  WebResponse response = SendTo("/");
  response.headers.emplace_back("Set-Cookie", access_.Cookie(port_));
  return response;
}

WebResponse GuardedPages::SendTo(const std::string& path) const {
  return Hardened({.status = 303, .headers = {{"Location", path}}});
}

WebResponse GuardedPages::Form(bool refused) const {
  return Hardened({.status = refused ? 403 : 200,
                   .body = fmt::format(kForm, EscapedHtml(options_.title), EscapedHtml(options_.token_setting),
                                       refused ? "This is not the token." : ""),
                   .type = kHtmlType});
}

absl::StatusOr<std::string> GuardedPages::Start(const std::string& host, uint16_t port) {
  absl::StatusOr<std::string> endpoint = server_->Start(host, port);
  if (endpoint.ok()) port_ = static_cast<uint16_t>(std::atoi(endpoint->substr(endpoint->rfind(':') + 1).c_str()));
  return endpoint;
}

std::string Replaced(std::string text, std::string_view what, std::string_view by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

}  // namespace marquee
