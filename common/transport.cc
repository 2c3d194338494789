#include "common/transport.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <zmq.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "common/zap.h"

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace marquee {
namespace {

// Over inproc a frame reaches another thread through a queue of ZeroMQ, whose ordering of memory ThreadSanitizer cannot see.
void BeforeHandingOver([[maybe_unused]] const void* frame) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(const_cast<void*>(frame));
#endif
}

void AfterTakingOver([[maybe_unused]] const void* frame) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(const_cast<void*>(frame));
#endif
}

constexpr int kMaxMessagesPerReceive = 64;
constexpr size_t kMaxFrames = 512;  // as in Message::Parse; more of them are not even kept
constexpr size_t kRoutesBeforeSweep = 64;
constexpr char kRoutePrefix = '\x01';  // tells the route of a reply from an endpoint, which begins with a letter

// Bytes handed to ZeroMQ for one peer and not yet let go. Shared with the frames, which may outlive the connection.
struct PeerQueue {
  std::atomic<size_t> bytes{0};
};

// Keeps a message alive while ZeroMQ holds one of its segments.
struct SentFrame {
  OutgoingMessagePtr message;
  std::shared_ptr<PeerQueue> queue;
  size_t bytes;
};

// Called by ZeroMQ on any thread.
void ReleaseFrame(void* /*data*/, void* hint) {
  const std::unique_ptr<SentFrame> frame(static_cast<SentFrame*>(hint));
  frame->queue->bytes.fetch_sub(frame->bytes, std::memory_order_acq_rel);
}

zmq::message_t FrameOf(kj::ArrayPtr<const capnp::word> segment, const OutgoingMessagePtr& message,
                       const std::shared_ptr<PeerQueue>& queue) {
  const size_t bytes = segment.size() * sizeof(capnp::word);
  queue->bytes.fetch_add(bytes, std::memory_order_acq_rel);
  BeforeHandingOver(segment.begin());
  // ZeroMQ only reads what it sends; its interface just does not say so.
  return {const_cast<capnp::word*>(segment.begin()), bytes, ReleaseFrame, new SentFrame{message, queue, bytes}};
}

// 0 or an errno.
int TrySend(zmq::socket_t& socket, zmq::message_t& frame, bool more) {
  const int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
  while (zmq_msg_send(frame.handle(), socket.handle(), flags) < 0) {
    if (zmq_errno() != EINTR) return zmq_errno();
  }
  return 0;
}

bool TryReceive(zmq::socket_t& socket, zmq::message_t& frame) {
  while (zmq_msg_recv(frame.handle(), socket.handle(), ZMQ_DONTWAIT) < 0) {
    if (zmq_errno() != EINTR) return false;
  }
  return true;
}

// What the ZAP handler has said of the peer. Over inproc, within a process, nobody is asked.
PeerRole RoleOf(zmq::message_t& frame) {
  const char* const name = zmq_msg_gets(frame.handle(), "User-Id");
  return name == nullptr ? PeerRole::kUnknown : PeerRoleNamed(name).value_or(PeerRole::kUnknown);
}

bool IsRoute(const Peer& peer) { return !peer.empty() && peer[0] == kRoutePrefix; }

bool StartsWith(std::string_view text, std::string_view prefix) { return text.substr(0, prefix.size()) == prefix; }

absl::Status ZmqError(std::string_view what, std::string_view endpoint, const zmq::error_t& error) {
  return absl::UnavailableError(fmt::format("{} {}: {}", what, endpoint, error.what()));
}

// The two halves of "tcp://host:port"; nullopt for other endpoints.
struct TcpAddress {
  std::string host;
  std::string port;
};

std::optional<TcpAddress> ParseTcp(std::string_view endpoint) {
  constexpr std::string_view kTcp = "tcp://";
  const size_t colon = endpoint.rfind(':');
  if (!StartsWith(endpoint, kTcp) || colon < kTcp.size()) return std::nullopt;
  return TcpAddress{std::string(endpoint.substr(kTcp.size(), colon - kTcp.size())), std::string(endpoint.substr(colon + 1))};
}

// ZeroMQ would take a port above 65535 for another one.
bool IsPort(const std::string& port) {
  uint32_t number = 0;
  return port == "*" || (absl::SimpleAtoi(port, &number) && number <= UINT16_MAX);
}

bool IsIpv6(const std::optional<TcpAddress>& address) { return address.has_value() && StartsWith(address->host, "["); }

