#ifndef MARQUEE_COMMON_TRANSPORT_H_
#define MARQUEE_COMMON_TRANSPORT_H_

// Carries messages over ZeroMQ (tcp, ipc, inproc). Knows nothing of membership: whom to talk to is the caller's matter.
//
// A Transport belongs to one thread. It may listen on one endpoint (a ROUTER: requests come in, replies go back on their route)
// and talk to any number of endpoints (a DEALER each, made on first use). Sending never blocks. Bytes that are queued for one
// peer are bounded: what would go over is dropped and counted, and whoever waits for it asks again.
//
// Garbage that comes in (not an Envelope, no common version, too large), and with CURVE what the sender's role may not ask, is
// answered with an error where there is someone to answer, counted by reason, and never reaches the caller.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/message.h"
#include "common/peer_role.h"

namespace marquee {

// Keys of this process and of those it trusts, in ZeroMQ's Z85 form; LoadSecurity (common/security.h) reads them from files.
// Whoever listens (scheduler, shards) uses one key pair for that, so that one server key serves for every endpoint; to those
// that it connects to, each process shows a key of its own.
struct TransportSecurity {
  bool curve = false;  // false: no encryption, anybody may connect, the keys are not looked at
  std::string own_public_key;
  std::string own_secret_key;
  std::string server_public_key;         // expected of those that we connect to
  std::string listener_secret_key;       // that belongs to it; empty: this process does not listen
  std::vector<AllowedKey> allowed_keys;  // of those that connect to us; others are refused (ZAP, RFC 27)
};

struct TransportOptions {
  size_t max_message_bytes = 64U << 20U;  // incoming messages above it are refused; from twice of it on, with their connection
  size_t max_queued_bytes = 64U << 20U;   // outgoing, for each peer
  bool all_interfaces = false;            // listen on every address of this machine, whichever host an endpoint names
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

  // Listens; once. A port of 0 or "*" takes a free one. Returns the endpoint as others must write it ("tcp://10.0.0.1:40123").
  // A host is an IPv4 address, a name or network interface with one, an IPv6 address in brackets, or "*".
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
    // By error code name. Connections: "unauthorized", with an unknown key; "plaintext", without encryption; "handshake", with
    // what is no ZeroMQ, or another's protocol.
    std::map<std::string, uint64_t> rejected;
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
