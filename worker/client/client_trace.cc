#include "worker/client/client_trace.h"

#include "common/trace_arrows.h"

namespace marquee {
namespace {

// One that is never answered, as of a server that died, must not stay for ever.
constexpr size_t kMaxRequests = 4096;

}  // namespace

void ClientTrace::Send(const Peer& to, OutgoingMessagePtr message) {
  const wire::Envelope::Reader envelope = message->envelope().asReader();
  const bool is_pull = envelope.getBody().isPull();
  if (!is_pull && !envelope.getBody().isPush()) {
    outbox_.Send(to, std::move(message));
    return;
  }
  const uint64_t request_id = envelope.getRequestId();
  const uint64_t bytes = message->bytes();
  const absl::Time begin = now_();
  outbox_.Send(to, std::move(message));
  track_.Span(is_pull ? "send pull" : "send push", begin, now_(), {{"request", request_id}, {"to", to}, {"bytes", bytes}});
  if (requests_.contains(request_id)) return;  // sent again: the request began with the first time
  track_.ArrowFrom(RequestArrow(incarnation_, request_id), begin);
  if (requests_.size() >= kMaxRequests) requests_.erase(requests_.begin());
  requests_[request_id] = Request{.name = is_pull ? "pull request" : "push request", .sent = begin, .bytes = bytes};
}

void ClientTrace::Received(const Message& message, absl::Time begin, absl::Time end) {
  const wire::Envelope::Reader envelope = message.envelope();
  const uint64_t request_id = envelope.getRequestId();
  const auto request = requests_.find(request_id);
  if (request == requests_.end()) return;
  track_.Span(fmt::format("receive {}", BodyName(envelope.getBody().which())), begin, end,
              {{"request", request_id}, {"from", envelope.getSender().cStr()}, {"bytes", message.bytes()}});
  track_.ArrowTo(AnswerArrow(incarnation_, request_id), begin);
  track_.Overlapping(request->second.name, RequestArrow(incarnation_, request_id), request->second.sent, begin,
                     {{"request", request_id}, {"server", envelope.getSender().cStr()}, {"bytes", request->second.bytes}});
  requests_.erase(request);
}

}  // namespace marquee
