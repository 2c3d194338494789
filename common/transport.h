#ifndef MARQUEE_COMMON_TRANSPORT_H_
#define MARQUEE_COMMON_TRANSPORT_H_

// Carries messages over ZeroMQ (tcp, ipc, inproc). Knows nothing of membership: whom to talk to is the caller's matter.
//
// A Transport belongs to one thread. It may listen on one endpoint (a ROUTER: requests come in, replies go back on their route)
// and talk to any number of endpoints (a DEALER each, made on first use). Sending never blocks. Bytes that are queued for one
// peer are bounded: what would go over is dropped and counted, and whoever waits for it asks again.
//
// Garbage that comes in (not an Envelope, wrong version, too large) is answered with an error where there is someone to answer,
// counted by reason, and never reaches the caller.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/message.h"

namespace marquee {

// Keys of this process and of those it trusts, in ZeroMQ's Z85 form. Empty server key: no encryption.
struct TransportSecurity {
  bool curve = false;
  std::string own_public_key;
  std::string own_secret_key;
  std::string server_public_key;                 // expected of those that we connect to
  std::vector<std::string> allowed_public_keys;  // of those that connect to us; others are refused (ZAP, RFC 27)
};

struct TransportOptions {
  size_t max_message_bytes = 64U << 20U;  // incoming frames above it are refused
  size_t max_queued_bytes = 64U << 20U;   // outgoing, for each peer
  TransportSecurity security;
};

// One per process: the ZeroMQ context, its I/O threads and, with CURVE, the ZAP handler. Thread-safe. Must outlive its
// transports.
class TransportContext {
 public:
  explicit TransportContext(int io_threads = 1);
  ~TransportContext();

 private:
  friend class Transport;
  struct State;
  std::unique_ptr<State> state_;
};

class Transport : public Outbox {
 public:
  static absl::StatusOr<std::unique_ptr<Transport>> Create(TransportContext& context, Identity self, TransportOptions options);
  ~Transport() override;

  // Listens. A port of 0 or "*" takes a free one. Returns the endpoint as others must write it ("tcp://10.0.0.1:40123").
  absl::StatusOr<std::string> Listen(const std::string& endpoint);

  // To an endpoint, or back on the route of a message that came in.
  void Send(const Peer& to, OutgoingMessagePtr message) override;

  // Waits up to `timeout` for messages, then hands over all that are there (at most 64, so that timers get their turn), oldest
  // first. Returns how many. Also returns early when Wake was called.
  int Receive(absl::Duration timeout, const std::function<void(const Message&)>& handler);

  // The only call that other threads may make: ends a Receive that is waiting.
  void Wake();

  // Gives up the connection to an endpoint, with what is queued for it.
  void Disconnect(const Peer& endpoint);

  struct Counters {
    uint64_t messages_sent = 0, messages_received = 0, bytes_sent = 0, bytes_received = 0, dropped = 0;
    std::map<std::string, uint64_t> rejected;  // by error code name
  };
  const Counters& counters() const;
  size_t queued_bytes() const;  // over all peers

 private:
  Transport();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace marquee

#endif  // MARQUEE_COMMON_TRANSPORT_H_
