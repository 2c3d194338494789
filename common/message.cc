#include "common/message.h"

#include <capnp/schema.h>
#include <fmt/format.h>
#include <kj/exception.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/version.h"

namespace marquee {
namespace {

constexpr size_t kMaxFrames = 512;
constexpr size_t kHeaderWords = 64;  // an envelope without its bulk arrays
constexpr int kMaxNesting = 16;      // deeper than any message of ours

Frame Aligned(Frame frame) {
  if (reinterpret_cast<uintptr_t>(frame.data) % alignof(capnp::word) == 0) return frame;
  auto copy = std::shared_ptr<uint64_t[]>(new uint64_t[frame.size / sizeof(uint64_t)]);
  std::memcpy(copy.get(), frame.data, frame.size);
  const auto* data = reinterpret_cast<const std::byte*>(copy.get());
  return Frame{.owner = std::move(copy), .data = data, .size = frame.size};
}

template <typename Enum>
std::string_view EnumerantName(Enum value) {
  const auto enumerants = capnp::Schema::from<Enum>().getEnumerants();
  const auto index = static_cast<uint32_t>(value);
  if (index >= enumerants.size()) return "unknown";
  const auto name = enumerants[index].getProto().getName();
  return {name.cStr(), name.size()};
}

// The reader of a message's segments, which live in frames that outlive it.
class FrameReader : public capnp::MessageReader {
 public:
  FrameReader(std::vector<kj::ArrayPtr<const capnp::word>> segments, capnp::ReaderOptions limits)
      : capnp::MessageReader(limits), segments_(std::move(segments)) {}

  kj::ArrayPtr<const capnp::word> getSegment(capnp::uint id) override {
    return id < segments_.size() ? segments_[id] : nullptr;
  }

