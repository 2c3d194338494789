#include "common/web_server.h"

#include <fmt/format.h>
#include <httplib.h>
#include <sys/socket.h>

#include <thread>

#include "absl/strings/ascii.h"

namespace marquee {
namespace {

constexpr time_t kIdleSeconds = 2;       // of a connection, before it is closed
constexpr size_t kMaxBodyBytes = 4096;   // of a form
constexpr size_t kMaxRequestsEach = 64;  // on one connection, so that no client keeps a thread for itself

WebRequest RequestOf(const httplib::Request& request) {
  WebRequest read;
  for (const auto& [name, value] : request.headers) read.headers.emplace(absl::AsciiStrToLower(name), value);
  for (const auto& [name, value] : request.params) read.parameters.emplace(name, value);
  return read;
}

httplib::Server::Handler Answer(WebServer::Handler handler) {
  return [handler = std::move(handler)](const httplib::Request& request, httplib::Response& response) {
    WebResponse answer = handler(RequestOf(request));
    response.status = answer.status;
    for (const auto& [name, value] : answer.headers) response.set_header(name, value);
    response.set_content(std::move(answer.body), answer.type);
  };
}

// Paths of httplib are regular expressions.
std::string Literally(const std::string& path) {
  std::string pattern;
  for (const char c : path) {
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

struct WebServer::State {
  httplib::Server server;
  std::thread serving;
};

WebServer::WebServer(size_t threads) : state_(std::make_unique<State>()) {
  httplib::Server& server = state_->server;
  server.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
  server.set_read_timeout(kIdleSeconds);
  server.set_write_timeout(kIdleSeconds);
  server.set_keep_alive_timeout(kIdleSeconds);
  server.set_keep_alive_max_count(kMaxRequestsEach);
  server.set_payload_max_length(kMaxBodyBytes);
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
  state_->server.Get(Literally(path), Answer(std::move(handler)));
}

void WebServer::PostForm(const std::string& path, Handler handler) {
  state_->server.Post(Literally(path), Answer(std::move(handler)));
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
