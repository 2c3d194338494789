#ifndef MARQUEE_COMMON_MESSAGE_H_
#define MARQUEE_COMMON_MESSAGE_H_

// What state machines receive and send: one Cap'n Proto Envelope (schemas/wire.capnp) each.
//
// Shard, client, worker link and coordinator know nothing of sockets: they take a Message and put OutgoingMessages into an
// Outbox. The ZeroMQ drivers (common/transport.h) and the simulator (tests/simulation) implement both ends.
//
// Neither class is thread-safe; both may be moved between threads.

#include <capnp/message.h>
#include <capnp/serialize.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/wire_versions.h"
#include "schemas/wire.capnp.h"

namespace marquee {

// Where a message goes to or came from. For one who asks (client, worker link, coordinator towards shards): an endpoint, such
// as "tcp://10.0.0.1:7710". For one who answers: the route on which the request came in, opaque, to be used for replies only.
using Peer = std::string;

// One frame of a received message: bytes and what keeps them alive.
struct Frame {
  std::shared_ptr<const void> owner;
  const std::byte* data = nullptr;
  size_t size = 0;  // bytes
};

// A received message, read in place. Frames whose bytes are not 8-byte aligned are copied.
class Message {
 public:
  // Refuses no frames, frames that are not whole words, and more than 512 of them (kMalformed); bytes are not yet trusted:
  // Cap'n Proto checks each pointer when it is followed, throwing kj::Exception, which `Parse` and `Guarded` turn into errors.
  // Also refuses a sender that speaks no version of the wire that this program speaks (absl::FailedPreconditionError).
  static absl::StatusOr<Message> Parse(Peer from, std::vector<Frame> frames);

  // What can be read of a message that Parse refused, so that its sender can be told.
  struct Head {
    uint64_t request_id = 0;  // 0: not readable
    uint16_t version = 0;     // the oldest that the sender speaks
    bool is_error = false;    // an error is never answered with one
  };
  static Head Peek(std::vector<Frame> frames);

  Message(Message&&) = default;
  Message& operator=(Message&&) = default;

  // The same message once more; both keep its bytes alive.
  Message Share() const;

  const Peer& from() const { return from_; }
  wire::Envelope::Reader envelope() const { return envelope_; }
  size_t bytes() const { return bytes_; }
  WireVersions sender_versions() const;
  // The version of the wire to speak with the sender: the highest that both know.
  uint16_t version() const { return Common(OwnWireVersions(), sender_versions()).newest; }

 private:
  Message() = default;
  static absl::StatusOr<Message> Open(Peer from, std::vector<Frame> frames);  // any protocol version

  Peer from_;
  std::vector<Frame> frames_;
  std::unique_ptr<capnp::MessageReader> reader_;
  wire::Envelope::Reader envelope_;
  size_t bytes_ = 0;
};

// A message being built. `expected_bytes` sizes the first segment: give the size of the arrays in it, so that nothing is grown
// or spread over further segments.
class OutgoingMessage {
 public:
  explicit OutgoingMessage(size_t expected_bytes = 0);

  wire::Envelope::Builder envelope() { return envelope_; }

  // Memory for the bulk array of a Data field, for the caller to fill before the message is sent. Cap'n Proto zeroes what it
  // allocates, and half of the time of a large message goes there: a large array gets a segment of its own, which is not
  // zeroed and is not part of `expected_bytes`. `init(n)` and `adopt(orphan)` are the field's two setters, of which one is
  // called:
  //
  //     message->PlaceBulk(bytes, [&](uint32_t n) { return section.initIds(n); },
  //                        [&](auto orphan) { section.adoptIds(std::move(orphan)); });
  template <typename Init, typename Adopt>
  std::byte* PlaceBulk(size_t bytes, const Init& init, const Adopt& adopt);
  // What a bulk array adds to `expected_bytes`.
  static size_t BytesInPlace(size_t bytes) { return bytes < kOwnSegmentBytes ? bytes : 0; }

  // The segments as they go to the wire. They stay valid and unchanged as long as this object lives.
  kj::ArrayPtr<const kj::ArrayPtr<const capnp::word>> segments() { return builder_.getSegmentsForOutput(); }
  size_t bytes();

 private:
  static constexpr size_t kOwnSegmentBytes = 64U << 10U;
  std::byte* NewBulk(size_t bytes);

  std::vector<std::unique_ptr<uint64_t[]>> bulks_;  // outlive builder_, which refers to them
  capnp::MallocMessageBuilder builder_;
  wire::Envelope::Builder envelope_;
};

// Shared, since a request is kept for resending while the transport still holds it. Not to be changed once it was sent.
using OutgoingMessagePtr = std::shared_ptr<OutgoingMessage>;

// A copy of an outgoing message as its receiver would see it; for inproc tests and the simulator.
absl::StatusOr<Message> Deliver(Peer from, OutgoingMessage& message);

// Where a state machine puts what it wants to say. Sending never blocks and never fails: a message that finds no room or no
// receiver is lost, as it may be on any network, and its sender asks again.
class Outbox {
 public:
  virtual ~Outbox() = default;
  virtual void Send(const Peer& to, OutgoingMessagePtr message) = 0;
};

// Who a state machine says it is, in every message that it sends.
struct Identity {
  std::string name;
  uint64_t incarnation = 0;
};

// A request with its header filled in; the caller fills the body. A zero timeout is "no deadline".
OutgoingMessagePtr NewRequest(const Identity& self, uint64_t view, uint64_t request_id, absl::Duration timeout,
                              size_t expected_bytes = 0);

// The reply to a message, with its header filled in; the caller fills the body.
OutgoingMessagePtr NewReply(const Identity& self, uint64_t view, const Message& request, size_t expected_bytes = 0);

// An error reply. `field` names what was wrong, `message` what it was and what would be right.
OutgoingMessagePtr NewError(const Identity& self, uint64_t view, const Message& request, wire::Error::Code code,
                            std::string_view field, std::string_view message);
OutgoingMessagePtr NewError(const Identity& self, uint64_t view, uint64_t request_id, wire::Error::Code code,
                            std::string_view field, std::string_view message);

// The answer to a message of a sender without a common version, written so that it can read it.
OutgoingMessagePtr NewVersionError(const Identity& self, const Message::Head& refused, std::string_view message);

// Name of an error code as it stands in the schema ("staleView"): a metric's label and a log's word.
std::string_view ErrorCodeName(wire::Error::Code code);

// Name of a body ("pull", "push" ...): likewise.
std::string_view BodyName(wire::Envelope::Body::Which which);

// Runs `handler` and turns what Cap'n Proto throws at malformed pointers into an InvalidArgument status.
template <typename Handler>
absl::Status Guarded(Handler&& handler);

// The values of a bulk array, or an error that names `field` if its size is not count x sizeof(T) or it is not aligned.
template <typename T>
absl::StatusOr<const T*> PackedValues(capnp::Data::Reader data, uint64_t count, std::string_view field);

}  // namespace marquee

#include "common/message_inline.h"  // IWYU pragma: export

#endif  // MARQUEE_COMMON_MESSAGE_H_