 private:
  std::vector<kj::ArrayPtr<const capnp::word>> segments_;
};

}  // namespace

absl::StatusOr<Message> Message::Open(Peer from, std::vector<Frame> frames) {
  if (frames.empty() || frames.size() > kMaxFrames) {
    return absl::InvalidArgumentError(fmt::format("malformed message: {} frames; must be 1 to {}", frames.size(), kMaxFrames));
  }
  Message message;
  message.from_ = std::move(from);
  std::vector<kj::ArrayPtr<const capnp::word>> segments;
  for (Frame& frame : frames) {
    if (frame.size % sizeof(capnp::word) != 0) {
      return absl::InvalidArgumentError(
          fmt::format("malformed message: a frame of {} bytes; must be a multiple of 8", frame.size));
    }
    message.bytes_ += frame.size;
    message.frames_.push_back(Aligned(std::move(frame)));
    const Frame& kept = message.frames_.back();
    segments.emplace_back(reinterpret_cast<const capnp::word*>(kept.data), kept.size / sizeof(capnp::word));
  }
  capnp::ReaderOptions options;
  // Each handler walks a message a bounded number of times; a message that refers to its bytes over and over is an attack.
  options.traversalLimitInWords = 8 * (message.bytes_ / sizeof(capnp::word)) + 1024;
  options.nestingLimit = kMaxNesting;
  message.reader_ = std::make_unique<FrameReader>(std::move(segments), options);
  const absl::Status parsed = Guarded([&] {
    message.envelope_ = message.reader_->getRoot<wire::Envelope>();
    return absl::OkStatus();
  });
  if (!parsed.ok()) return parsed;
  return message;
}

Message Message::Share() const { return Open(from_, frames_).value(); }

absl::StatusOr<Message> Message::Parse(Peer from, std::vector<Frame> frames) {
  absl::StatusOr<Message> message = Open(std::move(from), std::move(frames));
  if (!message.ok()) return message;
  const WireVersions own = OwnWireVersions();
  const WireVersions senders = message->sender_versions();
  if (!IsEmpty(Common(own, senders))) return message;
  return absl::FailedPreconditionError(fmt::format(
      "protocolVersion: the sender speaks {} of the wire; the receiver, marquee {}, {}: none in common. Upgrade the {} "
      "(docs/operations.md, \"Upgrades\")",
      ToText(senders), Version(), ToText(own), senders.newest < own.oldest ? "sender" : "receiver"));
}

WireVersions Message::sender_versions() const {
  const uint16_t oldest = envelope_.getProtocolVersion();
  const uint16_t newest = envelope_.getNewestVersion();
  return {.oldest = oldest, .newest = newest == 0 ? oldest : newest};
}

Message::Head Message::Peek(std::vector<Frame> frames) {
  const absl::StatusOr<Message> message = Open({}, std::move(frames));
  if (!message.ok()) return {};
  const wire::Envelope::Reader envelope = message->envelope();
  return Head{.request_id = envelope.getRequestId(),
              .version = envelope.getProtocolVersion(),
              .is_error = envelope.getBody().isError()};
}

OutgoingMessage::OutgoingMessage(size_t expected_bytes)
    : builder_(static_cast<capnp::uint>(kHeaderWords + expected_bytes / sizeof(capnp::word))),
      envelope_(builder_.initRoot<wire::Envelope>()) {
  const WireVersions own = OwnWireVersions();
  envelope_.setProtocolVersion(own.oldest);
  if (own.newest != own.oldest) envelope_.setNewestVersion(own.newest);
}

std::byte* OutgoingMessage::NewBulk(size_t bytes) {
  const size_t words = (bytes + sizeof(uint64_t) - 1) / sizeof(uint64_t);
  bulks_.emplace_back(new uint64_t[words]);  // not std::make_unique, which zeroes
  bulks_.back()[words - 1] = 0;              // the padding
  return reinterpret_cast<std::byte*>(bulks_.back().get());
}

size_t OutgoingMessage::bytes() {
  size_t total = 0;
  for (const auto segment : segments()) total += segment.size() * sizeof(capnp::word);
  return total;
}

absl::StatusOr<Message> Deliver(Peer from, OutgoingMessage& message) {
  std::vector<Frame> frames;
  for (const auto segment : message.segments()) {
    auto copy = std::shared_ptr<uint64_t[]>(new uint64_t[std::max<size_t>(segment.size(), 1)]);
    std::memcpy(copy.get(), segment.begin(), segment.size() * sizeof(capnp::word));
    const auto* data = reinterpret_cast<const std::byte*>(copy.get());
    frames.push_back(Frame{.owner = std::move(copy), .data = data, .size = segment.size() * sizeof(capnp::word)});
  }
  return Message::Parse(std::move(from), std::move(frames));
}

OutgoingMessagePtr NewRequest(const Identity& self, uint64_t view, uint64_t request_id, absl::Duration timeout,
                              size_t expected_bytes) {
  auto message = std::make_shared<OutgoingMessage>(expected_bytes);
  wire::Envelope::Builder envelope = message->envelope();
  envelope.setView(view);
  envelope.setSender(self.name.c_str());
  envelope.setIncarnation(self.incarnation);
  envelope.setRequestId(request_id);
  envelope.setTimeoutMicros(static_cast<uint64_t>(std::max<int64_t>(0, absl::ToInt64Microseconds(timeout))));
  return message;
}

OutgoingMessagePtr NewReply(const Identity& self, uint64_t view, const Message& request, size_t expected_bytes) {
  return NewRequest(self, view, request.envelope().getRequestId(), absl::ZeroDuration(), expected_bytes);
}

OutgoingMessagePtr NewError(const Identity& self, uint64_t view, const Message& request, wire::Error::Code code,
                            std::string_view field, std::string_view message) {
  return NewError(self, view, request.envelope().getRequestId(), code, field, message);
}

OutgoingMessagePtr NewError(const Identity& self, uint64_t view, uint64_t request_id, wire::Error::Code code,
                            std::string_view field, std::string_view message) {
  const size_t text_bytes = field.size() + message.size() + 2 * sizeof(capnp::word);
  OutgoingMessagePtr reply = NewRequest(self, view, request_id, absl::ZeroDuration(), text_bytes);
  wire::Error::Builder error = reply->envelope().getBody().initError();
  error.setCode(code);
  error.setField(kj::StringPtr(std::string(field).c_str()));
  error.setMessage(kj::StringPtr(std::string(message).c_str()));
  return reply;
}

OutgoingMessagePtr NewVersionError(const Identity& self, const Message::Head& refused, std::string_view message) {
  OutgoingMessagePtr error = NewError(self, 0, refused.request_id, wire::Error::Code::WRONG_VERSION, "message", message);
  error->envelope().setProtocolVersion(refused.version);
  error->envelope().setNewestVersion(refused.version);
  return error;
}

std::string_view ErrorCodeName(wire::Error::Code code) { return EnumerantName(code); }

std::string_view BodyName(wire::Envelope::Body::Which which) {
  const auto fields = capnp::Schema::from<wire::Envelope::Body>().getUnionFields();
  const auto index = static_cast<uint32_t>(which);
  if (index >= fields.size()) return "unknown";
  const auto name = fields[index].getProto().getName();
  return {name.cStr(), name.size()};
}

}  // namespace marquee