// The IPv4 address of a host name; nullopt for what is no name, such as "*", an address or an interface.
std::optional<std::string> ResolveName(const std::string& host) {
  in_addr numeric{};
  if (host == "*" || StartsWith(host, "[") || inet_pton(AF_INET, host.c_str(), &numeric) == 1) return std::nullopt;
  addrinfo hints{};
  hints.ai_family = AF_INET;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &found) != 0) return std::nullopt;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, freeaddrinfo);
  sockaddr_in ip{};
  std::memcpy(&ip, found->ai_addr, std::min<size_t>(sizeof(ip), found->ai_addrlen));
  char text[INET_ADDRSTRLEN] = {};
  if (inet_ntop(AF_INET, &ip.sin_addr, text, sizeof(text)) == nullptr) return std::nullopt;
  return std::string(text);
}

// Of both kinds of socket. What is queued for sending is bounded in bytes by us, not in messages by ZeroMQ.
void SetCommonOptions(zmq::socket_t& socket, const TransportOptions& options, bool ipv6) {
  socket.set(zmq::sockopt::linger, 0);
  socket.set(zmq::sockopt::sndhwm, 0);
  socket.set(zmq::sockopt::rcvhwm, 128);  // then the sender's TCP connection is left to fill up
  socket.set(zmq::sockopt::maxmsgsize, static_cast<int64_t>(2 * options.max_message_bytes));
  socket.set(zmq::sockopt::ipv6, ipv6);
  socket.set(zmq::sockopt::handshake_ivl, 10'000);  // ms, as all below
  socket.set(zmq::sockopt::connect_timeout, 3'000);
  socket.set(zmq::sockopt::reconnect_ivl, 50);
  socket.set(zmq::sockopt::reconnect_ivl_max, 2'000);
  // A peer that vanished without a word is noticed by the kernel: idle after 25 s, with data on the way after 20 s.
  socket.set(zmq::sockopt::tcp_maxrt, 20'000);
  socket.set(zmq::sockopt::tcp_keepalive, 1);
  socket.set(zmq::sockopt::tcp_keepalive_idle, 10);  // s
  socket.set(zmq::sockopt::tcp_keepalive_intvl, 5);
  socket.set(zmq::sockopt::tcp_keepalive_cnt, 3);
}

// Lets nobody in if the ZAP handler should be gone. ZeroMQ knows this option, but stable headers do not name it; where it is
// missing, nothing is lost as long as the handler lives.
void EnforceAuthentication(zmq::socket_t& socket) {
  constexpr int kZapEnforceDomain = 93;
  const int on = 1;
  zmq_setsockopt(socket.handle(), kZapEnforceDomain, &on, sizeof(on));
}

class EventFd {
 public:
  EventFd() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  EventFd(const EventFd&) = delete;
  EventFd& operator=(const EventFd&) = delete;
  ~EventFd() {
    if (fd_ >= 0) close(fd_);
  }

  int fd() const { return fd_; }
  void Signal() const {
    const uint64_t one = 1;
    while (write(fd_, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
  }
  void Clear() const {
    uint64_t count = 0;
    while (read(fd_, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
  }

 private:
  int fd_;
};

// A ROUTER that listens, or a DEALER to one endpoint.
struct Socket {
  zmq::socket_t zmq;
  Peer endpoint;                     // empty: the ROUTER
  std::shared_ptr<PeerQueue> queue;  // of the endpoint; a ROUTER has one for each route

  bool listens() const { return endpoint.empty(); }
};

// A received multipart message, before it is known to be one of ours.
struct RawMessage {
  Peer from;
  PeerRole role = PeerRole::kUnknown;  // of one who has connected to us
  std::vector<Frame> frames;
  size_t frame_count = 0;  // those over the limits are counted, not kept
  size_t bytes = 0;
};

}  // namespace

struct TransportContext::State {
  explicit State(int io_threads) : zmq(io_threads), authenticator(zmq) {}

  // Ends the authenticator's thread, which waits in a socket, before the members go in reverse order.
  ~State() { zmq.shutdown(); }

  zmq::context_t zmq;
  std::atomic<uint64_t> names{0};  // of ZAP domains and nameless inproc endpoints
  Authenticator authenticator;
};

TransportContext::TransportContext(int io_threads) : state_(std::make_unique<State>(io_threads)) {}
TransportContext::~TransportContext() = default;

struct Transport::State {
  State(TransportContext::State& the_context, Identity identity, TransportOptions the_options)
      : context(the_context), self(std::move(identity)), options(std::move(the_options)) {}

  absl::Status SecureListener(zmq::socket_t& socket);
  void WatchHandshakes(zmq::socket_t& socket);
  void CountFailedHandshakes() const;
  absl::Status SecureConnection(zmq::socket_t& socket) const;
  std::string BindableEndpoint(const std::string& endpoint) const;
  Socket* Connection(const Peer& endpoint);
  Socket* Connect(const Peer& endpoint);
  void Disconnect(const Peer& endpoint);
  std::shared_ptr<PeerQueue> RouteQueue(const Peer& route);
  void SweepRoutes();
  bool SendTo(const Peer& to, const OutgoingMessagePtr& message);
  bool SendFrames(Socket& socket, const std::shared_ptr<PeerQueue>& queue, const OutgoingMessagePtr& message);
  bool WithinBound(const PeerQueue& queue, size_t bytes) const;
  std::optional<RawMessage> ReceiveRaw(Socket& socket) const;
  bool ReceiveOne(Socket& socket, const std::function<void(const Message&)>& handler, int* handled);
  int ReceiveReady(const std::function<void(const Message&)>& handler);
  void Refuse(RawMessage raw, bool answerable, wire::Error::Code code, std::string_view reason);
  void Poll(absl::Duration timeout);

  TransportContext::State& context;
  const Identity self;
  const TransportOptions options;
  const EventFd wake;
  std::vector<std::unique_ptr<Socket>> sockets;
  size_t next_socket = 0;  // whose turn it is to be received from
  Socket* router = nullptr;
  std::shared_ptr<Authenticator::Domain> domain;    // of the ROUTER, with CURVE
  mutable std::optional<zmq::socket_t> handshakes;  // tells of those that failed there
  absl::flat_hash_map<Peer, Socket*> connections;
  absl::flat_hash_map<Peer, std::shared_ptr<PeerQueue>> routes;
  size_t sweep_routes_at = kRoutesBeforeSweep;
  mutable Counters counters;
};

absl::Status Transport::State::SecureListener(zmq::socket_t& socket) {
  if (!options.security.curve) return absl::OkStatus();
  const std::string name = fmt::format("marquee-{}", context.names.fetch_add(1));
  absl::StatusOr<std::shared_ptr<Authenticator::Domain>> added =
      context.authenticator.AddDomain(name, options.security.allowed_keys);
  if (!added.ok()) return added.status();
  if (domain != nullptr) context.authenticator.RemoveDomain(*domain);  // of an attempt to listen that failed
  domain = *std::move(added);
  socket.set(zmq::sockopt::curve_server, true);
  socket.set(zmq::sockopt::curve_secretkey, options.security.listener_secret_key);
  socket.set(zmq::sockopt::zap_domain, name);
  EnforceAuthentication(socket);
  WatchHandshakes(socket);
  return absl::OkStatus();
}

// ZeroMQ tells of handshakes that fail through a socket of its own.
void Transport::State::WatchHandshakes(zmq::socket_t& socket) {
  const std::string endpoint = fmt::format("inproc://marquee-handshakes-{}", context.names.fetch_add(1));
  const int events = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL;
  if (zmq_socket_monitor(socket.handle(), endpoint.c_str(), events) != 0) return;
  handshakes.emplace(context.zmq, zmq::socket_type::pair);
  handshakes->set(zmq::sockopt::linger, 0);
  handshakes->connect(endpoint);
}

void Transport::State::CountFailedHandshakes() const {
  if (!handshakes.has_value()) return;
  for (zmq::message_t event; TryReceive(*handshakes, event);) {
    struct {
      uint16_t what = 0;
      uint32_t value = 0;
    } failed;
    if (event.size() >= sizeof(failed.what) + sizeof(failed.value)) {
      const auto* data = static_cast<const std::byte*>(event.data());
      std::memcpy(&failed.what, data, sizeof(failed.what));
      std::memcpy(&failed.value, data + sizeof(failed.what), sizeof(failed.value));
      const bool plain = failed.what == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL &&
                         failed.value == static_cast<uint32_t>(ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH);
      ++counters.rejected[plain ? "plaintext" : "handshake"];
    }
    while (event.more() && TryReceive(*handshakes, event)) {
    }
  }
}

absl::Status Transport::State::SecureConnection(zmq::socket_t& socket) const {
  const TransportSecurity& security = options.security;
  if (!security.curve) return absl::OkStatus();
  if (security.server_public_key.empty()) return absl::FailedPreconditionError("no public key of those that listen is known");
  socket.set(zmq::sockopt::curve_serverkey, security.server_public_key);
  socket.set(zmq::sockopt::curve_publickey, security.own_public_key);
  socket.set(zmq::sockopt::curve_secretkey, security.own_secret_key);
  return absl::OkStatus();
}

std::string Transport::State::BindableEndpoint(const std::string& endpoint) const {
  if (endpoint == "inproc://*") return fmt::format("inproc://marquee-{}", context.names.fetch_add(1));
  const std::optional<TcpAddress> address = ParseTcp(endpoint);
  if (!address.has_value()) return endpoint;
  if (options.all_interfaces) return fmt::format("tcp://*:{}", address->port);
  return fmt::format("tcp://{}:{}", ResolveName(address->host).value_or(address->host), address->port);
}

// The open connection to an endpoint, or a new one; nullptr if the endpoint is none.
Socket* Transport::State::Connection(const Peer& endpoint) {
  const auto found = connections.find(endpoint);
  return found != connections.end() ? found->second : Connect(endpoint);
}

Socket* Transport::State::Connect(const Peer& endpoint) {
  try {
    zmq::socket_t socket(context.zmq, zmq::socket_type::dealer);
    const std::optional<TcpAddress> address = ParseTcp(endpoint);
    SetCommonOptions(socket, options, IsIpv6(address));
    if (!SecureConnection(socket).ok()) return nullptr;
    if (address.has_value() && !IsPort(address->port)) return nullptr;
    socket.connect(endpoint);
    sockets.push_back(std::make_unique<Socket>(Socket{std::move(socket), endpoint, std::make_shared<PeerQueue>()}));
  } catch (const zmq::error_t&) {
    return nullptr;
  }
  connections[endpoint] = sockets.back().get();
  return sockets.back().get();
}

// ZeroMQ does not say when a route is gone: now and then those without anything queued are forgotten.
void Transport::State::SweepRoutes() {
  absl::erase_if(routes, [](const auto& route) { return route.second->bytes.load(std::memory_order_acquire) == 0; });
  sweep_routes_at = std::max(kRoutesBeforeSweep, 2 * routes.size());
}

std::shared_ptr<PeerQueue> Transport::State::RouteQueue(const Peer& route) {
  if (routes.size() >= sweep_routes_at) SweepRoutes();
  std::shared_ptr<PeerQueue>& queue = routes[route];
  if (queue == nullptr) queue = std::make_shared<PeerQueue>();
  return queue;
}

bool Transport::State::WithinBound(const PeerQueue& queue, size_t bytes) const {
  return queue.bytes.load(std::memory_order_acquire) + bytes <= options.max_queued_bytes;
}

// The frames of one message are taken all or none: once ZeroMQ has the first, it drops the others itself if the peer goes.
bool Transport::State::SendFrames(Socket& socket, const std::shared_ptr<PeerQueue>& queue, const OutgoingMessagePtr& message) {
  const auto segments = message->segments();
  for (size_t i = 0; i < segments.size(); ++i) {
    zmq::message_t frame = FrameOf(segments[i], message, queue);
    if (TrySend(socket.zmq, frame, i + 1 < segments.size()) != 0) return false;
  }
  return true;
}

bool Transport::State::SendTo(const Peer& to, const OutgoingMessagePtr& message) {
  const size_t bytes = message->bytes();
  if (IsRoute(to)) {
    if (router == nullptr) return false;
    const std::shared_ptr<PeerQueue> queue = RouteQueue(to);
    if (!WithinBound(*queue, bytes)) return false;
    zmq::message_t route(to.data() + 1, to.size() - 1);
    return TrySend(router->zmq, route, true) == 0 && SendFrames(*router, queue, message);
  }
  Socket* const socket = Connection(to);
  if (socket == nullptr || !WithinBound(*socket->queue, bytes)) return false;
  if (SendFrames(*socket, socket->queue, message)) return true;
  Disconnect(to);  // an inproc listener that went: ZeroMQ does not connect to its successor by itself
  return false;
}

void Transport::State::Disconnect(const Peer& endpoint) {
  const auto found = connections.find(endpoint);
  if (found == connections.end()) return;
  std::erase_if(sockets, [&](const auto& socket) { return socket.get() == found->second; });
  connections.erase(found);
}

std::optional<RawMessage> Transport::State::ReceiveRaw(Socket& socket) const {
  auto frame = std::make_shared<zmq::message_t>();
  if (!TryReceive(socket.zmq, *frame)) return std::nullopt;
  RawMessage raw;
  raw.from = socket.endpoint;
  if (socket.listens()) {
    raw.from = kRoutePrefix + frame->to_string();
    frame = std::make_shared<zmq::message_t>();
    if (!TryReceive(socket.zmq, *frame)) return raw;
    if (options.security.curve) raw.role = RoleOf(*frame);
  }
  while (true) {
    const bool more = frame->more();
    raw.bytes += frame->size();
    if (++raw.frame_count <= kMaxFrames && raw.bytes <= 2 * options.max_message_bytes) {
      const auto* data = static_cast<const std::byte*>(frame->data());
      AfterTakingOver(data);
      const size_t size = frame->size();
      raw.frames.push_back(Frame{.owner = std::move(frame), .data = data, .size = size});
    }
    if (!more) return raw;
    frame = std::make_shared<zmq::message_t>();
    if (!TryReceive(socket.zmq, *frame)) return raw;
  }
}

// Counts a message that is not one of ours and tells its sender, if there is one who may have asked.
void Transport::State::Refuse(RawMessage raw, bool answerable, wire::Error::Code code, std::string_view reason) {
  ++counters.rejected[std::string(ErrorCodeName(code))];
  if (!answerable) return;
  const Message::Head head = Message::Peek(std::move(raw.frames));
  if (head.is_error) return;
  const OutgoingMessagePtr error = code == wire::Error::Code::WRONG_VERSION
                                       ? NewVersionError(self, head, reason)
                                       : NewError(self, 0, head.request_id, code, "message", reason);
  if (!SendTo(raw.from, error)) ++counters.dropped;
}

// A message that cannot be read is the handler's to refuse.
bool IsAllowed(PeerRole role, const Message& message) {
  bool allowed = true;
  Guarded([&] {
    allowed = MayAsk(role, message.envelope());
    return absl::OkStatus();
  }).IgnoreError();
  return allowed;
}

// False if there was nothing to receive.
bool Transport::State::ReceiveOne(Socket& socket, const std::function<void(const Message&)>& handler, int* handled) {
  std::optional<RawMessage> raw = ReceiveRaw(socket);
  if (!raw.has_value()) return false;
  const bool answerable = socket.listens();
  ++counters.messages_received;
  counters.bytes_received += raw->bytes;
  if (raw->bytes > options.max_message_bytes) {
    const std::string reason = fmt::format("{} bytes; at most {}", raw->bytes, options.max_message_bytes);
    Refuse(*std::move(raw), answerable, wire::Error::Code::TOO_LARGE, reason);
    return true;
  }
  if (raw->frame_count > kMaxFrames) {
    const std::string reason = fmt::format("malformed message: {} frames; must be 1 to {}", raw->frame_count, kMaxFrames);
    Refuse(*std::move(raw), answerable, wire::Error::Code::MALFORMED, reason);
    return true;
  }
  const absl::StatusOr<Message> message = Message::Parse(raw->from, raw->frames);
  if (!message.ok()) {
    const auto code =
        absl::IsFailedPrecondition(message.status()) ? wire::Error::Code::WRONG_VERSION : wire::Error::Code::MALFORMED;
    Refuse(*std::move(raw), answerable, code, std::string(message.status().message()));
    return true;
  }
  if (!IsAllowed(raw->role, *message)) {
    const std::string reason = fmt::format("{}: a key of the role {} may not ask this",
                                           BodyName(message->envelope().getBody().which()), PeerRoleName(raw->role));
    Refuse(*std::move(raw), answerable, wire::Error::Code::FORBIDDEN, reason);
    return true;
  }
  raw.reset();
  ++*handled;
  handler(*message);
  return true;
}

// One message from each socket in turn until all are empty. The handler may open and close connections.
int Transport::State::ReceiveReady(const std::function<void(const Message&)>& handler) {
  int handled = 0;
  int received = 0;
  for (size_t empty = 0; empty < sockets.size() && received < kMaxMessagesPerReceive; ++next_socket) {
    if (ReceiveOne(*sockets[next_socket % sockets.size()], handler, &handled)) {
      empty = 0;
      ++received;
    } else {
      ++empty;
    }
  }
  return handled;
}

void Transport::State::Poll(absl::Duration timeout) {
  std::vector<zmq_pollitem_t> items;
  items.reserve(sockets.size() + 1);
  items.push_back({nullptr, wake.fd(), ZMQ_POLLIN, 0});
  for (const auto& socket : sockets) items.push_back({socket->zmq.handle(), 0, ZMQ_POLLIN, 0});
  const absl::Duration rounded_up = absl::Ceil(std::max(timeout, absl::ZeroDuration()), absl::Milliseconds(1));
  const long ms = timeout == absl::InfiniteDuration() ? -1 : static_cast<long>(absl::ToInt64Milliseconds(rounded_up));
  zmq_poll(items.data(), static_cast<int>(items.size()), ms);
  if ((items[0].revents & ZMQ_POLLIN) != 0) wake.Clear();
}

Transport::Transport() = default;

Transport::~Transport() {
  if (state_ != nullptr && state_->domain != nullptr) state_->context.authenticator.RemoveDomain(*state_->domain);
}

absl::StatusOr<std::unique_ptr<Transport>> Transport::Create(TransportContext& context, Identity self,
                                                             TransportOptions options) {
  const TransportSecurity& security = options.security;
  if (security.curve) {
    for (const auto& [name, key] :
         {std::pair("own_public_key", security.own_public_key), std::pair("own_secret_key", security.own_secret_key)}) {
      if (absl::Status status = CheckKey(name, key); !status.ok()) return status;
    }
  }
  std::unique_ptr<Transport> transport(new Transport());
  transport->state_ = std::make_unique<State>(*context.state_, std::move(self), std::move(options));
  if (transport->state_->wake.fd() < 0) return absl::ErrnoToStatus(errno, "eventfd");
  return transport;
}

absl::StatusOr<std::string> Transport::Listen(const std::string& endpoint) {
  if (state_->router != nullptr) {
    return absl::FailedPreconditionError(fmt::format("cannot listen on {}: this transport listens already", endpoint));
  }
  const std::optional<TcpAddress> given = ParseTcp(endpoint);
  if (given.has_value() && !IsPort(given->port)) {
    return absl::InvalidArgumentError(fmt::format("cannot listen on {}: port {}; must be 0 to 65535", endpoint, given->port));
  }
  const std::string bindable = state_->BindableEndpoint(endpoint);
  std::string bound;
  try {
    zmq::socket_t socket(state_->context.zmq, zmq::socket_type::router);
    SetCommonOptions(socket, state_->options, IsIpv6(given));
    socket.set(zmq::sockopt::router_mandatory, true);
    socket.set(zmq::sockopt::backlog, 1024);
    if (absl::Status status = state_->SecureListener(socket); !status.ok()) return status;
    socket.bind(bindable);
    bound = socket.get(zmq::sockopt::last_endpoint);
    state_->sockets.push_back(std::make_unique<Socket>(Socket{std::move(socket), {}, nullptr}));
  } catch (const zmq::error_t& error) {
    return ZmqError("cannot listen on", endpoint, error);
  }
  state_->router = state_->sockets.back().get();
  // Others know this host by the name that was given, not by the address behind it.
  if (bindable == endpoint || !given.has_value()) return bound;
  return fmt::format("tcp://{}:{}", given->host, ParseTcp(bound)->port);
}

void Transport::Send(const Peer& to, OutgoingMessagePtr message) {
  if (state_->SendTo(to, message)) {
    ++state_->counters.messages_sent;
    state_->counters.bytes_sent += message->bytes();
  } else {
    ++state_->counters.dropped;
  }
}

int Transport::Receive(absl::Duration timeout, const std::function<void(const Message&)>& handler) {
  const int handled = state_->ReceiveReady(handler);
  if (handled > 0) return handled;
  state_->Poll(timeout);
  return state_->ReceiveReady(handler);
}

void Transport::Wake() { state_->wake.Signal(); }

void Transport::Disconnect(const Peer& endpoint) { state_->Disconnect(endpoint); }

const Transport::Counters& Transport::counters() const {
  state_->CountFailedHandshakes();
  if (state_->domain != nullptr && state_->domain->refused() > 0) {
    state_->counters.rejected["unauthorized"] = state_->domain->refused();
  }
  return state_->counters;
}

size_t Transport::queued_bytes() const {
  size_t total = 0;
  for (const auto& [endpoint, socket] : state_->connections) total += socket->queue->bytes.load(std::memory_order_acquire);
  for (const auto& [route, queue] : state_->routes) total += queue->bytes.load(std::memory_order_acquire);
  return total;
}

}  // namespace marquee
