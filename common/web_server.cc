#include "common/web_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "absl/strings/ascii.h"

namespace marquee {
namespace {

constexpr time_t kIdleSeconds = 2;       // of a connection, before it is closed
constexpr size_t kMaxRequestsEach = 64;  // on one connection, so that no client keeps a thread for itself

WebRequest RequestOf(const httplib::Request& request) {
  WebRequest read{.method = request.method,
                  .path = request.path,
                  .part = request.matches.size() > 1 ? request.matches[1].str() : "",
                  .body = request.body};
  for (const auto& [name, value] : request.headers) read.headers.emplace(absl::AsciiStrToLower(name), value);
  for (const auto& [name, value] : request.params) read.parameters.emplace(name, value);
  return read;
}

void Send(WebResponse answer, httplib::Response& response) {
  response.status = answer.status;
  for (const auto& [name, value] : answer.headers) response.set_header(name, value);
  response.set_content(std::move(answer.body), answer.type);
}

httplib::Server::Handler Answer(WebServer::Handler handler) {
  return [handler = std::move(handler)](const httplib::Request& request, httplib::Response& response) {
    Send(handler(RequestOf(request)), response);
  };
}

// Paths of httplib are regular expressions.
std::string PatternOf(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
    if (c == '*') {
      pattern += "(.+)";
      continue;
    }
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '/') pattern += '\\';
    pattern += c;
  }
  return pattern;
}

std::string Found(const std::map<std::string, std::string>& values, const std::string& name) {
  const auto found = values.find(name);
  return found == values.end() ? "" : found->second;
}

bool Readable(const std::string& method) { return method == "GET" || method == "HEAD" || method == "POST"; }

}  // namespace

std::string WebRequest::header(const std::string& name) const { return Found(headers, name); }
std::string WebRequest::parameter(const std::string& name) const { return Found(parameters, name); }

// Counts the connections that are open or wait for a thread.
class CountingPool : public httplib::TaskQueue {
 public:
  CountingPool(size_t threads, std::atomic<size_t>& connections) : connections_(connections), pool_(threads) {}

  void enqueue(std::function<void()> connection) override {
    ++connections_;
    pool_.enqueue([this, connection = std::move(connection)] {
      connection();
      --connections_;
    });
  }
  void shutdown() override { pool_.shutdown(); }

 private:
  std::atomic<size_t>& connections_;
  httplib::ThreadPool pool_;
};

struct WebServer::State {
  std::atomic<size_t> connections{0};
  httplib::Server server;
  std::thread serving;
};

WebServer::WebServer(size_t threads, size_t max_body_bytes) : state_(std::make_unique<State>()) {
  httplib::Server& server = state_->server;
  server.new_task_queue = [threads, state = state_.get()] { return new CountingPool(threads, state->connections); };
  // An answer is written in two pieces; the second must not wait until the first is acknowledged.
  server.set_tcp_nodelay(true);
  server.set_read_timeout(kIdleSeconds);
  server.set_write_timeout(kIdleSeconds);
  server.set_keep_alive_timeout(kIdleSeconds);
  server.set_keep_alive_max_count(kMaxRequestsEach);
  server.set_payload_max_length(max_body_bytes);
  // Not shared with another process: a port that is taken must be an error.
  server.set_socket_options([](int socket) {
    const int yes = 1;
    setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  });
  server.set_pre_routing_handler([](const httplib::Request& request, httplib::Response& response) {
    if (Readable(request.method)) return httplib::Server::HandlerResponse::Unhandled;
    response.status = 405;
    response.set_header("Allow", "GET, HEAD");
    return httplib::Server::HandlerResponse::Handled;
  });
  server.set_post_routing_handler([threads, state = state_.get()](const httplib::Request&, httplib::Response& response) {
    if (2 * state->connections <= threads) return;
    response.headers.erase("Keep-Alive");
    if (!response.has_header("Connection")) response.set_header("Connection", "close");
  });
  // The server's own words tell a stranger more than he needs.
  server.set_exception_handler(
      [](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) { response.status = 500; });
}

WebServer::~WebServer() {
  if (!state_->serving.joinable()) return;
  state_->server.stop();
  state_->serving.join();
}

void WebServer::Get(const std::string& path, Handler handler) {
  state_->server.Get(PatternOf(path), Answer(std::move(handler)));
}

void WebServer::Post(const std::string& path, Handler handler) {
  state_->server.Post(PatternOf(path), Answer(std::move(handler)));
}

void WebServer::OnError(ErrorHandler handler) {
  state_->server.set_error_handler(
      [handler = std::move(handler)](const httplib::Request& request, httplib::Response& response) {
        if (response.body.empty()) Send(handler(RequestOf(request), response.status), response);
      });
}

absl::StatusOr<std::string> WebServer::Start(const std::string& host, uint16_t port) {
  if (state_->serving.joinable()) return absl::FailedPreconditionError("is served already");
  httplib::Server& server = state_->server;
  const int bound = port == 0 ? server.bind_to_any_port(host) : server.bind_to_port(host, port) ? port : -1;
  if (bound <= 0) {
    return absl::UnavailableError(fmt::format("cannot listen on {}:{}: is the port taken, the host this one?", host, port));
  }
  state_->serving = std::thread([&server] { server.listen_after_bind(); });
  // A server that is not yet running cannot be stopped.
  while (!server.is_running()) std::this_thread::yield();
  return fmt::format("{}:{}", host, bound);
}

WebResponse HealthResponse() { return {.body = "ok\n"}; }

WebResponse ReadinessResponse(const std::string& missing) {
  if (missing.empty()) return {.body = "ready\n"};
  return {.status = 503, .body = fmt::format("not ready: {}\n", missing)};
}

}  // namespace marquee
