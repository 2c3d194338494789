#ifndef MARQUEE_COMMON_ZAP_H_
#define MARQUEE_COMMON_ZAP_H_

// Decides who may connect to the listening sockets of a ZeroMQ context (ZAP, RFC 27): those whose CURVE public key is known.
// Each of their messages then carries the name of the key's role as its property "User-Id".
//
// A thread of its own, started with the first domain, answers ZeroMQ's questions. Each listening socket names its own domain
// and thereby its own set of allowed keys. Thread-safe. Part of the transport; programs use TransportSecurity.

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/peer_role.h"

namespace marquee {

// Refuses what is not a CURVE key in Z85 form (40 characters). `name` says which key it is.
absl::Status CheckKey(std::string_view name, const std::string& z85_key);

class Authenticator {
 public:
  class Domain {
   public:
    Domain(std::string name, absl::flat_hash_map<std::string, PeerRole> keys)
        : name_(std::move(name)), allowed_(std::move(keys)) {}

    const std::string& name() const { return name_; }
    uint64_t refused() const { return refused_.load(std::memory_order_relaxed); }

   private:
    friend class Authenticator;
    const std::string name_;
    const absl::flat_hash_map<std::string, PeerRole> allowed_;  // by key, 32 bytes each
    std::atomic<uint64_t> refused_{0};
  };

  explicit Authenticator(zmq::context_t& context) : context_(context) {}
  ~Authenticator();  // the context must have been shut down before

  // Keys are in Z85 form; one that is not is refused.
  absl::StatusOr<std::shared_ptr<Domain>> AddDomain(const std::string& name, const std::vector<AllowedKey>& allowed_keys);
  void RemoveDomain(const Domain& domain);

 private:
  absl::Status StartThread();
  void Serve(zmq::socket_t socket);
  std::optional<PeerRole> RoleOf(const std::vector<zmq::message_t>& request);

  zmq::context_t& context_;
  std::mutex mutex_;
  absl::flat_hash_map<std::string, std::shared_ptr<Domain>> domains_;
  std::thread thread_;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_ZAP_H_
