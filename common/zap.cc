#include "common/zap.h"

#include <fmt/format.h>

#include <csignal>
#include <iterator>
#include <optional>
#include <utility>
#include <zmq_addon.hpp>

namespace marquee {
namespace {

constexpr char kZapEndpoint[] = "inproc://zeromq.zap.01";
constexpr size_t kKeyBytes = 32;
constexpr size_t kKeyCharacters = 40;

// Frames of a request, in order (RFC 27).
enum RequestFrame : size_t { kVersion, kRequestId, kDomain, kAddress, kIdentity, kMechanism, kCredentials, kRequestFrames };

std::optional<std::string> DecodeKey(const std::string& z85_key) {
  std::string bytes(kKeyBytes, '\0');
  if (z85_key.size() != kKeyCharacters) return std::nullopt;
  if (zmq_z85_decode(reinterpret_cast<uint8_t*>(bytes.data()), z85_key.c_str()) == nullptr) return std::nullopt;
  return bytes;
}

// Signals are for the program's main thread.
void BlockSignals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

void Reply(zmq::socket_t& socket, const std::vector<zmq::message_t>& request, const std::optional<PeerRole>& role) {
  const std::string request_id = request.size() > kRequestId ? request[kRequestId].to_string() : "";
  const std::vector<std::string> frames = {"1.0",
                                           request_id,
                                           role.has_value() ? "200" : "400",
                                           role.has_value() ? "OK" : "unknown key",
                                           role.has_value() ? std::string(PeerRoleName(*role)) : "",
                                           ""};
  for (size_t i = 0; i < frames.size(); ++i) {
    socket.send(zmq::buffer(frames[i]), i + 1 < frames.size() ? zmq::send_flags::sndmore : zmq::send_flags::none);
  }
}

}  // namespace

absl::Status CheckKey(std::string_view name, const std::string& z85_key) {
  if (DecodeKey(z85_key).has_value()) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: not a CURVE key, which is {} characters in Z85 form; this has {}", name,
                                                kKeyCharacters, z85_key.size()));
}

Authenticator::~Authenticator() {
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::shared_ptr<Authenticator::Domain>> Authenticator::AddDomain(const std::string& name,
                                                                                const std::vector<AllowedKey>& allowed_keys) {
  absl::flat_hash_map<std::string, PeerRole> keys;
  for (const AllowedKey& key : allowed_keys) {
    if (absl::Status status = CheckKey("allowed_keys", key.public_key); !status.ok()) return status;
    keys[*DecodeKey(key.public_key)] = key.role;
  }
  auto domain = std::make_shared<Domain>(name, std::move(keys));
  const std::lock_guard lock(mutex_);
  if (absl::Status status = StartThread(); !status.ok()) return status;
  domains_[name] = domain;
  return domain;
}

void Authenticator::RemoveDomain(const Domain& domain) {
  const std::lock_guard lock(mutex_);
  domains_.erase(domain.name());
}

absl::Status Authenticator::StartThread() {
  if (thread_.joinable()) return absl::OkStatus();
  try {
    zmq::socket_t socket(context_, zmq::socket_type::rep);
    socket.set(zmq::sockopt::linger, 0);
    socket.bind(kZapEndpoint);  // here, so that no connection can come before it
    thread_ = std::thread([this, bound = std::move(socket)]() mutable { Serve(std::move(bound)); });
  } catch (const zmq::error_t& error) {
    return absl::InternalError(fmt::format("cannot start the ZAP handler: {}", error.what()));
  }
  return absl::OkStatus();
}

void Authenticator::Serve(zmq::socket_t socket) {
  BlockSignals();
  while (true) {
    try {
      std::vector<zmq::message_t> request;
      if (!zmq::recv_multipart(socket, std::back_inserter(request)).has_value()) continue;
      Reply(socket, request, RoleOf(request));
    } catch (const zmq::error_t& error) {
      if (error.num() == ETERM) return;  // the context is being shut down
    }
  }
}

std::optional<PeerRole> Authenticator::RoleOf(const std::vector<zmq::message_t>& request) {
  if (request.size() != kRequestFrames || request[kVersion].to_string_view() != "1.0") return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto domain = domains_.find(request[kDomain].to_string());
  if (domain == domains_.end()) return std::nullopt;
  if (request[kMechanism].to_string_view() == "CURVE") {
    const auto found = domain->second->allowed_.find(request[kCredentials].to_string());
    if (found != domain->second->allowed_.end()) return found->second;
  }
  domain->second->refused_.fetch_add(1, std::memory_order_relaxed);
  return std::nullopt;
}

}  // namespace marquee
