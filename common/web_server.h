#ifndef MARQUEE_COMMON_WEB_SERVER_H_
#define MARQUEE_COMMON_WEB_SERVER_H_

// Answers HTTP requests from threads of its own: the pages and the health of marquee's programs. Takes GET and HEAD, and POST
// where a path asks for it; other methods are refused, and so is a body over a bound. A connection takes a thread while it is
// open: one that says nothing for some seconds is closed, and once half the threads are taken connections are closed after each
// answer, so that those who only listen do not keep others waiting.
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
  std::string method = {};
  std::string path = {};  // decoded, without the query
  std::string part = {};  // what stands in the place of the path's star
  std::string body = {};
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

  // Makes the answer to a request that no handler has answered: no such path, a method that is not taken, a body too large.
  using ErrorHandler = std::function<WebResponse(const WebRequest&, int status)>;

  // So many connections are open at once; others wait.
  explicit WebServer(size_t threads, size_t max_body_bytes = 4096);
  ~WebServer();  // waits for the requests that are being answered

  // Before Start. `path` is taken as it stands, but for one star, in whose place any text may stand (WebRequest::part).
  void Get(const std::string& path, Handler handler);
  void Post(const std::string& path, Handler handler);
  void OnError(ErrorHandler handler);

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
