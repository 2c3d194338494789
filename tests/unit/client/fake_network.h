#ifndef MARQUEE_TESTS_UNIT_CLIENT_FAKE_NETWORK_H_
#define MARQUEE_TESTS_UNIT_CLIENT_FAKE_NETWORK_H_

// An outbox that keeps what was sent, and answers made by hand: the client's tests are the shards and the scheduler themselves.

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "common/message.h"

namespace marquee {

inline const Identity kOther{.name = "other", .incarnation = 99};

struct Sent {
  Peer to;
  OutgoingMessagePtr message;

  wire::Envelope::Reader envelope() const { return message->envelope().asReader(); }
  wire::Envelope::Body::Reader body() const { return envelope().getBody(); }
  bool Is(wire::Envelope::Body::Which which) const { return body().which() == which; }
  // As it goes over the wire.
  std::string Bytes() const {
    std::string bytes;
    for (const auto segment : message->segments()) {
      bytes.append(reinterpret_cast<const char*>(segment.begin()), segment.size() * sizeof(capnp::word));
    }
    return bytes;
  }
};

class FakeOutbox : public Outbox {
 public:
  void Send(const Peer& to, OutgoingMessagePtr message) override { sent_.push_back({to, std::move(message)}); }
  // What was sent since the last call.
  std::vector<Sent> Take() { return std::exchange(sent_, {}); }

 private:
  std::vector<Sent> sent_;
};

// The reply to `sent` as its sender will receive it; `fill` takes the body's builder.
template <typename Fill>
Message ReplyTo(const Sent& sent, Fill&& fill, uint64_t view = 1) {
  const Message request = Deliver("", *sent.message).value();
  OutgoingMessagePtr reply = NewReply(kOther, view, request);
  fill(reply->envelope().getBody());
  return Deliver(sent.to, *reply).value();
}

inline Message ErrorTo(const Sent& sent, wire::Error::Code code, uint64_t view = 1) {
  const Message request = Deliver("", *sent.message).value();
  return Deliver(sent.to, *NewError(kOther, view, request, code, "a field", "what it was")).value();
}

inline absl::Time At(double seconds) { return absl::UnixEpoch() + absl::Seconds(seconds); }

}  // namespace marquee

#endif  // MARQUEE_TESTS_UNIT_CLIENT_FAKE_NETWORK_H_
