#include "ps/server_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace marquee {
namespace {

using Body = wire::Envelope::Body;

constexpr absl::Duration kUntilTold = absl::Milliseconds(500);  // between requests, until the scheduler has said how often
constexpr absl::Duration kShortest = absl::Milliseconds(1);
constexpr absl::Duration kLongest = absl::Minutes(10);

absl::Duration HeartbeatOf(uint64_t micros) {
  const auto limit = static_cast<uint64_t>(absl::ToInt64Microseconds(kLongest));
  return std::max(kShortest, absl::Microseconds(static_cast<int64_t>(std::min(micros, limit))));
}

}  // namespace

ServerLink::ServerLink(Identity self, ServerRegistration registration, Peer scheduler)
    : self_(std::move(self)),
      registration_(std::move(registration)),
      scheduler_(std::move(scheduler)),
      heartbeat_(kUntilTold) {}

OutgoingMessagePtr ServerLink::BuildRequest() {
  OutgoingMessagePtr message = NewRequest(self_, 0, ++last_request_, absl::ZeroDuration());
  if (registered_) {
    statistics_.ToWire(message->envelope().getBody().initHeartbeat().initServer());
    return message;
  }
  wire::Register::Builder body = message->envelope().getBody().initRegister();
  body.setRole(wire::Register::Role::SERVER);
  body.setName(self_.name.c_str());
  body.setHost(registration_.host.c_str());
  body.setProcessId(registration_.process_id);
  body.setMetricsEndpoint(registration_.metrics_endpoint.c_str());
  auto endpoints = body.initEndpoints(static_cast<uint32_t>(registration_.endpoints.size()));
  for (uint32_t i = 0; i < endpoints.size(); ++i) endpoints.set(i, registration_.endpoints[i].c_str());
  return message;
}

void ServerLink::OnTimer(absl::Time now, Outbox& outbox) {
  if (now < next_timer()) return;
  due_ = now + heartbeat_;
  answered_ = false;
  outbox.Send(scheduler_, BuildRequest());
}

absl::Time ServerLink::next_timer() const {
  return status_.ok() && !cluster_changed_ && !dismissed_ ? due_ : absl::InfiniteFuture();
}

void ServerLink::OnMessage(const Message& message, absl::Time now, Outbox& outbox) {
  if (message.from() != scheduler_ || message.envelope().getRequestId() != last_request_ || answered_) return;
  // An answer that is not well formed is as good as none: the request is sent again when it is due.
  answered_ = Guarded([&] { return Handle(message, now); }).ok();
  if (answered_) last_heard_ = now;
  OnTimer(now, outbox);
}

absl::Status ServerLink::Handle(const Message& message, absl::Time now) {
  const Body::Reader body = message.envelope().getBody();
  switch (body.which()) {
    case Body::REGISTERED:
      return HandleRegistered(body.getRegistered(), now);
    case Body::HEARTBEAT_REPLY:
      return absl::OkStatus();
    case Body::ERROR:
      HandleError(body.getError(), now);
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(fmt::format("{} is no answer for a server", BodyName(body.which())));
  }
}

absl::Status ServerLink::HandleRegistered(wire::Registered::Reader reader, absl::Time now) {
  if (reader.getClusterId() == 0) return absl::InvalidArgumentError("registered.clusterId: is 0");
  cluster_changed_ = cluster_id_ != 0 && cluster_id_ != reader.getClusterId();
  cluster_id_ = reader.getClusterId();
  heartbeat_ = HeartbeatOf(reader.getHeartbeatMicros());
  due_ = now + heartbeat_;
  registered_ = true;
  return absl::OkStatus();
}

void ServerLink::HandleError(wire::Error::Reader error, absl::Time now) {
  switch (error.getCode()) {
    case wire::Error::Code::UNKNOWN_INCARNATION:  // the scheduler was restarted, or took this server for dead
      if (registered_) due_ = now;
      registered_ = false;
      return;
    case wire::Error::Code::NOT_YET:
    case wire::Error::Code::INTERNAL:
      return;  // again when due
    case wire::Error::Code::CANCELLED:
      dismissed_ = true;
      return;
    default:
      status_ =
          absl::FailedPreconditionError(fmt::format("the scheduler refuses this server: {}: {} ({})", error.getField().cStr(),
                                                    error.getMessage().cStr(), ErrorCodeName(error.getCode())));
  }
}

}  // namespace marquee
