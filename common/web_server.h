#ifndef MARQUEE_COMMON_WEB_SERVER_H_
#define MARQUEE_COMMON_WEB_SERVER_H_

// Answers HTTP requests from threads of its own: the pages and the health of marquee's programs. Takes GET and HEAD, and small
// forms where a path asks for them; other methods are refused, and so is a body over 4 KiB. A connection that says nothing for
// some seconds is closed.
//
//     WebServer server(2);
//     server.Get("/healthz", [](const WebRequest&) { return WebResponse{.body = "ok\n"}; });
//     absl::StatusOr<std::string> endpoint = server.Start("127.0.0.1", 0);
//
// Handlers run on the server's threads, several at once, until the destructor has returned; what they read must be made for
// that.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace marquee {

struct WebRequest {
  std::map<std::string, std::string> headers = {};     // names in lower case; the first of each
  std::map<std::string, std::string> parameters = {};  // of the query, or of the form

  std::string header(const std::string& name) const;  // empty if there is none
  std::string parameter(const std::string& name) const;
};

struct WebResponse {
  int status = 200;
  std::string body = {};
  std::string type = "text/plain; charset=utf-8";
  std::vector<std::pair<std::string, std::string>> headers = {};
};

class WebServer {
 public:
  using Handler = std::function<WebResponse(const WebRequest&)>;

  // So many requests are answered at once.
  explicit WebServer(size_t threads);
  ~WebServer();  // waits for the requests that are being answered

  // Before Start. `path` is taken as it stands.
  void Get(const std::string& path, Handler handler);
  void PostForm(const std::string& path, Handler handler);

  // Listens; once. Port 0 takes a free one. Returns "host:port" with the port in use.
  absl::StatusOr<std::string> Start(const std::string& host, uint16_t port);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "ok" of /healthz, and what /readyz says: 200 and "ready", or 503 and what is missing.
WebResponse HealthResponse();
WebResponse ReadinessResponse(const std::string& missing);

}  // namespace marquee

#endif  // MARQUEE_COMMON_WEB_SERVER_H_
